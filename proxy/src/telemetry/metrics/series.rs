//! Series: what is counted under one set of labels.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::histogram::{Histogram, add};
use crate::http::h1::head::Method;
use crate::snapshot::SeriesIds;
use crate::telemetry::{Flag, Sample, Spoken};

/// The labels of `weir_requests_total` and `weir_streams_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SeriesKey {
    pub(super) ids: SeriesIds,
    pub(super) how: How,
}

/// The labels that a request chooses, from closed sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct How {
    pub(super) method: Method,
    pub(super) class: Class,
    pub(super) flag: Flag,
    pub(super) protocol: Spoken,
}

/// Three words instead of eight fields: this runs for every request.
impl Hash for SeriesKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let SeriesIds {
            listener,
            route,
            service,
            version,
            source,
        } = self.ids;
        let How {
            method,
            class,
            flag,
            protocol,
        } = self.how;
        state.write_u64(u64::from(listener.0) << 32 | u64::from(route.0));
        state.write_u64(u64::from(service.0) << 32 | u64::from(version.0));
        let how = u32::from_le_bytes([method as u8, class.0, flag as u8, protocol as u8]);
        state.write_u64(u64::from(source.0) << 32 | u64::from(how));
    }
}

impl SeriesKey {
    pub(super) fn of(sample: &Sample) -> Self {
        let how = How {
            method: sample.method,
            class: Class::of(sample.status),
            flag: sample.flag,
            protocol: sample.protocol,
        };
        Self {
            ids: sample.series,
            how,
        }
    }
}

/// What is told apart less finely: requests from streams, whatever became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) ids: SeriesIds,
    pub(super) stream: bool,
}

impl SeriesKey {
    pub(super) fn group(&self) -> GroupKey {
        GroupKey {
            ids: self.ids,
            stream: self.how.protocol.is_stream(),
        }
    }
}

/// The hundreds of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class(u8);

impl Class {
    pub(super) fn of(status: u16) -> Self {
        Self(match status {
            0..100 => 0,
            100..200 => 1,
            200..300 => 2,
            300..400 => 3,
            400..500 => 4,
            _ => 5,
        })
    }

    /// As it stands in the label; `none` where nothing was answered.
    pub(super) fn text(self) -> &'static str {
        ["none", "1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(self.0)]
    }
}

/// A number of requests, and what they share with others of the same listener, route, service and version.
#[derive(Debug)]
pub(super) struct Series {
    requests: AtomicU64,
    /// Set by the store when it means to forget the series: the owner must ask the store again.
    retired: AtomicBool,
    pub(super) group: Arc<Group>,
}

impl Series {
    pub(super) fn new(group: Arc<Group>) -> Self {
        Self {
            requests: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            group,
        }
    }

    /// To be called by the one thread that owns it.
    #[inline]
    pub(super) fn record(&self, sample: &Sample) {
        add(&self.requests, 1);
        let group = &*self.group;
        add(&group.request_bytes, sample.bytes_in);
        add(&group.response_bytes, sample.bytes_out);
        group.duration.observe(sample.duration);
        if let Some(upstream) = sample.upstream {
            group.upstream.observe(upstream);
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    pub(super) fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Ordering::Relaxed);
    }
}

/// What is told apart by [`GroupKey`] only.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
    pub(super) request_bytes: AtomicU64,
    pub(super) response_bytes: AtomicU64,
}
