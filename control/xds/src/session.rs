//! One client's stream, without its socket: requests and views go in, responses come out.
//!
//! Both protocols share the state; they differ in how a request names what it wants and in how a response is written.
//! At most one response of each type is unanswered, and what changes meanwhile is folded into the next one: a slow client
//! gets the newest state, never a queue of old ones. Time is an argument.

mod batch;
mod order;
mod refusal;
mod render;
mod request;
#[cfg(test)]
mod tests;
mod track;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use weir_wire::{Kind, Resource};

pub use batch::Move;
pub use refusal::Refused;
pub use request::{Broken, Heard};

use crate::limits::{BATCH_BYTES, BATCH_RESOURCES, MAX_REFUSALS};
use crate::view::View;
use batch::Budget;
use track::Track;

/// Which of the two protocols is spoken; the method that the client called says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Each resource by itself, with its own version.
    Delta,
    /// State of the world: listeners and clusters always as a whole.
    Sotw,
}

impl Protocol {
    /// As it is shown to people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Sotw => "sotw",
        }
    }
}

/// The stream of one client.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    view: Arc<View>,
    tracks: [Track; 5],
    last_nonce: u64,
    /// Clusters that the client was just given and whose endpoints it has not asked for, and how long routes wait for that.
    awaited: BTreeMap<String, Instant>,
    /// Until when nothing is removed, because the client may not have asked for everything yet.
    settling: Option<Instant>,
    acked: Option<u64>,
}

/// A response to be sent.
#[derive(Debug)]
pub struct Push {
    pub kind: Kind,
    pub generation: u64,
    pub nonce: u64,
    pub moves: Vec<Move>,
    /// The whole type, where the protocol wants that.
    list: Option<Vec<Arc<Resource>>>,
}

impl Push {
    /// About how many bytes it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let size = |resource: &Arc<Resource>| resource.body.value.len() + resource.name.len();
        match &self.list {
            Some(list) => list.iter().map(size).sum(),
            None => self
                .moves
                .iter()
                .filter_map(|m| m.to.as_ref())
                .map(size)
                .sum(),
        }
    }
}

/// How far a client is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The newest generation that it has whole, of what it asked for.
    pub acked: Option<u64>,
    /// The generation it is brought to.
    pub target: u64,
    /// Whether something is unsent or unanswered that it did not refuse.
    pub is_moving: bool,
    /// What it would not take, the first [`MAX_REFUSALS`] of each type.
    pub refused: Vec<Refused>,
}

impl Session {
    /// A stream that begins.
    #[must_use]
    pub fn new(protocol: Protocol, view: Arc<View>) -> Self {
        Self {
            protocol,
            view,
            tracks: Kind::ALL.map(Track::new),
            last_nonce: 0,
            awaited: BTreeMap::new(),
            settling: None,
            acked: None,
        }
    }

    /// Takes a new view as the one to bring the client to.
    pub fn retarget(&mut self, view: Arc<View>) {
        let old = std::mem::replace(&mut self.view, view);
        let (view, tracks) = (&self.view, &mut self.tracks);
        view.changes_since(&old, |change| {
            tracks[index(change.kind)].retarget(change, view);
        });
        self.drop_unspeakable();
        self.note_progress();
    }

    /// The next response that may go out now.
    pub fn next(&mut self, now: Instant) -> Option<Push> {
        self.awaited.retain(|_, until| *until > now);
        let asked_all = self.tracks.iter().all(|track| track.asked);
        self.settling.take_if(|until| asked_all || *until <= now);
        for kind in Kind::ALL {
            if !self.tracks[index(kind)].asked || !self.may_add(kind, now) {
                continue;
            }
            let budget = self.budget(kind);
            if let Some(moves) = self.tracks[index(kind)].additions(&self.view, budget) {
                return Some(self.push(kind, moves));
            }
        }
        if !self.may_remove(now) {
            return None;
        }
        for kind in order::REMOVALS {
            let track = &self.tracks[index(kind)];
            if track.flight.is_some() {
                return None;
            }
            if let Some(moves) = track.removals(&self.view, self.budget(kind)) {
                return Some(self.push(kind, moves));
            }
        }
        None
    }

    /// When [`Session::next`] may have something although nothing else happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.awaited.values().copied().chain(self.settling).min()
    }

    /// Whether the client has not answered that response.
    #[must_use]
    pub fn is_unanswered(&self, nonce: u64) -> bool {
        let mut flights = self.tracks.iter().filter_map(|track| track.flight.as_ref());
        flights.any(|flight| flight.nonce == nonce)
    }

    /// How far the client is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let refused: Vec<Refused> = self.tracks.iter().flat_map(refusals).collect();
        let is_clean = self.tracks.iter().all(Track::is_clean);
        Progress {
            acked: self.acked,
            target: self.view.generation(),
            is_moving: !is_clean && refused.is_empty(),
            refused,
        }
    }

    /// Whether every resource of a response must be in it.
    fn lists(&self, kind: Kind) -> bool {
        self.protocol == Protocol::Sotw && matches!(kind, Kind::Cluster | Kind::Listener)
    }

    fn budget(&self, kind: Kind) -> Budget {
        match self.lists(kind) {
            true => Budget {
                bytes: usize::MAX,
                resources: usize::MAX,
            },
            false => Budget {
                bytes: BATCH_BYTES,
                resources: BATCH_RESOURCES,
            },
        }
    }

    fn push(&mut self, kind: Kind, moves: Vec<Move>) -> Push {
        if kind == Kind::Cluster {
            self.warm(&moves);
        }
        self.last_nonce += 1;
        let nonce = self.last_nonce;
        let lists = self.lists(kind);
        let track = &mut self.tracks[index(kind)];
        let list = lists.then(|| track.list(&self.view, &moves));
        track.sent(nonce, moves.clone());
        Push {
            kind,
            generation: self.view.generation(),
            nonce,
            moves,
            list,
        }
    }

    /// A cluster that changes is warmed anew, and a client that asks for endpoints by name waits for them, changed or not
    /// (xDS protocol, "Resource warming").
    fn warm(&mut self, moves: &[Move]) {
        let endpoints = &mut self.tracks[index(Kind::Endpoint)];
        for step in moves.iter().filter(|step| step.to.is_some()) {
            if endpoints.names.contains(&step.name) {
                endpoints.tell_again(&step.name, &self.view);
            }
        }
    }

    /// In the state of the world nothing says that a resource of these types is gone.
    fn drop_unspeakable(&mut self) {
        if self.protocol == Protocol::Sotw {
            for kind in [Kind::Endpoint, Kind::Secret, Kind::Route] {
                let keep_unknown = kind == Kind::Endpoint;
                self.tracks[index(kind)].drop_unspeakable(&self.view, keep_unknown);
            }
        }
    }

    fn note_progress(&mut self) {
        let asked = self.tracks.iter().any(|track| track.asked);
        if asked && self.tracks.iter().all(Track::is_clean) {
            self.acked = Some(self.view.generation());
        }
    }
}

fn refusals(track: &Track) -> impl Iterator<Item = Refused> + '_ {
    track
        .refused
        .iter()
        .take(MAX_REFUSALS)
        .map(|(name, refusal)| Refused {
            kind: track.kind,
            name: name.clone(),
            reason: Arc::clone(&refusal.reason),
        })
}

/// Where the track of a type is; [`Kind::ALL`] is in the order of the variants.
const fn index(kind: Kind) -> usize {
    kind as usize
}
