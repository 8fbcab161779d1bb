//! Points on a circle.
//!
//! How many points an endpoint has depends on its own weight, not on who else there is, so that a change
//! of one endpoint moves no point of another: with weight 1, as many as the ring must have at least.
//! Only where the sum would pass [`MOST_POINTS`] is the number halved for all, as often as it takes,
//! and doubled where light weights would leave the ring too small; crossing one of these bounds is the
//! one change that moves more keys than it must. (Envoy's ring is capped at 8 million points; half a
//! million keeps a table in 5 MiB, near the processor, and quick to build. It leaves each of 10,000
//! endpoints 32 points, and shares that are even to about 18%: for thousands Maglev is the better choice.)
//!
//! An index by the upper bits of the hash leads close to the place, so a lookup takes the same few steps in
//! a large ring as in a small one.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Entry;

/// The most points of a ring, but for one that every endpoint has.
pub(super) const MOST_POINTS: u64 = 1 << 19;
/// Points a key is led over before it is served by going through the members.
const STEPS: usize = 128;

#[derive(Debug)]
pub(super) struct Ring {
    /// By hash; those of one hash by the order of ids.
    points: Box<[Point]>,
    /// For each value of the upper bits, the first point whose hash has at least these.
    index: Box<[u32]>,
    /// Takes a hash to its upper bits.
    shift: u32,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    hash: u32,
    owner: u32,
}

impl Ring {
    /// `entries` are sorted by id.
    pub(super) fn new(entries: &[Entry<'_>], min_size: u32) -> Self {
        let counts = counts(entries, min_size);
        let mut keyed: Vec<(u32, u32)> = (0u32..)
            .zip(entries.iter().zip(&counts))
            .flat_map(|(rank, (entry, &count))| {
                let hash = |n| (xxh3_64_with_seed(entry.id.as_bytes(), n) >> 32) as u32;
                (0..count).map(move |n| (hash(n), rank))
            })
            .collect();
        keyed.sort_unstable();
        let points: Box<[Point]> = keyed
            .iter()
            .map(|&(hash, rank)| Point {
                hash,
                owner: entries[rank as usize].at,
            })
            .collect();
        // Two to four points for each entry of the index, which lie side by side.
        let bits = (points.len() / 4 + 2).next_power_of_two().trailing_zeros();
        let shift = u32::BITS - bits;
        let index = index(&points, bits, shift);
        Self {
            points,
            index,
            shift,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// The owners of the points from the key on, those of several points repeatedly.
    pub(super) fn places(&self, key: u64) -> impl Iterator<Item = usize> {
        let hash = (key >> 32) as u32;
        let from = self.index[(hash >> self.shift) as usize] as usize;
        let skipped = self.points[from..]
            .iter()
            .take_while(|point| point.hash < hash)
            .count();
        let (before, after) = self.points.split_at(from + skipped);
        let around = after.iter().chain(before).take(STEPS);
        around.map(|point| point.owner as usize)
    }
}

/// How many points each entry has.
fn counts(entries: &[Entry<'_>], min_size: u32) -> Vec<u64> {
    let least = u64::from(min_size).clamp(1, MOST_POINTS);
    let with = |doubled: u32, halved: u32| -> Vec<u64> {
        let count = |entry: &Entry<'_>| {
            let full = (u64::from(entry.weight) * least).div_ceil(10);
            ((full << doubled) >> halved).max(1)
        };
        entries.iter().map(count).collect()
    };
    let sum = |counts: &[u64]| counts.iter().sum::<u64>();
    let most = MOST_POINTS.max(entries.len() as u64);
    let (mut doubled, mut halved) = (0, 0);
    let mut counts = with(doubled, halved);
    while sum(&counts) < least && !entries.is_empty() {
        doubled += 1;
        counts = with(doubled, halved);
    }
    while sum(&counts) > most {
        halved += 1;
        counts = with(doubled, halved);
    }
    counts
}

fn index(points: &[Point], bits: u32, shift: u32) -> Box<[u32]> {
    let mut index = Vec::with_capacity(1 << bits);
    let mut first = 0;
    for upper in 0..1u32 << bits {
        while points
            .get(first)
            .is_some_and(|point| point.hash >> shift < upper)
        {
            first += 1;
        }
        index.push(first as u32);
    }
    index.into()
}
