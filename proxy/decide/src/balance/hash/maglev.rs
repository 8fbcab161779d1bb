//! A table of slots, dealt by weight.
//!
//! Each endpoint goes through all slots in an order of its own (an offset and a stride; the number of
//! slots is a prime, so every stride reaches all) and takes the first that is free when its turn comes.
//! Turns come at equal distances, the closer the heavier. So an endpoint has its share of slots to
//! within one or so, and at least one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Entry, rehash};

/// The most slots, as in Envoy; a prime.
const MOST_SLOTS: u64 = 5_000_011;
/// Fewer slots for each endpoint make the table larger, else shares would be uneven or nothing.
const SLOTS_EACH: u64 = 4;
/// Slots a key is led to before it is served by going through the members.
const ATTEMPTS: u64 = 32;
/// The distance of turns at weight 0.1.
const LAP: u64 = 1 << 36;

#[derive(Debug)]
pub(super) struct Maglev {
    owners: Box<[u32]>,
}

/// Where an endpoint is in its order of slots.
struct Walk {
    slot: u64,
    stride: u64,
}

impl Maglev {
    /// `entries` are sorted by id. A size that is no prime is taken up to the next.
    pub(super) fn new(entries: &[Entry<'_>], size: u32) -> Self {
        if entries.is_empty() {
            return Self {
                owners: Box::default(),
            };
        }
        let size = u64::from(size).max(SLOTS_EACH * entries.len() as u64);
        let slots = next_prime(size.clamp(2, MOST_SLOTS.max(entries.len() as u64)));
        let mut walks: Vec<Walk> = entries
            .iter()
            .map(|entry| {
                let hash = |seed| xxh3_64_with_seed(entry.id.as_bytes(), seed);
                Walk {
                    slot: hash(0) % slots,
                    stride: hash(1) % (slots - 1) + 1,
                }
            })
            .collect();
        let mut owners = vec![u32::MAX; slots as usize];
        // By the time of the next turn, then by id. All have their first at once.
        let mut turns: BinaryHeap<Reverse<(u64, usize)>> =
            (0..entries.len()).map(|rank| Reverse((0, rank))).collect();
        for _ in 0..slots {
            let Some(mut turn) = turns.peek_mut() else {
                break;
            };
            let Reverse((time, rank)) = *turn;
            let walk = &mut walks[rank];
            while owners[walk.slot as usize] != u32::MAX {
                walk.slot = (walk.slot + walk.stride) % slots;
            }
            owners[walk.slot as usize] = entries[rank].at;
            *turn = Reverse((time + LAP / u64::from(entries[rank].weight), rank));
        }
        Self {
            owners: owners.into(),
        }
    }

    /// The owner of the key's slot, then of slots that further hashes of the key lead to.
    pub(super) fn places(&self, key: u64) -> impl Iterator<Item = usize> {
        let slots = self.owners.len() as u64;
        let attempts = if slots == 0 { 0 } else { ATTEMPTS };
        (0..attempts).map(move |attempt| {
            let hash = if attempt == 0 {
                key
            } else {
                rehash(key, attempt)
            };
            self.owners[(hash % slots) as usize] as usize
        })
    }
}

/// The smallest prime that is `from` or more.
fn next_prime(from: u64) -> u64 {
    let is_prime = |n: u64| {
        n >= 2
            && (2..)
                .take_while(|d| d * d <= n)
                .all(|d| !n.is_multiple_of(d))
    };
    (from.max(2)..).find(|&n| is_prime(n)).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_primes() {
        for (from, prime) in [
            (0, 2),
            (2, 2),
            (9, 11),
            (65_536, 65_537),
            (5_000_011, 5_000_011),
        ] {
            assert_eq!(next_prime(from), prime);
        }
    }
}
