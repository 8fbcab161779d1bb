//! Consistent hashing: the same key goes to the same endpoint, and stays when others come and go.
//!
//! A table is built of the members' ids and weights alone, so it is the same on every proxy, whatever
//! order they were discovered in (semantics 23), and one is shared by all workers. Two kinds:
//!
//! - **Ring** (Karger et al.): points of each endpoint on a circle; a key belongs to the next point. A
//!   change of one endpoint moves the keys it gains or loses, and no others. Shares are even to about 3%
//!   with ten endpoints, 5% with a thousand, 17% with ten thousand (one standard deviation).
//! - **Maglev** (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer"): a table
//!   whose slots are dealt by weight. Shares are even to one slot; a change moves a few keys more.
//!
//! Health is not part of the table. Where the endpoint of a key is out, or was tried, the key goes on to
//! further places, each determined by the key: the keys of an endpoint that is out spread over the
//! others, come back with it, and nobody else's move. Weights are those the table was built with: slow
//! start has no part in it (nor in Envoy's).

use std::net::IpAddr;

use std::sync::Arc;

use rand::Rng;
use weir_config::model;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::draw::Round;
use super::{Balance, Candidates, Random};

mod maglev;
mod ring;

use maglev::Maglev;
use ring::Ring;

/// The hash of a request's key, the same on every proxy.
#[must_use]
#[inline]
pub fn hash_key(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The hash of a client's address; an IPv4 address that is mapped into IPv6 is the IPv4 address.
#[must_use]
pub fn hash_ip(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash_key(&ip.octets()),
        IpAddr::V6(ip) => hash_key(&ip.octets()),
    }
}

/// Where keys belong: immutable, built once for each membership.
///
/// A ring takes 512 KiB (from 16,384 members on 32 bytes each or more, from 65,536 on twice that); Maglev takes 4 bytes a slot.
#[derive(Debug)]
pub struct HashTable {
    places: Places,
    /// The members as indices, sorted by id: an order that all proxies share.
    order: Box<[u32]>,
}

#[derive(Debug)]
enum Places {
    Ring(Ring),
    Maglev(Maglev),
}

/// A member as tables are built of it.
#[derive(Debug, Clone, Copy)]
struct Entry<'a> {
    /// Its index in the list that the picks are from.
    at: u32,
    id: &'a str,
    /// In tenths, above 0.
    weight: u32,
}

impl HashTable {
    /// Builds the table for members given as id and weight in tenths, each picked by its index.
    ///
    /// Ids are unique. One with weight 0 is left out, unless all are 0: then all weigh the same.
    #[must_use]
    pub fn new(kind: model::HashTable, members: &[(&str, u32)]) -> Self {
        let all_zero = members.iter().all(|&(_, weight)| weight == 0);
        let mut entries: Vec<Entry<'_>> = (0u32..)
            .zip(members)
            .map(|(at, &(id, weight))| Entry {
                at,
                id,
                weight: if all_zero { 10 } else { weight },
            })
            .filter(|entry| entry.weight > 0)
            .collect();
        entries.sort_unstable_by_key(|entry| entry.id);
        let places = match kind {
            model::HashTable::Ring { min_size } => Places::Ring(Ring::new(&entries, min_size)),
            model::HashTable::Maglev { size } => Places::Maglev(Maglev::new(&entries, size)),
        };
        Self {
            places,
            order: entries.iter().map(|entry| entry.at).collect(),
        }
    }

    /// The first usable member in this key's order of preference, which begins with the one the key
    /// belongs to.
    ///
    /// The places of the table are asked first, a fixed number of them; should all be unusable, the
    /// members are gone through once from one that the key determines.
    pub fn find(&self, key: u64, mut usable: impl FnMut(usize) -> bool) -> Option<usize> {
        let found = match &self.places {
            Places::Ring(ring) => ring.places(key).find(|&at| usable(at)),
            Places::Maglev(maglev) => maglev.places(key).find(|&at| usable(at)),
        };
        found.or_else(|| self.everyone(key).find(|&at| usable(at)))
    }

    fn everyone(&self, key: u64) -> impl Iterator<Item = usize> {
        let len = self.order.len();
        // Hashed again, so that keys of neighbouring places do not start at the same member.
        let start = (rehash(key, u64::MAX) % len.max(1) as u64) as usize;
        let (before, after) = self.order.split_at(start);
        after.iter().chain(before).map(|&at| at as usize)
    }

    /// How many keys in a thousand belong to each member, by its index.
    #[cfg(test)]
    fn shares(&self, members: usize) -> Vec<f64> {
        let keys = 200_000u64;
        let mut counts = vec![0u32; members];
        for key in 0..keys {
            let at = self.find(hash_key(&key.to_le_bytes()), |_| true);
            counts[at.unwrap()] += 1;
        }
        let scale = 1000.0 / keys as f64;
        counts.iter().map(|&n| f64::from(n) * scale).collect()
    }
}

/// Another hash of the same key.
pub(super) fn rehash(key: u64, attempt: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), attempt)
}

/// By key; a request without one is served by an endpoint drawn at random.
#[derive(Debug, Clone)]
pub struct ConsistentHash {
    table: Arc<HashTable>,
}

impl ConsistentHash {
    /// Picks by this table, whose members are the candidates in the same order.
    #[must_use]
    pub fn new(table: Arc<HashTable>) -> Self {
        Self { table }
    }

    /// The table it picks by.
    #[must_use]
    pub fn table(&self) -> &Arc<HashTable> {
        &self.table
    }
}

impl Balance for ConsistentHash {
    fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let Some(key) = candidates.key() else {
            return Random.pick(candidates, rng);
        };
        let find = |round: &Round<'_, C>| {
            self.table
                .find(key, |at| at < candidates.len() && round.usable(at))
        };
        let round = Round::first(candidates);
        find(&round).or_else(|| find(&round.with_repeats()))
    }
}

#[cfg(test)]
mod tests;
