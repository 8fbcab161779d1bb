//! Who of a version's endpoints is out, and until when.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, RngExt};
use weir_config::model::OutlierDetection;

use super::{
    Cause, Change, Check, Ejection, End, Manual, Origin, Proof, Refusal, Refused, Standing, Streak,
    Verdict, Window, rates,
};

/// Up to that part of an ejection's time is added to it, so that endpoints that failed together do not return
/// together.
const JITTER: u32 = 10;
/// Of a version's endpoints that may be out, in percent, where the policy names no number.
const MAX_PERCENT: u8 = 10;
/// The same for a version of fewer than [`FEW`], where 10 percent is nobody.
const MAX_PERCENT_OF_FEW: u8 = 50;
const FEW: usize = 10;

/// The ejections of one version's endpoints, each known by a key that outlives configurations.
///
/// The proxy takes the lock around it when a streak is complete, once per interval, and when an operator, an
/// active check or a new configuration speaks; never for a request as such.
///
/// Never the last one: an outlier stays in where no other endpoint serves, and where the last one that serves
/// leaves or starts failing its active check, the ejected endpoint that would come back first comes back at once.
/// (**Ours**; Envoy leaves this to panic.) What someone ejected by hand stays out all the same.
#[derive(Debug, Clone)]
pub struct Detector<K> {
    policy: OutlierDetection,
    /// On the heap each: a tree has room for eleven in its first piece, and most services have two or three.
    members: BTreeMap<K, Box<Standing>>,
    tally: Tally,
}

/// Counts over the members, kept up so that a storm of outliers costs no walk over all of them each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Tally {
    ejected: usize,
    serving: usize,
}

impl Tally {
    fn add(&mut self, standing: &Standing) {
        self.ejected += usize::from(standing.ejection.is_some());
        self.serving += usize::from(standing.serves());
    }

    fn subtract(&mut self, standing: &Standing) {
        self.ejected -= usize::from(standing.ejection.is_some());
        self.serving -= usize::from(standing.serves());
    }
}

impl<K: Ord + Clone> Detector<K> {
    /// A version without endpoints.
    #[must_use]
    pub fn new(policy: OutlierDetection) -> Self {
        Self {
            policy,
            members: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// Takes another policy. Ejections keep the end they were given (semantics 14).
    pub fn set_policy(&mut self, policy: OutlierDetection) {
        self.policy = policy;
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &OutlierDetection {
        &self.policy
    }

    /// Takes the endpoints there are now: those that stay keep everything, those that left leave nothing behind,
    /// new ones start blank (semantics 14).
    pub fn set_members(
        &mut self,
        keys: impl IntoIterator<Item = K>,
        now: Duration,
    ) -> Option<Change<K>> {
        let mut before = std::mem::take(&mut self.members);
        self.tally = Tally::default();
        for key in keys {
            let standing = before.remove(&key).unwrap_or_default();
            if !self.members.contains_key(&key) {
                self.tally.add(&standing);
                self.members.insert(key, standing);
            }
        }
        self.recall_if_nobody_serves(now)
    }

    /// Takes a complete streak of a member in.
    pub fn on_streak(
        &mut self,
        key: &K,
        streak: Streak,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Verdict {
        let failures = match streak {
            Streak::FiveXx => self.policy.consecutive_5xx,
            Streak::Gateway => self.policy.consecutive_gateway,
            Streak::LocalOrigin => self.policy.consecutive_local_origin,
        };
        self.on_outlier(key, Cause::Streak { streak, failures }, now, rng)
    }

    /// Takes in that a member accepts no connection: a request met that at `since`, and that many looks in a row after it.
    /// Ejected as for a streak. Where a streak was faster since then, it was of the same fault, and the ejection is
    /// known better: it keeps its end, and is over as one of this kind is.
    pub fn on_unreachable(
        &mut self,
        key: &K,
        looks: u32,
        since: Duration,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Verdict {
        let cause = Cause::Unreachable { looks };
        self.update(key, |standing| {
            if let Some(ejection) = &mut standing.ejection
                && matches!(ejection.cause, Cause::Streak { .. })
                && ejection.since >= since
            {
                ejection.cause = cause;
            }
        });
        self.on_outlier(key, cause, now, rng)
    }

    /// Takes in that a member accepts connections, seen by a look of Weir's own. Ends an ejection for accepting none,
    /// unless it is not the first in a row.
    pub fn on_accepting(&mut self, key: &K, now: Duration) -> Option<Change<K>> {
        let standing = self.members.get(key)?;
        let returns = standing.returns_when_it_accepts() && !standing.failing_actively;
        if returns {
            self.end(key, End::Accepts, now)
        } else {
            None
        }
    }

    /// Once per [`OutlierDetection::interval`], in Envoy's order: ejections whose time is over end, rates of the interval
    /// are judged, those of answers and then, where they are split off, those of failures to answer, and the ejections in a row of those that were in all the time are forgiven by one.
    ///
    /// `window` is asked once for each member, ejected or not, and starts that member's next window.
    pub fn on_interval(
        &mut self,
        mut window: impl FnMut(&K) -> Window,
        now: Duration,
        rng: &mut impl Rng,
    ) -> Vec<Change<K>> {
        let mut changes = self.end_expired(now);
        for (key, standing) in &mut self.members {
            standing.window = window(key);
        }
        changes.extend(self.judge_rates(Origin::External, now, rng));
        if self.policy.split_local_origin {
            changes.extend(self.judge_rates(Origin::Local, now, rng));
        }
        self.forgive(now);
        changes
    }

    /// Judges the rates of those that are in.
    fn judge_rates(&mut self, of: Origin, now: Duration, rng: &mut impl Rng) -> Vec<Change<K>> {
        let members = self.members.iter();
        let judged: Vec<(K, Window)> = members
            .filter(|(_, standing)| standing.ejection.is_none())
            .map(|(key, standing)| match of {
                Origin::External => (key.clone(), standing.window),
                Origin::Local => (key.clone(), standing.window.of_local_origin()),
            })
            .collect();
        let mut outliers = Vec::new();
        if let Some(policy) = &self.policy.success_rate {
            outliers.extend(rates::by_success_rate(policy, of, &judged));
        }
        if let Some(policy) = &self.policy.failure_percentage {
            outliers.extend(rates::by_failure_percentage(policy, of, &judged));
        }
        let found = outliers.into_iter().map(|(key, cause)| {
            let verdict = self.on_outlier(&key, cause, now, rng);
            Change::Detected {
                key,
                cause,
                verdict,
            }
        });
        found.collect()
    }

    /// Takes the state of an active check in, after each probe (semantics 8). A failed probe that does not take the
    /// endpoint out says nothing.
    ///
    /// A pass ends what it disproves. An answer ends every ejection by the policy, as Envoy has it, unless the policy
    /// says otherwise ([`OutlierDetection::check_ends_ejection`]). **Ours**: a connection that is accepted ends only the
    /// ejection of one that accepted none. It says nothing of the answers that ejected another, and nothing of one that
    /// accepts and hangs: for those a bare connect would undo at once what requests have found out.
    pub fn on_active_check(&mut self, key: &K, check: Check, now: Duration) -> Option<Change<K>> {
        let failing = check == Check::Failing;
        self.update(key, |standing| standing.failing_actively = failing)?;
        match check {
            Check::Failing => self.recall_if_nobody_serves(now),
            Check::Passing(Proof::Accepts) => self.on_accepting(key, now),
            Check::Passing(Proof::Answers) => {
                let ejected = self.members.get(key)?.is_ejected_by_policy();
                if ejected && self.policy.check_ends_ejection {
                    return self.end(key, End::ActivePass, now);
                }
                self.on_accepting(key, now)
            }
        }
    }

    /// No active check speaks of a member any more, as when it was taken from the configuration: nothing but an
    /// ejection keeps it out, and that stays (semantics 14).
    pub fn forget_active_check(&mut self, key: &K) {
        self.update(key, |standing| standing.failing_actively = false);
    }

    /// Takes a member out by hand, whatever the policy's percentage; an ejection by the policy becomes one by hand.
    ///
    /// # Errors
    ///
    /// [`Refusal::LastOne`] without `force`, and [`Refusal::Gone`] where it is no member.
    pub fn eject(
        &mut self,
        key: &K,
        manual: Manual,
        now: Duration,
    ) -> Result<Option<Change<K>>, Refusal> {
        let standing = self.members.get(key).ok_or(Refusal::Gone)?;
        if standing.ejection.is_none() && !manual.force && self.others_serving(standing) == 0 {
            return Err(Refusal::LastOne);
        }
        self.update(key, |standing| {
            let since = standing.ejection.map_or(now, |ejection| ejection.since);
            if standing.ejection.is_none() {
                standing.ejections += 1;
            }
            standing.ejection = Some(Ejection {
                cause: Cause::Manual,
                since,
                until: manual.until,
            });
        });
        Ok(self.recall_if_nobody_serves(now))
    }

    /// Ends an ejection, whoever made it; `None` where there is none.
    pub fn uneject(&mut self, key: &K, now: Duration) -> Option<Change<K>> {
        self.end(key, End::Manual, now)
    }

    /// Whether a member is out.
    #[must_use]
    pub fn is_ejected(&self, key: &K) -> bool {
        self.explain(key)
            .is_some_and(|standing| standing.ejection.is_some())
    }

    /// What is known of a member.
    #[must_use]
    pub fn explain(&self, key: &K) -> Option<&Standing> {
        self.members.get(key).map(Box::as_ref)
    }

    /// All members, in the order of their keys.
    pub fn members(&self) -> impl Iterator<Item = (&K, &Standing)> {
        self.members
            .iter()
            .map(|(key, standing)| (key, &**standing))
    }

    /// How many members are out now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.tally.ejected
    }

    /// How many members the policy may have out at once (semantics 2). The candidate is among them: of three
    /// endpoints at 50% one may be out. What is out by hand counts, since it is as absent.
    #[must_use]
    pub fn allowed(&self) -> usize {
        let members = self.members.len();
        let percent = match self.policy.max_ejection_percent {
            Some(percent) => percent.min(100),
            None if members < FEW => MAX_PERCENT_OF_FEW,
            None => MAX_PERCENT,
        };
        let share = members * usize::from(percent) / 100;
        let always = usize::from(self.policy.always_eject_one);
        share.max(always).min(members.saturating_sub(1))
    }

    /// Ejects a member that was found to be an outlier, unless something stands against it.
    fn on_outlier(&mut self, key: &K, cause: Cause, now: Duration, rng: &mut impl Rng) -> Verdict {
        if let Some(why) = self.objection(key) {
            // It is no news of an endpoint that is out that it goes on failing.
            if why != Refusal::AlreadyEjected {
                self.update(key, |standing| {
                    standing.refused = Some(Refused {
                        cause,
                        why,
                        at: now,
                    });
                });
            }
            return Verdict::Refused { why };
        }
        let (base, max) = (
            self.policy.base_ejection_time,
            self.policy.max_ejection_time,
        );
        let verdict = self.update(key, |standing| {
            // As Envoy: the count stops one above what reaches the maximum, so that forgiveness is never far.
            if base.saturating_mul(standing.times) < max.saturating_add(base) {
                standing.times += 1;
            }
            let time = base.saturating_mul(standing.times).min(max);
            let until = now.saturating_add(time).saturating_add(jitter(time, rng));
            standing.ejection = Some(Ejection {
                cause,
                since: now,
                until: Some(until),
            });
            standing.ejections += 1;
            standing.refused = None;
            Verdict::Ejected {
                until,
                times: standing.times,
            }
        });
        verdict.unwrap_or(Verdict::Refused { why: Refusal::Gone })
    }

    /// What stands against ejecting that member. That nobody is ejected comes last, as in Envoy, so that a policy that
    /// observes tells what one that acts would do.
    fn objection(&self, key: &K) -> Option<Refusal> {
        let Some(standing) = self.members.get(key) else {
            return Some(Refusal::Gone);
        };
        let (ejected, allowed) = (self.tally.ejected, self.allowed());
        if standing.ejection.is_some() {
            Some(Refusal::AlreadyEjected)
        } else if self.others_serving(standing) == 0 {
            Some(Refusal::LastOne)
        } else if ejected >= allowed {
            Some(Refusal::MaxPercent { ejected, allowed })
        } else {
            self.policy.observe_only.then_some(Refusal::ObserveOnly)
        }
    }

    fn others_serving(&self, standing: &Standing) -> usize {
        self.tally.serving - usize::from(standing.serves())
    }

    fn end_expired(&mut self, now: Duration) -> Vec<Change<K>> {
        let expired: Vec<K> = self
            .members
            .iter()
            .filter(|(_, standing)| {
                standing
                    .ejection
                    .and_then(|ejection| ejection.until)
                    .is_some_and(|until| until <= now)
            })
            .map(|(key, _)| key.clone())
            .collect();
        expired
            .iter()
            .filter_map(|key| self.end(key, End::Expired, now))
            .collect()
    }

    fn forgive(&mut self, now: Duration) {
        for standing in self.members.values_mut() {
            let in_all_the_time = standing
                .returned
                .is_some_and(|at| now.saturating_sub(at) >= self.policy.interval);
            if standing.ejection.is_none() && in_all_the_time {
                standing.times = standing.times.saturating_sub(1);
            }
        }
    }

    /// Of those that only the policy keeps out, brings back the one that would come back first.
    fn recall_if_nobody_serves(&mut self, now: Duration) -> Option<Change<K>> {
        if self.tally.serving > 0 {
            return None;
        }
        let (_, key) = self
            .members
            .iter()
            .filter(|(_, standing)| standing.is_ejected_by_policy() && !standing.failing_actively)
            .map(|(key, standing)| (standing.ejection.and_then(|ejection| ejection.until), key))
            .min()?;
        let key = key.clone();
        self.end(&key, End::Needed, now)
    }

    fn end(&mut self, key: &K, end: End, now: Duration) -> Option<Change<K>> {
        let ended = self.update(key, |standing| {
            let ended = standing.ejection.take().is_some();
            if ended {
                standing.returned = Some(now);
            }
            ended
        });
        ended.filter(|&ended| ended).map(|_| Change::Returned {
            key: key.clone(),
            end,
        })
    }

    /// Changes what is known of a member, and the tally with it; `None` where it is no member.
    fn update<R>(&mut self, key: &K, change: impl FnOnce(&mut Standing) -> R) -> Option<R> {
        let standing = self.members.get_mut(key)?;
        self.tally.subtract(standing);
        let result = change(standing);
        self.tally.add(standing);
        Some(result)
    }
}

fn jitter(time: Duration, rng: &mut impl Rng) -> Duration {
    let most = u64::try_from((time / JITTER).as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.random_range(0..=most))
}

#[cfg(test)]
mod tests;
