//! Rate limits, as one process keeps them for all of its workers.
//!
//! A limit of the whole rule is one number that workers change with a compare-exchange. A limit with a key is a table
//! behind a few locks: only rules that ask for it pay, a lock is held for one look-up, and the shards keep two
//! workers from meeting at one often.

use crate::moment::Moment;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use rand::Rng;
use weir_config::model::{RateLimit, RateLimitKey};
use weir_decide::limit::{Bucket, Rate, RetryAfter, Table};

use crate::http::h1::head::RequestHead;

/// Keys for which another shard is worth its lock, and the most shards.
const KEYS_PER_SHARD: usize = 500;
const MAX_SHARDS: usize = 16;

/// One limit and what has been taken of it. It outlives the snapshots whose rules ask for the same limit.
#[derive(Debug)]
pub(crate) struct Limiter {
    policy: RateLimit,
    rate: Rate,
    /// What `now` of the buckets counts from.
    start: Moment,
    taken: Taken,
}

#[derive(Debug)]
enum Taken {
    Whole(Bucket),
    ByKey {
        /// Keys are hashed with a secret: no client can choose where its key falls, or make it another's.
        secret: RandomState,
        shards: Box<[Mutex<Table>]>,
    },
}

/// What a limit may need to know of a request.
pub(crate) struct Asker<'a> {
    pub(crate) client: IpAddr,
    pub(crate) head: &'a RequestHead,
    /// What `head` was parsed from.
    pub(crate) bytes: &'a [u8],
}

impl Limiter {
    pub(crate) fn new(policy: &RateLimit) -> Self {
        let taken = match policy.key {
            RateLimitKey::Route => Taken::Whole(Bucket::default()),
            RateLimitKey::ClientIp | RateLimitKey::Header(_) => {
                let max = policy.max_keys as usize;
                let shards = (max / KEYS_PER_SHARD).clamp(1, MAX_SHARDS);
                Taken::ByKey {
                    secret: RandomState::new(),
                    shards: (0..shards)
                        .map(|_| Mutex::new(Table::new(max / shards)))
                        .collect(),
                }
            }
        };
        Self {
            policy: policy.clone(),
            rate: Rate::of(policy),
            start: Moment::now(),
            taken,
        }
    }

    /// The limit that this keeps.
    pub(crate) fn policy(&self) -> &RateLimit {
        &self.policy
    }

    /// Lets the request pass, or says when one would.
    pub(crate) fn take(
        &self,
        asker: &Asker<'_>,
        now: Moment,
        rng: &mut impl Rng,
    ) -> Result<(), RetryAfter> {
        let now = now.saturating_duration_since(self.start);
        match &self.taken {
            Taken::Whole(bucket) => bucket.take(self.rate, now),
            Taken::ByKey { secret, shards } => {
                let key = match &self.policy.key {
                    RateLimitKey::Header(name) => secret.hash_one(asker.value(name)),
                    _ => secret.hash_one(network(asker.client)),
                };
                // The table has the lower bits to itself.
                let shard = &shards[(key >> 32) as usize % shards.len()];
                let mut table = shard.lock().unwrap_or_else(PoisonError::into_inner);
                table.take(key, self.rate, now, rng)
            }
        }
    }
}

impl Asker<'_> {
    /// The one value of a header. Without it the value is empty; so it is where the header is given several times,
    /// for the endpoint may read another of them than is counted here.
    fn value(&self, name: &str) -> &[u8] {
        let named = |field: &&crate::http::h1::head::Field| {
            field
                .name
                .get(self.bytes)
                .eq_ignore_ascii_case(name.as_bytes())
        };
        let mut fields = self.head.fields.iter().filter(named);
        match (fields.next(), fields.next()) {
            (Some(only), None) => only.value.get(self.bytes),
            _ => b"",
        }
    }
}

/// What one client is given: an address, of IPv6 a /64 (RFC 6177). By single addresses a client would have as
/// many buckets as it likes.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use weir_config::model::Limits;

    use crate::http::h1::head::parse_request;

    fn limiter(key: RateLimitKey) -> Limiter {
        Limiter::new(&RateLimit {
            requests: 1,
            per: Duration::from_secs(3600),
            burst: 1,
            key,
            max_keys: 1000,
        })
    }

    /// Which of these requests, each a client and its fields, pass one after another.
    fn passed(limiter: &Limiter, requests: &[(&str, &str)]) -> Vec<bool> {
        let mut rng = SmallRng::seed_from_u64(1);
        let pass = |(client, fields): &(&str, &str)| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let mut head = RequestHead::default();
            parse_request(text.as_bytes(), &Limits::default(), &mut head).unwrap();
            let asker = Asker {
                client: client.parse().unwrap(),
                head: &head,
                bytes: text.as_bytes(),
            };
            limiter.take(&asker, Moment::now(), &mut rng).is_ok()
        };
        requests.iter().map(pass).collect()
    }

    #[test]
    fn a_client_is_its_address_or_its_network_in_ipv6() {
        let requests = [
            ("192.0.2.1", ""),
            ("192.0.2.1", ""),
            ("192.0.2.2", ""),
            ("::ffff:192.0.2.2", ""),
            ("2001:db8::1", ""),
            ("2001:db8::ffff:1", ""),
            ("2001:db8:0:1::1", ""),
        ];
        let want = [true, false, true, false, true, false, true];
        assert_eq!(passed(&limiter(RateLimitKey::ClientIp), &requests), want);
    }

    #[test]
    fn a_header_that_is_missing_or_doubled_is_the_empty_key() {
        let requests = [
            ("192.0.2.1", "X-Api-Key: a\r\n"),
            ("192.0.2.2", "x-api-key: a\r\n"),
            ("192.0.2.1", "x-api-key: b\r\n"),
            ("192.0.2.1", ""),
            ("192.0.2.1", "x-api-key: c\r\nx-api-key: d\r\n"),
            ("192.0.2.1", "x-api-key: c\r\n"),
        ];
        let want = [true, false, true, true, false, true];
        let by_header = limiter(RateLimitKey::Header("x-api-key".into()));
        assert_eq!(passed(&by_header, &requests), want);
    }

    #[test]
    fn the_keys_of_all_shards_together_stay_under_the_bound() {
        for max_keys in [100, 999, 10_000] {
            let limiter = Limiter::new(&RateLimit {
                max_keys,
                ..limiter(RateLimitKey::ClientIp).policy().clone()
            });
            let mut rng = SmallRng::seed_from_u64(2);
            let now = Moment::now();
            for n in 0..30_000u32 {
                let asker = Asker {
                    client: IpAddr::V4(n.into()),
                    head: &RequestHead::default(),
                    bytes: b"",
                };
                // Refused or not, it is counted.
                let _ = limiter.take(&asker, now, &mut rng);
            }
            let Taken::ByKey { shards, .. } = &limiter.taken else {
                panic!("a limit with a key")
            };
            let held: usize = shards.iter().map(|table| table.lock().unwrap().len()).sum();
            let max = max_keys as usize;
            assert!(held <= max && held * 10 > max * 9, "{held} of {max}");
        }
    }
}
