//! Points on a circle of a fixed number of places.
//!
//! A place belongs to the endpoint of the lowest point that falls on it, or where none does, to the owner of the next place; a
//! key, to the owner of the place that it falls on. So a lookup is one read, in a table of the same size for three
//! endpoints as for ten thousand, and small enough for a core's own cache: what it costs depends neither on the number
//! of endpoints nor on that of points.
//!
//! How many points an endpoint has depends on its own weight, not on who else there is, so that a change
//! of one endpoint moves no point of another: with weight 1, as many as the ring must have at least.
//! Only where the sum would pass [`MOST_POINTS`] is the number halved for all, as often as it takes,
//! and doubled where light weights would leave the ring too small; crossing one of these bounds, or the
//! one from which on there are more than [`PLACES`], is the one change that moves more keys than it must. (Envoy's ring
//! is capped at 8 million points; a million takes some milliseconds to lay, and more would not make shares more
//! even on this circle. It leaves each of 10,000 endpoints 64 points, and shares that are even to about 17%: for thousands
//! Maglev is the better choice.)

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::Entry;

/// The most points of a ring, but for one that every endpoint has.
pub(super) const MOST_POINTS: u64 = 1 << 20;
/// Places on the circle, as long as each endpoint can have [`PLACES_EACH`].
const PLACES: usize = 1 << 18;
const PLACES_EACH: usize = 16;
/// Owners in a row that a key is led to before it is served by going through the members.
const STEPS: usize = 128;
/// Places that are looked at for them.
const REACH: usize = 4096;
/// The upper half of a claim.
const UPPER: u64 = !0xffff_ffff;

#[derive(Debug)]
pub(super) struct Ring {
    /// None where there are no members.
    owners: Owners,
    /// Takes a hash to its place.
    shift: u32,
}

/// By place; as small as the number of endpoints allows.
#[derive(Debug)]
enum Owners {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl Ring {
    /// `entries` are sorted by id.
    pub(super) fn new(entries: &[Entry<'_>], min_size: u32) -> Self {
        let places = PLACES.max((PLACES_EACH * entries.len()).next_power_of_two());
        let shift = u64::BITS - places.trailing_zeros();
        let counts = counts(entries, min_size);
        let claims = lay(entries, &counts, places, shift);
        let rank = |claim: u64| (claim & !UPPER) as usize;
        let owners = claims.into_iter().map(|claim| entries[rank(claim)].at);
        let narrow = entries.iter().all(|entry| u16::try_from(entry.at).is_ok());
        let owners = match narrow {
            true => Owners::Narrow(owners.map(|at| at as u16).collect()),
            false => Owners::Wide(owners.collect()),
        };
        Self { owners, shift }
    }

    /// In bytes.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        match &self.owners {
            Owners::Narrow(owners) => size_of_val(&**owners),
            Owners::Wide(owners) => size_of_val(&**owners),
        }
    }

    /// The owners of the places from the key's on, each as often as others come between.
    pub(super) fn places(&self, key: u64) -> impl Iterator<Item = usize> {
        let len = self.owners.len();
        let from = (key >> self.shift) as usize;
        let mut last = None;
        (0..REACH.min(len))
            .map(move |step| self.owners.at((from + step) & (len - 1)))
            .filter(move |&owner| last.replace(owner) != Some(owner))
            .take(STEPS)
    }
}

impl Owners {
    #[inline]
    fn at(&self, place: usize) -> usize {
        match self {
            Self::Narrow(owners) => usize::from(owners[place]),
            Self::Wide(owners) => owners[place] as usize,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Narrow(owners) => owners.len(),
            Self::Wide(owners) => owners.len(),
        }
    }
}

/// Who has each place, as the lower half of its claim: a rank. The upper half is what decided, of the hash what follows the place.
fn lay(entries: &[Entry<'_>], counts: &[u64], places: usize, shift: u32) -> Vec<u64> {
    const NOBODY: u64 = u64::MAX;
    let mut claims = vec![NOBODY; places];
    for (rank, (entry, &count)) in (0u64..).zip(entries.iter().zip(counts)) {
        for n in 0..count {
            let hash = xxh3_64_with_seed(entry.id.as_bytes(), n);
            let within = hash << (u64::BITS - shift) & UPPER;
            let claim = &mut claims[(hash >> shift) as usize];
            // Where even that is the same, the first by id.
            *claim = (*claim).min(within | rank);
        }
    }
    let taken = claims.iter().find(|claim| **claim != NOBODY);
    let Some(mut next) = taken.copied() else {
        return Vec::new();
    };
    for claim in claims.iter_mut().rev() {
        match *claim {
            NOBODY => *claim = next,
            taken => next = taken,
        }
    }
    claims
}

/// How many points each entry has.
pub(super) fn counts(entries: &[Entry<'_>], min_size: u32) -> Vec<u64> {
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
