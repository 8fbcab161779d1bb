//! A worker's part of the counters.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;

use super::Metrics;
use super::histogram::add;
use super::series::{Series, SeriesKey};
use super::store::ShardId;
use super::tally::{Table as Counts, Tally, TallyView};
use crate::snapshot::LabelId;
use crate::telemetry::Sample;

/// The counters that one worker writes. Not `Sync`: it belongs to its thread.
#[derive(Debug)]
pub(crate) struct Shard {
    metrics: Arc<Metrics>,
    id: ShardId,
    table: RefCell<Table>,
    /// Looked at again when the table has grown to this size.
    purge_at: Cell<usize>,
    plain: Arc<Plain>,
    opened: Tally<LabelId>,
    closed: Tally<LabelId>,
    retries: Tally<&'static str>,
    mirrored: Tally<&'static str>,
    abused: Tally<&'static str>,
    called: Tally<(LabelId, u8)>,
    malformed: Tally<u16>,
    dropped: Tally<(LabelId, &'static str)>,
    shed: Tally<&'static str>,
    handshakes: Tally<(LabelId, &'static str)>,
    redirected: Tally<(LabelId, &'static str)>,
    authorized: Counts<Authorized>,
}

/// The labels of a decision about who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Authorized {
    pub(crate) listener: LabelId,
    /// None where no policy fits.
    pub(crate) policy: LabelId,
    pub(crate) result: &'static str,
    pub(crate) mode: &'static str,
}

#[derive(Debug, Default)]
struct Table {
    /// The one used last: connections tend to ask the same again.
    last: Option<(SeriesKey, Arc<Series>)>,
    all: FxHashMap<SeriesKey, Arc<Series>>,
}

/// A shard's numbers apart from the series, as the reader sees them.
#[derive(Debug, Default)]
pub(super) struct Plain {
    /// Requests begun and ended; their difference is in flight.
    pub(super) started: AtomicU64,
    pub(super) ended: AtomicU64,
    /// Connections to endpoints that are open, as of the worker's last tick.
    pub(super) upstream: AtomicU64,
    /// Retries that were not made because the body was no longer held.
    pub(super) body_gone: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) opened: Arc<TallyView<LabelId>>,
    pub(super) closed: Arc<TallyView<LabelId>>,
    pub(super) retries: Arc<TallyView<&'static str>>,
    pub(super) mirrored: Arc<TallyView<&'static str>>,
    pub(super) abused: Arc<TallyView<&'static str>>,
    pub(super) called: Arc<TallyView<(LabelId, u8)>>,
    pub(super) malformed: Arc<TallyView<u16>>,
    pub(super) dropped: Arc<TallyView<(LabelId, &'static str)>>,
    pub(super) shed: Arc<TallyView<&'static str>>,
    pub(super) handshakes: Arc<TallyView<(LabelId, &'static str)>>,
    pub(super) redirected: Arc<TallyView<(LabelId, &'static str)>>,
    pub(super) authorized: Arc<TallyView<Authorized>>,
}

impl Shard {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let plain = Arc::new(Plain::default());
        let id = metrics.lock().add_shard(Arc::clone(&plain));
        Self {
            metrics,
            id,
            table: RefCell::default(),
            purge_at: Cell::new(64),
            opened: Tally::new(Arc::clone(&plain.opened)),
            closed: Tally::new(Arc::clone(&plain.closed)),
            retries: Tally::new(Arc::clone(&plain.retries)),
            mirrored: Tally::new(Arc::clone(&plain.mirrored)),
            abused: Tally::new(Arc::clone(&plain.abused)),
            called: Tally::new(Arc::clone(&plain.called)),
            malformed: Tally::new(Arc::clone(&plain.malformed)),
            dropped: Tally::new(Arc::clone(&plain.dropped)),
            shed: Tally::new(Arc::clone(&plain.shed)),
            handshakes: Tally::new(Arc::clone(&plain.handshakes)),
            redirected: Tally::new(Arc::clone(&plain.redirected)),
            authorized: Counts::new(Arc::clone(&plain.authorized)),
            plain,
        }
    }

    /// Counts a request or a stream that has ended. Allocates and locks only for a series seen for the first time.
    pub(crate) fn record(&self, sample: &Sample) {
        let key = SeriesKey::of(sample);
        let mut table = self.table.borrow_mut();
        if let Some((last, series)) = &table.last
            && *last == key
            && !series.is_retired()
        {
            return series.record(sample);
        }
        if let Some(series) = table.all.get(&key)
            && !series.is_retired()
        {
            let series = Arc::clone(series);
            series.record(sample);
            table.last = Some((key, series));
            return;
        }
        let series = self.register(&mut table, key);
        series.record(sample);
        table.last = Some((key, series));
    }

    #[cold]
    fn register(&self, table: &mut Table, key: SeriesKey) -> Arc<Series> {
        if table.all.len() >= self.purge_at.get() {
            table.all.retain(|_, series| !series.is_retired());
            self.purge_at.set((table.all.len() * 2).max(64));
        }
        let series = self
            .metrics
            .lock()
            .register(self.id, key, self.metrics.other);
        table.all.insert(key, Arc::clone(&series));
        series
    }

    pub(crate) fn connection_opened(&self, listener: LabelId) {
        self.opened.count(listener);
    }

    pub(crate) fn connection_closed(&self, listener: LabelId) {
        self.closed.count(listener);
    }

    /// Says how many connections to endpoints are open now, idle ones included.
    pub(crate) fn upstream_connections(&self, open: usize) {
        self.plain.upstream.store(open as u64, Ordering::Relaxed);
    }

    pub(crate) fn request_started(&self) {
        add(&self.plain.started, 1);
    }

    pub(crate) fn request_ended(&self) {
        add(&self.plain.ended, 1);
    }

    /// Counts a try beyond the first; `reason` is what called for it, from a closed set.
    pub(crate) fn retried(&self, reason: &'static str) {
        self.retries.count(reason);
    }

    /// Counts a retry that was not made because the body was no longer held.
    pub(crate) fn body_gone(&self) {
        add(&self.plain.body_gone, 1);
    }

    /// Counts a copy for a mirror; `result` is what became of it, from a closed set.
    pub(crate) fn mirrored(&self, result: &'static str) {
        self.mirrored.count(result);
    }

    /// Counts a call of gRPC by how it ended, a number from 0 to 16.
    pub(crate) fn called(&self, service: LabelId, status: u8) {
        self.called.count((service, status));
    }

    /// Counts a client of HTTP/2 that was sent away for what it overdid; `kind` is from a closed set.
    pub(crate) fn abused(&self, kind: &'static str) {
        self.abused.count(kind);
    }

    /// Counts a request that was refused before routing.
    pub(crate) fn malformed(&self, status: u16) {
        self.malformed.count(status);
    }

    /// Counts a datagram that went nowhere; `reason` is from a closed set.
    pub(crate) fn datagram_dropped(&self, listener: LabelId, reason: &'static str) {
        self.dropped.count((listener, reason));
    }

    /// Counts a request that was refused for lack of a resource of the process, from a closed set.
    pub(crate) fn shed(&self, resource: &'static str) {
        self.shed.count(resource);
    }

    /// The label of a caller by its identity. There are as many as an authority of ours vouches for.
    pub(crate) fn source(&self, identity: &str) -> LabelId {
        self.metrics.labels.id(identity)
    }

    /// Counts a TLS handshake with a client; `result` is what became of it, from a closed set.
    pub(crate) fn handshake(&self, listener: LabelId, result: &'static str) {
        self.handshakes.count((listener, result));
    }

    /// Counts a connection that the kernel redirected; `result` is what became of it, from a closed set.
    pub(crate) fn redirected(&self, listener: LabelId, result: &'static str) {
        self.redirected.count((listener, result));
    }

    /// Counts a decision about who may call.
    pub(crate) fn authorized(&self, decision: Authorized) {
        let other = self.metrics.other;
        self.authorized.count(decision, |decision| Authorized {
            listener: other,
            policy: other,
            ..decision
        });
    }

    /// Counts a connection that a panic ended.
    pub(crate) fn panicked(&self) {
        add(&self.plain.panics, 1);
    }

    /// Counts a connection that could not be taken: out of descriptors, or over the limit.
    pub(crate) fn accept_failed(&self) {
        add(&self.plain.rejected, 1);
    }
}
