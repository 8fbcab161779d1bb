//! What an endpoint did in one interval.

use weir_config::model::OutlierDetection;

use super::Outcome;

/// Requests of one interval. The caller counts, sharded where counting would bounce between workers, and hands
/// the sums to [`super::Detector::on_interval`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// Requests that were answered, and those that were not unless they are split off.
    pub total: u64,
    /// At most `total`; more, which counts read one after the other can give, is taken as `total`.
    pub success: u64,
    /// Requests that were not answered, where they are split off.
    pub unanswered: u64,
}

/// Where an outcome counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    Success,
    Failure,
    Unanswered,
}

impl Window {
    /// As what an outcome counts. Failures to answer that are split off count apart, so that the rates are of answers.
    #[must_use]
    #[inline]
    pub fn counts(outcome: Outcome, policy: &OutlierDetection) -> Counted {
        match outcome {
            Outcome::Success => Counted::Success,
            Outcome::LocalOrigin if policy.split_local_origin => Counted::Unanswered,
            _ => Counted::Failure,
        }
    }

    /// Counts one outcome.
    pub fn record(&mut self, outcome: Outcome, policy: &OutlierDetection) {
        match Self::counts(outcome, policy) {
            Counted::Success => {
                self.total += 1;
                self.success += 1;
            }
            Counted::Failure => self.total += 1,
            Counted::Unanswered => self.unanswered += 1,
        }
    }

    /// The same requests, judged by whether they were answered at all: an answered 500 is a success here (Envoy,
    /// `local_origin_success_rate`).
    #[must_use]
    pub fn of_local_origin(self) -> Self {
        Self {
            total: self.total.saturating_add(self.unanswered),
            success: self.total,
            unanswered: 0,
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
        for (policy, total, unanswered) in [(joined, 4, 0), (split, 3, 1)] {
            let mut window = Window::default();
            for outcome in [
                Outcome::Success,
                Outcome::ServerError,
                Outcome::Gateway,
                Outcome::LocalOrigin,
            ] {
                window.record(outcome, &policy);
            }
            let expected = Window {
                total,
                success: 1,
                unanswered,
            };
            assert_eq!(window, expected);
            let reached = window.of_local_origin();
            assert_eq!((reached.total, reached.success), (4, total));
        }
    }

    #[test]
    fn a_window_read_while_it_is_written_has_no_rate_above_a_hundred() {
        let torn = Window {
            total: 3,
            success: 5,
            unanswered: 0,
        };
        assert_eq!((torn.failed(), torn.rate()), (0, Some(100.0)));
        assert_eq!(Window::default().rate(), None);
    }
}
