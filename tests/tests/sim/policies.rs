//! Policies as people write them, and stranger.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use weir_config::model::{FailurePercentage, OutlierDetection, RetryLimit, SuccessRate};

/// The limits of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) requests: u32,
    pub(crate) requests_per_endpoint: u32,
    pub(crate) retries: RetryLimit,
}

pub(crate) fn bounds(rng: &mut SmallRng) -> Bounds {
    Bounds {
        requests: rng.random_range(0..48),
        requests_per_endpoint: rng.random_range(1..24),
        retries: if rng.random_bool(0.3) {
            RetryLimit::Fixed(rng.random_range(0..4))
        } else {
            RetryLimit::Budget {
                percent: rng.random_range(0..=100),
                min: rng.random_range(0..4),
            }
        },
    }
}

pub(crate) fn outlier(rng: &mut SmallRng) -> OutlierDetection {
    let base = Duration::from_millis(rng.random_range(100..30_000));
    OutlierDetection {
        consecutive_5xx: any(rng, &[0, 1, 2, 5]),
        consecutive_gateway: any(rng, &[0, 0, 2, 4]),
        split_local_origin: rng.random_bool(0.5),
        consecutive_local_origin: any(rng, &[0, 1, 3, 5]),
        interval: Duration::from_millis(rng.random_range(500..10_000)),
        base_ejection_time: base,
        max_ejection_time: base * rng.random_range(1..10),
        max_ejection_percent: any(rng, &[None, None, Some(0), Some(10), Some(50), Some(100)]),
        always_eject_one: rng.random_bool(0.8),
        success_rate: rng.random_bool(0.5).then(|| SuccessRate {
            minimum_hosts: any(rng, &[1, 3, 5]),
            request_volume: any(rng, &[1, 5, 20]),
            stdev_factor: any(rng, &[0.5, 1.9]),
        }),
        failure_percentage: rng.random_bool(0.4).then(|| FailurePercentage {
            threshold: any(rng, &[1, 50, 85]),
            minimum_hosts: any(rng, &[1, 3, 5]),
            request_volume: any(rng, &[1, 5, 20]),
        }),
        check_ends_ejection: rng.random_bool(0.8),
        observe_only: rng.random_bool(0.1),
        ..OutlierDetection::configured()
    }
}

fn any<T: Copy>(rng: &mut SmallRng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}
