//! Counters with one label of few values: a list, not a table.

use std::cell::RefCell;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

use super::histogram::add;

type Entries<K> = Vec<(K, Arc<AtomicU64>)>;

/// The owner's side: only it writes.
#[derive(Debug)]
pub(super) struct Tally<K> {
    mine: RefCell<Entries<K>>,
    shared: Arc<TallyView<K>>,
}

/// The reader's side.
#[derive(Debug)]
pub(super) struct TallyView<K>(Mutex<Entries<K>>);

impl<K> Default for TallyView<K> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<K: Copy + PartialEq> Tally<K> {
    pub(super) fn new(shared: Arc<TallyView<K>>) -> Self {
        Self {
            mine: RefCell::new(Vec::new()),
            shared,
        }
    }

    /// Counts one. The first time a label is seen takes a lock.
    pub(super) fn count(&self, label: K) {
        let mut mine = self.mine.borrow_mut();
        if let Some((_, number)) = mine.iter().find(|(known, _)| *known == label) {
            return add(number, 1);
        }
        let number = Arc::new(AtomicU64::new(1));
        mine.push((label, Arc::clone(&number)));
        self.shared
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((label, number));
    }
}

impl<K: Copy> TallyView<K> {
    /// Hands each label and its number to `each`.
    pub(super) fn read(&self, mut each: impl FnMut(K, u64)) {
        for (label, number) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            each(*label, number.load(Ordering::Relaxed));
        }
    }
}

/// Counters whose labels come from configuration and may be many: found by their hash, and bounded.
#[derive(Debug)]
pub(super) struct Table<K> {
    mine: RefCell<FxHashMap<K, Arc<AtomicU64>>>,
    shared: Arc<TallyView<K>>,
}

/// Most entries of a [`Table`]; what is beyond them is counted under another label.
pub(super) const MAX_ENTRIES: usize = 2_000;

impl<K: Copy + Eq + Hash> Table<K> {
    pub(super) fn new(shared: Arc<TallyView<K>>) -> Self {
        Self {
            mine: RefCell::default(),
            shared,
        }
    }

    /// Counts one; where there is no room for another label, under what `other` makes of it. The first time a label is seen
    /// takes a lock.
    pub(super) fn count(&self, label: K, other: impl FnOnce(K) -> K) {
        let mut mine = self.mine.borrow_mut();
        let label = match mine.len() < MAX_ENTRIES || mine.contains_key(&label) {
            true => label,
            false => other(label),
        };
        let number = mine.entry(label).or_insert_with(|| {
            let number = Arc::new(AtomicU64::new(0));
            let mut list = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            list.push((label, Arc::clone(&number)));
            number
        });
        add(number, 1);
    }
}
