//! What an endpoint did in one interval.

use weir_config::model::OutlierDetection;

use super::Outcome;

/// Requests of one interval. The caller counts, sharded where counting would bounce between workers, and hands
/// the sums to [`super::Detector::on_interval`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    pub total: u64,
    /// At most `total`; more, which counts read one after the other can give, is taken as `total`.
    pub success: u64,
}

impl Window {
    /// Whether an outcome counts in a window, and then whether as a success. Failures to answer that are split off
    /// do not: the rates are of answers.
    #[must_use]
    #[inline]
    pub fn counts(outcome: Outcome, policy: &OutlierDetection) -> Option<bool> {
        match outcome {
            Outcome::LocalOrigin if policy.split_local_origin => None,
            _ => Some(outcome == Outcome::Success),
        }
    }

    /// Counts one outcome, where it counts.
    pub fn record(&mut self, outcome: Outcome, policy: &OutlierDetection) {
        if let Some(success) = Self::counts(outcome, policy) {
            self.total += 1;
            self.success += u64::from(success);
        }
    }

    /// Requests that failed.
    #[must_use]
    pub fn failed(self) -> u64 {
        self.total.saturating_sub(self.success)
    }

    /// Successes in percent; `None` without a request.
    #[must_use]
    pub fn rate(self) -> Option<f64> {
        (self.total > 0).then(|| percent(self.success.min(self.total), self.total))
    }

    /// Failures in percent; `None` without a request.
    #[must_use]
    pub fn failure_rate(self) -> Option<f64> {
        (self.total > 0).then(|| percent(self.failed(), self.total))
    }
}

/// Exact up to 2^53 requests in an interval.
fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_answers_and_what_was_not_answered_unless_split_off() {
        let joined = OutlierDetection::configured();
        let split = OutlierDetection {
            split_local_origin: true,
            ..joined.clone()
        };
        for (policy, total) in [(joined, 4), (split, 3)] {
            let mut window = Window::default();
            for outcome in [
                Outcome::Success,
                Outcome::ServerError,
                Outcome::Gateway,
                Outcome::LocalOrigin,
            ] {
                window.record(outcome, &policy);
            }
            assert_eq!(window, Window { total, success: 1 });
        }
    }

    #[test]
    fn a_window_read_while_it_is_written_has_no_rate_above_a_hundred() {
        let torn = Window {
            total: 3,
            success: 5,
        };
        assert_eq!((torn.failed(), torn.rate()), (0, Some(100.0)));
        assert_eq!(Window::default().rate(), None);
    }
}
