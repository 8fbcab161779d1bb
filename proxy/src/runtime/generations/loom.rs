//! Every interleaving of who publishes and a worker or two, on the code that does it: registry, endpoints, snapshots, following
//! and picks are the real ones; only `ArcSwap` is stood in for (`sync/model.rs`). Run with `just loom`.

use std::time::SystemTime;

use ::loom::model::Builder;
use ::loom::sync::mpsc;
use ::loom::thread::{self, JoinHandle};
use rand::SeedableRng;
use weir_config::model::{Admission, Endpoint, Protocol, Service, Version, VersionName, Weight};

use super::*;
use crate::upstream::endpoint::{EndpointState, Health, Operator, Wish};
use crate::upstream::local::LocalEndpoint;
use crate::upstream::permit::InFlight;
use crate::upstream::pick::{self, Asked, Choice, Members};

/// In words: more than the checker gives by itself.
const STACK: usize = 1 << 17;

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let deep = thread::Builder::new().stack_size(STACK);
    deep.spawn(work).expect("a thread of the model")
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().expect("a thread of the model")
}

/// Threads that are each interrupted up to that many times.
fn check(interruptions: usize, model: fn()) {
    let mut bounded = Builder::new();
    bounded.preemption_bound = Some(interruptions);
    bounded.max_branches = 20_000;
    bounded.check(move || join(spawn(model)));
}

fn endpoint(id: &str, priority: u8, admission: Admission) -> Endpoint {
    Endpoint {
        priority,
        admission,
        ..Endpoint::new(id.parse().unwrap(), "127.0.0.1:80".parse().unwrap())
    }
}

fn ready(id: &str) -> Endpoint {
    endpoint(id, 0, Admission::Ready)
}

fn shop(endpoints: Vec<Endpoint>) -> Arc<Model> {
    let service = Service {
        endpoints,
        versions: vec![Version {
            name: VersionName::stable(),
            weight: Weight::ONE,
        }],
        ..Service::new("shop".parse().unwrap())
    };
    Arc::new(Model {
        services: vec![Arc::new(service)],
        ..Model::default()
    })
}

/// The first generation is in force.
fn serving(endpoints: Vec<Endpoint>) -> Arc<Generations> {
    let generations = Generations::new(None, Arc::default());
    generations.publish(&shop(endpoints), 1, &[]);
    Arc::new(generations)
}

fn publish(generations: &Arc<Generations>, generation: u64, endpoints: Vec<Endpoint>) {
    generations.publish(&shop(endpoints), generation, &[]);
}

/// As one thread of the data plane follows and picks.
struct Worker {
    follower: Follower,
    random: RefCell<Random>,
}

impl Worker {
    fn new(generations: &Generations) -> Self {
        Self {
            follower: Follower::new(generations.published()),
            random: RefCell::new(Random::seed_from_u64(7)),
        }
    }

    fn local(&self) -> Rc<Local> {
        self.follower.local(0, &self.random)
    }

    fn pick(&self, local: &Local) -> Option<Rc<LocalEndpoint>> {
        let choice = Choice {
            service: Rc::clone(&local.services[0]),
            version: 0,
        };
        let asked = Asked {
            tried: &[],
            key: None,
            now_ms: 0,
        };
        pick::endpoint(&choice, &asked, &mut self.random.borrow_mut())
    }

    /// As a request goes: the generation that served it, and the endpoint.
    fn request(&self) -> (Rc<Local>, Rc<LocalEndpoint>) {
        let mut local = self.local();
        loop {
            if let Some(endpoint) = self.pick(&local) {
                assert!(
                    find(&local, endpoint.id().as_str())
                        .is_some_and(|member| Rc::ptr_eq(&member, &endpoint)),
                    "an endpoint of the generation that was asked"
                );
                return (local, endpoint);
            }
            let newer = self.follower.newer(&local, 0, &self.random);
            local = newer.expect("who finds nobody has a newer generation to ask (semantics 38)");
        }
    }
}

fn find(local: &Local, id: &str) -> Option<Rc<LocalEndpoint>> {
    let mut members = local.services[0].versions[0].members.iter();
    members.find(|member| member.id().as_str() == id).cloned()
}

fn state(generations: &Generations, id: &str) -> Arc<EndpointState> {
    let state = generations
        .registry()
        .get(&"shop".parse().unwrap(), &id.parse().unwrap());
    state.unwrap()
}

fn a_request_meets(next: fn() -> Vec<Endpoint>) {
    let generations = serving(vec![ready("a:80")]);
    let publisher = {
        let generations = Arc::clone(&generations);
        spawn(move || publish(&generations, 2, next()))
    };
    let worker = Worker::new(&generations);
    worker.request();
    join(publisher);
    let (local, endpoint) = worker.request();
    assert_eq!(local.snapshot.generation, 2);
    assert!(endpoint.state.is_available());
}

#[test]
fn a_request_finds_somebody_while_the_one_endpoint_is_replaced() {
    // semantics 38
    check(3, || a_request_meets(|| vec![ready("b:80")]));
}

#[test]
fn a_request_finds_somebody_while_the_one_endpoint_is_drained_for_another() {
    // semantics 34, 38
    check(3, || {
        a_request_meets(|| vec![endpoint("a:80", 0, Admission::Draining), ready("b:80")]);
    });
}

#[test]
fn a_request_finds_somebody_while_the_one_endpoint_moves_to_another_address() {
    check(3, || {
        a_request_meets(|| {
            let address = "127.0.0.1:81".parse().unwrap();
            vec![Endpoint::new("a:80".parse().unwrap(), address)]
        });
    });
}

#[test]
fn a_worker_that_has_followed_picks_nobody_who_is_gone_and_keeps_those_who_stay() {
    // semantics 14, 33
    check(2, || {
        let generations = serving(vec![ready("a:80")]);
        let publisher = {
            let generations = Arc::clone(&generations);
            spawn(move || {
                publish(&generations, 2, vec![ready("a:80"), ready("b:80")]);
                publish(&generations, 3, vec![ready("b:80")]);
            })
        };
        let worker = Worker::new(&generations);
        let mut last = worker.request().0;
        for _ in 0..2 {
            let (next, endpoint) = worker.request();
            let generation = next.snapshot.generation;
            assert!(generation >= last.snapshot.generation, "never back");
            assert!(
                generation < 3 || endpoint.id().as_str() == "b:80",
                "generation {generation} has given to {}",
                endpoint.id()
            );
            for id in ["a:80", "b:80"] {
                if let (Some(before), Some(after)) = (find(&last, id), find(&next, id)) {
                    assert!(Rc::ptr_eq(&before, &after), "{id} keeps its pool");
                }
            }
            last = next;
        }
        join(publisher);
        let (local, endpoint) = worker.request();
        assert_eq!(local.snapshot.generation, 3);
        assert_eq!(endpoint.id().as_str(), "b:80");
    });
}

#[test]
fn each_worker_lets_go_of_who_is_gone_when_it_follows_and_not_before() {
    // semantics 33
    check(2, || {
        let generations = serving(vec![ready("a:80"), ready("b:80")]);
        let gone = state(&generations, "a:80");
        let work = |worker: &Worker| {
            let before = worker.local();
            let Some(endpoint) = find(&before, "a:80") else {
                return;
            };
            let request = InFlight::begin(&endpoint, None).expect("no limit");
            assert_eq!(endpoint.cut_at.get(), u64::MAX);
            let followed = worker.local().snapshot.generation == 2;
            let cut = endpoint.cut_at.get() < u64::MAX;
            assert_eq!(cut, followed, "what this worker uses is its own to close");
            assert!(endpoint.state.in_flight() > 0, "it goes on all the same");
            drop(request);
        };
        let publisher = {
            let generations = Arc::clone(&generations);
            spawn(move || publish(&generations, 2, vec![ready("b:80")]))
        };
        let other = {
            let generations = Arc::clone(&generations);
            spawn(move || work(&Worker::new(&generations)))
        };
        let worker = Worker::new(&generations);
        work(&worker);
        join(publisher);
        join(other);
        assert!(gone.is_removed() && gone.in_flight() == 0);
        assert!(find(&worker.local(), "a:80").is_none());
    });
}

/// What the worker has counted is what there is.
fn assert_counted(local: &Local) {
    let service = &local.services[0];
    let version = &service.versions[0];
    version.refresh(&service.table);
    let percent = service.table.service.outlier.min_health_percent;
    let now = version.groups.levels(&Members::all(version), percent);
    assert_eq!(*version.levels.borrow(), now, "a change was missed");
}

fn drained() -> Operator {
    Operator {
        wish: Wish::Drain,
        by: Arc::from("the model"),
        since: SystemTime::now(),
        ends: None,
    }
}

/// The first alone serves while it can.
fn by_priority() -> Vec<Endpoint> {
    vec![ready("a:80"), endpoint("b:80", 1, Admission::Ready)]
}

#[test]
fn a_change_of_an_endpoint_is_never_missed_by_who_counts() {
    // semantics 7
    check(3, || {
        let generations = serving(by_priority());
        let first = state(&generations, "a:80");
        let operator = spawn(move || {
            first.set_operator(Some(drained()));
        });
        let worker = Worker::new(&generations);
        let local = worker.local();
        for _ in 0..2 {
            assert!(worker.pick(&local).is_some(), "b serves whatever a does");
        }
        join(operator);
        assert_counted(&local);
        let endpoint = worker.pick(&local).unwrap();
        assert_eq!(endpoint.id().as_str(), "b:80");
    });
}

#[test]
fn the_last_one_that_fails_goes_on_serving_in_panic_from_that_moment_on() {
    // semantics 6
    check(3, || {
        let of = |id| endpoint(id, 0, Admission::Probe);
        let generations = serving(vec![of("a:80"), of("b:80")]);
        let (first, second) = (state(&generations, "a:80"), state(&generations, "b:80"));
        first.set_health(Health::Passing, "");
        second.set_health(Health::Passing, "");
        second.set_health(Health::Failing, "");
        let prober = spawn(move || first.set_health(Health::Failing, ""));
        let worker = Worker::new(&generations);
        let local = worker.local();
        for _ in 0..2 {
            assert!(
                worker.pick(&local).is_some(),
                "one serves, or both in panic"
            );
        }
        join(prober);
        assert_counted(&local);
    });
}

#[test]
fn what_is_asked_of_an_endpoint_while_a_generation_comes_holds() {
    // semantics 14
    check(2, || {
        let generations = serving(by_priority());
        let first = state(&generations, "a:80");
        let operator = {
            let first = Arc::clone(&first);
            spawn(move || first.set_operator(Some(drained())))
        };
        let publisher = {
            let generations = Arc::clone(&generations);
            let mut endpoints = by_priority();
            endpoints[1].weight = Weight::from_tenths(20).unwrap();
            spawn(move || publish(&generations, 2, endpoints))
        };
        let worker = Worker::new(&generations);
        worker.request();
        join(operator);
        join(publisher);
        let (local, endpoint) = worker.request();
        assert_eq!(local.snapshot.generation, 2);
        assert_eq!(endpoint.id().as_str(), "b:80");
        assert!(!first.is_available());
        assert_counted(&local);
    });
}

#[test]
fn a_listener_is_known_to_the_worker_that_gets_its_socket() {
    // semantics 38
    check(3, || {
        let generations = serving(vec![ready("a:80")]);
        let (commands, sockets) = mpsc::channel();
        let publisher = {
            let generations = Arc::clone(&generations);
            spawn(move || {
                let (name, bind) = ("web".parse().unwrap(), "127.0.0.1:80".parse().unwrap());
                let listener = Arc::new(Listener::new(name, bind, Protocol::Http));
                let ids = [(ListenerId(0), Arc::clone(&listener))];
                let mut model = Model::clone(&shop(vec![ready("a:80")]));
                model.listeners.push(listener);
                // Nothing can be handed out but by who holds what this returns.
                let _in_force: InForce = generations.publish(&Arc::new(model), 2, &ids);
                commands.send(ListenerId(0)).expect("the worker listens");
            })
        };
        let worker = Worker::new(&generations);
        worker.local();
        let id = sockets.recv().expect("the publisher sends");
        assert!(worker.local().snapshot.listener(id).is_some());
        join(publisher);
    });
}
