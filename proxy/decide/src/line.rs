//! The line of those who wait for one of a bounded number of places, over several workers.
//!
//! All workers share one line, of which each has a part. A place that is given back goes to the first of the worker that
//! gives it while nobody of another worker has waited much longer: an idle connection cannot change workers,
//! so to pass it on is to close it and let the other one open its own. What is asked on every request is one
//! atomic load; the lock is taken by those who wait and those who call them.
//!
//! No call is lost. Who finds no place and joins the line, while the last place is given back by one who sees nobody in
//! it, would wait for ever: so who gives a place back leaves word of it before looking at the line
//! ([`Waiters::give_back`]), and who joins looks for such a word afterwards ([`Waiters::join`]). One who is called and leaves without
//! having heard it passes the call on. Both are checked under every interleaving (`line/loom.rs`).
//!
//! Times are the caller's: `T` is an `Instant`, or anything else that counts up.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Add;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(all(loom, test))]
use ::loom::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
#[cfg(not(all(loom, test)))]
use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

use crate::breaker::Permits;

/// How much longer another worker's first must have waited than our own to go before it: enough that a connection
/// serves many requests between two moves, and far below what a person notices.
pub const HEAD_START: Duration = Duration::from_millis(20);

/// The line of one service.
#[derive(Debug)]
pub struct Line<T> {
    waiting: AtomicUsize,
    /// A place was given back, and who joins has not looked for it since.
    spare: AtomicBool,
    parts: Mutex<Vec<Arc<Part<T>>>>,
}

/// One worker's part of it.
#[derive(Debug)]
struct Part<T> {
    waiting: AtomicUsize,
    places: Mutex<VecDeque<Arc<Place<T>>>>,
}

#[derive(Debug)]
struct Place<T> {
    since: T,
    called: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Nobody,
    /// Somebody's of this worker.
    Own,
    /// Somebody's of another.
    Other,
}

/// A worker's hold on the line of a service.
#[derive(Debug)]
pub struct Waiters<T> {
    line: Arc<Line<T>>,
    part: Arc<Part<T>>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            spare: AtomicBool::new(false),
            parts: Mutex::new(Vec::new()),
        }
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Waiters<T> {
    /// A part of that line.
    #[must_use]
    pub fn new(line: &Arc<Line<T>>) -> Self {
        let part = Arc::new(Part {
            waiting: AtomicUsize::new(0),
            places: Mutex::new(VecDeque::new()),
        });
        lock(&line.parts).push(Arc::clone(&part));
        Self {
            line: Arc::clone(line),
            part,
        }
    }

    /// Takes a place, if there is one below that limit. Who does not get one may [`Waiters::join`].
    #[must_use]
    #[inline]
    pub fn take(&self, places: &Permits, limit: u32) -> bool {
        // Whoever takes the word must see the place that it is of: hence acquire here, and there a swap, which hands on what
        // earlier words are of.
        if self.line.spare.load(Ordering::Relaxed) {
            self.line.spare.swap(false, Ordering::Acquire);
        }
        places.try_acquire(limit)
    }

    /// Gives a place back, and calls whose turn it is, if anybody's.
    #[inline]
    pub fn give_back(&self, places: &Permits) {
        places.release();
        self.line.spare.swap(true, Ordering::AcqRel);
        // Either we see who joins, or who joins sees the word above.
        fence(Ordering::SeqCst);
        self.call();
    }

    /// Whether nobody of this worker waits.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.part.waiting.load(Ordering::Relaxed) == 0
    }

    /// Whose turn it is. One who joins at this moment may be overlooked, and hears of the next place.
    #[must_use]
    #[inline]
    pub fn turn(&self) -> Turn {
        match self.line.waiting.load(Ordering::Relaxed) {
            0 => Turn::Nobody,
            _ if self.line.older_part(&self.part).is_some() => Turn::Other,
            _ if self.is_empty() => Turn::Nobody,
            _ => Turn::Own,
        }
    }

    /// Calls whose turn it is, if anybody's.
    #[inline]
    pub fn call(&self) {
        self.line.call_next(&self.part);
    }

    /// Calls the first of this worker, if there is one.
    pub fn call_own(&self) {
        if !self.is_empty() {
            self.line.call(&self.part);
        }
    }

    /// Takes a place at the end of the line.
    #[must_use]
    pub fn join(&self, now: T) -> Waiting<T> {
        self.enter(now, VecDeque::push_back)
    }

    /// Takes the place at the front, for one who has waited since then and was called in vain.
    #[must_use]
    pub fn rejoin(&self, since: T) -> Waiting<T> {
        self.enter(since, VecDeque::push_front)
    }

    fn enter(
        &self,
        since: T,
        put: impl FnOnce(&mut VecDeque<Arc<Place<T>>>, Arc<Place<T>>),
    ) -> Waiting<T> {
        let place = Arc::new(Place {
            since,
            called: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        let mut places = lock(&self.part.places);
        put(&mut places, Arc::clone(&place));
        self.part.waiting.fetch_add(1, Ordering::Relaxed);
        self.line.waiting.fetch_add(1, Ordering::Relaxed);
        drop(places);
        fence(Ordering::SeqCst);
        if self.line.spare.swap(false, Ordering::Acquire) {
            // Whose turn it is may be somebody else's: they look, too.
            self.call();
        }
        Waiting {
            line: Arc::clone(&self.line),
            part: Arc::clone(&self.part),
            place,
            heard: Cell::new(false),
        }
    }
}

impl<T> Drop for Waiters<T> {
    fn drop(&mut self) {
        lock(&self.line.parts).retain(|part| !Arc::ptr_eq(part, &self.part));
    }
}

impl<T> Line<T> {
    #[cold]
    fn call(&self, part: &Part<T>) {
        let mut places = lock(&part.places);
        let Some(place) = places.pop_front() else {
            return;
        };
        part.waiting.fetch_sub(1, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        place.called.store(true, Ordering::Release);
        drop(places);
        let waker = lock(&place.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Line<T> {
    /// Calls whose turn it is from where that part's worker stands.
    #[inline]
    fn call_next(&self, own: &Arc<Part<T>>) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            let other = self.older_part(own);
            self.call(other.as_ref().unwrap_or(own));
        }
    }

    /// Another worker's part, whose first goes before that of this one.
    #[cold]
    fn older_part(&self, own: &Arc<Part<T>>) -> Option<Arc<Part<T>>> {
        let first = own.oldest();
        let parts = lock(&self.parts);
        let others = parts.iter().filter(|part| !Arc::ptr_eq(part, own));
        let (oldest, part) = others
            .filter_map(|part| Some((part.oldest()?, part)))
            .min_by_key(|(oldest, _)| *oldest)?;
        let before = first.is_none_or(|first| oldest + HEAD_START < first);
        before.then(|| Arc::clone(part))
    }
}

impl<T: Copy> Part<T> {
    fn oldest(&self) -> Option<T> {
        lock(&self.places).front().map(|place| place.since)
    }
}

/// A place in the line.
#[derive(Debug)]
pub struct Waiting<T: Copy + Ord + Add<Duration, Output = T>> {
    line: Arc<Line<T>>,
    part: Arc<Part<T>>,
    place: Arc<Place<T>>,
    heard: Cell<bool>,
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Waiting<T> {
    /// Since when it was waited.
    #[must_use]
    pub fn since(&self) -> T {
        self.place.since
    }

    /// Ready once called; then it is for the caller to look for the place.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waker = lock(&self.place.waker);
        // Under the lock: who calls marks first and then takes the waker.
        if self.place.called.load(Ordering::Acquire) {
            self.heard.set(true);
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T: Copy + Ord + Add<Duration, Output = T>> Drop for Waiting<T> {
    fn drop(&mut self) {
        let mut places = lock(&self.part.places);
        let before = places.len();
        places.retain(|place| !Arc::ptr_eq(place, &self.place));
        if places.len() < before {
            self.part.waiting.fetch_sub(1, Ordering::Relaxed);
            self.line.waiting.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        drop(places);
        if !self.heard.get() {
            self.line.call_next(&self.part);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(loom, test))]
mod loom;
#[cfg(all(not(loom), test))]
mod tests;
