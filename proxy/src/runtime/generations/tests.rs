//! One change among many: what it leaves as it is, and what it takes.

use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use weir_config::model::{
    BackendRef, Endpoint, Protocol, Route, Rule, Service, ServiceName, Source, Version,
    VersionName, Weight,
};

use super::*;

/// In a release build times are held to bounds, with room for a busy machine.
const RELEASE: bool = !cfg!(debug_assertions);

fn service(number: usize, endpoints: usize, port: u16) -> Arc<Service> {
    let name = format!("svc-{number:04}");
    let endpoint = |at: usize| {
        // One of them is elsewhere by turns.
        let port = if at + 1 == endpoints { port } else { 80 };
        let [_, _, third, last] = u32::try_from(at).unwrap().to_be_bytes();
        let id = format!("{name}@{third}.{last}:{port}");
        Endpoint::new(id.parse().unwrap(), ([10, 0, third, last], port).into())
    };
    let mut all: Vec<Endpoint> = (0..endpoints).map(endpoint).collect();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let stable = Version {
        name: VersionName::stable(),
        weight: Weight::ONE,
    };
    Arc::new(Service {
        endpoints: all,
        versions: vec![stable],
        ..Service::new(name.parse().unwrap())
    })
}

fn route(number: usize, to: &ServiceName) -> Arc<Route> {
    let half = |weight| BackendRef {
        service: to.clone(),
        version: None,
        weight,
    };
    Arc::new(Route {
        name: format!("route-{number:04}").parse().unwrap(),
        listeners: Vec::new(),
        hostnames: Vec::new(),
        rules: vec![Rule::every(vec![half(Weight::ONE), half(Weight::MAX)])],
        age: 0,
        source: Source::default(),
    })
}

fn many(services: usize, endpoints: usize) -> Model {
    let services: Vec<_> = (0..services).map(|at| service(at, endpoints, 81)).collect();
    let routes = services.iter().enumerate();
    let routes = routes
        .map(|(at, service)| route(at, &service.name))
        .collect();
    let listener = Listener::new(
        "web".parse().unwrap(),
        ([127, 0, 0, 1], 80).into(),
        Protocol::Http,
    );
    Model {
        listeners: vec![Arc::new(listener)],
        services,
        routes,
        ..Model::default()
    }
}

struct Plane {
    generations: Generations,
    follower: Follower,
    random: RefCell<Random>,
    generation: u64,
}

impl Plane {
    fn new() -> Self {
        let generations = Generations::new(None, Arc::default());
        Self {
            follower: Follower::new(generations.published()),
            generations,
            random: RefCell::new(Random::seed_from_u64(1)),
            generation: 0,
        }
    }

    /// Puts a model in force and has a worker follow; how long each took.
    fn put(&mut self, model: &Model) -> (Rc<Local>, Duration, Duration) {
        self.generation += 1;
        let model = Arc::new(model.clone());
        let ids = [(ListenerId(0), Arc::clone(&model.listeners[0]))];
        let began = Instant::now();
        drop(self.generations.publish(&model, self.generation, &ids));
        let published = began.elapsed();
        drop(model);
        let began = Instant::now();
        let local = self.follower.local(0, &self.random);
        (local, published, began.elapsed())
    }
}

#[test]
fn a_change_of_a_service_leaves_the_others_and_all_listeners_as_they_are() {
    let mut plane = Plane::new();
    let mut model = many(4, 3);
    let (before, ..) = plane.put(&model);
    model.services[1] = service(1, 3, 82);
    let (after, ..) = plane.put(&model);
    let kept = |at: usize| Rc::ptr_eq(&before.services[at], &after.services[at]);
    assert_eq!([0, 1, 2, 3].map(kept), [true, false, true, true]);
    let table = |local: &Local| Arc::clone(local.snapshot.listener(ListenerId(0)).unwrap());
    assert!(Arc::ptr_eq(&table(&before), &table(&after)));
    let split = |local: &Local| std::ptr::from_ref(local.split(ListenerId(0), 0).unwrap());
    assert_eq!(split(&before), split(&after), "it goes on where it was");
    // Of the one that changed, the endpoints that stay are the same, and the one that went is closed.
    let states = |local: &Local| -> Vec<_> {
        let all = Local::endpoints(&local.services[1]).iter();
        all.map(|endpoint| (Rc::clone(endpoint), endpoint.cut_at.get()))
            .collect()
    };
    let (old, new) = (states(&before), states(&after));
    let same = |at: usize| Rc::ptr_eq(&old[at].0, &new[at].0);
    assert_eq!([0, 1, 2].map(same), [true, true, false]);
    assert!(old[2].1 < u64::MAX && old[0].1 == u64::MAX && new[2].1 == u64::MAX);
    assert!(old[2].0.state.is_removed());
}

#[test]
fn a_service_that_comes_or_goes_or_changes_its_versions_is_seen_by_the_routes() {
    let mut plane = Plane::new();
    let mut model = many(3, 1);
    plane.put(&model);
    let targets = |local: &Local| -> Vec<Option<usize>> {
        let table = local.snapshot.listener(ListenerId(0)).unwrap();
        table
            .rules
            .iter()
            .map(|rule| rule.leaves[0].service)
            .collect()
    };
    let gone = model.services.remove(0);
    let (local, ..) = plane.put(&model);
    assert_eq!(targets(&local), [None, Some(0), Some(1)]);
    let endpoint = &gone.endpoints[0].id;
    assert!(
        plane
            .generations
            .registry()
            .get(&gone.name, endpoint)
            .is_none()
    );
    model.services.insert(0, gone);
    let (local, ..) = plane.put(&model);
    assert_eq!(targets(&local), [Some(0), Some(1), Some(2)]);
    let versions = |local: &Local| {
        let table = local.snapshot.listener(ListenerId(0)).unwrap();
        table.rules[0].leaves.len()
    };
    assert_eq!(versions(&local), 2);
    let canary = Version {
        name: "canary".parse().unwrap(),
        weight: Weight::ONE,
    };
    Arc::make_mut(&mut model.services[0])
        .versions
        .insert(0, canary);
    let (local, ..) = plane.put(&model);
    assert_eq!(versions(&local), 4);
    // And a route that comes.
    model.routes.push(route(9, &model.services[0].name.clone()));
    let (local, ..) = plane.put(&model);
    assert_eq!(targets(&local).len(), 4);
}

#[test]
fn what_was_replaced_is_let_go_when_the_last_worker_has_followed() {
    let mut plane = Plane::new();
    let mut model = many(2, 1);
    let (held, ..) = plane.put(&model);
    let old = Arc::downgrade(&held.snapshot);
    model.services[0] = service(0, 1, 82);
    drop(plane.put(&model));
    plane.generations.sweep();
    assert!(old.upgrade().is_some(), "a request is on it");
    drop(held);
    assert!(old.upgrade().is_some(), "not by the worker");
    plane.generations.sweep();
    assert!(old.upgrade().is_none());
}

/// Medians of some changes of one endpoint.
fn measure(services: usize, endpoints: usize) -> (Duration, Duration) {
    let mut plane = Plane::new();
    let mut model = many(services, endpoints);
    plane.put(&model);
    let (mut published, mut followed) = (Vec::new(), Vec::new());
    for turn in 0..21u16 {
        let at = usize::from(turn) % services;
        model.services[at] = service(at, endpoints, 1_000 + turn);
        let (_, publish, follow) = plane.put(&model);
        published.push(publish);
        followed.push(follow);
        plane.generations.sweep();
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    (median(published), median(followed))
}

#[test]
#[expect(clippy::print_stderr, reason = "figures, for who asks for them")]
fn one_change_among_ten_thousand_endpoints_holds_no_worker_up() {
    for (services, endpoints) in [(1_000, 10), (100, 100), (1, 10_000)] {
        let (published, followed) = measure(services, endpoints);
        eprintln!(
            "{services} services of {endpoints} endpoints, one changes: put in force in {published:.0?}, a worker follows in {followed:.0?}"
        );
        // Of one service alone all of it is looked at, as it is by who reads it.
        if services > 1 || RELEASE {
            assert!(followed < Duration::from_millis(1), "{followed:?}");
        }
        if RELEASE {
            assert!(published < Duration::from_millis(20), "{published:?}");
        }
    }
}
