//! What discovery, operators and fate do.

use std::time::Duration;

use rand::RngExt;
use weir_decide::outlier::Manual;

use super::{MOST, World};
use crate::event::{Event, Id};
use crate::fleet::{Endpoint, Mood};
use crate::policies;

/// Ids come from a few, so that one that left comes back.
const IDS: Id = 48;

impl World {
    pub(super) fn change_members(&mut self) {
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

    pub(super) fn add_endpoint(&mut self) {
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

    pub(super) fn change_policy(&mut self) {
        self.policy = policies::outlier(&mut self.rng);
        self.detector.set_policy(self.policy.clone());
        self.next_interval = self.next_interval.min(self.now + self.policy.interval);
    }

    pub(super) fn operate(&mut self) {
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

    pub(super) fn change_mood(&mut self) {
        let mood = Mood::any(&mut self.rng);
        let member = self.any_member();
        if let Some(endpoint) = member.and_then(|id| self.fleet.get_mut(&id)) {
            endpoint.mood = mood;
        }
    }
}
