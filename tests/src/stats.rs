//! What a share of a count may look like.

/// The interval in which a count of successes falls with a probability of 99.9%, for that many
/// independent trials at that probability (normal approximation with continuity correction).
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
pub fn binomial_999(trials: usize, probability: f64) -> std::ops::RangeInclusive<usize> {
    let mean = trials as f64 * probability;
    let reach = 3.290_527 * (mean * (1.0 - probability)).sqrt() + 0.5;
    ((mean - reach).max(0.0).ceil() as usize)..=((mean + reach).floor() as usize)
}

/// The value below which that share (0 to 1) of the values lies.
///
/// # Panics
/// For no values at all.
#[must_use]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
pub fn quantile<T: Ord + Copy>(values: &[T], share: f64) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_percent_of_ten_thousand_may_stray_by_three_sigma() {
        let range = binomial_999(10_000, 0.1);
        assert!(range.contains(&1000) && range.contains(&902) && range.contains(&1098));
        assert!(!range.contains(&900) && !range.contains(&1100));
    }

    #[test]
    fn the_median_of_an_odd_count_is_its_middle() {
        assert_eq!(quantile(&[5, 1, 3], 0.5), 3);
        assert_eq!(quantile(&[5, 1, 3], 1.0), 5);
    }
}
