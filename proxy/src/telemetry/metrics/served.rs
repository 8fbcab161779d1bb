//! What was sent to each service, for who adds up over proxies.

use std::collections::BTreeMap;

use super::Metrics;
use super::histogram::BOUNDS_US;
use super::series::Class;
use crate::snapshot::LabelId;

/// Requests of one service that ended since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    pub succeeded: u64,
    /// Answered with 5xx, by an endpoint or for want of one.
    pub failed: u64,
    /// Upper bounds in microseconds, the last [`u64::MAX`], and how many took so long; not cumulative.
    pub buckets: Vec<(u64, u64)>,
}

impl Metrics {
    /// By service, of listeners of which `counts` is true by their names.
    #[must_use]
    pub fn served(&self, counts: impl Fn(&str) -> bool) -> BTreeMap<String, Served> {
        let mut listeners: BTreeMap<LabelId, bool> = BTreeMap::new();
        let mut is_counted = |listener: LabelId| {
            *listeners
                .entry(listener)
                .or_insert_with(|| counts(&self.labels.text(listener)))
        };
        let mut all: BTreeMap<LabelId, Served> = BTreeMap::new();
        let store = self.lock();
        for (key, number) in store.requests() {
            if key.how.protocol.is_stream() || !is_counted(key.ids.listener) {
                continue;
            }
            let served = all.entry(key.ids.service).or_default();
            match key.how.class == Class::of(500) {
                true => served.failed += number,
                false => served.succeeded += number,
            }
        }
        for (key, group) in store.groups() {
            if key.stream || !is_counted(key.ids.listener) {
                continue;
            }
            let served = all.entry(key.ids.service).or_default();
            let bounds = BOUNDS_US.iter().copied().chain([u64::MAX]);
            let pairs = bounds.zip(group.duration.buckets);
            if served.buckets.is_empty() {
                served.buckets = pairs.collect();
                continue;
            }
            for (sum, (_, number)) in served.buckets.iter_mut().zip(pairs) {
                sum.1 += number;
            }
        }
        drop(store);
        let named = all
            .into_iter()
            .map(|(service, served)| (self.labels.text(service).to_string(), served));
        named.filter(|(service, _)| !service.is_empty()).collect()
    }
}
