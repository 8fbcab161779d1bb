//! The sticky split: a client's key decides, and weights move as few clients as they can.
//!
//! A key is hashed to a point on a line from 0 to 1. Every entry but the base has a slice whose length
//! is its share: the first grows from the bottom up, the second from the top down, the third follows
//! the first, the fourth the second, and so on. The base has the middle:
//!
//! ```text
//!  0                                                            1
//!  | 1st | 3rd |               base               | 4th |  2nd  |
//! ```
//!
//! So with up to three entries, a change of weight between one of them and the base moves clients
//! between these two alone: raising a canary from 10% to 20% takes the next tenth from the base and
//! sends nobody back, and lowering it returns the part of its slice that was added last. From the
//! fourth entry on, a change shifts the slices stacked behind it.
//!
//! The layout depends on the order of the entries and on which is the base, never on the weights: a
//! canary that outgrows `stable` stays where it is. Callers keep the order fixed (by name).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::Split;

/// Where a key lies on the line: the point is this over 2^64.
///
/// The salt (service or route) keeps one client from being in the lowest slice everywhere.
#[must_use]
#[inline]
pub fn bucket(key: &[u8], salt: &str) -> u64 {
    xxh3_64_with_seed(key, xxh3_64(salt.as_bytes()))
}

impl Split {
    /// The entry that this bucket belongs to; `None` when no entry has a weight above 0.
    #[must_use]
    #[inline]
    pub fn by_bucket(&self, bucket: u64) -> Option<usize> {
        if self.only.is_some() || self.total == 0 {
            return self.only;
        }
        // The point times the total, exact in 128 bits, cut to whole units of weight.
        let product = (u128::from(bucket) * u128::from(self.total)) >> 64;
        let point = u64::try_from(product).unwrap_or(u64::MAX);
        let (mut low, mut high) = (0, self.total);
        let mut from_bottom = true;
        for (at, weight) in self.weights.iter().enumerate() {
            if at == self.base {
                continue;
            }
            let weight = u64::from(weight.tenths());
            if from_bottom {
                low += weight;
                if point < low {
                    return (weight > 0).then_some(at);
                }
            } else {
                high -= weight;
                if point >= high {
                    return (weight > 0).then_some(at);
                }
            }
            from_bottom = !from_bottom;
        }
        Some(self.base)
    }
}
