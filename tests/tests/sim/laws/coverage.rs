//! That a simulation met what it is about: without it, laws would hold for want of events.

use std::collections::BTreeSet;

use weir_decide::outlier::{Change, End, Refusal, Verdict};

use super::Law;
use crate::event::{Event, Permit};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Coverage {
    seen: BTreeSet<&'static str>,
}

const ALL: [&str; 26] = [
    "accepts again",
    "active pass",
    "already ejected",
    "by absence",
    "by failure percentage",
    "by failure percentage of local origin",
    "by streak",
    "by success rate",
    "by success rate of local origin",
    "endpoint permit",
    "endpoint permit refused",
    "expired",
    "forced",
    "gone",
    "last one",
    "last one by hand",
    "manual end",
    "max percent",
    "needed",
    "nobody there",
    "observe only",
    "over a lowered limit",
    "request permit",
    "request permit refused",
    "retry",
    "retry refused",
];

impl Coverage {
    /// Everything was met in some seed.
    pub(crate) fn assert_complete(&self) {
        let missing: Vec<_> = ALL
            .iter()
            .filter(|what| !self.seen.contains(*what))
            .collect();
        assert!(missing.is_empty(), "no seed met {missing:?}");
    }

    fn see_verdict(&mut self, verdict: Verdict, enforced: &'static str) {
        let Verdict::Refused { why } = verdict else {
            self.seen.insert(enforced);
            return;
        };
        self.seen.insert(match why {
            Refusal::MaxPercent { .. } => "max percent",
            Refusal::LastOne => "last one",
            Refusal::ObserveOnly => "observe only",
            Refusal::AlreadyEjected => "already ejected",
            Refusal::Gone => "gone",
        });
    }

    fn see(&mut self, event: &Event) {
        let name = match event {
            Event::Judged { verdict, .. } => return self.see_verdict(*verdict, "by streak"),
            Event::Absent { verdict, .. } => return self.see_verdict(*verdict, "by absence"),
            Event::Changed(Change::Detected { cause, verdict, .. }) => {
                let by = match cause.label() {
                    "success_rate" => "by success rate",
                    "success_rate_local_origin" => "by success rate of local origin",
                    "failure_percentage_local_origin" => "by failure percentage of local origin",
                    _ => "by failure percentage",
                };
                return self.see_verdict(*verdict, by);
            }
            Event::Changed(Change::Returned { end, .. }) => match end {
                End::Expired => "expired",
                End::ActivePass => "active pass",
                End::Accepts => "accepts again",
                End::Needed => "needed",
                End::Manual => "manual end",
            },
            Event::Ejected {
                manual, refused, ..
            } => match refused {
                Some(_) => "last one by hand",
                None if manual.force => "forced",
                None => return,
            },
            Event::Asked { what, got, .. } => match (what, got) {
                (Permit::Request, true) => "request permit",
                (Permit::Request, false) => "request permit refused",
                (Permit::Endpoint, true) => "endpoint permit",
                (Permit::Endpoint, false) => "endpoint permit refused",
            },
            Event::Retry { got: true, .. } => "retry",
            Event::Retry { got: false, .. } => "retry refused",
            _ => return,
        };
        self.seen.insert(name);
    }
}

impl Law for Coverage {
    fn check(&mut self, world: &World) {
        for entry in &world.events {
            self.see(&entry.event);
        }
        if world.fleet.is_empty() {
            self.seen.insert("nobody there");
        }
        if world.requests.taken() > world.bounds.requests {
            self.seen.insert("over a lowered limit");
        }
    }
}
