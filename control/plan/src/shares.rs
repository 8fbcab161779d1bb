//! What each version of a split gets once a person has named weights for some of them.
//!
//! The rules, as `weir canary set` explains them:
//! - versions that are named get that many percent, and the others share what remains to 100 in the
//!   proportions they had (`canary=25` over stable and canary is 75/25);
//! - when all versions are named, their weights are relative (`green=3 blue=1` is 75/25);
//! - when the others had no weight between them, `stable` takes what remains if it is one of them, else
//!   they share it equally: a percentage is never sent nowhere;
//! - a named version that the split does not have is passed over: its endpoints may be gone.

use std::collections::BTreeMap;

use weir_config::model::{VersionName, Weight};

/// 100.0%, in tenths.
pub const WHOLE: u64 = 1000;

/// The weights of a split after `named` was laid over it; one per entry of `configured`, in its order.
///
/// Returns what was configured when `named` says nothing of this split, or would leave it with no weight
/// at all: an override for `green` and `blue` must not black out a split between two other versions.
#[must_use]
pub fn overlay(
    configured: &[(VersionName, Weight)],
    named: &BTreeMap<VersionName, Weight>,
) -> Vec<Weight> {
    let as_is = || configured.iter().map(|(_, weight)| *weight).collect();
    let told = configured
        .iter()
        .filter(|(name, _)| named.contains_key(name))
        .count();
    if told == 0 {
        return as_is();
    }
    let tenths: Vec<u64> = match told == configured.len() {
        true => configured
            .iter()
            .map(|(name, _)| lookup(named, name))
            .collect(),
        false => fill_to_whole(configured, named),
    };
    if tenths.iter().all(|&t| t == 0) {
        return as_is();
    }
    tenths.into_iter().map(weight).collect()
}

/// As [`overlay`], with versions that are `dormant` (coming or going as a whole) left without a share, so that
/// neither fails a request; unless nobody else would have one.
#[must_use]
pub fn overlay_awake(
    configured: &[(VersionName, Weight)],
    named: &BTreeMap<VersionName, Weight>,
    dormant: impl Fn(&VersionName) -> bool,
) -> Vec<Weight> {
    let all = overlay(configured, named);
    let asleep = |at: usize| dormant(&configured[at].0);
    let told: Vec<(VersionName, Weight)> = configured
        .iter()
        .enumerate()
        .filter(|(at, _)| !asleep(*at))
        .map(|(_, version)| version.clone())
        .collect();
    let forbidden =
        |(name, _): &(VersionName, Weight)| lookup(named, name) == 0 && named.contains_key(name);
    if told.len() == configured.len() || told.iter().all(forbidden) {
        return all;
    }
    let mut awake = overlay(&told, named).into_iter();
    (0..configured.len())
        .map(|at| match asleep(at) {
            true => Weight::ZERO,
            false => awake.next().unwrap_or(Weight::ZERO),
        })
        .collect()
}

/// The shares of 100% that these weights stand for, rounded to tenths so that they add up to it.
///
/// All zero stays all zero.
#[must_use]
pub fn percent(weights: &[Weight]) -> Vec<Weight> {
    let tenths: Vec<u64> = weights.iter().map(|w| u64::from(w.tenths())).collect();
    match tenths.iter().all(|&t| t == 0) {
        true => weights.to_vec(),
        false => apportion(WHOLE, &tenths).into_iter().map(weight).collect(),
    }
}

/// Splits `total` in the proportions of `parts`; what rounding leaves goes to the largest remainders,
/// earlier entries first. The parts must not all be zero.
#[must_use]
pub(crate) fn apportion(total: u64, parts: &[u64]) -> Vec<u64> {
    let sum: u64 = parts.iter().sum();
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let mut out: Vec<u64> = parts.iter().map(|p| total * p / sum).collect();
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(total * parts[i] % sum));
    let left = total - out.iter().sum::<u64>();
    // Fewer than one tenth per part is left, and a part of zero has no remainder to be served by.
    for i in order
        .into_iter()
        .take(usize::try_from(left).unwrap_or(usize::MAX))
    {
        out[i] += 1;
    }
    out
}

/// Named versions get their percentage, the others what remains of 100.
fn fill_to_whole(
    configured: &[(VersionName, Weight)],
    named: &BTreeMap<VersionName, Weight>,
) -> Vec<u64> {
    let told: u64 = configured
        .iter()
        .filter_map(|(name, _)| named.get(name))
        .map(|w| u64::from(w.tenths()))
        .sum();
    let rest: Vec<&(VersionName, Weight)> = configured
        .iter()
        .filter(|(name, _)| !named.contains_key(name))
        .collect();
    let mut parts: Vec<u64> = rest
        .iter()
        .map(|(_, weight)| u64::from(weight.tenths()))
        .collect();
    if parts.iter().all(|&p| p == 0) {
        let has_stable = rest.iter().any(|(name, _)| *name == VersionName::stable());
        for (part, (name, _)) in parts.iter_mut().zip(&rest) {
            *part = u64::from(!has_stable || *name == VersionName::stable());
        }
    }
    let mut shares = apportion(WHOLE.saturating_sub(told), &parts).into_iter();
    configured
        .iter()
        .map(|(name, _)| match named.get(name) {
            Some(weight) => u64::from(weight.tenths()),
            None => shares.next().unwrap_or(0),
        })
        .collect()
}

fn lookup(named: &BTreeMap<VersionName, Weight>, name: &VersionName) -> u64 {
    named.get(name).map_or(0, |w| u64::from(w.tenths()))
}

/// Clamps to the largest weight there is.
pub(crate) fn weight(tenths: u64) -> Weight {
    let tenths = u32::try_from(tenths).unwrap_or(u32::MAX);
    Weight::from_tenths(tenths).unwrap_or(Weight::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<(VersionName, Weight)> {
        text.split_whitespace()
            .map(|pair| {
                let (name, weight) = pair.split_once('=').unwrap();
                (VersionName::new(name).unwrap(), weight.parse().unwrap())
            })
            .collect()
    }

    fn check(configured: &str, named: &str, expected: &str) {
        let configured = split(configured);
        let named = split(named).into_iter().collect();
        let got: Vec<String> = overlay(&configured, &named)
            .iter()
            .zip(&configured)
            .map(|(weight, (name, _))| format!("{name}={weight}"))
            .collect();
        assert_eq!(got.join(" "), expected, "{configured:?} with {named:?}");
    }

    #[test]
    fn versions_that_are_not_named_keep_their_proportions_of_the_rest() {
        check("canary=5 stable=95", "canary=25", "canary=25 stable=75");
        check("a=10 b=30 c=60", "c=20", "a=20 b=60 c=20");
        check("a=1 b=1 c=1", "c=0", "a=50 b=50 c=0");
        check(
            "canary=0 stable=100",
            "canary=0.1",
            "canary=0.1 stable=99.9",
        );
    }

    #[test]
    fn weights_are_relative_when_all_are_named() {
        check("blue=100 green=0", "green=100 blue=0", "blue=0 green=100");
        check("blue=100 green=0", "green=3 blue=1", "blue=1 green=3");
    }

    #[test]
    fn what_remains_never_goes_nowhere() {
        check("canary=100 stable=0", "canary=25", "canary=25 stable=75");
        check(
            "a=0 canary=100 stable=0",
            "canary=40",
            "a=0 canary=40 stable=60",
        );
        check("a=0 b=0 canary=100", "canary=40", "a=30 b=30 canary=40");
    }

    #[test]
    fn a_new_version_gets_nothing_while_the_override_names_the_whole() {
        check(
            "blue=0 green=50 red=50",
            "green=100 blue=0",
            "blue=0 green=100 red=0",
        );
    }

    #[test]
    fn an_override_never_blacks_out_a_split_it_does_not_speak_of() {
        check("red=50 yellow=50", "green=100", "red=50 yellow=50");
        check(
            "blue=50 yellow=50",
            "green=100 blue=0 yellow=0",
            "blue=50 yellow=50",
        );
    }

    #[test]
    fn a_version_whose_endpoints_are_gone_is_passed_over() {
        check("stable=100", "canary=25", "stable=100");
        check("stable=100", "canary=25 stable=75", "stable=75");
    }

    #[test]
    fn a_version_that_comes_or_goes_has_no_share_meanwhile() {
        let check = |configured: &str, named: &str, asleep: &str, expected: &str| {
            let configured = split(configured);
            let named = split(named).into_iter().collect();
            let dormant = |name: &VersionName| name.as_str() == asleep;
            let got: Vec<String> = overlay_awake(&configured, &named, dormant)
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(got.join(" "), expected, "{configured:?} with {named:?}");
        };
        check("canary=0 stable=100", "canary=25", "canary", "0 100");
        check(
            "canary=0 stable=100",
            "canary=25 stable=75",
            "canary",
            "0 75",
        );
        check("canary=0 stable=100", "canary=25", "nobody", "25 75");
        // A person said that blue gets nothing: then it is green or nobody.
        check("blue=100 green=0", "green=100 blue=0", "green", "0 100");
    }

    proptest! {
        #[test]
        fn shares_add_up_and_zero_stays_zero(parts in prop::collection::vec(0u64..10_000_000, 1..12), total in 1u64..100_000) {
            prop_assume!(parts.iter().any(|&p| p > 0));
            let shares = apportion(total, &parts);
            prop_assert_eq!(shares.iter().sum::<u64>(), total);
            for (share, part) in shares.iter().zip(&parts) {
                prop_assert!(*part > 0 || *share == 0, "a part of nothing got {share}");
            }
        }
    }
}
