//! Requests: where they go, what they take, what they leave behind.

use std::rc::Rc;

use rand::RngExt;
use weir_decide::breaker::retry_limit;
use weir_decide::outlier::{Outcome, Streak, Streaks};

use super::{Flight, World};
use crate::event::{Event, Id, Permit};

impl World {
    pub(super) fn arrive(&mut self) {
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

    pub(super) fn finish(&mut self, flight: &Flight) {
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
