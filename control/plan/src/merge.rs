//! The order in which sources are compiled.
//!
//! The compiler lets the first owner of a name or a host keep it, so the order decides conflicts. It must
//! not depend on which source happened to answer first: two starts with the same inputs serve the same.

use weir_config::Fragment;

/// Where a fragment came from. The order of the variants is the order of compilation: what a person
/// gave on the command line, then files, then what was applied through the API, then what was discovered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The command line and built-in defaults.
    Base,
    /// Configuration files.
    Files,
    /// A document that was applied through the API, by its name.
    Applied(String),
    /// Discovery, by the provider's name.
    Discovered(String),
}

/// Puts fragments in the order in which they are compiled.
///
/// Fragments of one origin keep the order they came in.
#[must_use]
pub fn merge(mut sources: Vec<(Origin, &Fragment)>) -> Vec<&Fragment> {
    sources.sort_by(|a, b| a.0.cmp(&b.0));
    sources.into_iter().map(|(_, fragment)| fragment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_wrote_comes_before_what_was_discovered() {
        let mut origins = [
            Origin::Discovered("swarm".into()),
            Origin::Discovered("docker".into()),
            Origin::Applied("b".into()),
            Origin::Applied("a".into()),
            Origin::Files,
            Origin::Base,
        ];
        origins.sort();
        assert_eq!(
            origins,
            [
                Origin::Base,
                Origin::Files,
                Origin::Applied("a".into()),
                Origin::Applied("b".into()),
                Origin::Discovered("docker".into()),
                Origin::Discovered("swarm".into()),
            ]
        );
    }

    #[test]
    fn every_fragment_is_kept() {
        let fragment = Fragment::default();
        let sources = vec![(Origin::Files, &fragment), (Origin::Base, &fragment)];
        assert_eq!(merge(sources).len(), 2);
    }
}
