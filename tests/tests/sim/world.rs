//! What happens to a service: requests arrive and end, time passes, and everything around them changes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use weir_config::model::OutlierDetection;
use weir_decide::breaker::Permits;
use weir_decide::outlier::{Change, Detector, Outcome, Proof, Streaks};

use crate::event::{Entry, Event, Id};
use crate::fleet::Endpoint;
use crate::policies::{self, Bounds};

mod changes;
mod requests;
mod time;

/// How many endpoints there are at most.
const MOST: usize = 40;

/// A service and its history so far.
pub(crate) struct World {
    pub(crate) now: Duration,
    /// What happened in the last step.
    pub(crate) events: Vec<Entry>,
    pub(crate) fleet: BTreeMap<Id, Endpoint>,
    pub(crate) policy: OutlierDetection,
    pub(crate) bounds: Bounds,
    pub(crate) detector: Detector<Id>,
    pub(crate) requests: Permits,
    pub(crate) retries: Permits,
    /// By when they end; the number tells those apart that end together.
    pub(crate) flights: BTreeMap<(Duration, u64), Flight>,
    /// Whether endpoints have an active check.
    checked: bool,
    /// What its passing proves.
    proof: Proof,
    next_interval: Duration,
    next_check: Duration,
    born: u64,
    rng: SmallRng,
}

/// A request on an endpoint.
pub(crate) struct Flight {
    pub(crate) id: Id,
    born: u64,
    outcome: Outcome,
    pub(crate) retry: bool,
    permits: Rc<Permits>,
}

impl Flight {
    /// Whether it is on that endpoint, and not on one that had its id before.
    pub(crate) fn is_on(&self, id: Id, endpoint: &Endpoint) -> bool {
        self.id == id && self.born == endpoint.born
    }
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let policy = policies::outlier(&mut rng);
        let mut world = Self {
            now: Duration::ZERO,
            events: Vec::new(),
            fleet: BTreeMap::new(),
            bounds: policies::bounds(&mut rng),
            detector: Detector::new(policy.clone()),
            requests: Permits::new(),
            retries: Permits::new(),
            flights: BTreeMap::new(),
            checked: rng.random_bool(0.5),
            proof: match rng.random_bool(0.5) {
                true => Proof::Answers,
                false => Proof::Accepts,
            },
            next_interval: policy.interval,
            next_check: time::CHECK_EVERY,
            policy,
            born: 0,
            rng,
        };
        for _ in 0..world.rng.random_range(2..=MOST) {
            world.add_endpoint();
        }
        world
    }

    /// One thing happens, or time passes.
    pub(crate) fn step(&mut self) {
        self.events.clear();
        match self.rng.random_range(0..1000) {
            0..8 => self.change_members(),
            8..11 => self.change_policy(),
            11..18 => self.operate(),
            18..21 => self.bounds = policies::bounds(&mut self.rng),
            21..45 => self.change_mood(),
            45..590 => self.arrive(),
            590..600 => self.look(),
            600..605 => self.pass(Duration::from_secs(40)),
            _ => self.pass(Duration::from_millis(400)),
        }
    }

    /// Whether an endpoint would be picked without panic.
    fn is_available(&self, id: Id, endpoint: &Endpoint) -> bool {
        !self.detector.is_ejected(&id) && (!self.checked || endpoint.health.is_up())
    }

    fn tell(&mut self, event: Event) {
        let at = self.now;
        self.events.push(Entry { at, event });
    }

    fn apply(&mut self, changes: impl IntoIterator<Item = Change<Id>>) {
        for change in changes {
            if let Change::Returned { key, .. } = &change
                && let Some(endpoint) = self.fleet.get_mut(key)
            {
                endpoint.streaks = Streaks::CLEAR.to_bits();
            }
            self.tell(Event::Changed(change));
        }
    }

    fn any_member(&mut self) -> Option<Id> {
        let at = self.rng.random_range(0..self.fleet.len().max(1));
        self.fleet.keys().nth(at).copied()
    }
}
