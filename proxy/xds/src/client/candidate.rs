//! From what was told to what can be in force.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use weir_config::model::Model;
use weir_wire::{Decoder, Kind, Rejected};

use super::{Client, WARMING};
use crate::references::Key;
use crate::set::Set;
use crate::tally::Reason;

/// How often what does not fit is taken out before the rest is tried again. What names it may not fit then either.
const ROUNDS: usize = 8;

/// A set that may come into force.
pub struct Candidate {
    set: Set,
    in_force: Arc<Set>,
    model: Arc<Model>,
    generation: u64,
    decoder: Decoder,
}

/// What became of a candidate.
pub struct Verdict {
    set: Set,
    generation: u64,
    /// To be published; `None` where nothing changes for those who are served.
    publish: Option<Arc<Model>>,
    in_force: bool,
    rejected: Vec<Rejected>,
    held: Option<&'static str>,
    decoder: Decoder,
}

impl Verdict {
    /// What is to be published, if it says anything new, and its number.
    #[must_use]
    pub fn publish(&self) -> Option<(Arc<Model>, u64)> {
        Some((Arc::clone(self.publish.as_ref()?), self.generation))
    }

    /// Whether a set came into force by it.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.in_force
    }
}

impl Client {
    /// What can be tried now. `None` while nothing changed, and while something that is named has not come
    /// ([`Client::deadline`] says until when).
    pub fn candidate(&mut self, now: Instant) -> Option<Candidate> {
        if !self.changed {
            return None;
        }
        self.look_for_absent(now);
        // Before the first listener there is nobody to serve.
        let listeners = |set: &Set| set.count(Kind::Listener);
        if listeners(&self.told) + listeners(&self.in_force) == 0 {
            return None;
        }
        let is_new = |since: &Instant| now.saturating_duration_since(*since) < WARMING;
        if self.absent.values().any(is_new) {
            let since = *self.waiting.get_or_insert(now);
            if now.saturating_duration_since(since) < WARMING {
                return None;
            }
        }
        self.changed = false;
        self.waiting = None;
        let mut set = self.told.clone();
        for owner in set.incomplete() {
            set.revert(&owner, &self.in_force);
        }
        Some(Candidate {
            set,
            in_force: Arc::clone(&self.in_force),
            model: Arc::clone(&self.model),
            generation: self.told_generation.unwrap_or(self.generation + 1),
            decoder: std::mem::take(&mut self.decoder),
        })
    }

    /// When to ask for a candidate again even if nothing comes.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.map(|since| since + WARMING)
    }

    fn look_for_absent(&mut self, now: Instant) {
        let before = std::mem::take(&mut self.absent);
        let missing = self.told.missing().into_iter();
        self.absent = missing
            .map(|key| {
                let since = before.get(&key).copied().unwrap_or(now);
                (key, since)
            })
            .collect();
    }

    /// Takes note of what became of a candidate: `unbound` are listeners that could not be bound, with the reason. Returns
    /// the reasons of what is refused, to be counted.
    pub fn applied(&mut self, verdict: Verdict, unbound: &[(String, String)]) -> Vec<Reason> {
        self.decoder = verdict.decoder;
        if verdict.in_force {
            self.in_force = Arc::new(verdict.set);
            self.generation = verdict.generation;
            if let Some(model) = verdict.publish {
                self.model = model;
            }
        }
        let mut reasons: Vec<Reason> = Vec::new();
        let before = std::mem::take(&mut self.unfit);
        for rejected in verdict.rejected {
            let key = (rejected.kind, rejected.name);
            if before.get(&key) != Some(&rejected.reason) {
                reasons.push(Reason::Unfit);
                tracing::warn!("{}", super::answer::line(&key, &rejected.reason));
                self.unsaid.push(key.clone());
            }
            self.unfit.insert(key, rejected.reason);
        }
        reasons.extend(self.bound(unbound));
        if let Some(why) = verdict.held
            && self.held.is_none()
        {
            reasons.push(Reason::Empty);
            tracing::error!("{why}");
        }
        self.held = verdict.held;
        reasons
    }

    /// Takes note that nothing became of a candidate, by a fault of ours.
    pub fn failed(&mut self) {
        self.held = Some(
            "this proxy failed when it looked at the set; what was in force stays, and its log says more",
        );
    }

    /// Takes note of the listeners of what is in force that could not be bound, each with the reason. Returns the reasons of
    /// what is refused, to be counted.
    pub fn bound(&mut self, unbound: &[(String, String)]) -> Vec<Reason> {
        let unbound: BTreeMap<Key, String> = unbound
            .iter()
            .map(|(name, why)| ((Kind::Listener, name.clone()), why.clone()))
            .collect();
        let before = std::mem::replace(&mut self.unbound, unbound);
        let is_new = |key: &&Key| !before.contains_key(*key);
        let new: Vec<Key> = self.unbound.keys().filter(is_new).cloned().collect();
        let still = |key: &Key| self.told.get(key.0, &key.1).is_some();
        let well = before
            .into_keys()
            .filter(|key| !self.unbound.contains_key(key));
        self.well.extend(well.filter(still).map(|(_, name)| name));
        for key in &new {
            let why = self.unbound.get(key).map_or("", String::as_str);
            tracing::error!("{}", super::answer::line(key, why));
        }
        let reasons = new.iter().map(|_| Reason::Unbound).collect();
        self.unsaid.extend(new);
        reasons
    }
}

impl Candidate {
    /// Makes a model of the set. What does not fit into the whole is taken as it was before, or left out; where that
    /// makes no whole either, all stays as it was. Blocks for as long as that takes.
    #[must_use]
    pub fn judge(mut self) -> Verdict {
        let mut all: BTreeMap<Key, Rejected> = BTreeMap::new();
        for _ in 0..ROUNDS {
            let rejected = match self.decoder.decode(self.set.resources()) {
                Ok(model) => return self.accept(model, all),
                Err(rejected) => rejected,
            };
            let mut changed = false;
            for one in rejected {
                let key = (one.kind, one.name.clone());
                changed |= self.set.revert(&key, &self.in_force);
                all.entry(key).or_insert(one);
            }
            if !changed {
                break;
            }
        }
        self.keep(all)
    }

    fn accept(self, mut model: Model, rejected: BTreeMap<Key, Rejected>) -> Verdict {
        // Whoever serves by it sees thereby what stays as it is.
        model.share(&self.model);
        if let Some(held) = emptied(&self.model, &model) {
            return Verdict {
                held: Some(held),
                ..self.keep(rejected)
            };
        }
        let new = model != *self.model;
        Verdict {
            publish: new.then(|| Arc::new(model)),
            set: self.set,
            generation: self.generation,
            in_force: true,
            rejected: rejected.into_values().collect(),
            held: None,
            decoder: self.decoder,
        }
    }

    /// All stays as it was.
    fn keep(self, rejected: BTreeMap<Key, Rejected>) -> Verdict {
        Verdict {
            set: self.set,
            generation: self.generation,
            publish: None,
            in_force: false,
            rejected: rejected.into_values().collect(),
            held: None,
            decoder: self.decoder,
        }
    }
}

/// Why a set is not believed: an answer that empties a working configuration is a mistake of somebody's (semantics 36).
fn emptied(before: &Model, after: &Model) -> Option<&'static str> {
    let endpoints = |model: &Model| model.services.iter().any(|s| !s.endpoints.is_empty());
    if !before.listeners.is_empty() && after.listeners.is_empty() {
        Some(
            "a set without any listener is not believed: the last one that had some stays in force",
        )
    } else if !before.services.is_empty() && after.services.is_empty() {
        Some("a set without any cluster is not believed: the last one that had some stays in force")
    } else if endpoints(before) && !endpoints(after) {
        Some(
            "a set without any endpoint is not believed: the last one that had some stays in force",
        )
    } else {
        None
    }
}
