//! What a [`Detector`](super::Detector) is told and tells.

use std::time::Duration;

use super::{Cause, Refusal};

/// An outlier was detected, and was ejected or was not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// Out until then, for that many times in a row.
    Ejected {
        until: Duration,
        times: u32,
    },
    Refused {
        why: Refusal,
    },
}

impl Verdict {
    /// Whether the endpoint was ejected by this.
    #[must_use]
    pub fn is_enforced(self) -> bool {
        matches!(self, Self::Ejected { .. })
    }
}

/// Something worth an event, or a count.
#[derive(Debug, Clone, PartialEq)]
pub enum Change<K> {
    /// It takes requests again; its [`Streaks`](super::Streaks) are to be cleared (semantics 4).
    Returned { key: K, end: End },
    /// A rate made it an outlier.
    Detected {
        key: K,
        cause: Cause,
        verdict: Verdict,
    },
}

/// What ended an ejection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its time was over.
    Expired,
    /// It passed an active check.
    ActivePass,
    /// It accepts connections again.
    Accepts,
    /// Nobody else was left to serve.
    Needed,
    /// Someone said so.
    Manual,
}

/// What an active check says of a member after a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The check, or anything else that looks at it from outside, keeps it out.
    Failing,
    /// A probe passed, and nothing keeps it out.
    Passing(Proof),
}

/// What a passed probe proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// That a connection is accepted, by the process or by the kernel for it.
    Accepts,
    /// That a question is answered as expected.
    Answers,
}

/// An ejection by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manual {
    /// `None`: until someone ends it.
    pub until: Option<Duration>,
    /// Even where nobody else is left to serve.
    pub force: bool,
}
