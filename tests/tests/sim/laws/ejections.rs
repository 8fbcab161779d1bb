//! Ejections, followed by a model that keeps a plain list and Envoy's formulas as they are published.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_config::model::OutlierDetection;
use weir_decide::outlier::{Change, Check, End, Manual, Outcome, Proof, Refusal, Streak, Verdict};

use super::Law;
use crate::event::{Event, Id};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Ejections {
    known: BTreeMap<Id, Known>,
    /// Whose last ejection by the policy was for a streak.
    by_streak: BTreeSet<Id>,
    /// Whose ejection someone just ended.
    let_in: Option<Id>,
}

/// What the model holds of an endpoint.
#[derive(Debug, Default)]
struct Known {
    out: Option<Out>,
    failing: bool,
    /// A connection was accepted, and nothing speaks against the endpoint beside its ejection.
    accepts: bool,
    /// A question was answered, and the policy lets that count.
    answers: bool,
    times: u32,
    returned: Option<Duration>,
    /// Failures since it last succeeded or came back, or was new.
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Out {
    manual: bool,
    /// For accepting no connection.
    absent: bool,
    since: Duration,
    until: Option<Duration>,
}

impl Known {
    fn serves(&self) -> bool {
        self.out.is_none() && !self.failing
    }
}

impl Law for Ejections {
    fn check(&mut self, world: &World) {
        let mut interval_at = None;
        for entry in &world.events {
            if interval_at.is_some_and(|_| !matches!(entry.event, Event::Changed(_))) {
                self.end_interval(interval_at.take(), &world.policy);
            }
            if matches!(entry.event, Event::Interval { .. }) {
                interval_at = Some(entry.at);
            }
            self.follow(entry.at, &entry.event, world);
        }
        self.end_interval(interval_at, &world.policy);
        self.compare(world);
    }
}

impl Ejections {
    fn follow(&mut self, at: Duration, event: &Event, world: &World) {
        match *event {
            Event::Members { ref ids } => {
                self.known.retain(|id, _| ids.contains(id));
                for &id in ids {
                    self.known.entry(id).or_default();
                }
            }
            Event::Told { id, outcome } => {
                let known = self.get(id);
                known.failures = match outcome {
                    Outcome::Success => 0,
                    _ => known.failures + 1,
                };
            }
            Event::Judged {
                id,
                streak,
                verdict,
            } => {
                if self.known.contains_key(&id) {
                    self.streak_is_long_enough(id, streak, &world.policy);
                }
                self.judged(id, verdict, at, &world.policy);
                if verdict.is_enforced() {
                    self.by_streak.insert(id);
                }
            }
            Event::Changed(Change::Detected { key, verdict, .. }) => {
                self.judged(key, verdict, at, &world.policy);
                if verdict.is_enforced() {
                    self.by_streak.remove(&key);
                }
            }
            Event::Changed(Change::Returned { key, end }) => self.returned(key, end, at),
            Event::Checked { id, check } => {
                let known = self.get(id);
                known.failing = check == Check::Failing;
                known.accepts = !known.failing;
                known.answers =
                    check == Check::Passing(Proof::Answers) && world.policy.check_ends_ejection;
            }
            Event::Absent { id, since, verdict } => {
                self.absent(id, since, verdict, at, &world.policy)
            }
            Event::Found { id } => {
                let known = self.get(id);
                (known.accepts, known.answers) = (!known.failing, false);
            }
            Event::Ejected {
                id,
                manual,
                refused,
            } => self.ejected_by_hand(id, manual, refused),
            Event::Unejected { id } => self.let_in = Some(id),
            Event::Interval { .. } | Event::Asked { .. } | Event::Retry { .. } => {}
        }
    }

    fn get(&mut self, id: Id) -> &mut Known {
        self.known.get_mut(&id).expect("an event of a member")
    }

    fn others_serving(&self, but: Id) -> usize {
        let others = self.known.iter().filter(|&(&id, _)| id != but);
        others.filter(|(_, known)| known.serves()).count()
    }

    fn out(&self) -> usize {
        self.known
            .values()
            .filter(|known| known.out.is_some())
            .count()
    }

    /// Un-ejection clears the counters (semantics 4): a streak is made of failures since then.
    fn streak_is_long_enough(&mut self, id: Id, streak: Streak, policy: &OutlierDetection) {
        let needed = match streak {
            Streak::FiveXx => policy.consecutive_5xx,
            Streak::Gateway => policy.consecutive_gateway,
            Streak::LocalOrigin => policy.consecutive_local_origin,
        };
        let failures = self.get(id).failures;
        assert!(
            needed > 0 && failures >= needed,
            "{id}: {streak:?} after {failures} of {needed} failures"
        );
    }

    /// A verdict is what the rules say, refusals included: nothing is ejected beyond the bound, and nothing spared
    /// below it (semantics 2).
    fn judged(&mut self, id: Id, verdict: Verdict, at: Duration, policy: &OutlierDetection) {
        let expected = self.refusal(id, policy);
        match verdict {
            Verdict::Refused { why } => {
                let why = std::mem::discriminant(&why);
                let expected = expected.as_ref().map(std::mem::discriminant);
                assert_eq!(Some(why), expected, "{id}: {verdict:?}");
            }
            Verdict::Ejected { until, times } => {
                assert_eq!(expected, None, "{id}: {verdict:?}");
                self.ejected(id, at, until, times, policy);
            }
        }
    }

    /// Who accepts nothing is ejected as for a streak; a streak that was faster was of the same fault.
    fn absent(
        &mut self,
        id: Id,
        since: Duration,
        verdict: Verdict,
        at: Duration,
        policy: &OutlierDetection,
    ) {
        self.judged(id, verdict, at, policy);
        let by_streak = self.by_streak.contains(&id);
        if let Some(out) = &mut self.get(id).out {
            out.absent |= verdict.is_enforced() || (by_streak && out.since >= since);
        }
    }

    fn refusal(&self, id: Id, policy: &OutlierDetection) -> Option<Refusal> {
        let (members, out) = (self.known.len(), self.out());
        let percent = match policy.max_ejection_percent {
            Some(percent) => f64::from(percent),
            None if members < 10 => 50.0,
            None => 10.0,
        };
        let with_candidate = 100.0 * (out as f64 + 1.0) / members as f64;
        let within = with_candidate <= percent || (policy.always_eject_one && out == 0);
        let known = self.known.get(&id);
        if known.is_none() {
            Some(Refusal::Gone)
        } else if known.is_some_and(|known| known.out.is_some()) {
            Some(Refusal::AlreadyEjected)
        } else if self.others_serving(id) == 0 {
            Some(Refusal::LastOne)
        } else if !within {
            let allowed = 0;
            Some(Refusal::MaxPercent {
                ejected: out,
                allowed,
            })
        } else {
            policy.observe_only.then_some(Refusal::ObserveOnly)
        }
    }

    /// min(base x k, max), and up to a tenth more (semantics 1).
    fn ejected(
        &mut self,
        id: Id,
        at: Duration,
        until: Duration,
        times: u32,
        policy: &OutlierDetection,
    ) {
        let (base, max) = (policy.base_ejection_time, policy.max_ejection_time);
        let known = self.get(id);
        if base * known.times < max + base {
            known.times += 1;
        }
        assert_eq!(times, known.times, "{id}: ejections in a row");
        let time = (base * times).min(max);
        assert!(
            until >= at + time && until <= at + time + time / 10 && until <= at + max + max / 10,
            "{id}: out for {:?} where {time:?} is due",
            until - at
        );
        known.out = Some(Out {
            manual: false,
            absent: false,
            since: at,
            until: Some(until),
        });
    }

    fn ejected_by_hand(&mut self, id: Id, manual: Manual, refused: Option<Refusal>) {
        let in_now = self.get(id).out.is_none();
        let last = in_now && !manual.force && self.others_serving(id) == 0;
        assert_eq!(refused, last.then_some(Refusal::LastOne), "{id}");
        if refused.is_none() {
            self.get(id).out = Some(Out {
                manual: true,
                absent: false,
                since: Duration::ZERO,
                until: manual.until,
            });
        }
    }

    fn returned(&mut self, id: Id, end: End, at: Duration) {
        let serving = self.known.values().any(Known::serves);
        let let_in = self.let_in.take() == Some(id);
        let known = self.get(id);
        let out = known.out.take();
        let out = out.unwrap_or_else(|| panic!("{id} returned and was not out"));
        let just = match end {
            End::Expired => out.until.is_some_and(|until| until <= at),
            End::ActivePass => !out.manual && known.answers,
            // Not the second time in a row.
            End::Accepts => out.absent && known.accepts && known.times <= 1,
            End::Needed => !out.manual && !known.failing && !serving,
            End::Manual => let_in,
        };
        assert!(just, "{id} returned by {end:?}: {out:?}, {known:?}");
        known.returned = Some(at);
        known.failures = 0;
    }

    /// What is over by an interval ended with it, and what was in all the time is forgiven by one (semantics 1).
    fn end_interval(&mut self, at: Option<Duration>, policy: &OutlierDetection) {
        let Some(at) = at else { return };
        for (id, known) in &mut self.known {
            let overdue = known.out.and_then(|out| out.until);
            assert!(overdue.is_none_or(|until| until > at), "{id} is overdue");
            let since = known.returned.map(|returned| at - returned);
            if known.out.is_none() && since.is_some_and(|since| since >= policy.interval) {
                known.times = known.times.saturating_sub(1);
            }
        }
    }

    /// The detector holds what its reports add up to, and never keeps out what would be needed.
    fn compare(&self, world: &World) {
        for (id, standing) in world.detector.members() {
            let known = &self.known[id];
            let ejection = standing.ejection;
            assert_eq!(
                ejection.map(|ejection| (ejection.is_manual(), ejection.until)),
                known.out.map(|out| (out.manual, out.until)),
                "{id}"
            );
            assert_eq!(standing.times, known.times, "{id}");
            assert_eq!(standing.failing_actively, known.failing, "{id}");
        }
        assert_eq!(world.detector.ejected(), self.out());
        let serving = self.known.values().any(Known::serves);
        let spared = self
            .known
            .values()
            .any(|known| !known.failing && known.out.is_some_and(|out| !out.manual));
        assert!(
            serving || !spared,
            "nobody serves, and the policy keeps some out"
        );
    }
}
