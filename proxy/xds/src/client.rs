//! The protocol's state machine: what was told, what is asked for, what is answered. No sockets, no clock.
//!
//! Three sets of resources. What the server **told**, as far as each resource is acceptable by itself; a refused one keeps
//! what was there before. What is **in force**: the last set that was complete and made sense as a whole. Between
//! the two a **candidate**, which takes from what is in force whatever is not complete or does not fit.
//!
//! One round: [`Client::receive`] each response that is there, [`Client::candidate`] to see whether there is something to
//! put in force, [`Candidate::judge`] and the caller's own publishing, both off the runtime, [`Client::applied`] with what
//! came of it, and [`Client::answers`] to be sent.

mod answer;
mod candidate;
mod receive;
mod run;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use weir_config::model::Model;
use weir_wire::{Decoder, Resources};

use crate::limits::Limits;
use crate::message::Variant;
use crate::references::Key;
use crate::set::Set;
use crate::tally::Reason;

pub use candidate::{Candidate, Verdict};
use run::Run;
use stream::Stream;

/// How long a set waits for what its resources name, before it goes on without those that lack something (Envoy,
/// `initial_fetch_timeout`).
pub const WARMING: Duration = Duration::from_secs(15);

/// Why a resource is not taken.
struct Problem {
    key: Key,
    why: String,
    reason: Reason,
}

/// What a proxy knows of its configuration, over all its streams.
pub struct Client {
    node: Node,
    limits: Limits,
    told: Set,
    in_force: Arc<Set>,
    model: Arc<Model>,
    /// What it has read of resources; away with a candidate.
    decoder: Decoder,
    /// What [`crate::Follower`] numbers generations by: the control plane's number, or its own count.
    generation: u64,
    /// The control plane's number of what was told last, if it is one of Weir's.
    told_generation: Option<u64>,
    /// Whose numbers those are.
    run: Run,
    /// Whether `told` changed since a candidate was made of it.
    changed: bool,
    /// What is named and not there, and since when.
    absent: BTreeMap<Key, Instant>,
    /// Since when a set is held back for it.
    waiting: Option<Instant>,
    /// Refused by itself; what was there before is kept.
    refused: BTreeMap<Key, String>,
    /// Did not fit into the whole.
    unfit: BTreeMap<Key, String>,
    /// Listeners of what is in force that could not be bound.
    unbound: BTreeMap<Key, String>,
    held: Option<&'static str>,
    /// What of these the server is to hear of, whichever response it comes with.
    unsaid: Vec<Key>,
    /// Listeners that are bound by now and were not.
    well: Vec<String>,
    stream: Option<Stream>,
}

impl Client {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(node: Node, limits: Limits) -> Self {
        Self {
            node,
            limits,
            told: Set::default(),
            in_force: Arc::default(),
            model: Arc::default(),
            decoder: Decoder::default(),
            generation: 0,
            told_generation: None,
            run: Run::default(),
            changed: false,
            absent: BTreeMap::new(),
            waiting: None,
            refused: BTreeMap::new(),
            unfit: BTreeMap::new(),
            unbound: BTreeMap::new(),
            held: None,
            unsaid: Vec::new(),
            well: Vec::new(),
            stream: None,
        }
    }

    /// Goes on from a set that was in force before, in the place of what it knows. `run` is what [`Client::run`] gave then.
    pub fn resume(&mut self, resources: &Resources, model: Arc<Model>, generation: u64, run: &str) {
        self.told = Set::of(resources);
        self.in_force = Arc::new(self.told.clone());
        self.model = model;
        self.generation = generation;
        self.run = Run::resumed(run, generation);
    }

    /// Begins a stream; what is returned is to be sent first. Says which versions it has, so that only what is new comes, and
    /// what could not be put in force, so that the server hears of it.
    pub fn connected(&mut self, variant: Variant) -> Vec<crate::message::Request> {
        let mut stream = Stream::new(variant);
        let mut known = self.told.clone();
        for (kind, name) in self.unfit.keys().chain(self.unbound.keys()) {
            known.remove(*kind, name);
        }
        let first = stream.begin(&self.node, &known, &self.wanted());
        self.stream = Some(stream);
        self.run.begin_stream();
        self.well.clear();
        self.unsaid.clear();
        first
    }

    /// The stream is over; what was told stays.
    pub fn disconnected(&mut self) {
        self.stream = None;
    }

    /// What is in force.
    #[must_use]
    pub fn resources(&self) -> &Resources {
        self.in_force.resources()
    }

    /// The run of a control plane of Weir's that was heard last; empty where there was none that has a name.
    #[must_use]
    pub fn run(&self) -> &str {
        self.run.name()
    }

    /// The model that is in force.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The number of what is in force; 0 before the first.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of what was told last, as the control plane has it where it is one of Weir's.
    #[must_use]
    pub fn told_generation(&self) -> u64 {
        self.told_generation.unwrap_or(self.generation)
    }

    /// What of the server's is not in force, in words: refused, not fitting, not bound, held.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let all = self.refused.iter().chain(&self.unfit);
        let all = all.chain(&self.unbound);
        let mut texts: Vec<String> = all.map(|(key, why)| answer::line(key, why)).collect();
        texts.extend(self.held.map(str::to_owned));
        texts
    }

    /// What is named and has not come, in words.
    #[must_use]
    pub fn awaited(&self) -> Vec<String> {
        let names = self.absent.keys();
        names
            .map(|(kind, name)| format!("{kind:?} {name}"))
            .collect()
    }

    /// What is to be asked for by name: by what was told, and by what is in force until that is replaced.
    fn wanted(&self) -> BTreeSet<Key> {
        let named = self.told.named().chain(self.in_force.named());
        let by_name = named.filter(|(kind, _)| crate::set::is_named(*kind));
        by_name.cloned().collect()
    }
}

#[cfg(test)]
mod tests;
