//! What is known of one endpoint, in values that can be printed.

use std::fmt;
use std::time::Duration;

use super::{Streak, Window};

/// Why an endpoint was found to be an outlier, with the numbers it was held against. Its text is for people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// That many failures in a row.
    Streak { streak: Streak, failures: u32 },
    /// It refused a request's connection, and then that many looks of Weir's own in a row.
    Unreachable { looks: u32 },
    /// Rates in percent.
    SuccessRate {
        of: Origin,
        rate: f64,
        mean: f64,
        threshold: f64,
        requests: u64,
    },
    /// Shares in percent.
    FailurePercentage {
        of: Origin,
        failed: f64,
        threshold: u8,
        requests: u64,
    },
    /// Someone said so.
    Manual,
}

/// Whose failures a rate is of (Envoy, `split_external_local_origin_errors`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// What endpoints answer, and that they do not unless that is split off.
    External,
    /// Whether they answer at all, where that is split off.
    Local,
}

impl Cause {
    /// A short name, for a label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Streak { streak, .. } => match streak {
                Streak::FiveXx => "consecutive_5xx",
                Streak::Gateway => "consecutive_gateway",
                Streak::LocalOrigin => "consecutive_local_origin",
            },
            Self::Unreachable { .. } => "unreachable",
            Self::SuccessRate { of, .. } => match of {
                Origin::External => "success_rate",
                Origin::Local => "success_rate_local_origin",
            },
            Self::FailurePercentage { of, .. } => match of {
                Origin::External => "failure_percentage",
                Origin::Local => "failure_percentage_local_origin",
            },
            Self::Manual => "manual",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Streak { streak, failures } => {
                let what = match streak {
                    Streak::FiveXx => "answers with a 5xx",
                    Streak::Gateway => "gateway errors",
                    Streak::LocalOrigin => "failures to answer",
                };
                write!(f, "{failures} {what} in a row")
            }
            Self::Unreachable { looks } => {
                write!(
                    f,
                    "no connection: {looks} looks in a row found nobody there"
                )
            }
            Self::SuccessRate {
                of,
                rate,
                mean,
                threshold,
                requests,
            } => {
                let what = match of {
                    Origin::External => "success rate",
                    Origin::Local => "rate of answers",
                };
                write!(
                    f,
                    "{what} {rate:.1}% of {requests} requests is below {threshold:.1}% (mean {mean:.1}%)"
                )
            }
            Self::FailurePercentage {
                of,
                failed,
                threshold,
                requests,
            } => {
                let what = match of {
                    Origin::External => "failed",
                    Origin::Local => "were not answered",
                };
                write!(
                    f,
                    "{failed:.1}% of {requests} requests {what}, and {threshold}% is the limit"
                )
            }
            Self::Manual => f.write_str("ejected by hand"),
        }
    }
}

/// What stood against an ejection. Its text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// As many as the policy allows are out.
    MaxPercent { ejected: usize, allowed: usize },
    /// Nobody else would be left to serve.
    LastOne,
    /// The policy only counts.
    ObserveOnly,
    /// It is out.
    AlreadyEjected,
    /// It is no member any more: what it told came late.
    Gone,
}

impl Refusal {
    /// Whether an outlier stays in for want of others, which is worth an alarm (Envoy, `ejections_overflow`).
    #[must_use]
    pub fn is_overflow(self) -> bool {
        matches!(self, Self::MaxPercent { .. } | Self::LastOne)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxPercent { ejected, allowed } => write!(
                f,
                "{ejected} ejected already, and maxEjectionPercent allows {allowed}"
            ),
            Self::LastOne => f.write_str("no other endpoint would be left to serve"),
            Self::ObserveOnly => f.write_str("the policy only observes"),
            Self::AlreadyEjected => f.write_str("ejected already"),
            Self::Gone => f.write_str("no longer an endpoint of this version"),
        }
    }
}

/// An endpoint is out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ejection {
    pub cause: Cause,
    pub since: Duration,
    /// When it may come back; the next interval brings it back. `None`: when someone says so.
    pub until: Option<Duration>,
}

impl Ejection {
    /// Whether someone said so, rather than the policy.
    #[must_use]
    pub fn is_manual(&self) -> bool {
        self.cause == Cause::Manual
    }
}

/// An outlier was found and stayed in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Refused {
    pub cause: Cause,
    pub why: Refusal,
    pub at: Duration,
}

/// All that is known of one endpoint. Times count from wherever the caller's `now` does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// There while it is out.
    pub ejection: Option<Ejection>,
    /// Ejections in a row, which the next ejection's time is multiplied with; falls by one per healthy interval.
    pub times: u32,
    /// When the last ejection ended.
    pub returned: Option<Duration>,
    /// Since the endpoint became a member.
    pub ejections: u64,
    /// The last refusal since it was last ejected.
    pub refused: Option<Refused>,
    /// The interval that ended last.
    pub window: Window,
    /// An active check keeps it out.
    pub failing_actively: bool,
}

impl Standing {
    /// Whether the policy ejected it.
    #[must_use]
    pub fn is_ejected_by_policy(&self) -> bool {
        self.ejection.is_some_and(|ejection| !ejection.is_manual())
    }

    /// Whether a connection that is accepted is proof that it is well again: it was ejected for accepting none, and not
    /// the second time in a row, since one that comes up only to go down again must sit its time out.
    #[must_use]
    pub fn returns_when_it_accepts(&self) -> bool {
        let unreachable = |ejection: Ejection| matches!(ejection.cause, Cause::Unreachable { .. });
        self.times <= 1 && self.ejection.is_some_and(unreachable)
    }

    /// Whether neither an ejection nor an active check keeps it out.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.ejection.is_none() && !self.failing_actively
    }
}
