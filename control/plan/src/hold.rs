//! Keeping endpoints that vanished without a word (semantics 36).
//!
//! A discovery answer is a snapshot by somebody else, and can be wrong: an engine that is starting lists
//! nothing, a proxy in front of it may cut the answer short. An endpoint that was *stopped* says so by an
//! event; one that is missing without an event may still be serving. So:
//! - an answer that holds nothing at all, where something was known, is not believed: all is kept;
//! - when more than half of a group goes missing at once without stop events, the missing ones are held
//!   for a while and then let go;
//! - anything less, and anything with a stop event, is believed at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One thing that discovery can see, and the group (service) it is counted in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    pub id: String,
    pub group: String,
}

/// What to do after an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Missing from the answer, kept nevertheless.
    pub keep: BTreeSet<String>,
    /// Held before, let go now because its time is over.
    pub released: BTreeSet<String>,
    /// When to ask again even if nothing happens: the first held one's end.
    pub until: Option<Duration>,
    /// The answer was empty and is not believed.
    pub empty_answer: bool,
}

/// What is known and what is held. Times are durations since any fixed moment.
#[derive(Debug, Clone, Default)]
pub struct Hold {
    known: BTreeMap<String, Known>,
}

#[derive(Debug, Clone)]
struct Known {
    group: String,
    /// Since when it is missing, if it is.
    missing_since: Option<Duration>,
}

impl Hold {
    /// Takes one answer.
    ///
    /// `present` is what the answer holds; `blank` says that the answer was empty as a whole, unknown things
    /// included; `stopped` are those whose end was announced by an event; `hold_for` bounds how long one is held.
    pub fn observe(
        &mut self,
        now: Duration,
        hold_for: Duration,
        present: &[Seen],
        blank: bool,
        stopped: &BTreeSet<String>,
    ) -> Decision {
        self.known.retain(|id, _| !stopped.contains(id));
        for seen in present {
            self.known.insert(
                seen.id.clone(),
                Known {
                    group: seen.group.clone(),
                    missing_since: None,
                },
            );
        }
        let here: BTreeSet<&str> = present.iter().map(|seen| seen.id.as_str()).collect();
        let empty_answer = blank && !self.known.is_empty();
        if empty_answer {
            return Decision {
                keep: self.known.keys().cloned().collect(),
                empty_answer,
                ..Decision::default()
            };
        }
        let gone = self.newly_gone(&here);
        for (id, known) in &mut self.known {
            if gone.get(&known.group).is_some_and(|held| *held) && !here.contains(id.as_str()) {
                known.missing_since.get_or_insert(now);
            }
        }
        self.settle(now, hold_for, &here)
    }

    /// For each group with newly missing members, whether they are to be held: more than half of what was here.
    fn newly_gone(&self, here: &BTreeSet<&str>) -> BTreeMap<String, bool> {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (id, known) in self
            .known
            .iter()
            .filter(|(_, known)| known.missing_since.is_none())
        {
            let (all, missing) = counts.entry(&known.group).or_default();
            *all += 1;
            *missing += usize::from(!here.contains(id.as_str()));
        }
        let groups = counts.into_iter().filter(|(_, (_, missing))| *missing > 0);
        groups
            .map(|(group, (all, missing))| (group.to_owned(), missing * 2 > all))
            .collect()
    }

    fn settle(&mut self, now: Duration, hold_for: Duration, here: &BTreeSet<&str>) -> Decision {
        let mut decision = Decision::default();
        self.known.retain(|id, known| {
            if here.contains(id.as_str()) {
                return true;
            }
            let Some(since) = known.missing_since else {
                return false;
            };
            let end = since + hold_for;
            if end <= now {
                decision.released.insert(id.clone());
                return false;
            }
            decision.keep.insert(id.clone());
            decision.until = Some(decision.until.map_or(end, |until| until.min(end)));
            true
        });
        decision
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOLD: Duration = Duration::from_secs(10);

    fn seen(ids: &[&str]) -> Vec<Seen> {
        ids.iter()
            .map(|id| Seen {
                id: (*id).into(),
                group: id[..1].into(),
            })
            .collect()
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn at(hold: &mut Hold, secs: u64, present: &[&str], stopped: &[&str]) -> Decision {
        hold.observe(
            Duration::from_secs(secs),
            HOLD,
            &seen(present),
            present.is_empty(),
            &set(stopped),
        )
    }

    // semantics 36
    #[test]
    fn more_than_half_of_a_service_vanishing_is_held_and_then_let_go() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1", "a2", "a3", "b1"], &[]);
        let held = at(&mut hold, 1, &["a1", "b1"], &[]);
        assert_eq!(held.keep, set(&["a2", "a3"]));
        assert_eq!(held.until, Some(Duration::from_secs(11)));
        assert_eq!(
            at(&mut hold, 10, &["a1", "b1"], &[]).keep,
            set(&["a2", "a3"])
        );
        let over = at(&mut hold, 11, &["a1", "b1"], &[]);
        assert_eq!((over.keep, over.released), (set(&[]), set(&["a2", "a3"])));
    }

    // semantics 36
    #[test]
    fn half_of_a_service_or_less_is_believed_at_once() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1", "a2", "b1"], &[]);
        assert_eq!(at(&mut hold, 1, &["a1", "b1"], &[]), Decision::default());
    }

    // semantics 36
    #[test]
    fn a_stop_event_means_that_it_is_real() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1", "a2", "b1"], &[]);
        assert_eq!(
            at(&mut hold, 1, &["b1"], &["a1", "a2"]),
            Decision::default()
        );
    }

    // semantics 36
    #[test]
    fn a_stop_event_ends_a_hold() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1", "b1"], &[]);
        assert_eq!(at(&mut hold, 1, &["b1"], &[]).keep, set(&["a1"]));
        assert_eq!(at(&mut hold, 2, &["b1"], &["a1"]), Decision::default());
    }

    // semantics 36
    #[test]
    fn an_empty_answer_keeps_what_is_known_for_as_long_as_it_lasts() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1", "b1"], &[]);
        for secs in [1, 100, 10_000] {
            let kept = at(&mut hold, secs, &[], &[]);
            assert!(kept.empty_answer);
            assert_eq!(kept.keep, set(&["a1", "b1"]));
        }
        assert_eq!(
            at(&mut hold, 10_001, &["a1", "b1"], &[]),
            Decision::default()
        );
    }

    #[test]
    fn an_empty_answer_after_everything_was_stopped_is_believed() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1"], &[]);
        assert_eq!(at(&mut hold, 1, &[], &["a1"]), Decision::default());
    }

    #[test]
    fn what_comes_back_is_held_anew_the_next_time() {
        let mut hold = Hold::default();
        at(&mut hold, 0, &["a1", "b1"], &[]);
        at(&mut hold, 1, &["b1"], &[]);
        at(&mut hold, 5, &["a1", "b1"], &[]);
        assert_eq!(
            at(&mut hold, 12, &["b1"], &[]).until,
            Some(Duration::from_secs(22))
        );
    }

    proptest! {
        // semantics 36
        #[test]
        fn nothing_is_held_longer_than_told_and_nothing_present_is_held(
            steps in prop::collection::vec((prop::collection::btree_set(0u8..6, 1..6), 0u64..5), 1..40)
        ) {
            let mut hold = Hold::default();
            let mut now = 0;
            let mut last_seen: BTreeMap<String, u64> = BTreeMap::new();
            for (present, wait) in steps {
                now += wait;
                let ids: Vec<String> = present.iter().map(|n| format!("a{n}")).collect();
                let refs: Vec<&str> = ids.iter().map(String::as_str).collect();
                let decision = at(&mut hold, now, &refs, &[]);
                for id in &ids {
                    prop_assert!(!decision.keep.contains(id));
                }
                for id in &decision.keep {
                    // It went missing at some answer after it was last seen; answers are at most 4 s apart.
                    prop_assert!(now < last_seen[id] + HOLD.as_secs() + 5, "{id} is kept at {now}");
                }
                last_seen.extend(ids.into_iter().map(|id| (id, now)));
            }
        }
    }
}
