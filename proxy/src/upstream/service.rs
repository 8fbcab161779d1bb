//! What the endpoints of a service share: the limits that hold over all workers, and the judgement of outliers.
//!
//! Keyed by the service's name and outliving snapshots, as the endpoints do (semantics 14).

use crate::moment::Moment;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use rand::Rng;
use weir_config::model::{
    EndpointId, HealthProbe, OutlierDetection, Service, ServiceName, VersionName,
};
use weir_decide::breaker::Permits;
use weir_decide::outlier::{
    Cause, Change, Check, Detector, Manual, Proof, Refusal, Standing, Streak, Verdict,
};

use super::endpoint::{EndpointState, Out};
use super::suspect::Suspects;
use super::wait::Line;
use crate::sync::{AtomicU32, Mutex, MutexGuard};

/// The time since the process started, the same for all threads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Moment,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            start: Moment::now(),
        }
    }
}

impl Clock {
    pub(crate) fn now(self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn start(self) -> Moment {
        self.start
    }
}

/// A service, as long as it or a request to it lives.
#[derive(Debug)]
pub struct ServiceState {
    pub(crate) name: ServiceName,
    pub(crate) clock: Clock,
    /// Counts changes of what its endpoints are fit for, so that workers know when to look again.
    epoch: AtomicU32,
    /// On the clock of the process, in milliseconds: until when at least one endpoint may be paused. Zero, and not written,
    /// until one asks for it: all that a pick looks at on the way that is not paused.
    paused_until_ms: AtomicU64,
    /// Where those are told of that requests found absent.
    pub(super) suspects: Suspects,
    pub(crate) breakers: Breakers,
    /// On the heap each, for the same reason as the members of a detector.
    groups: Mutex<BTreeMap<VersionName, Box<Group>>>,
}

/// The limits of a service (semantics 9). Workers share them: they must be exact.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    pub(crate) connections: Permits,
    pub(crate) pending: Permits,
    pub(crate) requests: Permits,
    pub(crate) retries: Permits,
    /// Those who wait for a connection.
    pub(crate) line: Arc<Line>,
    refused: [AtomicU64; 4],
}

/// Which limit refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Limit {
    /// No request is refused for it: one that finds it reached waits, see [`Limit::Pending`]. A stream is.
    Connections = 0,
    Pending = 1,
    Requests = 2,
    Retries = 3,
}

impl Limit {
    pub(crate) const ALL: [Self; 4] = [
        Self::Connections,
        Self::Pending,
        Self::Requests,
        Self::Retries,
    ];

    /// What a client that is refused for it is told.
    pub(crate) fn told(self) -> &'static str {
        match self {
            Self::Connections | Self::Pending => {
                "as many requests wait for a connection to the service as may"
            }
            Self::Requests => "the service has as many requests as it may have",
            Self::Retries => "the service has as many retries as it may have",
        }
    }

    /// As the metric's label has it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Requests => "requests",
            Self::Retries => "retries",
        }
    }
}

impl Breakers {
    pub(crate) fn refuse(&self, limit: Limit) {
        self.refused[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, limit: Limit) -> u64 {
        self.refused[limit as usize].load(Ordering::Relaxed)
    }
}

/// The endpoints of one version, which are held against one another.
#[derive(Debug)]
struct Group {
    detector: Detector<EndpointId>,
    /// What a pass of the health check proves that the configuration has for them, if it has one.
    check: Option<Proof>,
    /// Weak: endpoints hold their service.
    members: BTreeMap<EndpointId, Weak<EndpointState>>,
    next_sweep: Duration,
    /// When ejections by hand end, for those that do: no interval is waited for.
    timed: BTreeMap<EndpointId, Duration>,
    /// By type, and whether enforced.
    detected: BTreeMap<(&'static str, bool), u64>,
    overflow: u64,
}

/// What a scrape says of the ejections of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ejections {
    pub(crate) version: VersionName,
    pub(crate) active: usize,
    pub(crate) detected: BTreeMap<(&'static str, bool), u64>,
    pub(crate) overflow: u64,
}

impl ServiceState {
    pub(super) fn new(name: ServiceName, clock: Clock, suspects: Suspects) -> Self {
        Self {
            name,
            clock,
            suspects,
            epoch: AtomicU32::new(1),
            paused_until_ms: AtomicU64::new(0),
            breakers: Breakers::default(),
            groups: Mutex::default(),
        }
    }

    /// The number of changes so far.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(super) fn availability_changed(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Whether an endpoint may have asked to be left alone.
    #[inline]
    pub(crate) fn has_pauses(&self, now_ms: u64) -> bool {
        now_ms < self.paused_until_ms.load(Ordering::Relaxed)
    }

    pub(super) fn pauses_until(&self, until_ms: u64) {
        self.paused_until_ms.fetch_max(until_ms, Ordering::Relaxed);
    }

    /// Brings the judgement in line with a new generation; what it keeps is kept.
    pub(super) fn follow(&self, service: &Service, endpoints: &[Arc<EndpointState>]) {
        let now = self.clock.now();
        let mut returned = Vec::new();
        let mut groups = self.lock();
        groups.retain(|name, _| service.versions.iter().any(|v| v.name == *name));
        for version in &service.versions {
            let members: BTreeMap<EndpointId, Weak<EndpointState>> = service
                .endpoints
                .iter()
                .zip(endpoints)
                .filter(|(endpoint, _)| endpoint.version == version.name)
                .map(|(endpoint, state)| (endpoint.id.clone(), Arc::downgrade(state)))
                .collect();
            let group = groups
                .entry(version.name.clone())
                .or_insert_with(|| Box::new(Group::new(service.outlier.clone(), now)));
            if *group.detector.policy() != service.outlier {
                group.detector.set_policy(service.outlier.clone());
                group.next_sweep = group.next_sweep.min(now + service.outlier.interval);
            }
            let change = group.detector.set_members(members.keys().cloned(), now);
            group.members = members;
            group.check = service
                .health_check
                .as_ref()
                .map(|check| proof(&check.probe));
            returned.extend(change.and_then(|change| group.carry_out(change, self.clock)));
        }
        drop(groups);
        for (state, out) in returned {
            state.set_ejected(out);
        }
    }

    /// A streak of failures is complete. Rare, so the lock is; the request path takes it nowhere else.
    #[cold]
    pub(crate) fn on_streak(
        &self,
        version: &VersionName,
        id: &EndpointId,
        streak: Streak,
        rng: &mut impl Rng,
    ) {
        let now = self.clock.now();
        let mut groups = self.lock();
        let Some(group) = groups.get_mut(version) else {
            return;
        };
        let verdict = group.detector.on_streak(id, streak, now, rng);
        let policy = group.detector.policy();
        let failures = match streak {
            Streak::FiveXx => policy.consecutive_5xx,
            Streak::Gateway => policy.consecutive_gateway,
            Streak::LocalOrigin => policy.consecutive_local_origin,
        };
        let cause = Cause::Streak { streak, failures };
        let change = Change::Detected {
            key: id.clone(),
            cause,
            verdict,
        };
        let done = group.carry_out(change, self.clock);
        drop(groups);
        if let Some((state, out)) = done {
            state.set_ejected(out);
        }
    }

    /// Ends ejections whose time is over and judges rates, where an interval has passed.
    pub(super) fn sweep(&self, rng: &mut impl Rng) {
        let now = self.clock.now();
        let mut done = Vec::new();
        let mut groups = self.lock();
        for group in groups.values_mut() {
            done.extend(group.end_timed(now, self.clock));
            if group.next_sweep > now {
                continue;
            }
            group.next_sweep = now + group.detector.policy().interval;
            let members = &group.members;
            let window = |id: &EndpointId| {
                let state = members.get(id).and_then(Weak::upgrade);
                state.map(|state| state.take_window()).unwrap_or_default()
            };
            let changes = group.detector.on_interval(window, now, rng);
            for change in changes {
                done.extend(group.carry_out(change, self.clock));
            }
        }
        drop(groups);
        for (state, out) in done {
            state.set_ejected(out);
        }
    }

    /// A probe ended: whether it passed, and whether the endpoint is up by all probes so far. A pass of a check that
    /// the configuration asks for ends the ejections that it disproves (semantics 8).
    pub(super) fn on_probe(&self, id: &EndpointId, passed: bool, up: bool) {
        self.change_group(id, |group, now| match (up, passed) {
            (false, _) => group.detector.on_active_check(id, Check::Failing, now),
            (true, true) => {
                // Where nothing is configured, a connect decides on admission.
                let proof = group.check.unwrap_or(Proof::Accepts);
                group
                    .detector
                    .on_active_check(id, Check::Passing(proof), now)
            }
            (true, false) => None,
        });
    }

    /// That many looks in a row found nobody there, after a request did at `since`.
    pub(super) fn on_unreachable(
        &self,
        id: &EndpointId,
        looks: u32,
        since: Duration,
        rng: &mut impl Rng,
    ) {
        self.change_group(id, |group, now| {
            let verdict = group.detector.on_unreachable(id, looks, since, now, rng);
            Some(Change::Detected {
                key: id.clone(),
                cause: Cause::Unreachable { looks },
                verdict,
            })
        });
    }

    /// A look found that it accepts connections, and that its health check passes where there is one.
    pub(super) fn on_accepting(&self, id: &EndpointId) {
        self.change_group(id, |group, now| group.detector.on_accepting(id, now));
    }

    /// Changes what is judged of the version that an endpoint is of, and carries the change out.
    fn change_group(
        &self,
        id: &EndpointId,
        change: impl FnOnce(&mut Group, Duration) -> Option<Change<EndpointId>>,
    ) {
        let now = self.clock.now();
        let mut groups = self.lock();
        let group = groups.values_mut().find(|g| g.members.contains_key(id));
        let done = group.and_then(|group| {
            let change = change(group, now)?;
            group.carry_out(change, self.clock)
        });
        drop(groups);
        if let Some((state, out)) = done {
            state.set_ejected(out);
        }
    }

    /// Ejects an endpoint by hand.
    ///
    /// # Errors
    /// Nobody else would be left, or it is no endpoint of the service.
    pub fn eject(
        &self,
        id: &EndpointId,
        by: &str,
        time: Option<Duration>,
        force: bool,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        let mut groups = self.lock();
        let group = groups
            .values_mut()
            .find(|g| g.members.contains_key(id))
            .ok_or(Refusal::Gone)?;
        if !force && group.is_last(id) {
            return Err(Refusal::LastOne);
        }
        let manual = Manual {
            until: time.map(|time| now + time),
            force,
        };
        let called_back = group.detector.eject(id, manual, now)?;
        let called_back = called_back.and_then(|change| group.carry_out(change, self.clock));
        match manual.until {
            Some(until) => group.timed.insert(id.clone(), until),
            None => group.timed.remove(id),
        };
        *group
            .detected
            .entry((Cause::Manual.label(), true))
            .or_default() += 1;
        let state = group.members.get(id).and_then(Weak::upgrade);
        drop(groups);
        if let Some((state, out)) = called_back {
            state.set_ejected(out);
        }
        if let Some(state) = state {
            tracing::warn!(service = %self.name, endpoint = %id, by, "endpoint ejected by hand");
            state.set_ejected(Some(Out {
                reason: Arc::from(by),
                since: SystemTime::now(),
                until: time.map(|time| SystemTime::now() + time),
            }));
        }
        Ok(())
    }

    /// Ends an ejection; whether there was one.
    pub fn uneject(&self, id: &EndpointId) -> bool {
        let now = self.clock.now();
        let mut groups = self.lock();
        let group = groups.values_mut().find(|g| g.members.contains_key(id));
        let done = group.and_then(|group| {
            let change = group.detector.uneject(id, now)?;
            group.carry_out(change, self.clock)
        });
        drop(groups);
        match done {
            Some((state, out)) => {
                state.set_ejected(out);
                true
            }
            None => false,
        }
    }

    /// What is known of the ejections of an endpoint.
    pub(crate) fn judgement(&self, id: &EndpointId) -> Option<Standing> {
        let groups = self.lock();
        let group = groups.values().find(|g| g.members.contains_key(id))?;
        group.detector.explain(id).cloned()
    }

    /// What a scrape says.
    pub(crate) fn ejections(&self) -> Vec<Ejections> {
        let groups = self.lock();
        let all = groups.iter();
        all.map(|(version, group)| Ejections {
            version: version.clone(),
            active: group.detector.ejected(),
            detected: group.detected.clone(),
            overflow: group.overflow,
        })
        .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VersionName, Box<Group>>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pass of such a probe proves.
fn proof(probe: &HealthProbe) -> Proof {
    match probe {
        HealthProbe::Tcp(probe) if probe.expect.is_none() => Proof::Accepts,
        HealthProbe::Tcp(_) | HealthProbe::Http(_) | HealthProbe::Grpc(_) => Proof::Answers,
    }
}

impl Group {
    fn new(policy: OutlierDetection, now: Duration) -> Self {
        Self {
            next_sweep: now + policy.interval,
            detector: Detector::new(policy),
            check: None,
            members: BTreeMap::new(),
            timed: BTreeMap::new(),
            detected: BTreeMap::new(),
            overflow: 0,
        }
    }

    /// Whether it takes requests, and no other one does: what is drained serves as little as what is ejected.
    fn is_last(&self, id: &EndpointId) -> bool {
        let mut serving = self.members.iter().filter(|(_, state)| {
            let state = state.upgrade();
            state.is_some_and(|state| state.is_available())
        });
        matches!((serving.next(), serving.next()), (Some((only, _)), None) if only == id)
    }

    /// Ends ejections by hand whose time is over, also between intervals.
    fn end_timed(&mut self, now: Duration, clock: Clock) -> Vec<(Arc<EndpointState>, Option<Out>)> {
        let over = |until: &Duration| *until <= now;
        if !self.timed.values().any(over) {
            return Vec::new();
        }
        let mut ended = Vec::new();
        self.timed.retain(|id, until| {
            let is_over = over(until);
            // By now it may have ended, or be out for another reason.
            let standing = self.detector.explain(id).and_then(|known| known.ejection);
            if is_over && standing.is_some_and(|e| e.is_manual() && e.until == Some(*until)) {
                ended.push(id.clone());
            }
            !is_over
        });
        let changes: Vec<_> = ended
            .iter()
            .filter_map(|id| self.detector.uneject(id, now))
            .collect();
        changes
            .into_iter()
            .filter_map(|change| self.carry_out(change, clock))
            .collect()
    }

    /// Counts and tells a change, and says what is to be done to which endpoint, without the lock.
    fn carry_out(
        &mut self,
        change: Change<EndpointId>,
        clock: Clock,
    ) -> Option<(Arc<EndpointState>, Option<Out>)> {
        match change {
            Change::Returned { key, end } => {
                let state = self.members.get(&key).and_then(Weak::upgrade)?;
                tracing::info!(service = %state.service, endpoint = %key, ?end, "ejection ended");
                Some((state, None))
            }
            Change::Detected {
                key,
                cause,
                verdict,
            } => {
                let state = self.members.get(&key).and_then(Weak::upgrade)?;
                let enforced = verdict.is_enforced();
                if !matches!(
                    verdict,
                    Verdict::Refused {
                        why: Refusal::AlreadyEjected
                    }
                ) {
                    *self.detected.entry((cause.label(), enforced)).or_default() += 1;
                }
                match verdict {
                    Verdict::Ejected { until, times } => {
                        let time = until.saturating_sub(clock.now());
                        let returns = matches!(cause, Cause::Unreachable { .. }) && times <= 1;
                        let reason = match returns {
                            true => format!("{cause}; back as soon as it accepts"),
                            false => format!("{cause}; ejected {times} times in a row"),
                        };
                        tracing::warn!(
                            service = %state.service, endpoint = %key, %cause, seconds = time.as_secs(),
                            "endpoint ejected"
                        );
                        let since = SystemTime::now();
                        Some((
                            state,
                            Some(Out {
                                reason: Arc::from(reason),
                                since,
                                until: since.checked_add(time),
                            }),
                        ))
                    }
                    Verdict::Refused { why } => {
                        self.overflow += u64::from(why.is_overflow());
                        tracing::debug!(
                            service = %state.service, endpoint = %key, %cause, %why, "outlier not ejected"
                        );
                        None
                    }
                }
            }
        }
    }
}
