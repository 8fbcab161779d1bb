//! Candidates seen otherwise: some of them, or all in panic.

use super::{Candidates, Spread};

/// Some of the candidates, as a list of their own.
#[derive(Debug)]
pub struct Subset<'c, C: ?Sized> {
    candidates: &'c C,
    members: &'c [u32],
    spread: Spread,
}

impl<'c, C: ?Sized> Subset<'c, C> {
    /// `spread` is that of these members, or a bound on it.
    pub(super) fn new(candidates: &'c C, members: &'c [u32], spread: Spread) -> Self {
        Self {
            candidates,
            members,
            spread,
        }
    }

    /// The index that a member has among all candidates.
    ///
    /// # Panics
    /// If there is no such member.
    #[must_use]
    pub fn whole(&self, at: usize) -> usize {
        self.members[at] as usize
    }
}

impl<C: Candidates + ?Sized> Candidates for Subset<'_, C> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn spread(&self) -> Spread {
        self.spread
    }

    fn weight(&self, at: usize) -> u32 {
        self.candidates.weight(self.whole(at))
    }

    fn load(&self, at: usize) -> u32 {
        self.candidates.load(self.whole(at))
    }

    fn available(&self, at: usize) -> bool {
        self.candidates.available(self.whole(at))
    }

    fn usable_in_panic(&self, at: usize) -> bool {
        self.candidates.usable_in_panic(self.whole(at))
    }

    fn tried(&self, at: usize) -> bool {
        self.candidates.tried(self.whole(at))
    }

    fn latency_us(&self, at: usize) -> Option<f32> {
        self.candidates.latency_us(self.whole(at))
    }

    fn penalty(&self, at: usize) -> u32 {
        self.candidates.penalty(self.whole(at))
    }

    fn key(&self) -> Option<u64> {
        self.candidates.key()
    }
}

/// Candidates in panic: those that are ejected or failing are available too (semantics 6).
#[derive(Debug)]
pub struct InPanic<'c, C: ?Sized>(pub &'c C);

impl<C: Candidates + ?Sized> Candidates for InPanic<'_, C> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn spread(&self) -> Spread {
        self.0.spread()
    }

    fn weight(&self, at: usize) -> u32 {
        self.0.weight(at)
    }

    fn load(&self, at: usize) -> u32 {
        self.0.load(at)
    }

    fn available(&self, at: usize) -> bool {
        self.0.available(at) || self.0.usable_in_panic(at)
    }

    fn tried(&self, at: usize) -> bool {
        self.0.tried(at)
    }

    fn latency_us(&self, at: usize) -> Option<f32> {
        self.0.latency_us(at)
    }

    fn penalty(&self, at: usize) -> u32 {
        self.0.penalty(at)
    }

    fn key(&self) -> Option<u64> {
        self.0.key()
    }
}
