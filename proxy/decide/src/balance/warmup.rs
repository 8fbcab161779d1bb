//! Slow start: an endpoint that joins warm ones begins with a part of its weight (semantics 12 and 17).

use std::time::Duration;

use weir_config::model::Warmup;

/// Steps of a weight of 0.1, so that a ramp is smooth.
const STEPS: u32 = 100;

/// The part of its weight that an endpoint has so long after its admission, up to 1:
/// `max(minimum, (since / duration)^(1 / aggression))`, the formula of Envoy's slow start.
#[must_use]
pub fn ramp(warmup: &Warmup, since: Duration) -> f64 {
    if since >= warmup.duration {
        return 1.0;
    }
    let minimum = f64::from(warmup.minimum_percent.min(100)) / 100.0;
    let passed = since.as_secs_f64() / warmup.duration.as_secs_f64();
    passed.powf(1.0 / warmup.aggression.max(1.0)).max(minimum)
}

/// The part of its weight that an endpoint has now.
///
/// It ramps only if another one was warm when it was `admitted` (to rotation, for the first time or after
/// an ejection or failure): that is, if the `oldest` admission among those now in rotation lies the whole
/// duration before its own. So nobody ramps when the process starts, or when all come back at once: there
/// would be nobody to carry the load meanwhile, and endpoints need not be new when the proxy is. And when
/// all that were warm are gone, those that ramp are at once at their full weight.
///
/// All times are read on one clock; a time in the future counts as now.
#[must_use]
pub fn factor(warmup: &Warmup, admitted: Duration, oldest: Duration, now: Duration) -> f64 {
    let joined_warm_ones = admitted
        .checked_sub(oldest)
        .is_some_and(|apart| apart >= warmup.duration);
    if joined_warm_ones {
        ramp(warmup, now.saturating_sub(admitted))
    } else {
        1.0
    }
}

/// A weight in tenths times a part, in thousandths: what [`super::Candidates::weight`] returns, for all
/// candidates alike, where a service has slow start. A weight above 0 stays above 0.
#[must_use]
pub fn scaled(tenths: u32, factor: f64) -> u32 {
    let full = f64::from(tenths) * f64::from(STEPS);
    ((full * factor).round() as u32).max(u32::from(tenths > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn warmup(seconds: u64, minimum_percent: u8, aggression: f64) -> Warmup {
        Warmup {
            duration: Duration::from_secs(seconds),
            minimum_percent,
            aggression,
        }
    }

    #[test]
    fn the_ramp_is_the_share_of_time_to_the_power_of_one_over_aggression() {
        // semantics 17
        let line = warmup(60, 10, 1.0);
        let steep = warmup(100, 10, 2.0);
        for (warmup, seconds, expected) in [
            (line, 0.0, 0.1),
            (line, 3.0, 0.1),
            (line, 6.0, 0.1),
            (line, 15.0, 0.25),
            (line, 30.0, 0.5),
            (line, 59.4, 0.99),
            (line, 60.0, 1.0),
            (line, 3600.0, 1.0),
            (steep, 0.0, 0.1),
            (steep, 4.0, 0.2),
            (steep, 25.0, 0.5),
            (steep, 81.0, 0.9),
            (steep, 100.0, 1.0),
            (warmup(60, 0, 1.0), 0.0, 0.0),
            (warmup(60, 100, 1.0), 0.0, 1.0),
            // No time to warm up in, and an aggression below the least.
            (warmup(0, 10, 1.0), 0.0, 1.0),
            (warmup(60, 10, 0.0), 30.0, 0.5),
        ] {
            let seen = ramp(&warmup, Duration::from_secs_f64(seconds));
            assert!(
                (seen - expected).abs() < 1e-9,
                "{seen} after {seconds} s of {warmup:?}"
            );
        }
    }

    fn check(admitted: u64, oldest: u64, now: u64, expected: f64) {
        let seconds = Duration::from_secs;
        let seen = factor(
            &warmup(60, 10, 1.0),
            seconds(admitted),
            seconds(oldest),
            seconds(now),
        );
        assert!(
            (seen - expected).abs() < 1e-9,
            "{seen} for {admitted}, {oldest}, {now}"
        );
    }

    #[test]
    fn one_that_joins_warm_ones_ramps() {
        // semantics 12 and 17
        check(100, 0, 100, 0.1);
        check(100, 0, 130, 0.5);
        check(100, 0, 160, 1.0);
        check(100, 40, 130, 0.5);
        // A worker's clock that is behind.
        check(100, 0, 99, 0.1);
    }

    #[test]
    fn nobody_ramps_when_the_process_starts_or_all_come_back() {
        // semantics 17
        check(0, 0, 1, 1.0);
        check(5, 0, 6, 1.0);
        check(59, 0, 60, 1.0);
        // Nor later, when the first has become warm.
        check(59, 0, 61, 1.0);
        check(1000, 1000, 1001, 1.0);
        // Those that were warm are gone, and this is now the oldest but one.
        check(1000, 990, 1001, 1.0);
    }

    #[test]
    fn a_scaled_weight_is_never_nothing_for_something() {
        for (tenths, factor, expected) in [
            (10, 1.0, 1000),
            (10, 0.1, 100),
            (1, 0.001, 1),
            (0, 1.0, 0),
            (10_000_000, 1.0, 1_000_000_000),
        ] {
            assert_eq!(scaled(tenths, factor), expected);
        }
    }
}
