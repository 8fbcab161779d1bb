//! Every interleaving of a few threads; a call that is lost leaves a thread asleep for ever, which the model reports. Run
//! with `just loom`.

use ::loom::model::Builder;
use ::loom::sync::Notify;
use ::loom::thread;
use std::sync::Arc as StdArc;
use std::task::Wake;

use super::*;

/// Milliseconds.
type At = Duration;

/// Sleeps until it is woken.
struct Sleeper(Notify);

impl Wake for Sleeper {
    fn wake(self: StdArc<Self>) {
        self.0.notify();
    }
}

fn until_called(waiting: &Waiting<At>) {
    let sleeper = StdArc::new(Sleeper(Notify::new()));
    let waker = Waker::from(StdArc::clone(&sleeper));
    while waiting.poll(&Context::from_waker(&waker)).is_pending() {
        sleeper.0.wait();
    }
}

/// As a request does it: looks, joins, sleeps, and at its turn looks again.
fn wait_for_a_place(waiters: &Waiters<At>, places: &Permits, limit: u32) {
    let mut since = None;
    while !waiters.take(places, limit) {
        let waiting = match since {
            None => waiters.join(Duration::ZERO),
            Some(since) => waiters.rejoin(since),
        };
        until_called(&waiting);
        since = Some(waiting.since());
    }
}

/// Threads that are each interrupted up to that many times.
fn check(interruptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut bounded = Builder::new();
    bounded.preemption_bound = Some(interruptions);
    bounded.check(model);
}

#[test]
fn one_that_joins_while_the_last_place_is_given_back_is_called() {
    check(4, || {
        let (line, places) = (Arc::new(Line::default()), Arc::new(Permits::new()));
        let ours = Waiters::new(&line);
        assert!(ours.take(&places, 1));
        let thread = {
            let (line, places) = (Arc::clone(&line), Arc::clone(&places));
            thread::spawn(move || {
                let theirs = Waiters::new(&line);
                wait_for_a_place(&theirs, &places, 1);
                assert_eq!(places.taken(), 1, "never past the limit (semantics 9)");
                theirs.give_back(&places);
            })
        };
        ours.give_back(&places);
        thread.join().expect("a thread of the model");
        assert_eq!(places.taken(), 0);
    });
}

#[test]
fn two_workers_that_want_one_place_both_get_it_in_turn() {
    check(2, || {
        let (line, places) = (Arc::new(Line::default()), Arc::new(Permits::new()));
        let work = |line: Arc<Line<At>>, places: Arc<Permits>| {
            let waiters = Waiters::new(&line);
            wait_for_a_place(&waiters, &places, 1);
            assert_eq!(places.taken(), 1, "never past the limit (semantics 9)");
            waiters.give_back(&places);
        };
        let ours = Waiters::new(&line);
        assert!(ours.take(&places, 1));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (line, places) = (Arc::clone(&line), Arc::clone(&places));
                thread::spawn(move || work(line, places))
            })
            .collect();
        ours.give_back(&places);
        for thread in threads {
            thread.join().expect("a thread of the model");
        }
        assert_eq!(places.taken(), 0);
    });
}

#[test]
fn one_that_gives_up_as_it_is_called_passes_the_call_on() {
    check(3, || {
        let (line, places) = (Arc::new(Line::default()), Arc::new(Permits::new()));
        let ours = Waiters::new(&line);
        assert!(ours.take(&places, 1));
        let theirs = Waiters::new(&line);
        let impatient = theirs.join(Duration::ZERO);
        let leaving = thread::spawn(move || drop(impatient));
        let staying = {
            let places = Arc::clone(&places);
            thread::spawn(move || {
                wait_for_a_place(&theirs, &places, 1);
                theirs.give_back(&places);
            })
        };
        ours.give_back(&places);
        leaving.join().expect("a thread of the model");
        staying.join().expect("a thread of the model");
        assert_eq!(places.taken(), 0);
    });
}
