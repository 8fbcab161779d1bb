//! Who an interval's rates find, recomputed from the windows that were handed in (semantics 5).

use std::collections::{BTreeMap, BTreeSet};

use weir_config::model::{FailurePercentage, OutlierDetection, SuccessRate};
use weir_decide::outlier::{Cause, Change, Origin, Verdict, Window};

use super::Law;
use crate::event::{Event, Id};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Rates {
    out: BTreeSet<Id>,
    /// The interval whose changes are being read, and who was found so far.
    open: Option<Open>,
}

struct Open {
    windows: Vec<(Id, Window)>,
    of_answers: Found,
    of_local_origin: Found,
}

#[derive(Default)]
struct Found {
    expected: Option<Expected>,
    by_success: BTreeSet<Id>,
    by_failure: BTreeSet<Id>,
}

#[derive(Default)]
struct Expected {
    /// How far below the threshold each lies, in points.
    below: BTreeMap<Id, f64>,
    failing: BTreeSet<Id>,
}

impl Law for Rates {
    fn check(&mut self, world: &World) {
        for entry in &world.events {
            let change = match &entry.event {
                Event::Changed(change) => Some(change),
                _ => None,
            };
            if change.is_none() {
                self.close(&world.policy);
            }
            match &entry.event {
                Event::Interval { windows } => {
                    self.open = Some(Open {
                        windows: windows.clone(),
                        of_answers: Found::default(),
                        of_local_origin: Found::default(),
                    });
                }
                Event::Members { ids } => self.out.retain(|id| ids.contains(id)),
                Event::Judged {
                    id,
                    verdict: Verdict::Ejected { .. },
                    ..
                }
                | Event::Absent {
                    id,
                    verdict: Verdict::Ejected { .. },
                    ..
                }
                | Event::Ejected {
                    id, refused: None, ..
                } => {
                    self.out.insert(*id);
                }
                _ => {}
            }
            if let Some(change) = change {
                self.follow(change, &world.policy);
            }
        }
        self.close(&world.policy);
    }
}

impl Rates {
    fn follow(&mut self, change: &Change<Id>, policy: &OutlierDetection) {
        match change {
            Change::Returned { key, .. } => {
                self.out.remove(key);
            }
            Change::Detected {
                key,
                cause,
                verdict,
            } => {
                let open = self.open.as_mut().expect("rates are judged by interval");
                let of = match cause {
                    Cause::SuccessRate { of, .. } | Cause::FailurePercentage { of, .. } => *of,
                    other => panic!("an interval judges rates: {other}"),
                };
                let found = open.found(of, &self.out, policy);
                match cause {
                    Cause::SuccessRate { .. } => found.by_success.insert(*key),
                    _ => found.by_failure.insert(*key),
                };
                if verdict.is_enforced() {
                    self.out.insert(*key);
                }
            }
        }
    }

    fn close(&mut self, policy: &OutlierDetection) {
        let Some(mut open) = self.open.take() else {
            return;
        };
        open.found(Origin::Local, &self.out, policy);
        let Open {
            windows,
            of_answers,
            of_local_origin,
        } = open;
        of_answers.compare(&windows);
        of_local_origin.compare(&windows);
    }
}

impl Open {
    /// What was found by the rates of that origin, with what is to be: of answers first, and of local origin where it is
    /// split off, without those that the first have ejected.
    fn found(&mut self, of: Origin, out: &BTreeSet<Id>, policy: &OutlierDetection) -> &mut Found {
        let answers = || Expected::of(&self.windows, out, policy);
        self.of_answers.expected.get_or_insert_with(answers);
        if of == Origin::External {
            return &mut self.of_answers;
        }
        let local = || {
            if !policy.split_local_origin {
                return Expected::default();
            }
            let windows = self.windows.iter().map(|&(id, window)| {
                let local = Window {
                    total: window.total + window.unanswered,
                    success: window.total,
                    unanswered: 0,
                };
                (id, local)
            });
            Expected::of(&windows.collect::<Vec<_>>(), out, policy)
        };
        self.of_local_origin.expected.get_or_insert_with(local);
        &mut self.of_local_origin
    }
}

impl Found {
    fn compare(&self, windows: &[(Id, Window)]) {
        let expected = self.expected.as_ref().expect("what is to be found");
        assert_eq!(self.by_failure, expected.failing, "{windows:?}");
        for (id, below) in &expected.below {
            // Rounding decides at the threshold itself.
            if below.abs() > 1e-6 {
                let is_found = self.by_success.contains(id);
                assert_eq!(is_found, *below > 0.0, "{id} of {windows:?}");
            }
        }
        let judged = |id| expected.below.contains_key(id);
        assert!(self.by_success.iter().all(judged), "{windows:?}");
    }
}

impl Expected {
    fn of(windows: &[(Id, Window)], out: &BTreeSet<Id>, policy: &OutlierDetection) -> Self {
        let in_now: Vec<(Id, Window)> = windows
            .iter()
            .copied()
            .filter(|(id, _)| !out.contains(id))
            .collect();
        Self {
            below: (policy.success_rate)
                .map(|policy| below(policy, &in_now))
                .unwrap_or_default(),
            failing: (policy.failure_percentage)
                .map(|policy| failing(policy, &in_now))
                .unwrap_or_default(),
        }
    }
}

fn below(policy: SuccessRate, windows: &[(Id, Window)]) -> BTreeMap<Id, f64> {
    let rates: BTreeMap<Id, f64> = windows
        .iter()
        .filter(|(_, window)| window.total > 0 && window.total >= policy.request_volume.into())
        .map(|&(id, window)| (id, 100.0 * window.success as f64 / window.total as f64))
        .collect();
    if rates.len() < policy.minimum_hosts as usize {
        return BTreeMap::new();
    }
    let count = rates.len() as f64;
    let mean = rates.values().sum::<f64>() / count;
    let squares: f64 = rates.values().map(|rate| (rate - mean).powi(2)).sum();
    let threshold = mean - policy.stdev_factor * (squares / count).sqrt();
    rates
        .into_iter()
        .map(|(id, rate)| (id, threshold - rate))
        .collect()
}

fn failing(policy: FailurePercentage, windows: &[(Id, Window)]) -> BTreeSet<Id> {
    let counted: Vec<_> = windows
        .iter()
        .filter(|(_, window)| window.total > 0 && window.total >= policy.request_volume.into())
        .collect();
    if counted.len() < policy.minimum_hosts as usize {
        return BTreeSet::new();
    }
    counted
        .into_iter()
        .filter(|(_, window)| {
            (window.total - window.success) * 100 >= window.total * u64::from(policy.threshold)
        })
        .map(|&(id, _)| id)
        .collect()
}
