//! Who follows the published generations, and how far each has come.
//!
//! The embedded proxy notes itself through [`crate::Control::applied`], a proxy of its own is noted by whoever speaks with
//! it. What is noted is always the newest that is known, so a note replaces the one before. A follower that is away
//! stays known for a while, because whoever waits for a change wants to hear that it did not get there; then it is
//! dropped, because a proxy that was taken down for good must not hold up every change.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock;
use crate::events::one_line;

/// Followers known at once. Where one more comes, the one that is away longest makes room.
pub const MAX_FOLLOWERS: usize = 10_000;
/// How long a proxy that is away stays known.
pub const FORGET_AFTER: Duration = Duration::from_secs(3600);
/// The name of the proxy in the control plane's own process.
pub const EMBEDDED: &str = "embedded";

/// Characters kept of why a generation was refused.
const MAX_REASON: usize = 1000;
/// Followers that a message names; more are counted.
const NAMED: usize = 5;

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The proxy in this process. It is never dropped.
    Embedded,
    /// A proxy of its own.
    Proxy,
}

/// How a follower is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It can be reached, and has in force what it acknowledged last. It may still be behind.
    Synced,
    /// It is away, or was never heard: it serves what it was last given.
    Stale,
    /// It did not take that generation, or only a part of it.
    Refused { generation: u64, reason: String },
}

/// A follower as it was noted last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    /// Unique among the followers of a kind.
    pub name: String,
    pub kind: Kind,
    /// The newest generation that it has in force. One that brings it nothing new counts as soon as that is known.
    pub acked: Option<u64>,
    pub state: State,
    /// Since when it is in this state, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it was noted last, in milliseconds since 1970.
    pub seen_ms: u64,
}

impl Follower {
    /// Whether that generation, or a later one, is in force there without a complaint.
    #[must_use]
    pub fn has(&self, generation: u64) -> bool {
        !self.refuses(generation) && self.acked.is_some_and(|acked| acked >= generation)
    }

    /// Whether it was given that generation, or a later one in its place, and did not take it, or only a part of it.
    #[must_use]
    pub fn refuses(&self, generation: u64) -> bool {
        let State::Refused { generation: of, .. } = self.state else {
            return false;
        };
        // What it took before it refused something newer stays in force.
        let has_it = |acked: u64| acked >= generation && acked < of;
        of >= generation && !self.acked.is_some_and(has_it)
    }
}

/// Why a generation is not in force everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Late {
    /// Those that have not said anything about it.
    pub behind: Vec<Follower>,
    /// Those that said no; their state holds the reason.
    pub refused: Vec<Follower>,
}

impl std::error::Error for Late {}

impl fmt::Display for Late {
    /// `refused by edge-2: address in use; behind: edge-1 (at 6), edge-3 (away, at 4)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusal = |follower: &Follower| match &follower.state {
            State::Refused { reason, .. } => format!("refused by {}: {reason}", follower.name),
            State::Synced | State::Stale => format!("refused by {}", follower.name),
        };
        let mut parts: Vec<String> = self.refused.iter().take(NAMED).map(refusal).collect();
        if self.refused.len() > NAMED {
            parts.push(format!("refused by {} more", self.refused.len() - NAMED));
        }
        let lag = |follower: &Follower| {
            let at = match follower.acked {
                Some(acked) => format!("at {acked}"),
                None => "at none yet".into(),
            };
            match follower.state {
                State::Stale => format!("{} (away, {at})", follower.name),
                State::Synced | State::Refused { .. } => format!("{} ({at})", follower.name),
            }
        };
        let mut names: Vec<String> = self.behind.iter().take(NAMED).map(lag).collect();
        if self.behind.len() > NAMED {
            names.push(format!("{} more", self.behind.len() - NAMED));
        }
        if !names.is_empty() {
            parts.push(format!("behind: {}", names.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// The followers. Noting never waits for anybody.
pub struct Followers {
    known: Mutex<BTreeMap<(Kind, String), Known>>,
    /// Counts notes, to wake those that wait.
    notes: watch::Sender<u64>,
    most: usize,
    forget_after: Duration,
}

struct Known {
    follower: Follower,
    /// Of the last note, on a clock that nobody sets.
    seen: Instant,
}

impl Default for Followers {
    fn default() -> Self {
        Self::with_limits(MAX_FOLLOWERS, FORGET_AFTER)
    }
}

impl Followers {
    /// Followers with other limits than the usual ones.
    #[must_use]
    pub fn with_limits(most: usize, forget_after: Duration) -> Self {
        Self {
            known: Mutex::default(),
            notes: watch::Sender::new(0),
            most,
            forget_after,
        }
    }

    /// Notes how a follower is doing now. `acked` is the newest generation that it has in force; `None` leaves
    /// what is known of it.
    ///
    /// Returns `false` where it could not be noted, because as many as can be are known and none of them is away.
    pub fn note(&self, name: &str, kind: Kind, acked: Option<u64>, state: State) -> bool {
        let noted = self.put(name, kind, acked, bounded(state));
        if noted {
            self.notes
                .send_modify(|notes| *notes = notes.wrapping_add(1));
        }
        noted
    }

    fn put(&self, name: &str, kind: Kind, acked: Option<u64>, state: State) -> bool {
        let (seen, now_ms) = (Instant::now(), clock::now_ms());
        let mut known = self.lock();
        let key = (kind, name.to_owned());
        if let Some(entry) = known.get_mut(&key) {
            let follower = &mut entry.follower;
            if follower.state != state {
                follower.since_ms = now_ms;
            }
            follower.acked = acked.or(follower.acked);
            follower.state = state;
            follower.seen_ms = now_ms;
            entry.seen = seen;
            return true;
        }
        if known.len() >= self.most && !make_room(&mut known) {
            return false;
        }
        let follower = Follower {
            name: name.to_owned(),
            kind,
            acked,
            state,
            since_ms: now_ms,
            seen_ms: now_ms,
        };
        known.insert(key, Known { follower, seen });
        true
    }

    /// Everyone that is known, the embedded proxy first, then by name. Who is away too long is dropped here.
    #[must_use]
    pub fn list(&self) -> Vec<Follower> {
        let mut known = self.lock();
        known.retain(|(kind, _), entry| {
            let away = entry.follower.state == State::Stale;
            *kind == Kind::Embedded || !away || entry.seen.elapsed() < self.forget_after
        });
        known.values().map(|entry| entry.follower.clone()).collect()
    }

    /// Where a generation stands now; `Ok` when everyone that is known has it.
    ///
    /// # Errors
    /// [`Late`], with those that do not.
    pub fn check(&self, generation: u64) -> Result<(), Late> {
        let mut late = Late::default();
        for follower in self.list() {
            if follower.refuses(generation) {
                late.refused.push(follower);
            } else if !follower.has(generation) {
                late.behind.push(follower);
            }
        }
        match late.behind.is_empty() && late.refused.is_empty() {
            true => Ok(()),
            false => Err(late),
        }
    }

    /// Waits until everyone that is known has that generation, or a later one, in force. It ends early when nobody is
    /// left to wait for, because those that have it not have refused it.
    ///
    /// # Errors
    /// [`Late`] with those that refused it, and those that had not said anything when the time was over.
    pub async fn wait(&self, generation: u64, timeout: Duration) -> Result<(), Late> {
        let deadline = Instant::now() + timeout;
        let mut notes = self.notes.subscribe();
        loop {
            notes.borrow_and_update();
            let late = match self.check(generation) {
                Ok(()) => return Ok(()),
                Err(late) if late.behind.is_empty() => return Err(late),
                Err(late) => late,
            };
            // The sender lives as long as `self`, so only the time can end this with an error.
            if tokio::time::timeout_at(deadline, notes.changed())
                .await
                .is_err()
            {
                return Err(late);
            }
        }
    }

    /// Tells when something is noted: the value counts notes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.notes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Kind, String), Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the proxy that is away longest; `false` if none is.
fn make_room(known: &mut BTreeMap<(Kind, String), Known>) -> bool {
    let away = known
        .iter()
        .filter(|((kind, _), entry)| *kind == Kind::Proxy && entry.follower.state == State::Stale);
    let longest = away.min_by_key(|(_, entry)| entry.seen);
    let Some(key) = longest.map(|(key, _)| key.clone()) else {
        return false;
    };
    known.remove(&key).is_some()
}

/// A reason comes from another process: it must neither be endless nor break a line.
fn bounded(state: State) -> State {
    match state {
        State::Refused { generation, reason } => State::Refused {
            generation,
            reason: one_line(&reason.replace(char::is_control, " "), MAX_REASON),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
