use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use super::*;

#[test]
fn a_limit_holds_and_may_change_under_way() {
    let permits = Permits::new();
    assert!(!permits.try_acquire(0));
    assert!(permits.try_acquire(2) && permits.try_acquire(2));
    assert!(!permits.try_acquire(2));
    assert!(permits.try_acquire(3));
    permits.release();
    permits.release();
    // One is left, and one is the limit now.
    assert!(!permits.try_acquire(1));
    permits.release();
    assert!(permits.try_acquire(1));
    assert_eq!(permits.taken(), 1);
}

#[test]
fn eight_threads_never_pass_the_limit_and_give_all_back() {
    // semantics 9
    const LIMIT: u32 = 3;
    let (permits, start, most) = (Permits::new(), Barrier::new(8), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for round in 0..50_000 {
                    if !permits.try_acquire(LIMIT) {
                        continue;
                    }
                    most.fetch_max(permits.taken(), Ordering::Relaxed);
                    // Now and then someone else runs while this one holds its permit.
                    if round % 16 == 0 {
                        thread::yield_now();
                    }
                    permits.release();
                }
            });
        }
    });
    assert!(most.into_inner() <= LIMIT);
    assert_eq!(permits.taken(), 0);
}

#[test]
fn as_many_threads_as_permits_are_never_refused() {
    // semantics 9
    let (permits, start) = (Permits::new(), Barrier::new(4));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                for _ in 0..100_000 {
                    assert!(permits.try_acquire(4));
                    permits.release();
                }
            });
        }
    });
}

#[test]
fn the_budget_is_a_fifth_of_active_and_at_least_three() {
    // semantics 26
    for (active, limit) in [(0, 3), (15, 3), (19, 3), (20, 4), (1000, 200)] {
        let budget = RetryLimit::default();
        assert_eq!(retry_limit(budget, active), limit, "{active}");
        assert!(allows(budget, active, limit - 1), "{active}");
        assert!(!allows(budget, active, limit), "{active}");
    }
}

#[test]
fn a_fixed_retry_limit_asks_for_no_traffic() {
    for active in [0, 3, 1_000_000] {
        assert_eq!(retry_limit(RetryLimit::Fixed(3), active), 3);
    }
    assert!(!allows(RetryLimit::Fixed(0), 1000, 0));
    let all = RetryLimit::Budget {
        percent: 255,
        min: 0,
    };
    assert_eq!(retry_limit(all, u32::MAX), u32::MAX);
    assert_eq!(retry_limit(all, 0), 0);
}
