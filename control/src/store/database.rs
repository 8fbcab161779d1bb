//! What keeps the state of a control plane: a few keys with values, changed together or not at all.
//!
//! The surface is that of etcd rather than that of a file, since several control planes will share one: keys are text
//! under prefixes, a change is one transaction, and everything is asynchronous, because an answer may take a network round
//! trip and must not hold up a thread that others wait for. The embedded one ([`super::redb`]) does its reading and writing on
//! threads for blocking work. What the values mean is none of its business: see [`super::records`].

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;

/// An answer that takes a while.
pub type Pending<'a, T> = BoxFuture<'a, Result<T, DatabaseError>>;

/// Why nothing was read or written. Its text names the file and what to check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    #[error("there is no room for {place}: {reason}; free some space on that disk, then try again")]
    Full { place: String, reason: String },
    #[error("cannot use {place}: {reason}; check its disk and its permissions")]
    Failed { place: String, reason: String },
    #[error(
        "the disk of the state directory did not answer within {} s; what was asked for is not in force, but may be after a restart",
        .0.as_secs()
    )]
    Slow(std::time::Duration),
}

/// Keys with values.
pub trait Database: Send + Sync {
    /// The value of a key.
    fn get(&self, key: String) -> Pending<'_, Option<Vec<u8>>>;

    /// All keys that begin so, in order, with their values.
    fn scan(&self, prefix: String) -> Pending<'_, Vec<(String, Vec<u8>)>>;

    /// Makes all of a change, or nothing of it; what was made outlives a crash once this is over.
    fn commit(&self, batch: Batch) -> Pending<'_, ()>;

    /// Whether it outlives a restart.
    fn is_durable(&self) -> bool;

    /// Lets go of what only one process can hold, for one that takes over. Later changes fail.
    fn release(&self) {}
}

/// A change: for each key its new value, or `None` where it is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(pub BTreeMap<String, Option<Vec<u8>>>);

impl Batch {
    /// Gives a key a value.
    pub fn put(&mut self, key: impl Into<String>, value: Vec<u8>) {
        self.0.insert(key.into(), Some(value));
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: impl Into<String>) {
        self.0.insert(key.into(), None);
    }

    /// Makes another change after this one, as one.
    pub fn then(&mut self, later: Self) {
        self.0.extend(later.0);
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of its values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.values().flatten().map(Vec::len).sum()
    }
}

/// State that lasts as long as the process: where there is nowhere to keep it.
#[derive(Default)]
pub struct InMemory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Database for InMemory {
    fn get(&self, key: String) -> Pending<'_, Option<Vec<u8>>> {
        let value = self.lock().get(&key).cloned();
        Box::pin(async { Ok(value) })
    }

    fn scan(&self, prefix: String) -> Pending<'_, Vec<(String, Vec<u8>)>> {
        let all = self.lock();
        let found = all
            .range(prefix.clone()..)
            .take_while(|(key, _)| key.starts_with(&prefix))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Box::pin(async { Ok(found) })
    }

    fn commit(&self, batch: Batch) -> Pending<'_, ()> {
        let mut all = self.lock();
        for (key, value) in batch.0 {
            match value {
                Some(value) => all.insert(key, value),
                None => all.remove(&key),
            };
        }
        Box::pin(async { Ok(()) })
    }

    fn is_durable(&self) -> bool {
        false
    }
}

impl InMemory {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
