//! Waiting for a connection where the service's limit is reached.
//!
//! All workers share one line a service, of which each has a part. A connection that is given back goes to its own
//! worker's first in line while nobody of another worker has waited much longer: an idle connection cannot change
//! workers, so to pass it on is to close it and let the other one open its own. What is asked on every request is one
//! atomic load; the lock is taken by those who wait and those who call them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How much longer another worker's first must have waited than our own to go before it: enough that a connection
/// serves many requests between two moves, and far below what a person notices.
const HEAD_START: Duration = Duration::from_millis(20);

/// The line of one service.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiting: AtomicUsize,
    parts: Mutex<Vec<Arc<Part>>>,
}

/// One worker's part of it.
#[derive(Debug, Default)]
struct Part {
    waiting: AtomicUsize,
    places: Mutex<VecDeque<Arc<Place>>>,
}

#[derive(Debug)]
struct Place {
    since: Instant,
    called: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Nobody,
    /// Somebody's of this worker.
    Own,
    /// Somebody's of another.
    Other,
}

/// A worker's hold on the line of a service.
pub(crate) struct Waiters {
    line: Arc<Line>,
    part: Arc<Part>,
}

impl Waiters {
    pub(crate) fn new(line: &Arc<Line>) -> Self {
        let part = Arc::<Part>::default();
        lock(&line.parts).push(Arc::clone(&part));
        Self {
            line: Arc::clone(line),
            part,
        }
    }

    /// Whether nobody of this worker waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.part.waiting.load(Ordering::Relaxed) == 0
    }

    /// Whose turn it is.
    #[inline]
    pub(crate) fn turn(&self) -> Turn {
        match self.line.waiting.load(Ordering::Relaxed) {
            0 => Turn::Nobody,
            _ if self.older_part().is_some() => Turn::Other,
            _ if self.is_empty() => Turn::Nobody,
            _ => Turn::Own,
        }
    }

    /// Calls whose turn it is, if anybody's.
    #[inline]
    pub(crate) fn call(&self) {
        if self.line.waiting.load(Ordering::Relaxed) > 0 {
            let other = self.older_part();
            self.line.call(other.as_ref().unwrap_or(&self.part));
        }
    }

    /// Calls the first of this worker, if there is one.
    pub(crate) fn call_own(&self) {
        if !self.is_empty() {
            self.line.call(&self.part);
        }
    }

    /// Another worker's part, whose first goes before ours.
    #[cold]
    fn older_part(&self) -> Option<Arc<Part>> {
        let own = self.part.oldest();
        let parts = lock(&self.line.parts);
        let others = parts.iter().filter(|part| !Arc::ptr_eq(part, &self.part));
        let (oldest, part) = others
            .filter_map(|part| Some((part.oldest()?, part)))
            .min_by_key(|(oldest, _)| *oldest)?;
        let first = own.is_none_or(|own| oldest + HEAD_START < own);
        first.then(|| Arc::clone(part))
    }

    /// Takes a place: at the end, or at the front for one that has waited `since` then and was called in vain.
    pub(crate) fn join(&self, since: Option<Instant>) -> Waiting {
        let place = Arc::new(Place {
            since: since.unwrap_or_else(Instant::now),
            called: AtomicBool::new(false),
            waker: Mutex::default(),
        });
        let mut places = lock(&self.part.places);
        match since {
            Some(_) => places.push_front(Arc::clone(&place)),
            None => places.push_back(Arc::clone(&place)),
        }
        self.part.waiting.fetch_add(1, Ordering::Relaxed);
        self.line.waiting.fetch_add(1, Ordering::Relaxed);
        drop(places);
        Waiting {
            line: Arc::clone(&self.line),
            part: Arc::clone(&self.part),
            place,
        }
    }
}

impl Drop for Waiters {
    fn drop(&mut self) {
        lock(&self.line.parts).retain(|part| !Arc::ptr_eq(part, &self.part));
    }
}

impl Line {
    #[cold]
    fn call(&self, part: &Part) {
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

impl Part {
    fn oldest(&self) -> Option<Instant> {
        lock(&self.places).front().map(|place| place.since)
    }
}

/// A place in the line.
pub(crate) struct Waiting {
    line: Arc<Line>,
    part: Arc<Part>,
    place: Arc<Place>,
}

impl Waiting {
    pub(crate) fn since(&self) -> Instant {
        self.place.since
    }

    /// Ready once called.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut waker = lock(&self.place.waker);
        // Under the lock: who calls marks first and then takes the waker.
        if self.place.called.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut places = lock(&self.part.places);
        let before = places.len();
        places.retain(|place| !Arc::ptr_eq(place, &self.place));
        if places.len() < before {
            self.part.waiting.fetch_sub(1, Ordering::Relaxed);
            self.line.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_called(waiting: &Waiting) -> bool {
        waiting.poll(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_first_in_line_is_called_first_and_one_that_leaves_is_passed_over() {
        let waiters = Waiters::new(&Arc::default());
        let (first, second, third) = (waiters.join(None), waiters.join(None), waiters.join(None));
        drop(second);
        waiters.call();
        assert!(is_called(&first) && !is_called(&third));
        let again = waiters.join(Some(first.since()));
        waiters.call();
        assert!(is_called(&again) && !is_called(&third));
        waiters.call();
        assert!(is_called(&third) && waiters.is_empty());
        assert_eq!(waiters.turn(), Turn::Nobody);
        waiters.call();
    }

    #[test]
    fn another_workers_first_goes_before_ours_once_it_has_waited_much_longer() {
        let line = Arc::default();
        let (ours, theirs) = (Waiters::new(&line), Waiters::new(&line));
        let now = Instant::now();
        let early = now.checked_sub(HEAD_START * 2).expect("a running clock");
        let (own, long) = (ours.join(Some(now)), theirs.join(Some(early)));
        assert_eq!((ours.turn(), theirs.turn()), (Turn::Other, Turn::Own));
        ours.call();
        assert!(is_called(&long) && !is_called(&own));
        let short = theirs.join(Some(now));
        assert_eq!((ours.turn(), theirs.turn()), (Turn::Own, Turn::Own));
        ours.call();
        assert!(is_called(&own) && !is_called(&short));
        assert_eq!(ours.turn(), Turn::Other, "who has nobody passes it on");
        drop(short);
        assert_eq!(ours.turn(), Turn::Nobody);
    }
}
