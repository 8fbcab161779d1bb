//! The registry: live state of every endpoint and service, keyed by identity, outliving snapshots.
//!
//! A new generation that keeps an endpoint keeps its health, ejection, load and counts (semantics 14); one that
//! drops it leaves its state to the requests still in flight on it. An identity is a container and
//! port, never an address, so a recycled address starts from nothing (semantics 16).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use weir_config::model::{Admission, EndpointId, Model, Service, ServiceName};

use super::endpoint::{EndpointState, Operator};
use super::service::{Clock, ServiceState};
use super::suspect::Suspects;
use crate::sync::{Mutex, MutexGuard};
use crate::worker::Random;

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
            state.set_removed();
        }
        for (state, admission, probed) in self.closed {
            state.admit(&admission, probed);
        }
    }
}

/// All services and endpoints of the current generation.
#[derive(Debug, Default)]
pub struct Registry {
    clock: Clock,
    suspects: Suspects,
    known: Mutex<Known>,
    /// Endpoints of which something was asked for a time.
    timed: Mutex<Vec<(ServiceName, EndpointId)>>,
}

type Known = HashMap<ServiceName, Home>;

/// A service with its endpoints.
#[derive(Debug)]
struct Home {
    state: Arc<ServiceState>,
    /// As it was when it was brought in line.
    of: Arc<Service>,
    endpoints: HashMap<EndpointId, Arc<EndpointState>>,
}

impl Registry {
    /// The clock of the process.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Where endpoints are told of that requests found absent.
    pub(crate) fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Brings the registry in line with a model: survivors keep their state. What takes an endpoint out is
    /// left in the [`Retirement`], to be carried out once the new snapshot is in force: until then requests
    /// are routed by the old one, and must find somebody (make before break, semantics 38).
    ///
    /// A service that is the very one of the last time is in line already.
    pub fn reconcile(&self, model: &Model) -> Retirement {
        let mut known = self.lock();
        let mut before = std::mem::take(&mut *known);
        known.reserve(model.services.len());
        let mut retirement = Retirement::default();
        for service in &model.services {
            let home = match before.remove_entry(&service.name) {
                Some((name, home)) if Arc::ptr_eq(&home.of, service) => {
                    known.insert(name, home);
                    continue;
                }
                other => other.map(|(_, home)| home),
            };
            let home = self.follow(service, home, &mut retirement);
            known.insert(service.name.clone(), home);
        }
        let gone = before.into_values().flat_map(|home| home.endpoints);
        retirement.removed.extend(gone.map(|(_, state)| state));
        retirement
    }

    /// A service that is new or changed, with the states of its endpoints.
    fn follow(
        &self,
        service: &Arc<Service>,
        before: Option<Home>,
        retirement: &mut Retirement,
    ) -> Home {
        let (state, mut old) = match before {
            Some(home) => (home.state, home.endpoints),
            None => {
                let (name, suspects) = (service.name.clone(), self.suspects.clone());
                let state = ServiceState::new(name, self.clock, suspects);
                (Arc::new(state), HashMap::new())
            }
        };
        let endpoints = reconcile(service, &state, &mut old, retirement);
        retirement.removed.extend(old.into_values());
        state.follow(service, &endpoints);
        let ids = service.endpoints.iter().map(|endpoint| endpoint.id.clone());
        Home {
            endpoints: ids.zip(endpoints).collect(),
            of: Arc::clone(service),
            state,
        }
    }

    /// The state of an endpoint of the current generation.
    #[must_use]
    pub fn get(&self, service: &ServiceName, id: &EndpointId) -> Option<Arc<EndpointState>> {
        self.lock().get(service)?.endpoints.get(id).cloned()
    }

    /// The state of a service of the current generation.
    #[must_use]
    pub fn service(&self, name: &ServiceName) -> Option<Arc<ServiceState>> {
        Some(Arc::clone(&self.lock().get(name)?.state))
    }

    /// The state of a service and those of its endpoints, in their order.
    pub(crate) fn states(
        &self,
        service: &Service,
    ) -> Option<(Arc<ServiceState>, Vec<Arc<EndpointState>>)> {
        let known = self.lock();
        let home = known.get(&service.name)?;
        let endpoints = service.endpoints.iter();
        let states = endpoints.filter_map(|endpoint| home.endpoints.get(&endpoint.id).cloned());
        Some((Arc::clone(&home.state), states.collect()))
    }

    /// Takes what someone asks of an endpoint of the current generation, `None` gives it back.
    pub(crate) fn set_operator(&self, state: &EndpointState, operator: Option<Operator>) {
        let key = (state.service.clone(), state.id.clone());
        let mut timed = self.timed.lock().unwrap_or_else(PoisonError::into_inner);
        timed.retain(|other| *other != key);
        if operator.as_ref().is_some_and(|wish| wish.ends.is_some()) {
            timed.push(key);
        }
        state.set_operator(operator);
    }

    /// Gives those back whose time is over.
    fn end_wishes(&self) {
        let now = self.clock.now();
        let mut timed = self.timed.lock().unwrap_or_else(PoisonError::into_inner);
        timed.retain(|(service, id)| {
            let Some(state) = self.get(service, id) else {
                return false;
            };
            state.end_wish(now);
            state.operator().is_some_and(|wish| wish.ends.is_some())
        });
    }

    /// Judges what intervals are over, and ends what was asked for a time; to be called several times a second, off
    /// the data path.
    pub(crate) fn sweep(&self, rng: &mut Random) {
        self.end_wishes();
        let services: Vec<_> = {
            let known = self.lock();
            known.values().map(|home| Arc::clone(&home.state)).collect()
        };
        for service in services {
            service.sweep(rng);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The states of a service's endpoints, in their order; those that stay are taken out of `before`.
fn reconcile(
    service: &Service,
    home: &Arc<ServiceState>,
    before: &mut HashMap<EndpointId, Arc<EndpointState>>,
    retirement: &mut Retirement,
) -> Vec<Arc<EndpointState>> {
    let mut states = Vec::with_capacity(service.endpoints.len());
    for endpoint in &service.endpoints {
        let probed = service.health_check.is_some() || endpoint.admission == Admission::Probe;
        let old = before.remove(&endpoint.id);
        let (same, moved): (Option<_>, Option<_>) = match old {
            Some(state) if state.address == endpoint.address => (Some(state), None),
            other => (None, other),
        };
        let admits = matches!(endpoint.admission, Admission::Ready | Admission::Probe);
        states.push(match same {
            Some(state) if admits => {
                state.admit(&endpoint.admission, probed);
                state
            }
            Some(state) => {
                let closed = (Arc::clone(&state), endpoint.admission.clone(), probed);
                retirement.closed.push(closed);
                state
            }
            None => {
                let state = EndpointState::new(home, endpoint, probed);
                if let Some(old) = &moved {
                    state.succeed(old);
                }
                Arc::new(state)
            }
        });
        retirement.removed.extend(moved);
    }
    states
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::endpoint::{Ends, Health, Wish};
    use rand::SeedableRng;
    use std::time::{Duration, Instant, SystemTime};
    use weir_config::model::Endpoint;
    use weir_decide::outlier::Refusal;

    use weir_config::model::{Service, Version, VersionName, Weight};

    fn endpoint(id: &str, address: &str, admission: Admission) -> Endpoint {
        Endpoint {
            admission,
            ..Endpoint::new(id.parse().unwrap(), address.parse().unwrap())
        }
    }

    fn model(endpoints: Vec<Endpoint>) -> Model {
        let stable = Version {
            name: VersionName::stable(),
            weight: Weight::ONE,
        };
        let service = Service {
            endpoints,
            versions: vec![stable],
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
        assert!(first.begin(None));
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

    fn wish(registry: &Registry, wish: Wish, time: Option<Duration>) -> Operator {
        Operator {
            wish,
            by: Arc::from("disk swap, by cli"),
            since: SystemTime::now(),
            ends: time.and_then(|time| Ends::after(time, registry.clock.now())),
        }
    }

    fn sweep_until(registry: &Registry, what: &str, reached: impl Fn() -> bool) {
        let mut random = Random::seed_from_u64(7);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !reached() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(2));
            registry.sweep(&mut random);
        }
    }

    // semantics 14
    #[test]
    fn what_was_asked_of_an_endpoint_outlives_a_generation_and_an_address() {
        let registry = Registry::default();
        let both = |address: &str| {
            model(vec![
                endpoint("a:80", address, Admission::Ready),
                endpoint("b:80", "127.0.0.2:80", Admission::Ready),
            ])
        };
        settle(&registry, &both("127.0.0.1:80"));
        for (asked, state) in [
            (Wish::Drain, "draining"),
            (Wish::Maintenance, "maintenance"),
        ] {
            let operator = wish(&registry, asked, Some(Duration::from_secs(3600)));
            registry.set_operator(&get(&registry, "a:80"), Some(operator));
            for address in ["127.0.0.1:80", "127.0.0.3:80", "127.0.0.1:80"] {
                settle(&registry, &both(address));
                let standing = get(&registry, "a:80").standing();
                assert_eq!(
                    (standing.state, standing.available),
                    (state, false),
                    "{address}"
                );
                assert_eq!(&*standing.reason, "disk swap, by cli");
                assert!(standing.until.is_some());
            }
        }
        registry.set_operator(&get(&registry, "a:80"), None);
        assert!(get(&registry, "a:80").is_available());
        let b = get(&registry, "b:80");
        b.home.eject(&b.id, "by cli", None, false).unwrap();
        settle(&registry, &both("127.0.0.1:80"));
        assert_eq!(get(&registry, "b:80").standing().state, "ejected");
    }

    #[test]
    fn a_wish_and_an_ejection_with_a_time_end_by_themselves() {
        let registry = Registry::default();
        let of = |id: &str, n: u8| endpoint(id, &format!("127.0.0.{n}:80"), Admission::Ready);
        settle(
            &registry,
            &model(vec![of("a:80", 1), of("b:80", 2), of("c:80", 3)]),
        );
        let soon = Some(Duration::from_millis(30));
        let (a, b) = (get(&registry, "a:80"), get(&registry, "b:80"));
        registry.set_operator(&a, Some(wish(&registry, Wish::Drain, soon)));
        b.home.eject(&b.id, "by cli", soon, false).unwrap();
        assert!(!a.is_available() && !b.is_available());
        // Long before the interval of outlier detection, 10 s, is over.
        sweep_until(&registry, "both back", || {
            a.is_available() && b.is_available()
        });
        // One that was asked for anew without an end goes on.
        registry.set_operator(&a, Some(wish(&registry, Wish::Drain, soon)));
        registry.set_operator(&a, Some(wish(&registry, Wish::Drain, None)));
        b.home.eject(&b.id, "by cli", soon, false).unwrap();
        b.home.eject(&b.id, "by cli", None, true).unwrap();
        let start = Instant::now();
        sweep_until(&registry, "a moment", || {
            start.elapsed() > Duration::from_millis(60)
        });
        assert!(!a.is_available() && !b.is_available());
    }

    #[test]
    fn the_last_one_that_serves_is_ejected_by_force_alone() {
        let registry = Registry::default();
        let of = |id: &str, n: u8| endpoint(id, &format!("127.0.0.{n}:80"), Admission::Ready);
        settle(&registry, &model(vec![of("a:80", 1), of("b:80", 2)]));
        let (a, b) = (get(&registry, "a:80"), get(&registry, "b:80"));
        // The other one is not ejected, but takes nothing either.
        registry.set_operator(&a, Some(wish(&registry, Wish::Drain, None)));
        let refused = b.home.eject(&b.id, "by cli", None, false);
        assert_eq!(refused, Err(Refusal::LastOne));
        assert!(b.is_available());
        b.home.eject(&b.id, "by cli", None, true).unwrap();
        assert!(!b.is_available());
        assert!(b.home.uneject(&b.id) && b.is_available());
        assert!(!b.home.uneject(&b.id), "there is nothing left to end");
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
