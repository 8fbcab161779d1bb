//! Who an interval's rates find, recomputed from the windows that were handed in (semantics 5).

use std::collections::{BTreeMap, BTreeSet};

use weir_config::model::{FailurePercentage, OutlierDetection, SuccessRate};
use weir_decide::outlier::{Cause, Change, Verdict, Window};

use super::Law;
use crate::event::{Event, Id};
use crate::world::World;

#[derive(Default)]
pub(crate) struct Rates {
    out: BTreeSet<Id>,
    /// The interval whose changes are being read, and who was found so far.
    open: Option<(Vec<(Id, Window)>, Found)>,
}

#[derive(Default)]
struct Found {
    expected: Option<Expected>,
    by_success: BTreeSet<Id>,
    by_failure: BTreeSet<Id>,
}

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
                    self.open = Some((windows.clone(), Found::default()));
                }
                Event::Members { ids } => self.out.retain(|id| ids.contains(id)),
                Event::Judged {
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
                let out = &self.out;
                let (windows, found) = self.open.as_mut().expect("rates are judged by interval");
                found
                    .expected
                    .get_or_insert_with(|| Expected::of(windows, out, policy));
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
        let Some((windows, found)) = self.open.take() else {
            return;
        };
        let expected = found
            .expected
            .unwrap_or_else(|| Expected::of(&windows, &self.out, policy));
        assert_eq!(found.by_failure, expected.failing, "{windows:?}");
        for (id, below) in &expected.below {
            // Rounding decides at the threshold itself.
            if below.abs() > 1e-6 {
                let is_found = found.by_success.contains(id);
                assert_eq!(is_found, *below > 0.0, "{id} of {windows:?}");
            }
        }
        let judged = |id| expected.below.contains_key(id);
        assert!(found.by_success.iter().all(judged), "{windows:?}");
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
