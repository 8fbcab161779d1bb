//! The same, as the model checker sees it.
//!
//! `ArcSwap` cannot run in there. In its place stands one that keeps its promises and no more, as its documentation and
//! source (1.9) have them: a store is one swap of a pointer and a release; a load acquires; a cache looks at the
//! pointer without any ordering, and loads where it is another.

use std::ops::Deref;
use std::sync::{Arc, PoisonError};

pub(crate) use ::loom::sync::atomic::{AtomicU8, AtomicU32, fence};
pub(crate) use ::loom::sync::{Mutex, MutexGuard};

use ::loom::sync::atomic::{AtomicUsize, Ordering};

/// Every value that was ever stored, and which of them it is now: no more is synchronized than by the one pointer of the real one.
#[derive(Debug)]
pub(crate) struct ArcSwap<T> {
    at: AtomicUsize,
    values: std::sync::Mutex<Vec<Arc<T>>>,
}

impl<T: Default> Default for ArcSwap<T> {
    fn default() -> Self {
        Self {
            at: AtomicUsize::new(0),
            values: std::sync::Mutex::new(vec![Arc::default()]),
        }
    }
}

impl<T> ArcSwap<T> {
    pub(crate) fn load_full(&self) -> Arc<T> {
        self.load_numbered().1
    }

    pub(crate) fn load(&self) -> Arc<T> {
        self.load_full()
    }

    pub(crate) fn store(&self, next: Arc<T>) {
        let number = {
            let mut values = self.values();
            values.push(next);
            values.len() - 1
        };
        self.at.swap(number, Ordering::AcqRel);
    }

    fn load_numbered(&self) -> (usize, Arc<T>) {
        let number = self.at.load(Ordering::Acquire);
        (number, Arc::clone(&self.values()[number]))
    }

    /// Never held while the checker may change threads.
    fn values(&self) -> std::sync::MutexGuard<'_, Vec<Arc<T>>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The value of the last load, for one thread.
pub(crate) struct Cache<A, T> {
    cell: A,
    number: usize,
    value: T,
}

impl<A: Deref<Target = ArcSwap<T>>, T> Cache<A, Arc<T>> {
    pub(crate) fn new(cell: A) -> Self {
        let (number, value) = cell.load_numbered();
        Self {
            cell,
            number,
            value,
        }
    }

    pub(crate) fn load(&mut self) -> &Arc<T> {
        if self.cell.at.load(Ordering::Relaxed) != self.number {
            (self.number, self.value) = self.cell.load_numbered();
        }
        &self.value
    }
}
