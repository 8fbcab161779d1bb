//! The counters as text: the Prometheus exposition format 0.0.4, which every scraper reads.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::histogram::{BOUNDS_TEXT, Reading};
use super::series::{GroupKey, How};
use super::shard::{Authorized, Plain};
use super::store::GroupReading;
use super::{Metrics, SpanLoss};
use crate::snapshot::{LabelId, SeriesIds};
use crate::telemetry::names::{self, Family};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is not counted but looked up at the moment of a scrape.
#[derive(Debug, Default, Clone)]
pub struct Gauges {
    pub draining: bool,
    /// Resource of the process, share in use, where 1 is all of it.
    pub pressure: Vec<(&'static str, f64)>,
    /// Service, state, how many endpoints.
    pub endpoints: Vec<(Arc<str>, &'static str, u64)>,
    pub services: Vec<ServiceGauges>,
}

/// What a service's limits and the judgement of its endpoints say.
#[derive(Debug, Default, Clone)]
pub struct ServiceGauges {
    pub service: Arc<str>,
    pub limits: Vec<LimitGauge>,
    pub retries_refused: u64,
    pub versions: Vec<VersionGauges>,
}

/// A limit, whether it is reached, how many requests it has refused.
pub type LimitGauge = (&'static str, bool, u64);

/// A family and where its value is found.
type OfVersion = (Family, fn(&VersionGauges) -> u64);
type OfLimit = (Family, fn(&LimitGauge) -> u64);

/// The same for one version.
#[derive(Debug, Default, Clone)]
pub struct VersionGauges {
    pub version: Arc<str>,
    /// What gave them away, whether they were ejected, how many.
    pub ejections: Vec<(&'static str, bool, u64)>,
    pub active: u64,
    pub overflow: u64,
    pub panic: bool,
}

/// A copy of all numbers, taken under the lock so that the text is made without it.
struct Totals {
    requests: BTreeMap<(SeriesIds, [&'static str; 4]), u64>,
    streams: BTreeMap<(SeriesIds, [&'static str; 2]), u64>,
    groups: Vec<(GroupKey, GroupReading)>,
    in_flight: u64,
    upstream: u64,
    body_gone: u64,
    panics: u64,
    rejected: u64,
    opened: BTreeMap<LabelId, u64>,
    retries: BTreeMap<&'static str, u64>,
    mirrored: BTreeMap<&'static str, u64>,
    abused: BTreeMap<&'static str, u64>,
    called: BTreeMap<(LabelId, u8), u64>,
    malformed: BTreeMap<u16, u64>,
    dropped: BTreeMap<(LabelId, &'static str), u64>,
    shed: BTreeMap<&'static str, u64>,
    handshakes: BTreeMap<(LabelId, &'static str), u64>,
    redirected: BTreeMap<(LabelId, &'static str), u64>,
    authorized: BTreeMap<Authorized, u64>,
    series_dropped: u64,
}

impl Metrics {
    /// All families with `extra` behind them, which is text of the same format from elsewhere.
    #[must_use]
    pub fn encode(&self, extra: &str, gauges: &Gauges) -> String {
        let totals = self.totals();
        let mut text = Text(String::with_capacity(4096 + extra.len()));
        self.encode_requests(&mut text, &totals);
        self.encode_streams(&mut text, &totals);
        self.encode_authorized(&mut text, &totals);
        text.single(names::INFLIGHT, totals.in_flight);
        text.labelled(names::RETRIES, "reason", &totals.retries);
        text.single(names::RETRY_BODY_GONE, totals.body_gone);
        text.labelled(names::MIRRORED, "result", &totals.mirrored);
        text.labelled(names::ABUSED, "kind", &totals.abused);
        self.encode_calls(&mut text, &totals);
        text.labelled(names::MALFORMED, "reason", &totals.malformed);
        text.labelled(
            names::DOWNSTREAM,
            "listener",
            &self.named(&self.connections_by_listener()),
        );
        text.labelled(
            names::DOWNSTREAM_TOTAL,
            "listener",
            &self.named(&totals.opened),
        );
        self.by_listener(&mut text, names::HANDSHAKES, &totals.handshakes);
        self.by_listener(&mut text, names::REDIRECTED, &totals.redirected);
        text.single(names::REJECTED, totals.rejected);
        text.single(names::UPSTREAM, totals.upstream);
        text.family(names::ENDPOINT_HEALTH);
        for (service, state, count) in &gauges.endpoints {
            text.sample(
                names::ENDPOINT_HEALTH.name,
                "",
                &[("service", service), ("state", state)],
                count,
            );
        }
        text.services(&gauges.services);
        text.family(names::OVERLOAD);
        for (resource, share) in &gauges.pressure {
            let labels = [("resource", *resource)];
            text.sample(
                names::OVERLOAD.name,
                "",
                &labels,
                format_args!("{share:.4}"),
            );
        }
        text.labelled(names::OVERLOAD_SHED, "reason", &totals.shed);
        text.single(names::PANICS, totals.panics);
        text.single(names::DRAIN_ACTIVE, u64::from(gauges.draining));
        text.single(names::LOG_DROPPED, self.log_dropped.load(Ordering::Relaxed));
        text.single(
            names::SPANS_EXPORTED,
            self.spans_exported.load(Ordering::Relaxed),
        );
        let lost = SpanLoss::ALL.map(|why| {
            (
                why.text(),
                self.spans_lost[why as usize].load(Ordering::Relaxed),
            )
        });
        text.labelled(names::SPANS_DROPPED, "reason", &BTreeMap::from(lost));
        text.single(names::SERIES_DROPPED, totals.series_dropped);
        text.0.push_str(extra);
        if !text.0.ends_with('\n') {
            text.0.push('\n');
        }
        text.0
    }

    fn totals(&self) -> Totals {
        let store = self.lock();
        let mut requests = BTreeMap::new();
        let mut streams = BTreeMap::new();
        for (key, number) in store.requests() {
            let How {
                method,
                class,
                flag,
                protocol,
            } = key.how;
            if protocol.is_stream() {
                let how = [protocol.text(), flag.text()];
                *streams.entry((key.ids, how)).or_default() += number;
                continue;
            }
            let how = [class.text(), method.label(), protocol.text(), flag.text()];
            *requests.entry((key.ids, how)).or_default() += number;
        }
        let mut groups: Vec<_> = store.groups().into_iter().collect();
        groups.sort_by_key(|(key, _)| *key);
        let sum = |number: fn(&Plain) -> &AtomicU64| {
            store.plain().fold(0u64, |sum, plain| {
                sum.wrapping_add(number(plain).load(Ordering::Relaxed))
            })
        };
        let mut totals = Totals {
            requests,
            streams,
            groups,
            in_flight: difference(sum(|p| &p.started), sum(|p| &p.ended)),
            upstream: sum(|p| &p.upstream),
            body_gone: sum(|p| &p.body_gone),
            panics: sum(|p| &p.panics),
            rejected: sum(|p| &p.rejected),
            opened: BTreeMap::new(),
            retries: BTreeMap::new(),
            mirrored: BTreeMap::new(),
            abused: BTreeMap::new(),
            called: BTreeMap::new(),
            malformed: BTreeMap::new(),
            dropped: BTreeMap::new(),
            shed: BTreeMap::new(),
            handshakes: BTreeMap::new(),
            redirected: BTreeMap::new(),
            authorized: BTreeMap::new(),
            series_dropped: store.dropped(),
        };
        for plain in store.plain() {
            plain
                .opened
                .read(|listener, n| *totals.opened.entry(listener).or_default() += n);
            plain
                .retries
                .read(|reason, n| *totals.retries.entry(reason).or_default() += n);
            plain
                .mirrored
                .read(|result, n| *totals.mirrored.entry(result).or_default() += n);
            plain
                .abused
                .read(|kind, n| *totals.abused.entry(kind).or_default() += n);
            plain
                .called
                .read(|call, n| *totals.called.entry(call).or_default() += n);
            plain
                .malformed
                .read(|status, n| *totals.malformed.entry(status).or_default() += n);
            plain
                .dropped
                .read(|why, n| *totals.dropped.entry(why).or_default() += n);
            plain
                .shed
                .read(|reason, n| *totals.shed.entry(reason).or_default() += n);
            plain
                .handshakes
                .read(|how, n| *totals.handshakes.entry(how).or_default() += n);
            plain
                .redirected
                .read(|how, n| *totals.redirected.entry(how).or_default() += n);
            plain
                .authorized
                .read(|how, n| *totals.authorized.entry(how).or_default() += n);
        }
        totals
    }

    fn encode_requests(&self, text: &mut Text, totals: &Totals) {
        text.family(names::REQUESTS);
        let mut known: Option<(SeriesIds, String)> = None;
        for ((ids, [class, method, protocol, flag]), number) in &totals.requests {
            let labels = match &known {
                Some((of, labels)) if of == ids => labels,
                _ => &known.insert((*ids, self.labels_of(*ids))).1,
            };
            let how = format_args!(
                "code_class=\"{class}\",method=\"{method}\",protocol=\"{protocol}\",flag=\"{flag}\""
            );
            text.raw(
                names::REQUESTS.name,
                "",
                format_args!("{labels},{how}"),
                number,
            );
        }
        let groups = self.groups(totals, false);
        text.family(names::REQUEST_DURATION);
        for (labels, group) in &groups {
            text.histogram(names::REQUEST_DURATION.name, labels, &group.duration);
        }
        // What was never routed asked nobody: its sixteen lines would stay zero for ever.
        let routed = totals
            .groups
            .iter()
            .filter(|(key, _)| !key.stream)
            .map(|(key, _)| key.ids.service != LabelId::default());
        text.family(names::UPSTREAM_DURATION);
        for ((labels, group), _) in groups.iter().zip(routed).filter(|(_, routed)| *routed) {
            text.histogram(names::UPSTREAM_DURATION.name, labels, &group.upstream);
        }
        for (family, number) in [
            (
                names::REQUEST_BYTES,
                (|g| g.request_bytes) as fn(&GroupReading) -> u64,
            ),
            (names::RESPONSE_BYTES, |g| g.response_bytes),
        ] {
            text.family(family);
            for (labels, group) in &groups {
                text.raw(family.name, "", labels, number(group));
            }
        }
    }

    fn encode_streams(&self, text: &mut Text, totals: &Totals) {
        text.family(names::STREAMS);
        for ((ids, [protocol, flag]), number) in &totals.streams {
            let labels = self.labels_of(*ids);
            let how = format_args!("{labels},protocol=\"{protocol}\",flag=\"{flag}\"");
            text.raw(names::STREAMS.name, "", how, number);
        }
        let groups = self.groups(totals, true);
        text.family(names::STREAM_DURATION);
        for (labels, group) in &groups {
            text.histogram(names::STREAM_DURATION.name, labels, &group.duration);
        }
        for (family, number) in [
            (
                names::STREAM_RECEIVED,
                (|g| g.request_bytes) as fn(&GroupReading) -> u64,
            ),
            (names::STREAM_SENT, |g| g.response_bytes),
        ] {
            text.family(family);
            for (labels, group) in &groups {
                text.raw(family.name, "", labels, number(group));
            }
        }
        text.family(names::DATAGRAMS_DROPPED);
        for ((listener, reason), number) in &totals.dropped {
            let listener = self.labels.text(*listener);
            let labels = [("listener", &*listener), ("reason", *reason)];
            text.sample(names::DATAGRAMS_DROPPED.name, "", &labels, number);
        }
    }

    fn encode_calls(&self, text: &mut Text, totals: &Totals) {
        text.family(names::CALLED);
        for ((service, status), number) in &totals.called {
            let (service, status) = (self.labels.text(*service), status.to_string());
            let labels = [("service", &*service), ("grpc_status", &*status)];
            text.sample(names::CALLED.name, "", &labels, number);
        }
    }

    fn by_listener(
        &self,
        text: &mut Text,
        family: Family,
        all: &BTreeMap<(LabelId, &'static str), u64>,
    ) {
        text.family(family);
        for ((listener, result), number) in all {
            let listener = self.labels.text(*listener);
            let labels = [("listener", &*listener), ("result", *result)];
            text.sample(family.name, "", &labels, number);
        }
    }

    fn encode_authorized(&self, text: &mut Text, totals: &Totals) {
        text.family(names::AUTHORIZED);
        for (how, number) in &totals.authorized {
            let (listener, policy) = (self.labels.text(how.listener), self.labels.text(how.policy));
            let labels = [
                ("listener", &*listener),
                ("policy", &*policy),
                ("result", how.result),
                ("mode", how.mode),
            ];
            text.sample(names::AUTHORIZED.name, "", &labels, number);
        }
    }

    /// What is told apart by names only, of requests or of streams.
    fn groups<'t>(&self, totals: &'t Totals, stream: bool) -> Vec<(String, &'t GroupReading)> {
        let groups = totals.groups.iter().filter(|(key, _)| key.stream == stream);
        groups
            .map(|(key, group)| (self.labels_of(key.ids), group))
            .collect()
    }

    fn labels_of(&self, ids: SeriesIds) -> String {
        let named = [
            ("listener", ids.listener),
            ("route", ids.route),
            ("service", ids.service),
            ("version", ids.version),
        ];
        let pair = |(key, id)| format!("{key}=\"{}\"", escape(&self.labels.text(id)));
        let mut pairs = named.map(pair).join(",");
        // Only where identities are: elsewhere it would be one label more on everything.
        if ids.source != LabelId::default() {
            pairs.push(',');
            pairs.push_str(&pair(("source", ids.source)));
        }
        pairs
    }

    fn named(&self, numbers: &BTreeMap<LabelId, u64>) -> BTreeMap<Arc<str>, u64> {
        numbers
            .iter()
            .map(|(id, number)| (self.labels.text(*id), *number))
            .collect()
    }
}

/// What was opened less what was closed. The two are read one after the other, so that the first may be behind.
fn difference(begun: u64, ended: u64) -> u64 {
    begun.saturating_sub(ended)
}

struct Text(String);

impl Text {
    fn family(&mut self, family: Family) {
        // Writing to a String does not fail.
        let _ = writeln!(
            self.0,
            "# HELP {0} {1}\n# TYPE {0} {2}",
            family.name,
            family.help,
            family.kind.text()
        );
    }

    fn single(&mut self, family: Family, value: u64) {
        self.family(family);
        let _ = writeln!(self.0, "{} {value}", family.name);
    }

    fn labelled<K: Display>(&mut self, family: Family, label: &str, numbers: &BTreeMap<K, u64>) {
        self.family(family);
        for (value, number) in numbers {
            self.sample(family.name, "", &[(label, &value.to_string())], number);
        }
    }

    /// The families that come from the state of services rather than from counters of workers.
    fn services(&mut self, services: &[ServiceGauges]) {
        let versions = || {
            services
                .iter()
                .flat_map(|s| s.versions.iter().map(move |v| (s, v)))
        };
        self.family(names::EJECTIONS);
        for (service, version) in versions() {
            for (kind, enforced, count) in &version.ejections {
                let enforced = if *enforced { "true" } else { "false" };
                let labels = [
                    ("service", &*service.service),
                    ("version", &*version.version),
                    ("type", *kind),
                    ("enforced", enforced),
                ];
                self.sample(names::EJECTIONS.name, "", &labels, count);
            }
        }
        let by_version: [OfVersion; 3] = [
            (names::EJECTIONS_ACTIVE, |version| version.active),
            (names::EJECTIONS_OVERFLOW, |version| version.overflow),
            (names::PANIC, |version| u64::from(version.panic)),
        ];
        for (family, value) in by_version {
            self.family(family);
            for (service, version) in versions() {
                let labels = [
                    ("service", &*service.service),
                    ("version", &*version.version),
                ];
                self.sample(family.name, "", &labels, value(version));
            }
        }
        let by_limit: [OfLimit; 2] = [
            (names::CIRCUIT_OPEN, |(_, open, _)| u64::from(*open)),
            (names::CIRCUIT_REJECTED, |(_, _, refused)| *refused),
        ];
        for (family, value) in by_limit {
            self.family(family);
            for service in services {
                for limit in &service.limits {
                    let labels = [("service", &*service.service), ("limit", limit.0)];
                    self.sample(family.name, "", &labels, value(limit));
                }
            }
        }
        self.family(names::RETRY_BUDGET_EXHAUSTED);
        for service in services {
            let labels = [("service", &*service.service)];
            self.sample(
                names::RETRY_BUDGET_EXHAUSTED.name,
                "",
                &labels,
                service.retries_refused,
            );
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let pairs: Vec<_> = labels
            .iter()
            .map(|(key, text)| format!("{key}=\"{}\"", escape(text)))
            .collect();
        self.raw(name, suffix, pairs.join(","), value);
    }

    fn raw(&mut self, name: &str, suffix: &str, labels: impl Display, value: impl Display) {
        let _ = writeln!(self.0, "{name}{suffix}{{{labels}}} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &str, reading: &Reading) {
        let mut below = 0;
        for (bucket, bound) in reading.buckets.iter().zip(BOUNDS_TEXT) {
            below += bucket;
            self.raw(
                name,
                "_bucket",
                format_args!("{labels},le=\"{bound}\""),
                below,
            );
        }
        let (seconds, micros) = (reading.sum_us / 1_000_000, reading.sum_us % 1_000_000);
        self.raw(name, "_sum", labels, format_args!("{seconds}.{micros:06}"));
        self.raw(name, "_count", labels, reading.count());
    }
}

/// Label values are names, which hold nothing that needs it; this is for the day they do.
fn escape(text: &str) -> std::borrow::Cow<'_, str> {
    match text.contains(['\\', '"', '\n']) {
        false => text.into(),
        true => text
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
            .into(),
    }
}
