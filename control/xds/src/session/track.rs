//! One type of resource on one stream: what the client asked for, and where it differs from the view.
//!
//! Held is only the difference. A client that has everything costs a few words, whatever the view holds, and a change of the
//! view touches what changed.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use weir_wire::{Kind, Resource};

use super::batch::{Basket, Budget, Move};
use super::refusal::Refusal;
use crate::view::{Change, View};

/// What the client has under a name, where that is not what the view says.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// It asked (again), and must hear what there is, or that there is nothing. It may have had it before.
    Unknown {
        there: bool,
    },
    Absent,
    /// It named this version when it came back.
    Version(String),
    Held(Arc<Resource>),
}

impl Known {
    fn of(resource: Option<&Arc<Resource>>) -> Self {
        resource.map_or(Self::Absent, |held| Self::Held(Arc::clone(held)))
    }

    /// Whether the client has it in some version.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Unknown { there } => *there,
            Self::Absent => false,
            Self::Version(_) | Self::Held(_) => true,
        }
    }

    fn is(&self, target: Option<&Arc<Resource>>) -> bool {
        match (self, target) {
            (Self::Unknown { .. }, _) => false,
            (Self::Absent, None) => true,
            (Self::Version(version), Some(target)) => *version == target.version,
            (Self::Held(held), Some(target)) => held.version == target.version,
            _ => false,
        }
    }
}

/// A response that the client has not answered.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) nonce: u64,
    moves: Vec<Move>,
}

/// The state of one type on one stream.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) kind: Kind,
    /// Whether the client spoke of this type at all.
    pub(super) asked: bool,
    pub(super) wildcard: bool,
    /// Names were given once: from then on an empty list means none, no longer all.
    pub(super) named_before: bool,
    pub(super) names: BTreeSet<String>,
    /// Where the client differs from the view.
    pub(super) lags: BTreeMap<String, Known>,
    /// Under a wildcard: whatever the view has behind this name the client has not, and was not sent. `None`: all was.
    fresh: Option<Start>,
    pub(super) flight: Option<Flight>,
    pub(super) last_nonce: Option<u64>,
    pub(super) refused: BTreeMap<String, Refusal>,
    /// Of a response that it refused a client may have taken parts, as Envoy does: what it has under these names is known only
    /// when it takes one of them again.
    doubtful: BTreeSet<String>,
    /// Parts of refused responses, to find out which resource it was.
    suspects: VecDeque<Vec<String>>,
    /// The first answer is due, even an empty one: Envoy does not start before it.
    pub(super) owes_answer: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Start {
    Beginning,
    After(String),
}

impl Track {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            asked: false,
            wildcard: false,
            named_before: false,
            names: BTreeSet::new(),
            lags: BTreeMap::new(),
            fresh: None,
            flight: None,
            last_nonce: None,
            refused: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            suspects: VecDeque::new(),
            owes_answer: false,
        }
    }

    /// Whether the client wants to hear of that name.
    pub(super) fn covers(&self, name: &str) -> bool {
        self.wildcard || self.names.contains(name)
    }

    /// Subscribes to all there is. `has` are versions that the client named when it came back.
    pub(super) fn subscribe_all(&mut self, view: &View, has: &HashMap<String, String>) {
        if self.wildcard {
            return;
        }
        self.wildcard = true;
        self.owes_answer = has.is_empty();
        if has.is_empty() && self.names.is_empty() {
            self.fresh = Some(Start::Beginning);
            return;
        }
        for resource in view.resources().of(self.kind) {
            if !self.names.contains(&resource.name) {
                let known = version(has, &resource.name).unwrap_or(Known::Absent);
                self.lags.insert(resource.name.clone(), known);
                self.settle(&resource.name, view);
            }
        }
        for name in has.keys() {
            let is_gone = view.resources().get(self.kind, name).is_none();
            if is_gone && !self.names.contains(name) {
                self.lags
                    .extend(version(has, name).map(|known| (name.clone(), known)));
            }
        }
    }

    /// Ends the subscription to all; names that were given stay.
    pub(super) fn unsubscribe_all(&mut self) {
        self.wildcard = false;
        self.fresh = None;
        let names = &self.names;
        self.lags.retain(|name, _| names.contains(name));
        self.refused.retain(|name, _| names.contains(name));
        self.doubtful.retain(|name| names.contains(name));
    }

    /// Subscribes to a name: the client is told of it even if it had it (it may have dropped it in between), but for what
    /// it named when it came back.
    pub(super) fn subscribe(&mut self, name: &str, view: &View, has: &HashMap<String, String>) {
        let is_new = self.names.insert(name.to_owned()) && !self.wildcard;
        self.refused.remove(name);
        match version(has, name) {
            Some(known) => {
                self.lags.insert(name.to_owned(), known);
                self.settle(name, view);
            }
            None if is_new => {
                self.lags
                    .insert(name.to_owned(), Known::Unknown { there: false });
            }
            None => self.tell_again(name, view),
        }
    }

    /// Ends the subscription to a name. Under a wildcard the client hears once more what it is to have.
    pub(super) fn unsubscribe(&mut self, name: &str, view: &View, tell: bool) {
        if !self.names.remove(name) {
            return;
        }
        if self.wildcard && tell {
            self.tell_again(name, view);
        } else if !self.wildcard {
            self.forget_flight(name);
            self.lags.remove(name);
            self.refused.remove(name);
            self.doubtful.remove(name);
        }
    }

    /// Makes the next response hold this name, whatever the client has.
    pub(super) fn tell_again(&mut self, name: &str, view: &View) {
        let exists = view.resources().get(self.kind, name).is_some();
        if exists && self.is_fresh(name) {
            return;
        }
        // Where it lags not, the client has what the view has.
        let there = self.lags.get(name).map_or(exists, Known::is_there);
        self.forget_flight(name);
        self.lags.insert(name.to_owned(), Known::Unknown { there });
    }

    /// The view changed from what `change` holds.
    pub(super) fn retarget(&mut self, change: &Change, view: &View) {
        let name = &change.name;
        if !self.covers(name) || self.is_fresh(name) {
            return;
        }
        if !self.lags.contains_key(name) {
            let known = Known::of(change.old.as_ref());
            self.lags.insert(name.clone(), known);
        }
        self.settle(name, view);
    }

    /// The next additions and changes, and answers that there is nothing of a name. `None` while an answer is awaited.
    pub(super) fn additions(&mut self, view: &View, budget: Budget) -> Option<Vec<Move>> {
        if self.flight.is_some() {
            return None;
        }
        let mut basket = Basket::new(budget);
        for (name, known) in &self.lags {
            let target = view.resources().get(self.kind, name);
            // Of what it may have had it is told with the removals.
            let wanted = target.is_some() || matches!(known, Known::Unknown { there: false });
            if wanted && !self.is_refused(name, target) && !basket.put(name, target) {
                break;
            }
        }
        self.take_fresh(view, &mut basket);
        if basket.moves.is_empty() {
            self.take_suspects(view, &mut basket);
        }
        if basket.moves.is_empty() && !self.owes_answer {
            return None;
        }
        Some(basket.moves)
    }

    /// The next removals.
    pub(super) fn removals(&self, view: &View, budget: Budget) -> Option<Vec<Move>> {
        if self.flight.is_some() {
            return None;
        }
        let mut basket = Basket::new(budget);
        for name in self.lags.keys() {
            let gone = view.resources().get(self.kind, name).is_none();
            if gone && !self.is_refused(name, None) && !basket.put(name, None) {
                break;
            }
        }
        (!basket.moves.is_empty()).then_some(basket.moves)
    }

    /// Notes that a response with these moves went out.
    pub(super) fn sent(&mut self, nonce: u64, moves: Vec<Move>) {
        self.owes_answer = false;
        self.last_nonce = Some(nonce);
        self.flight = Some(Flight { nonce, moves });
    }

    /// The client took a response. Returns what it took.
    pub(super) fn ack(&mut self, view: &View) -> Vec<Move> {
        let Some(flight) = self.flight.take() else {
            return Vec::new();
        };
        for step in &flight.moves {
            self.refused.remove(&step.name);
            self.doubtful.remove(&step.name);
            if self.covers(&step.name) {
                self.lags
                    .insert(step.name.clone(), Known::of(step.to.as_ref()));
                self.settle(&step.name, view);
            }
        }
        flight.moves
    }

    /// The client refused a response: what was in it is not sent again as it is, but for halves of it, until it is known
    /// which resource it was. Returns how many resources there were.
    pub(super) fn nack(&mut self, reason: &Arc<str>, view: &View) -> usize {
        let Some(flight) = self.flight.take() else {
            return 0;
        };
        let names: Vec<String> = flight.moves.iter().map(|step| step.name.clone()).collect();
        for step in flight.moves {
            let refusal = Refusal {
                version: step.to.map(|to| to.version.clone()),
                reason: Arc::clone(reason),
            };
            if self.covers(&step.name) {
                self.refused.insert(step.name.clone(), refusal);
                self.doubtful.insert(step.name.clone());
                self.lags
                    .entry(step.name.clone())
                    .or_insert(Known::Unknown { there: true });
            }
            // What changed meanwhile is something new, and no longer what was refused.
            self.settle(&step.name, view);
        }
        if names.len() > 1 {
            let (left, right) = names.split_at(names.len() / 2);
            self.suspects.push_back(left.to_vec());
            self.suspects.push_back(right.to_vec());
        }
        names.len()
    }

    /// Whether what the client has of this type is all that may be referred to: nothing is on its way or unsent, and
    /// what it refused it has in an older version.
    pub(super) fn is_settled(&self, view: &View) -> bool {
        let there = |(name, known): (&String, &Known)| {
            let target = view.resources().get(self.kind, name);
            target.is_none() || (self.is_refused(name, target) && known.is_there())
        };
        self.flight.is_none() && self.fresh.is_none() && self.lags.iter().all(there)
    }

    /// Whether every addition and change is taken: then what is gone may be removed.
    pub(super) fn has_additions(&self, view: &View) -> bool {
        let mut all = self.lags.keys();
        self.flight.is_some()
            || self.fresh.is_some()
            || all.any(|name| view.resources().get(self.kind, name).is_some())
    }

    /// Whether the client has all of the view that it asked for, and nothing else.
    pub(super) fn is_clean(&self) -> bool {
        self.flight.is_none() && self.fresh.is_none() && self.lags.is_empty() && !self.owes_answer
    }

    /// The whole of this type as the client shall have it after these moves, for responses that list everything.
    pub(super) fn list(&self, view: &View, moves: &[Move]) -> Vec<Arc<Resource>> {
        let moved: HashMap<&str, &Move> = moves.iter().map(|m| (m.name.as_str(), m)).collect();
        let mut out: BTreeMap<&str, &Arc<Resource>> = BTreeMap::new();
        for resource in view.resources().of(self.kind) {
            if self.covers(&resource.name) {
                out.insert(&resource.name, resource);
            }
        }
        // What is refused stays as it was, what is gone stays until nothing refers to it.
        for (name, known) in &self.lags {
            match known {
                Known::Held(held) => out.insert(name, held),
                _ => out.remove(name.as_str()),
            };
        }
        for (name, step) in moved {
            match &step.to {
                Some(to) => out.insert(name, to),
                None => out.remove(name),
            };
        }
        out.into_values().cloned().collect()
    }

    /// Drops what can be told of in no response: of this type a client learns by its parents that something is gone.
    pub(super) fn drop_unspeakable(&mut self, view: &View, keep_unknown: bool) {
        let kind = self.kind;
        self.lags.retain(|name, known| {
            let is_there = view.resources().get(kind, name).is_some();
            is_there || (keep_unknown && matches!(known, Known::Unknown { there: false }))
        });
    }

    fn settle(&mut self, name: &str, view: &View) {
        let target = view.resources().get(self.kind, name);
        let is_there = self.lags.get(name).is_some_and(|known| known.is(target));
        if is_there && !self.doubtful.contains(name) {
            self.lags.remove(name);
        }
        if !self.is_refused(name, target) {
            self.refused.remove(name);
        }
    }

    /// Whether the client refused this very version of it.
    fn is_refused(&self, name: &str, target: Option<&Arc<Resource>>) -> bool {
        let version = target.map(|target| &target.version);
        let refusal = self.refused.get(name);
        refusal.is_some_and(|refusal| refusal.version.as_ref() == version)
    }

    fn is_fresh(&self, name: &str) -> bool {
        match &self.fresh {
            None => false,
            Some(Start::Beginning) => true,
            Some(Start::After(last)) => name > last.as_str(),
        }
    }

    fn forget_flight(&mut self, name: &str) {
        if let Some(flight) = &mut self.flight {
            flight.moves.retain(|step| step.name != name);
        }
    }

    /// Takes what was never sent, in the order of names, as far as it fits.
    fn take_fresh(&mut self, view: &View, basket: &mut Basket) {
        if self.fresh.is_none() {
            return;
        }
        for resource in view.resources().of(self.kind) {
            if !self.is_fresh(&resource.name) || self.lags.contains_key(&resource.name) {
                continue;
            }
            if !basket.put(&resource.name, Some(resource)) {
                return;
            }
            self.lags.insert(resource.name.clone(), Known::Absent);
            self.fresh = Some(Start::After(resource.name.clone()));
        }
        self.fresh = None;
    }

    /// Takes a part of what was refused together.
    fn take_suspects(&mut self, view: &View, basket: &mut Basket) {
        while basket.moves.is_empty()
            && let Some(names) = self.suspects.pop_front()
        {
            for name in names {
                let target = view.resources().get(self.kind, &name);
                if self.lags.contains_key(&name) && self.is_refused(&name, target) {
                    basket.put(&name, target);
                }
            }
        }
    }
}

fn version(has: &HashMap<String, String>, name: &str) -> Option<Known> {
    has.get(name).map(|version| Known::Version(version.clone()))
}
