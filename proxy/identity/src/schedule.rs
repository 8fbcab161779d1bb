//! When to renew, and when to try again. Times are milliseconds since 1970.

/// Share of its life after which a certificate is renewed, give or take [`SPREAD`].
const RENEW: f64 = 0.70;
/// So that workloads that were started together do not come back together.
const SPREAD: f64 = 0.05;
/// The first wait after a failure is at most that long ...
const FIRST_RETRY: i64 = 1_000;
/// ... and no wait is longer.
const MAX_RETRY: i64 = 5 * 60_000;
/// No wait is longer than this once a certificate has ended: a new token may be there.
const MAX_AFTER_END: i64 = 60_000;
/// Tries that still fit into what is left of a certificate's life, at least.
const TRIES: i64 = 8;
/// Share of its life that is left when its end is near.
const NEAR: f64 = 0.10;

/// When a certificate that was received then is to be renewed. Its life is counted from there: it begins a little in the past,
/// for clocks that are behind.
pub(crate) fn renew_at(received: i64, not_after: i64, jitter: f64) -> i64 {
    let share = RENEW + SPREAD * (2.0 * jitter - 1.0);
    received + part(not_after - received, share)
}

/// How long to wait after that many failures in a row, for a certificate that ends then.
pub(crate) fn retry_in(failures: u32, now: i64, not_after: i64, jitter: f64) -> i64 {
    let doubled =
        FIRST_RETRY.saturating_mul(1_i64.checked_shl(failures.min(20)).unwrap_or(i64::MAX));
    let left = not_after - now;
    let bound = if left > 0 {
        (left / TRIES).max(FIRST_RETRY)
    } else {
        MAX_AFTER_END
    };
    let most = doubled.min(bound).min(MAX_RETRY);
    // Not nothing: a server that answers with an error at once is not to be asked without end.
    most / 4 + part(most - most / 4, jitter)
}

/// How far a certificate is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Far,
    Near,
    Passed,
}

impl End {
    pub(crate) fn of(received: i64, not_after: i64, now: i64) -> Self {
        if now > not_after {
            Self::Passed
        } else if not_after - now < part(not_after - received, NEAR) {
            Self::Near
        } else {
            Self::Far
        }
    }
}

/// A time that is asked for, give or take a tenth.
pub(crate) fn about(ms: i64, jitter: f64) -> i64 {
    part(ms, 0.9 + 0.2 * jitter)
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "years in milliseconds fit a double exactly"
)]
fn part(of: i64, share: f64) -> i64 {
    (of as f64 * share) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_at_70_percent_give_or_take_5() {
        for (jitter, at) in [(0.0, 1_650), (0.5, 1_700), (1.0, 1_750)] {
            let got = renew_at(1_000, 2_000, jitter);
            assert!((got - at).abs() <= 1, "{jitter}: {got}");
        }
    }

    #[test]
    fn retries_double_up_to_five_minutes_and_always_fit_into_what_is_left() {
        let day = 24 * 3_600_000;
        assert_eq!(retry_in(0, 0, day, 1.0), 1_000);
        assert_eq!(retry_in(3, 0, day, 1.0), 8_000);
        assert_eq!(retry_in(60, 0, day, 1.0), MAX_RETRY);
        // 18 s are left of a minute.
        assert!(retry_in(60, 0, 18_000, 1.0) <= 18_000 / TRIES);
        assert_eq!(retry_in(60, 10, 0, 1.0), MAX_AFTER_END);
        for failures in 0..64 {
            for jitter in [0.0, 0.3, 1.0] {
                for left in [-5, 0, 1, 999, 18_000, day] {
                    let wait = retry_in(failures, 0, left, jitter);
                    assert!(
                        (250..=MAX_RETRY).contains(&wait),
                        "{failures} {jitter} {left}: {wait}"
                    );
                }
            }
        }
    }

    #[test]
    fn an_end_is_near_in_the_last_tenth() {
        assert_eq!(End::of(0, 1000, 900), End::Far);
        assert_eq!(End::of(0, 1000, 901), End::Near);
        assert_eq!(End::of(0, 1000, 1000), End::Near);
        assert_eq!(End::of(0, 1000, 1001), End::Passed);
    }
}
