//! Rates of one interval against the other endpoints', or against a number. (Envoy, outlier detection: success
//! rate, failure percentage.)

use weir_config::model::{FailurePercentage, SuccessRate};

use super::{Cause, Origin, Window};

/// Rates that are alike give a mean that may differ from them in its last bits; within this, in points, nobody lies
/// below.
const ALIKE: f64 = 1e-9;

/// Mean - factor x standard deviation of the population. `None` without a rate.
///
/// `{50, 100, 100, 100, 100}` has mean 90 and deviation 20; with a factor of 1.9 the threshold is 52.
pub(super) fn threshold(rates: &[f64], factor: f64) -> Option<(f64, f64)> {
    if rates.is_empty() {
        return None;
    }
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates
        .iter()
        .map(|rate| (rate - mean) * (rate - mean))
        .sum::<f64>()
        / count;
    Some((mean, mean - factor * variance.sqrt()))
}

/// Those whose rate of success lies below the threshold that the rates of all give, worst first: where not all may be
/// ejected, **ours** takes the worst, where Envoy's choice hangs on the order of a hash table.
pub(super) fn by_success_rate<K: Clone>(
    policy: &SuccessRate,
    of: Origin,
    windows: &[(K, Window)],
) -> Vec<(K, Cause)> {
    let counted: Vec<(&K, f64, u64)> = windows
        .iter()
        .filter(|(_, window)| window.total >= u64::from(policy.request_volume))
        .filter_map(|(key, window)| Some((key, window.rate()?, window.total)))
        .collect();
    if counted.len() < policy.minimum_hosts as usize {
        return Vec::new();
    }
    let rates: Vec<f64> = counted.iter().map(|&(_, rate, _)| rate).collect();
    let Some((mean, threshold)) = threshold(&rates, policy.stdev_factor) else {
        return Vec::new();
    };
    let mut below: Vec<_> = counted
        .into_iter()
        .filter(|&(_, rate, _)| rate < threshold - ALIKE)
        .collect();
    below.sort_by(|a, b| a.1.total_cmp(&b.1));
    below
        .into_iter()
        .map(|(key, rate, requests)| {
            let cause = Cause::SuccessRate {
                of,
                rate,
                mean,
                threshold,
                requests,
            };
            (key.clone(), cause)
        })
        .collect()
}

/// Those that failed at least the share that the policy names, worst first.
pub(super) fn by_failure_percentage<K: Clone>(
    policy: &FailurePercentage,
    of: Origin,
    windows: &[(K, Window)],
) -> Vec<(K, Cause)> {
    let counted: Vec<(&K, f64, u64)> = windows
        .iter()
        .filter(|(_, window)| window.total >= u64::from(policy.request_volume))
        .filter_map(|(key, window)| Some((key, window.failure_rate()?, window.total)))
        .collect();
    if counted.len() < policy.minimum_hosts as usize {
        return Vec::new();
    }
    let mut above: Vec<_> = counted
        .into_iter()
        .filter(|&(_, failed, _)| failed >= f64::from(policy.threshold))
        .collect();
    above.sort_by(|a, b| b.1.total_cmp(&a.1));
    above
        .into_iter()
        .map(|(key, failed, requests)| {
            let cause = Cause::FailurePercentage {
                of,
                failed,
                threshold: policy.threshold,
                requests,
            };
            (key.clone(), cause)
        })
        .collect()
}
