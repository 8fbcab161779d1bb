//! What happens to a service: requests arrive and end, time passes, and everything around them changes.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use weir_config::model::OutlierDetection;
use weir_decide::breaker::{Permits, retry_limit};
use weir_decide::outlier::{Change, Detector, Manual, Outcome, Streak, Streaks};

use crate::event::{Entry, Event, Id, Permit};
use crate::fleet::{Endpoint, Mood};
use crate::policies::{self, Bounds};

const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Ids come from a few, so that one that left comes back.
const IDS: Id = 48;
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
            next_interval: policy.interval,
            next_check: CHECK_EVERY,
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
            45..600 => self.arrive(),
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

/// Requests.
impl World {
    fn arrive(&mut self) {
        for _ in 0..self.rng.random_range(1..=6) {
            let Some(id) = self.pick() else { return };
            if self.ask(Permit::Request, id) {
                if self.ask(Permit::Endpoint, id) {
                    self.start(id, false);
                } else {
                    self.requests.release();
                }
            }
        }
    }

    /// Any that is available; any at all where fewer than half are.
    fn pick(&mut self) -> Option<Id> {
        let mut from: Vec<Id> = self
            .fleet
            .iter()
            .filter(|&(&id, endpoint)| self.is_available(id, endpoint))
            .map(|(&id, _)| id)
            .collect();
        if from.len() * 2 < self.fleet.len() {
            from = self.fleet.keys().copied().collect();
        }
        let at = self.rng.random_range(0..from.len().max(1));
        from.get(at).copied()
    }

    fn ask(&mut self, what: Permit, id: Id) -> bool {
        let (permits, limit) = match what {
            Permit::Request => (&self.requests, self.bounds.requests),
            Permit::Endpoint => {
                let permits = &self.fleet[&id].permits;
                (&**permits, self.bounds.requests_per_endpoint)
            }
        };
        let taken = permits.taken();
        let got = permits.try_acquire(limit);
        self.tell(Event::Asked {
            what,
            limit,
            taken,
            got,
        });
        got
    }

    fn start(&mut self, id: Id, retry: bool) {
        self.born += 1;
        let endpoint = &self.fleet[&id];
        let (outcome, takes) = endpoint.mood.serve(self.now, &mut self.rng);
        let flight = Flight {
            id,
            born: endpoint.born,
            outcome,
            retry,
            permits: Rc::clone(&endpoint.permits),
        };
        self.flights.insert((self.now + takes, self.born), flight);
    }

    fn finish(&mut self, flight: &Flight) {
        flight.permits.release();
        if flight.retry {
            self.retries.release();
        }
        self.learn(flight);
        let again = flight.outcome != Outcome::Success && self.rng.random_bool(0.7);
        if !(again && self.retry()) {
            self.requests.release();
        }
    }

    /// What the endpoint's state becomes by the end of a request on it.
    fn learn(&mut self, flight: &Flight) {
        let (id, outcome) = (flight.id, flight.outcome);
        let endpoint = self.fleet.get_mut(&id);
        let Some(endpoint) = endpoint.filter(|endpoint| endpoint.born == flight.born) else {
            // What it told may have been under way to the detector when it left.
            if !self.fleet.contains_key(&id) {
                self.judge(id, Streak::FiveXx);
            }
            return;
        };
        endpoint.window.record(outcome, &self.policy);
        let streaks = Streaks::from_bits(endpoint.streaks);
        let (next, complete) = streaks.after(outcome, &self.policy);
        endpoint.streaks = next.to_bits();
        self.tell(Event::Told { id, outcome });
        if let Some(streak) = complete {
            self.judge(id, streak);
        }
    }

    fn judge(&mut self, id: Id, streak: Streak) {
        let verdict = self
            .detector
            .on_streak(&id, streak, self.now, &mut self.rng);
        self.tell(Event::Judged {
            id,
            streak,
            verdict,
        });
    }

    /// Goes on with a failed request elsewhere, if the retry limit bears it.
    fn retry(&mut self) -> bool {
        let (active, retrying) = (self.requests.taken(), self.retries.taken());
        let got = self
            .retries
            .try_acquire(retry_limit(self.bounds.retries, active));
        self.tell(Event::Retry {
            active,
            retrying,
            got,
        });
        if !got {
            return false;
        }
        match self.pick() {
            Some(id) if self.ask(Permit::Endpoint, id) => self.start(id, true),
            _ => {
                self.retries.release();
                return false;
            }
        }
        true
    }
}

/// Time.
impl World {
    /// Up to that long, with what is due on the way in its order.
    fn pass(&mut self, most: Duration) {
        let until = self.now + self.rng.random_range(Duration::ZERO..most);
        loop {
            let flight = self.flights.keys().next().map(|&(at, _)| at);
            let due = flight
                .unwrap_or(Duration::MAX)
                .min(self.next_interval)
                .min(self.next_check);
            if due > until {
                break;
            }
            self.now = due;
            if flight == Some(due)
                && let Some((_, flight)) = self.flights.pop_first()
            {
                self.finish(&flight);
            } else if self.next_interval == due {
                self.end_interval();
            } else {
                self.next_check = due + CHECK_EVERY;
                self.check_all();
            }
        }
        self.now = until;
    }

    fn end_interval(&mut self) {
        self.next_interval = self.now + self.policy.interval;
        let windows: Vec<_> = self
            .fleet
            .iter_mut()
            .map(|(&id, endpoint)| (id, std::mem::take(&mut endpoint.window)))
            .collect();
        let by_id: BTreeMap<_, _> = windows.iter().copied().collect();
        let changes = self
            .detector
            .on_interval(|id| by_id[id], self.now, &mut self.rng);
        self.tell(Event::Interval { windows });
        self.apply(changes);
    }

    fn check_all(&mut self) {
        if !self.checked {
            return;
        }
        let ids: Vec<Id> = self.fleet.keys().copied().collect();
        for id in ids {
            let Some(endpoint) = self.fleet.get_mut(&id) else {
                continue;
            };
            let passed = endpoint.mood.passes_check(self.now);
            endpoint.health.on_probe(passed);
            let up = endpoint.health.is_up();
            if passed || !up {
                self.say_health(id, up);
            }
        }
    }

    fn say_health(&mut self, id: Id, passing: bool) {
        let change = self.detector.on_active_check(&id, passing, self.now);
        self.tell(Event::Checked { id, passing });
        self.apply(change);
    }
}

/// People and discovery.
impl World {
    fn change_members(&mut self) {
        match self.rng.random_range(0..10) {
            0 => self.fleet.clear(),
            1 => {
                // A rollout: some leave and others come, in one change.
                let keep = self.rng.random_range(0.0..1.0);
                let rng = &mut self.rng;
                self.fleet.retain(|_, _| rng.random_bool(keep));
                for _ in 0..self.rng.random_range(0..4) {
                    self.insert_endpoint();
                }
            }
            2..=5 => {
                if let Some(id) = self.any_member() {
                    self.fleet.remove(&id);
                }
            }
            _ => return self.add_endpoint(),
        }
        self.settle_members();
        if self.fleet.len() < 2 && self.rng.random_bool(0.7) {
            self.add_endpoint();
        }
    }

    fn add_endpoint(&mut self) {
        self.insert_endpoint();
        self.settle_members();
    }

    /// With an id nobody has or had until just now: what is replaced has another identity (semantics 16). A new one takes nothing before its first pass, where there is a check.
    fn insert_endpoint(&mut self) {
        let id = self.rng.random_range(0..IDS);
        let is_free = !self.fleet.contains_key(&id) && self.detector.explain(&id).is_none();
        if self.fleet.len() < MOST && is_free {
            self.born += 1;
            let endpoint = Endpoint::new(self.born, &mut self.rng);
            self.fleet.insert(id, endpoint);
        }
    }

    fn settle_members(&mut self) {
        let known: Vec<Id> = self.detector.members().map(|(&id, _)| id).collect();
        let change = self
            .detector
            .set_members(self.fleet.keys().copied(), self.now);
        let ids = self.fleet.keys().copied().collect();
        self.tell(Event::Members { ids });
        self.apply(change);
        let mut new: Vec<Id> = self.fleet.keys().copied().collect();
        new.retain(|id| self.checked && !known.contains(id));
        for id in new {
            self.say_health(id, false);
        }
    }

    fn change_policy(&mut self) {
        self.policy = policies::outlier(&mut self.rng);
        self.detector.set_policy(self.policy.clone());
        self.next_interval = self.next_interval.min(self.now + self.policy.interval);
    }

    fn operate(&mut self) {
        let Some(id) = self.any_member() else { return };
        if self.rng.random_bool(0.6) {
            let change = self.detector.uneject(&id, self.now);
            self.tell(Event::Unejected { id });
            self.apply(change);
            return;
        }
        let lasts = Duration::from_secs(self.rng.random_range(1..60));
        let manual = Manual {
            until: self.rng.random_bool(0.5).then(|| self.now + lasts),
            force: self.rng.random_bool(0.3),
        };
        let result = self.detector.eject(&id, manual, self.now);
        self.tell(Event::Ejected {
            id,
            manual,
            refused: result.as_ref().err().copied(),
        });
        self.apply(result.unwrap_or_default());
    }

    fn change_mood(&mut self) {
        let mood = Mood::any(&mut self.rng);
        let member = self.any_member();
        if let Some(endpoint) = member.and_then(|id| self.fleet.get_mut(&id)) {
            endpoint.mood = mood;
        }
    }
}
