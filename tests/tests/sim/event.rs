//! What happened in a step, in order.

use std::time::Duration;

use weir_decide::outlier::{Change, Check, Manual, Outcome, Refusal, Streak, Verdict, Window};

pub(crate) type Id = u32;

/// One thing that happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// These are the members now.
    Members { ids: Vec<Id> },
    /// An endpoint's answer, or the lack of one.
    Told { id: Id, outcome: Outcome },
    /// A streak was complete.
    Judged {
        id: Id,
        streak: Streak,
        verdict: Verdict,
    },
    /// The interval's windows were handed in.
    Interval { windows: Vec<(Id, Window)> },
    /// What the detector reported.
    Changed(Change<Id>),
    /// A probe's consequence.
    Checked { id: Id, check: Check },
    /// Looks of Weir's own found nobody there.
    Absent {
        id: Id,
        since: Duration,
        verdict: Verdict,
    },
    /// One found somebody.
    Found { id: Id },
    /// Someone ejected an endpoint.
    Ejected {
        id: Id,
        manual: Manual,
        refused: Option<Refusal>,
    },
    /// Someone ended an ejection.
    Unejected { id: Id },
    /// A permit was asked for: `taken` were taken of `limit` before.
    Asked {
        what: Permit,
        limit: u32,
        taken: u32,
        got: bool,
    },
    /// A retry was wanted, with that many requests and retries in flight.
    Retry {
        active: u32,
        retrying: u32,
        got: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    Request,
    Endpoint,
}

/// An event and its time.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) event: Event,
}
