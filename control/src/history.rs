//! The history: what changed, by whom, when, and what it takes to go back.
//!
//! Serving comes first: the watcher publishes a generation and hands a [`Draft`] over, and a task of its own writes it down.
//! A disk that is slow or full delays the history and nothing else. Most generations of a system with discovery change
//! endpoints only; those are counted under the entry before them, so that the history stays one of decisions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use weir_config::model::{Model, Source};
use weir_config::{Change, Diff};

use crate::api::types::{ConfigChange, Generation};
use crate::store::records::{DocumentRef, Entry};

mod recorder;

pub(crate) use recorder::{Recorder, last_run};

/// Bytes of all entries with their configurations; the oldest go when it is more.
pub const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of one configuration. A larger one is not kept: its generation shows in the history and cannot be gone back to.
pub const MAX_CONFIGURATION: usize = 8 * 1024 * 1024;
/// Changes listed in an entry; more are counted.
const MAX_CHANGES: usize = 100;
/// Fields listed of one change.
const MAX_DETAILS: usize = 20;
/// Characters of one field's change.
const MAX_DETAIL: usize = 300;
/// Drafts that wait for a slow disk; more are lost to the history, which says so.
const QUEUE: usize = 256;

/// A generation as it was published, for the history.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) number: u64,
    pub(crate) why: Why,
    pub(crate) diff: Arc<Diff>,
    pub(crate) model: Arc<Model>,
    /// Where endpoints were written down by a person; the others were found.
    pub(crate) written: Arc<BTreeSet<Source>>,
    /// As the database has them.
    pub(crate) overrides: String,
    pub(crate) documents: BTreeMap<String, DocumentRef>,
}

/// What brought a generation about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Why {
    /// `docker`, `file`, `canary set`.
    pub(crate) source: String,
    /// Who asked, where somebody did.
    pub(crate) author: Option<String>,
    /// Whether nobody decided on it: a source found something else.
    pub(crate) found: bool,
}

impl Why {
    /// A person asked.
    pub(crate) fn asked(source: impl Into<String>, author: &str) -> Self {
        Self {
            source: source.into(),
            author: Some(author.to_owned()),
            found: false,
        }
    }

    /// A file changed.
    pub(crate) fn written(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            author: None,
            found: false,
        }
    }

    /// Discovery found something.
    pub(crate) fn found(source: impl Into<String>) -> Self {
        Self {
            found: true,
            ..Self::written(source)
        }
    }
}

impl Why {
    /// `canary set by cli`, `docker`
    pub(crate) fn by(&self) -> String {
        match &self.author {
            Some(author) => format!("{} by {author}", self.source),
            None => self.source.clone(),
        }
    }
}

impl Draft {
    /// Whether it is counted under the entry before it rather than being one.
    fn is_endpoints_only(&self) -> bool {
        let of_endpoints = |change: &Change| matches!(change.what, "endpoint" | "version weight");
        self.why.found && self.diff.changes.iter().all(of_endpoints)
    }
}

/// What the recorder is told.
enum Message {
    Draft(Box<Draft>),
    /// Write everything down now.
    Flush(oneshot::Sender<()>),
}

/// The history as it is known now, and where drafts are handed in.
pub(crate) struct History {
    kept: Mutex<Kept>,
    messages: mpsc::Sender<Message>,
}

#[derive(Default)]
struct Kept {
    /// Oldest first.
    entries: VecDeque<Entry>,
    problem: Option<String>,
    /// Drafts that found the queue full.
    lost: u64,
}

impl History {
    /// With what was kept before; what is handed in arrives at the receiver.
    pub(crate) fn new(entries: Vec<Entry>) -> (Self, Inbox) {
        let (messages, inbox) = mpsc::channel(QUEUE);
        let kept = Kept {
            entries: entries.into(),
            ..Kept::default()
        };
        let history = Self {
            kept: Mutex::new(kept),
            messages,
        };
        (history, Inbox(inbox))
    }

    /// Hands a generation in. Never waits.
    pub(crate) fn take(&self, draft: Draft) {
        if self
            .messages
            .try_send(Message::Draft(Box::new(draft)))
            .is_err()
        {
            let mut kept = self.lock();
            kept.lost += 1;
            let lost = kept.lost;
            kept.problem.get_or_insert_with(|| {
                format!("the disk of the state directory is too slow: {lost} changes are missing")
            });
        }
    }

    /// Waits until what was handed in is written down, as far as that works.
    pub(crate) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.messages.send(Message::Flush(done)).await.is_ok() {
            let _ = written.await;
        }
    }

    /// The newest first, at most that many.
    pub(crate) fn list(&self, limit: usize) -> Vec<Generation> {
        let kept = self.lock();
        let newest = kept.entries.iter().rev().take(limit);
        newest.map(|entry| entry.shown.clone()).collect()
    }

    /// The entry that a number belongs to: its own, or the one under which it is counted.
    pub(crate) fn get(&self, number: u64) -> Option<Entry> {
        let kept = self.lock();
        let entry = kept
            .entries
            .iter()
            .rev()
            .find(|entry| entry.shown.generation <= number)?;
        let exact = entry.shown.generation == number;
        let newest = kept.entries.back().map(|e| e.shown.generation);
        // Numbers after the newest entry are its endpoints' changes, unless nobody has used them yet.
        let counted = match newest == Some(entry.shown.generation) {
            true => number <= entry.shown.last_number(),
            false => true,
        };
        (exact || counted).then(|| entry.clone())
    }

    /// The numbers that can be gone back to, the newest first.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let kept = self.lock();
        let newest = kept.entries.iter().rev().filter(|entry| entry.shown.kept);
        newest.map(|entry| entry.shown.generation).collect()
    }

    /// Why it is not written, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the recorder finds what was handed in.
pub(crate) struct Inbox(mpsc::Receiver<Message>);

/// Changes as an entry lists them, and how many more there are.
pub(crate) fn listed(changes: &[Change]) -> (Vec<ConfigChange>, usize) {
    let listed = changes.iter().take(MAX_CHANGES).map(|change| {
        let mut change = ConfigChange::from(change);
        change.details.truncate(MAX_DETAILS);
        for detail in &mut change.details {
            if detail.len() > MAX_DETAIL {
                detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
                detail.push('…');
            }
        }
        change
    });
    (listed.collect(), changes.len().saturating_sub(MAX_CHANGES))
}

#[cfg(test)]
mod tests;
