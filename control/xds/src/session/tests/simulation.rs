//! Hundreds of seeds of random changes, delays, refusals and reconnections. After each step nothing that a client has
//! refers to what it has not; in the end it has what the server has, and the server knows it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use weir_wire::{Kind, Resource, Resources};

use super::client::{Client, Response};
use super::world::World;
use crate::session::{Protocol, Session};
use crate::view::View;

const SEEDS: u64 = 120;
const STEPS: usize = 400;

struct Run {
    rng: StdRng,
    world: World,
    view: Arc<View>,
    session: Session,
    client: Client,
    /// On their way to the client.
    wire: VecDeque<Response>,
    now: Instant,
    /// In the state of the world a client that comes back may be told to drop a cluster before it hears of its new routes:
    /// it does not say what it has.
    is_back: bool,
}

impl Run {
    fn new(seed: u64, protocol: Protocol, by_name: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let takes_parts = rng.random_bool(0.5);
        let view = Arc::new(View::new(1, Resources::default()));
        let mut client = Client::new(protocol, by_name, takes_parts);
        client.connect();
        Self {
            rng,
            world: World::default(),
            session: Session::new(protocol, Arc::clone(&view)),
            view,
            client,
            wire: VecDeque::new(),
            now: Instant::now(),
            is_back: false,
        }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..25 => _ = self.deliver(),
            25..55 => _ = self.hear(),
            55..80 => _ = self.send(),
            80..92 => {
                self.world.change(&mut self.rng);
                self.publish();
            }
            92..94 => {
                self.world.poison(&mut self.rng);
                self.publish();
            }
            94..98 => self.now += Duration::from_millis(self.rng.random_range(0..20)),
            _ => self.reconnect(),
        }
    }

    fn publish(&mut self) {
        let resources = named(&self.world.resources(), self.client.protocol);
        self.view = Arc::new(self.view.next(self.view.generation() + 1, &resources));
        if self.rng.random_bool(0.8) {
            self.session.retarget(Arc::clone(&self.view));
        }
    }

    fn send(&mut self) -> bool {
        let Some(push) = self.session.next(self.now) else {
            return false;
        };
        self.wire
            .push_back(Response::of(push, self.client.protocol));
        true
    }

    fn deliver(&mut self) -> bool {
        let Some(response) = self.wire.pop_front() else {
            return false;
        };
        self.client.take(response);
        true
    }

    fn hear(&mut self) -> bool {
        let Some(request) = self.client.out.pop_front() else {
            return false;
        };
        request.tell(&mut self.session, self.now);
        true
    }

    fn reconnect(&mut self) {
        self.wire.clear();
        self.session = Session::new(self.client.protocol, Arc::clone(&self.view));
        self.client.connect();
        self.is_back = true;
    }

    /// Lets everything arrive.
    fn settle(&mut self) {
        self.session.retarget(Arc::clone(&self.view));
        for _ in 0..10_000 {
            let moved = [self.send(), self.deliver(), self.hear()];
            self.check("settling");
            if !moved.contains(&true) {
                match self.session.deadline() {
                    Some(at) => self.now = at,
                    None => return,
                }
            }
        }
        panic!("it never comes to rest");
    }

    fn check(&self, when: &str) {
        if self.is_back && self.client.protocol == Protocol::Sotw {
            return;
        }
        assert_eq!(self.client.dangling(), Vec::<String>::new(), "{when}");
    }
}

/// Bodies of the state of the world carry no name of their own here, as they do in Envoy's types.
fn named(resources: &Resources, protocol: Protocol) -> Resources {
    let mut out = Resources::default();
    for resource in resources.iter() {
        let mut bytes = resource.body.value.clone();
        if protocol == Protocol::Sotw {
            bytes.splice(0..0, format!("{}\n", resource.name).into_bytes());
        }
        out.insert(Arc::new(Resource::new(
            resource.kind,
            resource.name.clone(),
            bytes,
        )));
    }
    out
}

fn bodies(client: &Client) -> BTreeMap<(Kind, String), String> {
    let all = client.have.iter();
    all.map(|(key, (_, body))| (key.clone(), body.clone()))
        .collect()
}

fn simulate(protocol: Protocol, by_name: bool) {
    for seed in 0..SEEDS {
        let caught = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed, protocol, by_name);
            for step in 0..STEPS {
                run.step();
                run.check(&format!("step {step}"));
            }
            run.world.poison.clear();
            run.publish();
            run.settle();
            let expected: BTreeMap<(Kind, String), String> = run
                .world
                .resources()
                .iter()
                .map(|r| {
                    let body = String::from_utf8(r.body.value.clone()).unwrap();
                    ((r.kind, r.name.clone()), body)
                })
                .collect();
            assert_eq!(bodies(&run.client), expected);
            let progress = run.session.progress();
            assert_eq!(progress.acked, Some(run.view.generation()));
            assert_eq!((progress.is_moving, progress.refused), (false, Vec::new()));
        });
        assert!(
            caught.is_ok(),
            "{protocol:?}, by name {by_name}: seed {seed}"
        );
    }
}

#[test]
fn a_delta_client_that_asks_by_name_ends_with_what_the_server_has_and_never_dangles() {
    simulate(Protocol::Delta, true);
}

#[test]
fn a_delta_client_that_asks_for_all_ends_with_what_the_server_has_and_never_dangles() {
    simulate(Protocol::Delta, false);
}

#[test]
fn a_client_of_the_state_of_the_world_ends_with_what_the_server_has_and_never_dangles() {
    simulate(Protocol::Sotw, true);
}
