//! Time, and what is due as it passes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use weir_decide::outlier::{Check, Proof};

use super::World;
use crate::event::{Event, Id};

pub(super) const CHECK_EVERY: Duration = Duration::from_secs(5);

impl World {
    /// Up to that long, with what is due on the way in its order.
    pub(super) fn pass(&mut self, most: Duration) {
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
            let passed = match self.proof {
                Proof::Answers => endpoint.mood.passes_check(self.now),
                Proof::Accepts => endpoint.mood.accepts(self.now),
            };
            endpoint.health.on_probe(passed);
            let up = endpoint.health.is_up();
            if passed || !up {
                self.say_health(id, up);
            }
        }
    }

    pub(super) fn say_health(&mut self, id: Id, passing: bool) {
        let check = match passing {
            true => Check::Passing(self.proof),
            false => Check::Failing,
        };
        let change = self.detector.on_active_check(&id, check, self.now);
        self.tell(Event::Checked { id, check });
        self.apply(change);
    }

    /// Somebody is looked at: found absent often enough, or found there again.
    pub(super) fn look(&mut self) {
        let Some(id) = self.any_member() else { return };
        if self.fleet[&id].mood.accepts(self.now) {
            let change = self.detector.on_accepting(&id, self.now);
            self.tell(Event::Found { id });
            self.apply(change);
            return;
        }
        let since = self.now.saturating_sub(Duration::from_millis(300));
        let verdict = self
            .detector
            .on_unreachable(&id, 3, since, self.now, &mut self.rng);
        self.tell(Event::Absent { id, since, verdict });
    }
}
