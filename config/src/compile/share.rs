//! How versions that state no weight share what is left.

use crate::model::{VersionName, Weight};

/// One hundred percent, in tenths.
const WHOLE: u32 = 1000;

/// Gives each version its weight. Versions come sorted by name, with the weight stated for each.
///
/// Stated weights are percentages. Versions without one share what remains to 100: all of it goes
/// to `stable` if it is among them, so that a new version gets nothing until somebody says so; else they share it
/// equally. If all versions state weights, these are relative to each other and may add up to anything.
pub(crate) fn spread(versions: &[(VersionName, Option<Weight>)]) -> Vec<Weight> {
    let stated: u32 = versions
        .iter()
        .filter_map(|(_, weight)| *weight)
        .map(Weight::tenths)
        .fold(0, u32::saturating_add);
    let rest = WHOLE.saturating_sub(stated);
    let open: Vec<&VersionName> = versions
        .iter()
        .filter(|(_, weight)| weight.is_none())
        .map(|(name, _)| name)
        .collect();
    let stable = open.iter().any(|name| **name == VersionName::stable());
    let count = u32::try_from(open.len()).unwrap_or(u32::MAX).max(1);
    let mut extra = rest % count;
    let mut share = |name: &VersionName| match stable {
        true if *name == VersionName::stable() => rest,
        true => 0,
        false => {
            let tenth = u32::from(extra > 0);
            extra -= tenth;
            rest / count + tenth
        }
    };
    let weights = versions.iter().map(|(name, weight)| match weight {
        Some(weight) => *weight,
        None => Weight::from_tenths(share(name)).unwrap_or(Weight::ZERO),
    });
    weights.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(versions: &[(&str, Option<&str>)], want: &[&str]) {
        let versions: Vec<_> = versions
            .iter()
            .map(|(name, weight)| {
                (
                    VersionName::new(name).unwrap(),
                    weight.map(|w| w.parse().unwrap()),
                )
            })
            .collect();
        let got: Vec<String> = spread(&versions).iter().map(Weight::to_string).collect();
        assert_eq!(got, want, "{versions:?}");
    }

    // semantics 18, 19
    #[test]
    fn a_new_version_gets_nothing_until_told() {
        check(&[("stable", None)], &["100"]);
        check(&[("canary", None), ("stable", None)], &["0", "100"]);
        check(&[("canary", Some("10")), ("stable", None)], &["10", "90"]);
        check(
            &[("canary", Some("0.1")), ("stable", None), ("v3", None)],
            &["0.1", "99.9", "0"],
        );
    }

    #[test]
    fn versions_without_stable_share_equally_and_stated_ones_are_relative() {
        check(&[("blue", None), ("green", None)], &["50", "50"]);
        check(
            &[("a", None), ("b", None), ("c", None)],
            &["33.4", "33.3", "33.3"],
        );
        check(&[("blue", Some("1")), ("green", Some("3"))], &["1", "3"]);
        check(&[("canary", Some("120")), ("stable", None)], &["120", "0"]);
        check(&[], &[]);
    }
}
