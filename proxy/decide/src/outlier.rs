//! Outlier detection: which endpoints of a version fail unlike the others, and how long they sit out.
//!
//! Two halves, because they run in two places. [`Streaks`] and [`Window`] are what a request leaves behind:
//! numbers that fit the atomics of the request path. [`Detector`] is what was decided about the endpoints of
//! one version: it is asked when a streak is complete and once per interval, off the request path.
//!
//! What is *detected* and what is *enforced* are told apart (Envoy, outlier detection): a [`Verdict`] is always
//! a detection, and says either for how long the endpoint is out or what stood against it. The arithmetic is
//! Envoy's; where ours differs on purpose, the place says so.

mod detector;
mod rates;
mod standing;
mod streaks;
mod verdict;
mod window;

pub use detector::Detector;
pub use standing::{Cause, Ejection, Origin, Refusal, Refused, Standing};
pub use streaks::{Streak, Streaks};
pub use verdict::{Change, Check, End, Manual, Proof, Verdict};
pub use window::{Counted, Window};

/// What a request told about the endpoint it was sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Any answer that is no 5xx.
    Success,
    /// An answered 5xx that is no [`Outcome::Gateway`].
    ServerError,
    /// An answered 502, 503 or 504.
    Gateway,
    /// No answer: the connect failed, the connection was reset, or the time ran out.
    LocalOrigin,
}

impl Outcome {
    /// What an answer with this status tells.
    #[must_use]
    #[inline]
    pub fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::Gateway,
            500..=599 => Self::ServerError,
            _ => Self::Success,
        }
    }
}
