//! Many buckets under a bound, one for each key.
//!
//! Keys are made by clients, so the table must not grow with them, and whoever makes keys up must not push out those
//! that count. A new key takes the place of a bucket that is full again, found among a few at random: nothing is
//! forgotten with it. If none of those is, the table grows up to its bound; at the bound the bucket among them
//! that is nearest to full goes. What is made up is seen once and is nearly full; a client at its limit has the emptiest
//! bucket, and is the last to be forgotten.

use std::time::Duration;

use rand::{Rng, RngExt};
use rustc_hash::FxHashMap;

use super::{Rate, RetryAfter, nanos};

/// Buckets looked at for one to replace.
const SAMPLE: usize = 8;

/// Buckets by key, where a key is a number that clients cannot choose: a hash with a secret.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Slot>,
    /// Where a key's slot is.
    places: FxHashMap<u64, usize>,
    max: usize,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    key: u64,
    full_at: u64,
}

impl Table {
    /// An empty table for at most `max` keys (at least one). It takes no memory before it is used.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            slots: Vec::new(),
            places: FxHashMap::default(),
            max: max.max(1),
        }
    }

    /// Takes one request out of the key's bucket; a key that is not there has a full one. `now` is the time since a moment
    /// that stays the same for this table.
    ///
    /// # Errors
    /// [`RetryAfter`], with the bucket unchanged.
    pub fn take(
        &mut self,
        key: u64,
        rate: Rate,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Result<(), RetryAfter> {
        let now = nanos(now);
        if let Some(at) = self.places.get(&key) {
            let slot = &mut self.slots[*at];
            slot.full_at = rate.take(slot.full_at, now)?;
            return Ok(());
        }
        let slot = Slot {
            key,
            full_at: rate.take(0, now)?,
        };
        self.insert(slot, now, rng);
        Ok(())
    }

    /// Buckets that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn insert(&mut self, slot: Slot, now: u64, rng: &mut impl Rng) {
        let fullest = (0..SAMPLE.min(self.slots.len()))
            .map(|_| rng.random_range(0..self.slots.len()))
            .min_by_key(|at| self.slots[*at].full_at);
        let replaced =
            fullest.filter(|at| self.slots.len() >= self.max || self.slots[*at].full_at <= now);
        match replaced {
            Some(at) => {
                self.places.remove(&self.slots[at].key);
                self.places.insert(slot.key, at);
                self.slots[at] = slot;
            }
            None => {
                self.places.insert(slot.key, self.slots.len());
                self.slots.push(slot);
            }
        }
    }
}
