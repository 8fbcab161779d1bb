//! The list of all series, behind a lock that is taken for a new series, a scrape and a sweep.
//!
//! Forgetting a series must not lose a count: a worker may hold it and be about to write. So it goes in
//! two steps. First it is marked retired but stays listed; its owner sees the mark and asks again,
//! which revives it. Only a later sweep, [`RETIRE`] after, removes one that nobody revived. A count
//! made in between is still listed, and seen as movement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::IDLE;
use super::histogram::Reading;
use super::series::{Class, Group, GroupKey, How, Series, SeriesKey};
use super::shard::Plain;
use crate::http::h1::head::Method;
use crate::snapshot::{LabelId, SeriesIds};
use crate::telemetry::{Flag, Spoken};

/// From the mark to the removal: ages for a worker that is about to write.
const RETIRE: Duration = Duration::from_secs(10);

/// Names a shard in the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShardId(usize);

#[derive(Debug)]
pub(super) struct Store {
    limit: usize,
    shards: Vec<ShardList>,
    /// How many shards list each key.
    known: FxHashMap<SeriesKey, u32>,
    /// Registrations that were refused, since the start.
    dropped: u64,
}

#[derive(Debug)]
struct ShardList {
    plain: Arc<Plain>,
    series: HashMap<SeriesKey, Listed>,
    groups: FxHashMap<GroupKey, Arc<Group>>,
    /// Take what is beyond the limit, requests and streams; never removed.
    others: Vec<(SeriesKey, Arc<Series>)>,
}

#[derive(Debug)]
struct Listed {
    series: Arc<Series>,
    /// What the last sweep read, and when that was first read.
    seen: u64,
    since: Option<Instant>,
    retired: Option<Instant>,
}

/// What is counted by listener, route, service and version.
#[derive(Debug, Default, Clone)]
pub(super) struct GroupReading {
    pub(super) duration: Reading,
    pub(super) upstream: Reading,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

impl Store {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            shards: Vec::new(),
            known: FxHashMap::default(),
            dropped: 0,
        }
    }

    pub(super) fn add_shard(&mut self, plain: Arc<Plain>) -> ShardId {
        self.shards.push(ShardList {
            plain,
            series: HashMap::new(),
            groups: FxHashMap::default(),
            others: Vec::new(),
        });
        ShardId(self.shards.len() - 1)
    }

    /// The series of a shard for this key: the one listed, a new one, or the one for all that is too many.
    pub(super) fn register(
        &mut self,
        shard: ShardId,
        key: SeriesKey,
        other: LabelId,
    ) -> Arc<Series> {
        let list = &mut self.shards[shard.0];
        if let Some(listed) = list.series.get_mut(&key) {
            listed.revive();
            return Arc::clone(&listed.series);
        }
        if !self.known.contains_key(&key) && self.known.len() >= self.limit {
            self.dropped += 1;
            return list.other(other, key.how.protocol);
        }
        *self.known.entry(key).or_default() += 1;
        let group = Arc::clone(list.groups.entry(key.group()).or_default());
        let series = Arc::new(Series::new(group));
        list.series.insert(
            key,
            Listed {
                series: Arc::clone(&series),
                seen: 0,
                since: None,
                retired: None,
            },
        );
        series
    }

    /// Marks what is idle and not in use, and removes what was marked and not revived.
    pub(super) fn sweep(&mut self, now: Instant, in_use: impl Fn(&SeriesIds) -> bool) {
        let mut freed = false;
        for list in &mut self.shards {
            let before = list.series.len();
            list.series.retain(|key, listed| {
                let keep = listed.is_kept(now, || in_use(&key.ids));
                if !keep && let Some(count) = self.known.get_mut(key) {
                    *count -= 1;
                    if *count == 0 {
                        self.known.remove(key);
                        freed = true;
                    }
                }
                keep
            });
            if list.series.len() < before {
                let left: rustc_hash::FxHashSet<_> =
                    list.series.keys().map(SeriesKey::group).collect();
                list.groups.retain(|key, _| left.contains(key));
            }
        }
        if freed {
            // There is room again: who was refused asks again.
            for (_, series) in self.shards.iter().flat_map(|list| &list.others) {
                series.set_retired(true);
            }
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(super) fn plain(&self) -> impl Iterator<Item = &Plain> {
        self.shards.iter().map(|list| &*list.plain)
    }

    /// Keys and numbers of requests, one for each shard that lists the key.
    pub(super) fn requests(&self) -> impl Iterator<Item = (SeriesKey, u64)> {
        self.shards.iter().flat_map(|list| {
            let listed = list
                .series
                .iter()
                .map(|(key, listed)| (*key, listed.series.requests()));
            listed.chain(
                list.others
                    .iter()
                    .map(|(key, series)| (*key, series.requests())),
            )
        })
    }

    /// What is counted by group, over all shards.
    pub(super) fn groups(&self) -> FxHashMap<GroupKey, GroupReading> {
        let mut sums = FxHashMap::<GroupKey, GroupReading>::default();
        for list in &self.shards {
            let others = list
                .others
                .iter()
                .map(|(key, series)| (key.group(), &series.group));
            let listed = list.groups.iter().map(|(key, group)| (*key, group));
            for (key, group) in listed.chain(others) {
                sums.entry(key).or_default().add(group);
            }
        }
        sums
    }
}

impl ShardList {
    fn other(&mut self, label: LabelId, protocol: Spoken) -> Arc<Series> {
        let stream = protocol.is_stream();
        let at = self
            .others
            .iter()
            .position(|(key, _)| key.group().stream == stream);
        if let Some((_, series)) = at.and_then(|at| self.others.get(at)) {
            series.set_retired(false);
            return Arc::clone(series);
        }
        let ids = SeriesIds {
            source: LabelId::default(),
            listener: label,
            route: label,
            service: label,
            version: label,
        };
        let how = How {
            method: Method::Other,
            class: Class::of(0),
            flag: Flag::None,
            protocol: if stream { Spoken::Tcp } else { Spoken::Http11 },
        };
        let series = Arc::new(Series::new(Arc::default()));
        self.others
            .push((SeriesKey { ids, how }, Arc::clone(&series)));
        series
    }
}

impl Listed {
    fn revive(&mut self) {
        self.retired = None;
        self.since = None;
        self.series.set_retired(false);
    }

    /// Takes note of movement, retires what has been idle for long, and says whether to keep it.
    fn is_kept(&mut self, now: Instant, in_use: impl Fn() -> bool) -> bool {
        let requests = self.series.requests();
        let since = match self.since {
            Some(since) if requests == self.seen => since,
            _ => {
                self.seen = requests;
                self.since = Some(now);
                now
            }
        };
        let idle = now.saturating_duration_since(since) >= IDLE;
        match self.retired {
            Some(at) if idle => now.saturating_duration_since(at) < RETIRE,
            None if idle && !in_use() => {
                self.retired = Some(now);
                self.series.set_retired(true);
                true
            }
            None => true,
            // It moved after the mark.
            Some(_) => {
                self.revive();
                true
            }
        }
    }
}

impl GroupReading {
    fn add(&mut self, group: &Group) {
        use std::sync::atomic::Ordering::Relaxed;
        self.duration.add(&group.duration);
        self.upstream.add(&group.upstream);
        self.request_bytes = self
            .request_bytes
            .wrapping_add(group.request_bytes.load(Relaxed));
        self.response_bytes = self
            .response_bytes
            .wrapping_add(group.response_bytes.load(Relaxed));
    }
}
