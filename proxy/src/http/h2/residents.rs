//! Tasks that serve one stream of HTTP/2 after another, of whatever connections.
//!
//! What serves a stream is some KiB that hold state. A task made for each stream has them moved into it at the start and
//! overwritten at the end, which was a twentieth of what a small request costs. So a task that has served a stream waits for
//! the next one.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Tasks of one worker that wait for something to do.
pub(crate) struct Residents<T> {
    waiting: RefCell<Vec<Rc<Seat<T>>>>,
}

/// Where one of them waits.
pub(crate) struct Seat<T> {
    next: Cell<Option<T>>,
    waker: RefCell<Option<Waker>>,
    dismissed: Cell<bool>,
}

/// Tasks that wait at most; what more streams there are at once have tasks that end with them.
const MOST: usize = 256;

impl<T> Default for Residents<T> {
    fn default() -> Self {
        Self {
            waiting: RefCell::default(),
        }
    }
}

impl<T> Residents<T> {
    /// Gives it to one that waits. `Some`: none does, and a task is to be made for it.
    pub(crate) fn give(&self, next: T) -> Option<T> {
        // The last one that sat down: what it works on is in the cache.
        let Some(seat) = self.waiting.borrow_mut().pop() else {
            return Some(next);
        };
        seat.next.set(Some(next));
        seat.call();
        None
    }

    /// Has a task wait here from its next [`Seat::next`] on. `false`: there are enough, and it is to end.
    pub(crate) fn take_in(&self, seat: &Rc<Seat<T>>) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let has_room = waiting.len() < MOST;
        if has_room {
            waiting.push(Rc::clone(seat));
        }
        has_room
    }

    /// Lets half of those go that wait; called now and then, so that a burst is not paid for forever.
    pub(crate) fn shrink(&self) {
        let mut waiting = self.waiting.borrow_mut();
        let keep = waiting.len() / 2;
        // Those that have waited longest.
        let leaving = waiting.len() - keep;
        for seat in waiting.drain(..leaving) {
            seat.dismissed.set(true);
            seat.call();
        }
        waiting.shrink_to(16);
    }
}

impl<T> Seat<T> {
    /// For a task that begins with this.
    pub(crate) fn with(first: T) -> Rc<Self> {
        Rc::new(Self {
            next: Cell::new(Some(first)),
            waker: RefCell::default(),
            dismissed: Cell::new(false),
        })
    }

    fn call(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Waits for the next. `None`: there is to be none.
    pub(crate) async fn next(&self) -> Option<T> {
        poll_fn(|cx| {
            if let Some(next) = self.next.take() {
                return Poll::Ready(Some(next));
            }
            if self.dismissed.get() {
                return Poll::Ready(None);
            }
            // It is the same task each time.
            let mut waker = self.waker.borrow_mut();
            if !(waker.as_ref()).is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// Tasks add up what they are given.
    #[derive(Default)]
    struct Crew {
        residents: Residents<u32>,
        made: Cell<u32>,
        sum: Cell<u32>,
        ended: Cell<u32>,
    }

    fn give(crew: &Rc<Crew>, number: u32) {
        let Some(number) = crew.residents.give(number) else {
            return;
        };
        crew.made.set(crew.made.get() + 1);
        let (crew, seat) = (Rc::clone(crew), Seat::with(number));
        tokio::task::spawn_local(async move {
            while let Some(number) = seat.next().await {
                yield_now().await;
                crew.sum.set(crew.sum.get() + number);
                if !crew.residents.take_in(&seat) {
                    break;
                }
            }
            crew.ended.set(crew.ended.get() + 1);
        });
    }

    async fn settle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn one_task_does_what_comes_one_after_another_and_leaves_when_it_is_told() {
        let crew = Rc::<Crew>::default();
        let run = async {
            for number in 1..=10 {
                give(&crew, number);
                settle().await;
            }
            assert_eq!((crew.made.get(), crew.sum.get()), (1, 55));
            // What comes at once is not queued behind one another.
            for _ in 0..3 {
                give(&crew, 1);
            }
            settle().await;
            assert_eq!((crew.made.get(), crew.sum.get()), (3, 58));
            crew.residents.shrink();
            settle().await;
            assert_eq!(crew.ended.get(), 2);
            crew.residents.shrink();
            settle().await;
            assert_eq!(crew.ended.get(), 3);
            give(&crew, 1);
            settle().await;
            assert_eq!((crew.made.get(), crew.sum.get()), (4, 59));
        };
        LocalSet::new().run_until(run).await;
    }

    #[tokio::test]
    async fn of_more_than_there_are_seats_for_the_rest_end() {
        let crew = Rc::<Crew>::default();
        let run = async {
            for _ in 0..MOST + 7 {
                give(&crew, 1);
            }
            settle().await;
            assert_eq!(crew.sum.get() as usize, MOST + 7);
            assert_eq!(crew.ended.get(), 7);
        };
        LocalSet::new().run_until(run).await;
    }
}
