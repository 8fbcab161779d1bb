//! Counters: kept by each worker on its own, added up when somebody asks.
//!
//! A worker owns a [`Shard`]. It is the only one to write the numbers in it, so that counting is a load
//! and a store, without a locked instruction and without a cache line that two workers fight for. The
//! numbers themselves are shared with [`Metrics`], which adds up all shards for a scrape. What a worker has
//! counted stays in the sums when the worker is gone.
//!
//! # Cardinality
//! Label values come from configuration, except method, status class, flag and protocol, which are closed sets:
//! no request can name a series. All the same there are at most [`MAX_SERIES`]; what is beyond them is
//! counted under the label value `other`, and how much that was in `weir_series_dropped_total`. A
//! series on which nothing has moved for [`IDLE`] and whose labels the configuration no longer has is
//! forgotten (semantics 44).

mod encode;
mod histogram;
mod series;
mod served;
mod shard;
mod store;
mod tally;

pub use encode::{CONTENT_TYPE, Gauges, LimitGauge, ServiceGauges, VersionGauges};
pub use served::Served;
pub(crate) use shard::{Authorized, Shard};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::snapshot::{Interner, LabelId, SeriesIds};
use shard::Plain;
use store::Store;

/// Most series of `weir_requests_total` in a process.
pub const MAX_SERIES: usize = 20_000;

/// How long a series that configuration no longer names is kept after it last moved.
pub const IDLE: Duration = Duration::from_secs(3600);

/// The counters of the process.
#[derive(Debug)]
pub struct Metrics {
    labels: Arc<Interner>,
    /// Stands in for the labels of a series too many.
    other: LabelId,
    store: Mutex<Store>,
    log_dropped: AtomicU64,
    spans_exported: AtomicU64,
    /// By [`SpanLoss`].
    spans_lost: [AtomicU64; SpanLoss::ALL.len()],
}

/// Why spans were recorded and came nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanLoss {
    /// More were recorded than are exported.
    QueueFull,
    /// The receiver was not reached, as often as it was tried.
    Unsent,
    /// The receiver does not want them.
    Refused,
}

impl SpanLoss {
    const ALL: [Self; 3] = [Self::QueueFull, Self::Unsent, Self::Refused];

    /// As it stands in the metric.
    fn text(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::Unsent => "unsent",
            Self::Refused => "refused",
        }
    }
}

impl Metrics {
    /// Counters whose labels are numbered by `labels`.
    #[must_use]
    pub fn new(labels: Arc<Interner>) -> Self {
        Self::with_limit(labels, MAX_SERIES)
    }

    fn with_limit(labels: Arc<Interner>, limit: usize) -> Self {
        let other = labels.id("other");
        Self {
            labels,
            other,
            store: Mutex::new(Store::new(limit)),
            log_dropped: AtomicU64::new(0),
            spans_exported: AtomicU64::new(0),
            spans_lost: Default::default(),
        }
    }

    /// A part of the counters, for one thread to write.
    pub(crate) fn shard(self: &Arc<Self>) -> Shard {
        Shard::new(Arc::clone(self))
    }

    /// Requests of a service that ended since the start, by version, in the order of the names.
    #[must_use]
    pub fn requests_by_version(&self, service: &str) -> Vec<(String, u64)> {
        let service = self.labels.id(service);
        let mut versions = BTreeMap::<LabelId, u64>::new();
        for (key, requests) in self.lock().requests() {
            if key.ids.service == service {
                *versions.entry(key.ids.version).or_default() += requests;
            }
        }
        let mut named: Vec<_> = versions
            .into_iter()
            .map(|(id, requests)| (self.labels.text(id).to_string(), requests))
            .collect();
        named.sort();
        named
    }

    /// Connections from clients that are open now.
    #[must_use]
    pub fn downstream_connections(&self) -> usize {
        let open: u64 = self.connections_by_listener().values().sum();
        usize::try_from(open).unwrap_or(usize::MAX)
    }

    /// Requests that have begun and not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        let store = self.lock();
        let sum = |number: fn(&Plain) -> &AtomicU64| -> u64 {
            let all = store.plain();
            all.map(|plain| number(plain).load(Ordering::Relaxed)).sum()
        };
        // The ends first: one that begins meanwhile counts as in flight, and none is missed.
        let ended = sum(|plain| &plain.ended);
        sum(|plain| &plain.started).saturating_sub(ended)
    }

    /// Connections from clients that are open now, by listener.
    pub(crate) fn connections_by_listener(&self) -> BTreeMap<LabelId, u64> {
        let store = self.lock();
        let mut open = BTreeMap::<LabelId, u64>::new();
        let mut closed = BTreeMap::<LabelId, u64>::new();
        for plain in store.plain() {
            plain
                .closed
                .read(|listener, n| *closed.entry(listener).or_default() += n);
            plain
                .opened
                .read(|listener, n| *open.entry(listener).or_default() += n);
        }
        for (listener, open) in &mut open {
            // The two are read one after the other, so that the first may be behind.
            *open = open.saturating_sub(closed.get(listener).copied().unwrap_or(0));
        }
        open
    }

    /// Forgets series that are idle and no longer `in_use`. To be called now and then, such as when a
    /// configuration is published or the counters are read.
    pub(crate) fn sweep(&self, now: Instant, in_use: impl Fn(&SeriesIds) -> bool) {
        self.lock().sweep(now, in_use);
    }

    pub(crate) fn count_log_dropped(&self, lines: u64) {
        self.log_dropped.fetch_add(lines, Ordering::Relaxed);
    }

    pub(crate) fn count_spans_exported(&self, spans: u64) {
        self.spans_exported.fetch_add(spans, Ordering::Relaxed);
    }

    pub(crate) fn count_spans_lost(&self, why: SpanLoss, spans: u64) {
        self.spans_lost[why as usize].fetch_add(spans, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
