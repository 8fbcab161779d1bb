//! Token buckets: never more than the limit, never less than it promises, and bounded memory.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use weir_config::model::{RateLimit, RateLimitKey};
use weir_decide::limit::{Bucket, Rate, RetryAfter, Table};

fn rate(requests: u32, per: Duration, burst: u32) -> Rate {
    Rate::of(&RateLimit {
        requests,
        per,
        burst,
        key: RateLimitKey::Route,
        max_keys: 10_000,
    })
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_burst_passes_at_once_and_then_the_rate() {
    let rate = rate(10, SECOND, 5);
    let bucket = Bucket::default();
    let pass = |ms| bucket.take(rate, Duration::from_millis(ms)).is_ok();
    assert_eq!((0..9).filter(|_| pass(0)).count(), 5);
    assert!(!pass(99));
    assert!(pass(100) && !pass(100));
    assert_eq!((0..9).filter(|_| pass(350)).count(), 2);
    // After a long silence it is full, and not more than full.
    assert_eq!((0..9).filter(|_| pass(60_000)).count(), 5);
}

#[test]
fn a_refusal_says_when_one_would_pass() {
    let rate = rate(1, Duration::from_secs(60), 2);
    let bucket = Bucket::default();
    let take = |s| bucket.take(rate, Duration::from_secs(s));
    assert_eq!((take(0), take(10)), (Ok(()), Ok(())));
    let refused = take(15).unwrap_err();
    assert_eq!(refused, RetryAfter(Duration::from_secs(45)));
    assert!(
        take(15).is_err(),
        "a refusal takes nothing, and gives nothing"
    );
    assert_eq!(take(60), Ok(()));
}

#[test]
fn retry_after_is_whole_seconds_and_never_zero() {
    for (ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (59_500, 60)] {
        let retry = RetryAfter(Duration::from_millis(ms));
        assert_eq!(retry.seconds(), seconds, "{ms} ms");
    }
}

#[test]
fn the_extremes_of_a_limit_do_not_overflow() {
    let slow = rate(1, HOUR, 1_000_000);
    let bucket = Bucket::default();
    assert_eq!(
        (0..1_000_010)
            .filter(|_| bucket.take(slow, HOUR).is_ok())
            .count(),
        1_000_000
    );
    let fast = rate(1_000_000, SECOND, 1);
    let bucket = Bucket::default();
    let passed =
        (0..10_000u64).filter(|at| bucket.take(fast, Duration::from_nanos(at * 100)).is_ok());
    assert_eq!(passed.count(), 1000);
}

#[test]
fn threads_together_get_exactly_the_burst() {
    for _ in 0..20 {
        let rate = rate(1, HOUR, 100);
        let (bucket, passed) = (Bucket::default(), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let ok = bucket.take(rate, SECOND).is_ok();
                        passed.fetch_add(u32::from(ok), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(passed.load(Ordering::Relaxed), 100);
    }
}

proptest! {
    /// In every stretch of time of length t, at most `burst + t * requests / per` pass.
    #[test]
    fn never_more_than_the_burst_and_the_rate(
        requests in 1u32..2000,
        per_s in 1u64..3600,
        burst in 1u32..50,
        gaps in prop::collection::vec(0u64..2_000_000_000, 1..300),
    ) {
        let per = Duration::from_secs(per_s);
        let rate = rate(requests, per, burst);
        let bucket = Bucket::default();
        let mut now = 0;
        let mut passed: Vec<u64> = Vec::new();
        for gap in gaps {
            now += gap;
            if bucket.take(rate, Duration::from_nanos(now)).is_ok() {
                passed.push(now);
            }
        }
        for (i, from) in passed.iter().enumerate() {
            for (j, to) in passed.iter().enumerate().skip(i) {
                let count = (j - i + 1) as u128;
                let earned = u128::from(to - from) * u128::from(requests) / per.as_nanos();
                prop_assert!(count <= u128::from(burst) + earned, "{count} from {from} to {to}");
            }
        }
    }

    /// Who keeps to the rate is never refused.
    #[test]
    fn whoever_keeps_to_the_rate_passes(requests in 1u32..1000, per_s in 1u64..60, jitter in 0u64..1_000_000) {
        let per = Duration::from_secs(per_s);
        let rate = rate(requests, per, 1);
        let bucket = Bucket::default();
        // A nanosecond is the finest that is counted.
        let interval = per.as_nanos() as u64 / u64::from(requests) + 1;
        for at in 0..200 {
            prop_assert!(bucket.take(rate, Duration::from_nanos(at * (interval + jitter))).is_ok());
        }
    }
}

#[test]
fn each_key_has_its_own_bucket() {
    let mut table = Table::new(100);
    let mut rng = SmallRng::seed_from_u64(1);
    let rate = rate(1, HOUR, 3);
    for key in [7, 8, 9] {
        let passed = (0..10).filter(|_| table.take(key, rate, SECOND, &mut rng).is_ok());
        assert_eq!(passed.count(), 3, "key {key}");
    }
    assert_eq!(table.len(), 3);
}

#[test]
fn made_up_keys_neither_grow_the_table_nor_push_out_who_is_at_the_limit() {
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut table = Table::new(1000);
        let rate = rate(1, HOUR, 5);
        let busy: Vec<u64> = (0..50).map(|_| rng.random()).collect();
        for key in &busy {
            for _ in 0..5 {
                table.take(*key, rate, SECOND, &mut rng).unwrap();
            }
        }
        for _ in 0..50_000 {
            let made_up = rng.random();
            let _ = table.take(made_up, rate, SECOND, &mut rng);
            assert!(table.len() <= 1000, "seed {seed}");
        }
        for key in &busy {
            assert!(
                table.take(*key, rate, SECOND, &mut rng).is_err(),
                "seed {seed}: {key} was forgotten"
            );
        }
    }
}

#[test]
fn buckets_that_are_full_again_make_room_before_the_table_grows() {
    let mut table = Table::new(100_000);
    let mut rng = SmallRng::seed_from_u64(3);
    let rate = rate(10, SECOND, 1);
    // A thousand new keys a second, each of which says nothing any more after a tenth of one: about a hundred
    // count at any time.
    for at in 0..60_000u64 {
        let now = Duration::from_millis(at);
        table.take(rng.random(), rate, now, &mut rng).unwrap();
    }
    assert!(table.len() < 500, "{} buckets are held", table.len());
}
