//! What belongs to one stream: subscriptions, nonces, versions, and what is not answered yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use envoy_types::pb::envoy::config::core::v3::Node;
use weir_wire::Kind;

use crate::limits::NONCES;
use crate::message::{Request, Variant};
use crate::references::Key;
use crate::set::{Set, is_named};

/// A response that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) kind: Kind,
    pub(super) nonce: String,
    pub(super) version: String,
    /// What it gives.
    pub(super) names: Vec<String>,
    /// Whether it takes something away.
    pub(super) removes: bool,
}

pub(super) struct Stream {
    pub(super) variant: Variant,
    pub(super) pending: Vec<Pending>,
    /// By name, as it was sent.
    pub(super) subscribed: BTreeSet<Key>,
    /// Types that were asked for on this stream.
    begun: BTreeSet<Kind>,
    /// Of the last response that was accepted; state of the world.
    pub(super) accepted: BTreeMap<Kind, String>,
    /// Of the last response.
    pub(super) nonces: BTreeMap<Kind, String>,
    /// The run of the control plane at its other end, once it has said so.
    pub(super) run: Option<String>,
    seen: VecDeque<(Kind, String)>,
}

impl Stream {
    pub(super) fn new(variant: Variant) -> Self {
        Self {
            variant,
            pending: Vec::new(),
            subscribed: BTreeSet::new(),
            begun: BTreeSet::new(),
            accepted: BTreeMap::new(),
            nonces: BTreeMap::new(),
            run: None,
            seen: VecDeque::new(),
        }
    }

    /// The first requests: all clusters and listeners, and by name what is known to be needed.
    pub(super) fn begin(
        &mut self,
        node: &Node,
        told: &Set,
        wanted: &BTreeSet<Key>,
    ) -> Vec<Request> {
        let mut requests = Vec::new();
        for kind in Kind::ALL {
            match is_named(kind) {
                true => requests.extend(self.follow(kind, told, wanted)),
                false => {
                    self.begun.insert(kind);
                    requests.push(Request {
                        known: known(self.variant, kind, told),
                        ..Request::of(kind)
                    });
                }
            }
        }
        if let Some(first) = requests.first_mut() {
            first.node = Some(node.clone());
        }
        requests
    }

    /// Brings the subscriptions of a type in line with what is wanted; `None` where they are.
    pub(super) fn follow(
        &mut self,
        kind: Kind,
        told: &Set,
        wanted: &BTreeSet<Key>,
    ) -> Option<Request> {
        let names = |of: &BTreeSet<Key>, not_in: &BTreeSet<Key>| -> Vec<String> {
            let of_kind = of.iter().filter(|key| key.0 == kind);
            let new = of_kind.filter(|key| !not_in.contains(*key));
            new.map(|(_, name)| name.clone()).collect()
        };
        let subscribe = names(wanted, &self.subscribed);
        let unsubscribe = names(&self.subscribed, wanted);
        if subscribe.is_empty() && unsubscribe.is_empty() {
            return None;
        }
        self.subscribed.retain(|key| key.0 != kind);
        let now = wanted.iter().filter(|key| key.0 == kind).cloned();
        self.subscribed.extend(now);
        // What is there from before is said once, when a type is first asked for on a stream.
        let first = self.begun.insert(kind);
        let request = Request::of(kind);
        Some(match self.variant {
            Variant::Delta => Request {
                known: match first {
                    true => known(self.variant, kind, told),
                    false => HashMap::new(),
                },
                subscribe,
                unsubscribe,
                ..request
            },
            Variant::StateOfTheWorld => Request {
                version: self.accepted.get(&kind).cloned().unwrap_or_default(),
                nonce: self.nonces.get(&kind).cloned().unwrap_or_default(),
                names: self.names(kind),
                ..request
            },
        })
    }

    /// All names of a type that are asked for.
    pub(super) fn names(&self, kind: Kind) -> Vec<String> {
        let of_kind = self.subscribed.iter().filter(|key| key.0 == kind);
        of_kind.map(|(_, name)| name.clone()).collect()
    }

    /// Whether a response came on this stream before; a server that gives no nonces cannot be told from one that repeats
    /// itself.
    pub(super) fn is_replayed(&mut self, kind: Kind, nonce: &str) -> bool {
        if nonce.is_empty() {
            return false;
        }
        let key = (kind, nonce.to_owned());
        if self.seen.contains(&key) {
            return true;
        }
        if self.seen.len() == NONCES {
            self.seen.pop_front();
        }
        self.seen.push_back(key);
        false
    }
}

/// Names and versions of what is there, for a server that sends differences.
fn known(variant: Variant, kind: Kind, told: &Set) -> HashMap<String, String> {
    match variant {
        Variant::Delta => {
            let all = told.resources().of(kind);
            all.map(|resource| (resource.name.clone(), resource.version.clone()))
                .collect()
        }
        Variant::StateOfTheWorld => HashMap::new(),
    }
}
