//! One endpoint: whether it takes requests and why, and what requests told of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use weir_config::model::{Admission, Endpoint, EndpointId, ServiceName};
use weir_decide::balance::{Ewma, Penalty};
use weir_decide::breaker::Permits;
use weir_decide::outlier::{Streaks, Window};

use super::service::ServiceState;
use crate::sync::{AtomicU8, Mutex, MutexGuard};

/// An endpoint that was looked at, and was there, is looked at again no sooner: what accepts and then fails is for streaks
/// and rates to judge.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What is known of one endpoint while it, or a request on it, lives.
#[derive(Debug)]
pub struct EndpointState {
    pub service: ServiceName,
    pub id: EndpointId,
    pub address: SocketAddr,
    /// What all endpoints of the service share.
    pub(crate) home: Arc<ServiceState>,
    /// [`Traffic`]; the one thing that a pick reads of all that follows the gate.
    traffic: AtomicU8,
    health: AtomicU8,
    requests: AtomicU64,
    errors: AtomicU64,
    /// Requests being served now, over all workers.
    pub(crate) in_flight: Permits,
    /// Open connections, idle ones included, over all workers.
    pub(crate) connections: Permits,
    /// On the clock of the process, in milliseconds: when it was last put into rotation.
    admitted_ms: AtomicU64,
    pub(super) told: Told,
    gate: Mutex<Gate>,
}

/// What requests left behind, each in one word that any worker may change (`feedback`).
#[derive(Debug, Default)]
pub(super) struct Told {
    /// [`Streaks`]. Zero, and not written, while all goes well.
    pub(super) streaks: AtomicU64,
    /// Of this interval: all in the low half, successes in the high half. Written only where rates are judged.
    pub(super) window: AtomicU64,
    /// Of this interval: requests without an answer. Written only where they are judged apart.
    pub(super) unanswered: AtomicU64,
    /// [`Penalty`]. Zero, and not written, while all goes well.
    pub(super) penalty: AtomicU64,
    /// [`Ewma`]. Written only where latency decides.
    pub(super) latency: AtomicU64,
    /// On the clock of the process, in milliseconds: until when it asked to be left alone.
    paused_until_ms: AtomicU64,
    /// On the clock of the process, in milliseconds: from when on a request that finds nobody has it looked at.
    /// `u64::MAX` while it is.
    next_look_ms: AtomicU64,
}

/// Everything that decides on availability, behind a lock that the request path never takes.
#[derive(Debug)]
struct Gate {
    admission: Admission,
    /// Whether a probe must have passed.
    probed: bool,
    /// A probe has passed at least once.
    passed: bool,
    removed: bool,
    ejected: Option<Out>,
    operator: Option<Operator>,
    since: SystemTime,
    reason: Arc<str>,
}

/// Why an endpoint is ejected, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    pub reason: Arc<str>,
    pub since: SystemTime,
    /// `None`: until someone ends it.
    pub until: Option<SystemTime>,
}

/// What someone asked for at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    pub wish: Wish,
    /// Who asked, and why if they said.
    pub by: Arc<str>,
    pub since: SystemTime,
    /// When it ends by itself; `None`: when someone says so.
    pub ends: Option<Ends>,
}

/// An end, on two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// On the clock of the process, which nobody sets: what counts.
    pub(super) at: Duration,
    /// For people.
    pub until: SystemTime,
}

impl Ends {
    /// So long after now, which is `now` on the clock of the process.
    pub(crate) fn after(time: Duration, now: Duration) -> Option<Self> {
        Some(Self {
            at: now.checked_add(time)?,
            until: SystemTime::now().checked_add(time)?,
        })
    }
}

/// What can be asked of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// No new requests; those in flight finish.
    Drain,
    /// Out altogether: no requests, and its checks do not count.
    Maintenance,
}

/// Whether a pick may choose an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Traffic {
    None = 0,
    /// It fails, or is ejected: only when too few others are left.
    InPanic = 1,
    Yes = 2,
}

/// What the probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// No probe has ended yet.
    Unknown,
    Passing,
    Failing,
}

/// Why an endpoint is or is not given requests, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub available: bool,
    /// `ready`, `probing`, `failing`, `ejected`, `not-ready`, `draining`, `maintenance`, `removed`.
    pub state: &'static str,
    pub reason: Arc<str>,
    pub since: SystemTime,
    /// When it may come back by itself.
    pub until: Option<SystemTime>,
}

impl EndpointState {
    pub(super) fn new(home: &Arc<ServiceState>, endpoint: &Endpoint, probed: bool) -> Self {
        let state = Self {
            service: home.name.clone(),
            id: endpoint.id.clone(),
            address: endpoint.address,
            home: Arc::clone(home),
            traffic: AtomicU8::new(Traffic::None as u8),
            health: AtomicU8::new(Health::Unknown as u8),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            in_flight: Permits::new(),
            connections: Permits::new(),
            admitted_ms: AtomicU64::new(0),
            told: Told::default(),
            gate: Mutex::new(Gate {
                admission: endpoint.admission.clone(),
                probed,
                passed: false,
                removed: false,
                ejected: None,
                operator: None,
                since: SystemTime::now(),
                reason: Arc::from(""),
            }),
        };
        state.change(|_| {});
        state
    }

    /// Whether new requests may be sent here.
    #[must_use]
    #[inline]
    pub fn is_available(&self) -> bool {
        self.traffic.load(Ordering::Relaxed) == Traffic::Yes as u8
    }

    /// Whether it is better than nothing: it may only be failing or ejected.
    #[must_use]
    #[inline]
    pub fn is_usable_in_panic(&self) -> bool {
        self.traffic.load(Ordering::Relaxed) != Traffic::None as u8
    }

    /// Requests being served now, over all workers.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.taken()
    }

    /// Requests sent since the endpoint was first seen.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Requests that ended without an answer or with a 5xx.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Takes a place among the requests in flight; `false` when as many as allowed are.
    #[inline]
    pub(crate) fn begin(&self, limit: Option<u32>) -> bool {
        let begun = self.in_flight.try_acquire(limit.unwrap_or(u32::MAX));
        if begun {
            self.requests.fetch_add(1, Ordering::Relaxed);
        }
        begun
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.in_flight.release();
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// What is known of the time its answers take, in microseconds.
    #[inline]
    pub(crate) fn latency_us(&self, now_ms: u64) -> Option<f32> {
        Ewma::from_bits(self.told.latency.load(Ordering::Relaxed)).latency_us(now_ms)
    }

    /// What its recent failures weigh, in requests.
    #[inline]
    pub(crate) fn penalty(&self, now_ms: u64) -> u32 {
        match self.told.penalty.load(Ordering::Relaxed) {
            0 => 0,
            bits => Penalty::from_bits(bits).in_requests(now_ms),
        }
    }

    /// Leaves it alone for that time, as long as there are others: it asked for it, and its last word holds.
    pub(crate) fn pause(&self, time: Duration, now_ms: u64) {
        let until_ms = now_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.told.paused_until_ms.store(until_ms, Ordering::Relaxed);
        self.home.pauses_until(until_ms);
    }

    /// Whether it asked to be left alone; to be looked at only where [`ServiceState::has_pauses`].
    pub(crate) fn is_paused(&self, now_ms: u64) -> bool {
        now_ms < self.told.paused_until_ms.load(Ordering::Relaxed)
    }

    /// What it did since this was last asked.
    pub(super) fn take_window(&self) -> Window {
        let bits = self.told.window.swap(0, Ordering::Relaxed);
        Window {
            total: bits & u64::from(u32::MAX),
            success: bits >> 32,
            unanswered: self.told.unanswered.swap(0, Ordering::Relaxed),
        }
    }

    /// A request found nobody here: has it looked at, unless it is or was a moment ago.
    #[cold]
    pub(super) fn suspect(self: &Arc<Self>, now_ms: u64) {
        let next = &self.told.next_look_ms;
        let at = next.load(Ordering::Relaxed);
        let due = at <= now_ms
            && next
                .compare_exchange(at, u64::MAX, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if due && !self.home.suspects.tell(self) {
            self.rest_from_looks();
        }
    }

    /// Whether an inquiry into it goes on.
    #[cfg(test)]
    pub(super) fn is_looked_at(&self) -> bool {
        self.told.next_look_ms.load(Ordering::Relaxed) == u64::MAX
    }

    /// Has it left alone for a while, whatever requests find.
    pub(super) fn rest_from_looks(&self) {
        let next = self.home.clock.now() + BETWEEN_LOOKS;
        let next = u64::try_from(next.as_millis()).unwrap_or(u64::MAX);
        self.told.next_look_ms.store(next, Ordering::Relaxed);
    }

    /// When it was last put into rotation, on the clock of the process.
    pub(crate) fn admitted(&self) -> Duration {
        Duration::from_millis(self.admitted_ms.load(Ordering::Relaxed))
    }

    /// What the probes say.
    #[must_use]
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Passing,
            2 => Health::Failing,
            _ => Health::Unknown,
        }
    }

    /// Takes the verdict of the probes. `reason` says what the last one saw.
    pub fn set_health(&self, health: Health, reason: &str) {
        self.health.store(health as u8, Ordering::Relaxed);
        self.change(|gate| {
            gate.passed |= health == Health::Passing;
            gate.reason = Arc::from(reason);
        });
    }

    /// Takes it out as an outlier, or ends that: what failed before is then forgotten (semantics 4).
    pub(super) fn set_ejected(&self, out: Option<Out>) {
        if out.is_none() {
            self.told
                .streaks
                .store(Streaks::CLEAR.to_bits(), Ordering::Relaxed);
        }
        self.change(|gate| gate.ejected = out);
    }

    /// Takes what someone asked for; `None` gives it back to what probes and its source say.
    pub fn set_operator(&self, operator: Option<Operator>) {
        self.change(|gate| gate.operator = operator);
    }

    /// What someone asked for.
    #[must_use]
    pub fn operator(&self) -> Option<Operator> {
        self.lock().operator.clone()
    }

    /// Whether it is out altogether, so that its checks do not count.
    #[must_use]
    pub fn is_in_maintenance(&self) -> bool {
        let gate = self.lock();
        gate.operator
            .as_ref()
            .is_some_and(|operator| operator.wish == Wish::Maintenance)
    }

    /// Ends what someone asked for, where its time is over.
    pub(super) fn end_wish(&self, now: Duration) {
        let operator = self.operator();
        let over = operator.filter(|operator| operator.ends.is_some_and(|ends| ends.at <= now));
        if let Some(operator) = over {
            tracing::info!(
                service = %self.service, endpoint = %self.id, wish = ?operator.wish,
                "its time is over: the endpoint is given back"
            );
            self.change(|gate| {
                // Someone may have asked for more meanwhile.
                if gate.operator.as_ref() == Some(&operator) {
                    gate.operator = None;
                }
            });
        }
    }

    /// Takes over what was asked of, and found about, the same endpoint at another address.
    pub(super) fn succeed(&self, old: &Self) {
        let (operator, ejected) = {
            let gate = old.lock();
            (gate.operator.clone(), gate.ejected.clone())
        };
        self.change(|gate| {
            gate.operator = operator;
            gate.ejected = ejected;
        });
    }

    /// Whether it is out as an outlier, or by hand.
    pub(super) fn is_ejected(&self) -> bool {
        self.lock().ejected.is_some()
    }

    /// Whether a newer generation has dropped this endpoint.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.lock().removed
    }

    /// Why requests are or are not sent here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let gate = self.lock();
        let operator = gate.operator.as_ref();
        let wish = operator.map(|o| (o.wish, &o.by));
        let (state, reason) = match (wish, &gate.admission, gate.probed, self.health()) {
            _ if gate.removed => ("removed", &gate.reason),
            (Some((Wish::Drain, by)), ..) => ("draining", by),
            (Some((Wish::Maintenance, by)), ..) => ("maintenance", by),
            (_, Admission::Draining, ..) => ("draining", &gate.reason),
            (_, Admission::NotReady(why), ..) => ("not-ready", why),
            (_, _, true, Health::Unknown) => ("probing", &gate.reason),
            (_, _, true, Health::Failing) => ("failing", &gate.reason),
            _ => match &gate.ejected {
                Some(out) => ("ejected", &out.reason),
                None => ("ready", &gate.reason),
            },
        };
        let reason = match self.pause_left().filter(|_| state == "ready") {
            Some(left) => format!("it asked for a pause, {} s are left", left.as_secs()).into(),
            None => Arc::clone(reason),
        };
        let (since, until) = match (state, operator, &gate.ejected) {
            ("draining" | "maintenance", Some(operator), _) => {
                (operator.since, operator.ends.map(|ends| ends.until))
            }
            ("ejected", _, Some(out)) => (out.since, out.until),
            _ => (gate.since, None),
        };
        Standing {
            available: self.is_available(),
            state,
            reason,
            since,
            until,
        }
    }

    fn pause_left(&self) -> Option<Duration> {
        let until = self.told.paused_until_ms.load(Ordering::Relaxed);
        let left = Duration::from_millis(until).saturating_sub(self.home.clock.now());
        (!left.is_zero()).then_some(left)
    }

    fn lock(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn admit(&self, admission: &Admission, probed: bool) {
        if probed && self.is_available() && self.health() == Health::Unknown {
            // A check that is new to an endpoint which serves: it goes on until checks fail (semantics 14).
            self.health.store(Health::Passing as u8, Ordering::Relaxed);
        }
        self.change(|gate| {
            gate.passed |= probed && self.health() == Health::Passing;
            gate.admission = admission.clone();
            gate.probed = probed;
        });
    }

    pub(super) fn set_removed(&self) {
        self.change(|gate| gate.removed = true);
    }

    fn change(&self, edit: impl FnOnce(&mut Gate)) {
        let mut gate = self.lock();
        edit(&mut gate);
        let healthy = !gate.probed || self.health() == Health::Passing;
        let traffic = match gate.admits() {
            false => Traffic::None,
            true if healthy && gate.ejected.is_none() => Traffic::Yes,
            // Nothing before the first pass, whatever the need (semantics 13).
            true if gate.probed && !gate.passed => Traffic::None,
            true => Traffic::InPanic,
        };
        // Release: who finds it taken out must find what did it (`Follower::newer`).
        let before = self.traffic.swap(traffic as u8, Ordering::Release);
        if before == traffic as u8 {
            return;
        }
        if (before == Traffic::Yes as u8) != (traffic == Traffic::Yes) {
            gate.since = SystemTime::now();
        }
        if traffic == Traffic::Yes {
            let now = u64::try_from(self.home.clock.now().as_millis()).unwrap_or(u64::MAX);
            self.admitted_ms.store(now, Ordering::Relaxed);
        }
        drop(gate);
        self.home.availability_changed();
    }
}

impl Gate {
    /// Whether anybody but probes and feedback keeps it out.
    fn admits(&self) -> bool {
        let admitted = matches!(self.admission, Admission::Ready | Admission::Probe);
        admitted && !self.removed && self.operator.is_none()
    }
}
