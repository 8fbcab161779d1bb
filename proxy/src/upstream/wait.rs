//! Waiting for a connection where the service's limit is reached.
//!
//! First come, first served, within a worker. A connection that this worker gives back or closes wakes the first in
//! line; what other workers let go is noticed at the worker's tick, since a wake-up across threads would cost every
//! request of theirs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// The line of one service on one worker.
#[derive(Default)]
pub(crate) struct Waiters {
    line: RefCell<VecDeque<Rc<Place>>>,
}

#[derive(Default)]
struct Place {
    called: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Waiters {
    /// Whether nobody waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.line.borrow().is_empty()
    }

    /// Calls the first in line, if there is one.
    #[inline]
    pub(crate) fn call(&self) {
        if !self.is_empty() {
            self.call_first();
        }
    }

    #[cold]
    fn call_first(&self) {
        if let Some(place) = self.line.borrow_mut().pop_front() {
            place.called.set(true);
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    /// Takes a place at the end; at the front for one that was called in vain.
    pub(crate) fn join(self: &Rc<Self>, at_front: bool) -> Waiting {
        let place = Rc::<Place>::default();
        let mut line = self.line.borrow_mut();
        match at_front {
            true => line.push_front(Rc::clone(&place)),
            false => line.push_back(Rc::clone(&place)),
        }
        Waiting {
            waiters: Rc::clone(self),
            place,
        }
    }
}

/// A place in the line.
pub(crate) struct Waiting {
    waiters: Rc<Waiters>,
    place: Rc<Place>,
}

impl Waiting {
    /// Ready once called.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.place.called.get() {
            return Poll::Ready(());
        }
        *self.place.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.place.called.get() {
            let mut line = self.waiters.line.borrow_mut();
            line.retain(|place| !Rc::ptr_eq(place, &self.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_called(waiting: &Waiting) -> bool {
        waiting.poll(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_first_in_line_is_called_first_and_one_that_leaves_is_passed_over() {
        let waiters = Rc::<Waiters>::default();
        let (first, second, third) = (
            waiters.join(false),
            waiters.join(false),
            waiters.join(false),
        );
        drop(second);
        waiters.call();
        assert!(is_called(&first) && !is_called(&third));
        let again = waiters.join(true);
        waiters.call();
        assert!(is_called(&again) && !is_called(&third));
        waiters.call();
        assert!(is_called(&third) && waiters.is_empty());
        waiters.call();
    }
}
