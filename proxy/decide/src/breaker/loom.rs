//! Every interleaving of a few threads, rather than those that a machine happens to take. Run with `just loom`.

use ::loom::model::Builder;
use ::loom::sync::Arc;
use ::loom::sync::atomic::{AtomicU32, Ordering};
use ::loom::{model, thread};

use super::Permits;

#[test]
fn three_threads_never_hold_more_than_two_permits_and_lose_none() {
    // semantics 9. Three threads that are each interrupted up to three times: without a bound it takes hours.
    let mut bounded = Builder::new();
    bounded.preemption_bound = Some(3);
    bounded.check(|| {
        let permits = Arc::new(Permits::new());
        let holding = Arc::new(AtomicU32::new(0));
        let work = |permits: Arc<Permits>, holding: Arc<AtomicU32>| {
            if permits.try_acquire(2) {
                let others = holding.fetch_add(1, Ordering::AcqRel);
                assert!(others < 2, "{others} others hold a permit of two");
                holding.fetch_sub(1, Ordering::AcqRel);
                permits.release();
            }
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (permits, holding) = (Arc::clone(&permits), Arc::clone(&holding));
                thread::spawn(move || work(permits, holding))
            })
            .collect();
        work(Arc::clone(&permits), holding);
        for thread in threads {
            thread.join().expect("a thread of the model");
        }
        assert_eq!(permits.taken(), 0);
        assert!(permits.try_acquire(2) && permits.try_acquire(2) && !permits.try_acquire(2));
    });
}

#[test]
fn nobody_is_refused_while_a_permit_is_free() {
    // semantics 9
    model(|| {
        let permits = Arc::new(Permits::new());
        let theirs = Arc::clone(&permits);
        let thread = thread::spawn(move || {
            assert!(theirs.try_acquire(2), "two permits, two threads");
            theirs.release();
        });
        assert!(permits.try_acquire(2), "two permits, two threads");
        thread.join().expect("a thread of the model");
        assert_eq!(permits.taken(), 1);
    });
}

#[test]
fn of_two_that_race_for_the_last_permit_one_gets_it() {
    // semantics 9
    model(|| {
        let permits = Arc::new(Permits::new());
        let theirs = Arc::clone(&permits);
        let thread = thread::spawn(move || theirs.try_acquire(1));
        let mine = permits.try_acquire(1);
        let theirs = thread.join().expect("a thread of the model");
        assert!(mine != theirs, "mine {mine}, theirs {theirs}");
    });
}
