//! The registry: live state of every endpoint, keyed by its identity, outliving snapshots.
//!
//! A new generation that keeps an endpoint keeps its health, load and counts (semantics 14); one that
//! drops it leaves its state to the requests still in flight on it. An identity is a container and
//! port, never an address, so a recycled address starts from nothing (semantics 16).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use weir_config::model::{Admission, Endpoint, EndpointId, Model, ServiceName};

/// What is known of one endpoint while it, or a request on it, lives.
#[derive(Debug)]
pub struct EndpointState {
    pub service: ServiceName,
    pub id: EndpointId,
    pub address: SocketAddr,
    /// Whether new requests may be sent; the one thing that the request path reads.
    available: AtomicBool,
    health: AtomicU8,
    in_flight: AtomicU32,
    requests: AtomicU64,
    errors: AtomicU64,
    gate: Mutex<Gate>,
}

/// Everything that decides on availability, behind a lock that the request path never takes.
#[derive(Debug)]
struct Gate {
    admission: Admission,
    /// Whether a probe must have passed.
    probed: bool,
    removed: bool,
    since: SystemTime,
    reason: Arc<str>,
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
    /// `ready`, `probing`, `failing`, `not-ready`, `draining`, `removed`.
    pub state: &'static str,
    pub reason: Arc<str>,
    pub since: SystemTime,
}

impl EndpointState {
    fn new(service: &ServiceName, endpoint: &Endpoint, probed: bool) -> Self {
        let state = Self {
            service: service.clone(),
            id: endpoint.id.clone(),
            address: endpoint.address,
            available: AtomicBool::new(false),
            health: AtomicU8::new(Health::Unknown as u8),
            in_flight: AtomicU32::new(0),
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            gate: Mutex::new(Gate {
                admission: endpoint.admission.clone(),
                probed,
                removed: false,
                since: SystemTime::now(),
                reason: Arc::from(""),
            }),
        };
        state.change(|_| {});
        state
    }

    /// Whether new requests may be sent here.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }

    /// Requests being served now, over all workers.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
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

    pub(crate) fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
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
        self.change(|gate| gate.reason = Arc::from(reason));
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
        let state = match (&gate.admission, gate.probed, self.health()) {
            _ if gate.removed => "removed",
            (Admission::Draining, ..) => "draining",
            (Admission::NotReady(_), ..) => "not-ready",
            (_, true, Health::Unknown) => "probing",
            (_, true, Health::Failing) => "failing",
            _ => "ready",
        };
        let reason = match &gate.admission {
            Admission::NotReady(why) => Arc::clone(why),
            _ => Arc::clone(&gate.reason),
        };
        Standing {
            available: self.is_available(),
            state,
            reason,
            since: gate.since,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, admission: &Admission, probed: bool) {
        if probed && self.is_available() && self.health() == Health::Unknown {
            // A check that is new to an endpoint which serves: it goes on until checks fail (semantics 14).
            self.health.store(Health::Passing as u8, Ordering::Relaxed);
        }
        self.change(|gate| {
            gate.admission = admission.clone();
            gate.probed = probed;
        });
    }

    fn change(&self, edit: impl FnOnce(&mut Gate)) {
        let mut gate = self.lock();
        edit(&mut gate);
        let admitted = matches!(gate.admission, Admission::Ready | Admission::Probe);
        let healthy = !gate.probed || self.health() == Health::Passing;
        let available = admitted && healthy && !gate.removed;
        if self.available.swap(available, Ordering::Relaxed) != available {
            gate.since = SystemTime::now();
        }
    }
}

/// What a new generation takes out, see [`Registry::reconcile`].
#[derive(Debug, Default)]
#[must_use]
pub struct Retirement {
    removed: Vec<Arc<EndpointState>>,
    closed: Vec<(Arc<EndpointState>, Admission, bool)>,
}

impl Retirement {
    /// From now on no new request goes there.
    pub fn carry_out(self) {
        for state in self.removed {
            state.change(|gate| gate.removed = true);
        }
        for (state, admission, probed) in self.closed {
            state.admit(&admission, probed);
        }
    }
}

/// All endpoints of the current generation.
#[derive(Debug, Default)]
pub struct Registry {
    endpoints: Mutex<HashMap<(ServiceName, EndpointId), Arc<EndpointState>>>,
}

impl Registry {
    /// Brings the registry in line with a model: survivors keep their state. What takes an endpoint out is
    /// left in the [`Retirement`], to be carried out once the new snapshot is in force: until then requests
    /// are routed by the old one, and must find somebody (make before break, semantics 38).
    pub fn reconcile(&self, model: &Model) -> Retirement {
        let mut known = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::with_capacity(known.len());
        let mut retirement = Retirement::default();
        for service in &model.services {
            for endpoint in &service.endpoints {
                let probed =
                    service.health_check.is_some() || endpoint.admission == Admission::Probe;
                let key = (service.name.clone(), endpoint.id.clone());
                let old = known.remove(&key);
                let (same, moved): (Option<_>, Option<_>) = match old {
                    Some(state) if state.address == endpoint.address => (Some(state), None),
                    other => (None, other),
                };
                retirement.removed.extend(moved);
                let admits = matches!(endpoint.admission, Admission::Ready | Admission::Probe);
                let state = match same {
                    Some(state) if admits => {
                        state.admit(&endpoint.admission, probed);
                        state
                    }
                    Some(state) => {
                        retirement.closed.push((
                            Arc::clone(&state),
                            endpoint.admission.clone(),
                            probed,
                        ));
                        state
                    }
                    None => Arc::new(EndpointState::new(&service.name, endpoint, probed)),
                };
                next.insert(key, state);
            }
        }
        retirement
            .removed
            .extend(known.drain().map(|(_, state)| state));
        *known = next;
        retirement
    }

    /// The state of an endpoint of the current generation.
    #[must_use]
    pub fn get(&self, service: &ServiceName, id: &EndpointId) -> Option<Arc<EndpointState>> {
        let known = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.get(&(service.clone(), id.clone())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use weir_config::model::Service;

    fn endpoint(id: &str, address: &str, admission: Admission) -> Endpoint {
        Endpoint {
            admission,
            ..Endpoint::new(id.parse().unwrap(), address.parse().unwrap())
        }
    }

    fn model(endpoints: Vec<Endpoint>) -> Model {
        let service = Service {
            endpoints,
            ..Service::new("shop".parse().unwrap())
        };
        Model {
            services: vec![Arc::new(service)],
            ..Model::default()
        }
    }

    fn settle(registry: &Registry, model: &Model) {
        registry.reconcile(model).carry_out();
    }

    fn get(registry: &Registry, id: &str) -> Arc<EndpointState> {
        registry
            .get(&"shop".parse().unwrap(), &id.parse().unwrap())
            .unwrap()
    }

    // semantics 14
    #[test]
    fn a_new_generation_keeps_the_health_of_what_it_keeps() {
        let registry = Registry::default();
        settle(
            &registry,
            &model(vec![endpoint("a:80", "127.0.0.1:80", Admission::Probe)]),
        );
        let first = get(&registry, "a:80");
        assert!(
            !first.is_available(),
            "no request before the first probe has passed"
        );
        first.set_health(Health::Passing, "connected");
        first.begin();
        settle(
            &registry,
            &model(vec![
                endpoint("a:80", "127.0.0.1:80", Admission::Probe),
                endpoint("b:80", "127.0.0.2:80", Admission::Ready),
            ]),
        );
        assert!(Arc::ptr_eq(&first, &get(&registry, "a:80")));
        assert!(first.is_available());
        assert_eq!(first.in_flight(), 1);
    }

    // semantics 14
    #[test]
    fn a_check_that_is_added_does_not_take_a_serving_endpoint_out() {
        let registry = Registry::default();
        settle(
            &registry,
            &model(vec![endpoint("a:80", "127.0.0.1:80", Admission::Ready)]),
        );
        settle(
            &registry,
            &model(vec![endpoint("a:80", "127.0.0.1:80", Admission::Probe)]),
        );
        assert!(get(&registry, "a:80").is_available());
        get(&registry, "a:80").set_health(Health::Failing, "refused");
        assert!(!get(&registry, "a:80").is_available());
    }

    // semantics 16
    #[test]
    fn a_recycled_address_is_another_endpoint() {
        let registry = Registry::default();
        settle(
            &registry,
            &model(vec![endpoint("old:80", "127.0.0.1:80", Admission::Ready)]),
        );
        let old = get(&registry, "old:80");
        settle(
            &registry,
            &model(vec![endpoint("new:80", "127.0.0.1:80", Admission::Probe)]),
        );
        assert!(old.is_removed() && !old.is_available());
        assert!(
            !get(&registry, "new:80").is_available(),
            "it must pass a probe of its own"
        );
    }

    #[test]
    fn each_admission_has_a_standing() {
        let registry = Registry::default();
        for (admission, available, state) in [
            (Admission::Ready, true, "ready"),
            (
                Admission::NotReady(Arc::from("starting")),
                false,
                "not-ready",
            ),
            (Admission::Draining, false, "draining"),
            (Admission::Probe, false, "probing"),
        ] {
            settle(
                &registry,
                &model(vec![endpoint("a:80", "127.0.0.1:80", admission)]),
            );
            let standing = get(&registry, "a:80").standing();
            assert_eq!((standing.available, standing.state), (available, state));
        }
    }
}
