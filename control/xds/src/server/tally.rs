//! Counters since the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use weir_wire::Kind;

/// What is counted. Reasons and types are closed sets, so that nobody outside can add a series.
#[derive(Debug, Default)]
pub struct Tally {
    kinds: [OfKind; 5],
    stale: AtomicU64,
    unserved: AtomicU64,
    reports: AtomicU64,
    connections: AtomicI64,
    streams: AtomicI64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct OfKind {
    pushes: AtomicU64,
    resources: AtomicU64,
    acks: AtomicU64,
    nacks: AtomicU64,
}

/// Counters of one type of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindCounts {
    pub kind: Kind,
    pub pushes: u64,
    /// Resources in those.
    pub resources: u64,
    pub acks: u64,
    pub nacks: u64,
}

impl Tally {
    pub(crate) fn pushed(&self, kind: Kind, resources: usize) {
        let counts = &self.kinds[kind as usize];
        counts.pushes.fetch_add(1, Relaxed);
        counts
            .resources
            .fetch_add(u64::try_from(resources).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn acked(&self, kind: Kind) {
        self.kinds[kind as usize].acks.fetch_add(1, Relaxed);
    }

    pub(crate) fn nacked(&self, kind: Kind) {
        self.kinds[kind as usize].nacks.fetch_add(1, Relaxed);
    }

    pub(crate) fn stale(&self) {
        self.stale.fetch_add(1, Relaxed);
    }

    pub(crate) fn unserved(&self) {
        self.unserved.fetch_add(1, Relaxed);
    }

    pub(crate) fn reported(&self) {
        self.reports.fetch_add(1, Relaxed);
    }

    pub(crate) fn connections(&self, by: i64) {
        self.connections.fetch_add(by, Relaxed);
    }

    pub(crate) fn streams(&self, by: i64) {
        self.streams.fetch_add(by, Relaxed);
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(reason).or_default() += 1;
    }

    /// By type of resource.
    #[must_use]
    pub fn kinds(&self) -> [KindCounts; 5] {
        Kind::ALL.map(|kind| {
            let counts = &self.kinds[kind as usize];
            KindCounts {
                kind,
                pushes: counts.pushes.load(Relaxed),
                resources: counts.resources.load(Relaxed),
                acks: counts.acks.load(Relaxed),
                nacks: counts.nacks.load(Relaxed),
            }
        })
    }

    /// Answers to responses that were replaced since.
    #[must_use]
    pub fn stale_answers(&self) -> u64 {
        self.stale.load(Relaxed)
    }

    /// Requests for types that are not served.
    #[must_use]
    pub fn unserved_requests(&self) -> u64 {
        self.unserved.load(Relaxed)
    }

    /// Load reports taken.
    #[must_use]
    pub fn load_reports(&self) -> u64 {
        self.reports.load(Relaxed)
    }

    /// Connections now.
    #[must_use]
    pub fn open_connections(&self) -> i64 {
        self.connections.load(Relaxed)
    }

    /// Streams of configuration now.
    #[must_use]
    pub fn open_streams(&self) -> i64 {
        self.streams.load(Relaxed)
    }

    /// Clients not let in, by reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<&'static str, u64> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.clone()
    }
}
