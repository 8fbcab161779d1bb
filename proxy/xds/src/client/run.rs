//! Runs of a control plane: within one, numbers of generations only grow; between two they mean nothing.
//!
//! A `weir control` that starts names its run anew, and every response bears that name. So what is older than what the same run
//! told before, on this stream or an earlier one, is a replay; and what another run tells is news, whatever its number: its
//! state directory may have been wiped or put back from a copy.

use std::collections::BTreeMap;

use weir_wire::Kind;

/// What a control plane of Weir's calls itself begins with this, and goes on with a slash and the name of its run.
const OURS: &str = "weir";

/// The run that was heard last, and how far it was heard.
#[derive(Debug, Default)]
pub(super) struct Run {
    name: String,
    generations: BTreeMap<Kind, u64>,
}

impl Run {
    /// One of which a generation was in force.
    pub(super) fn resumed(name: &str, generation: u64) -> Self {
        let heard = Kind::ALL.map(|kind| (kind, generation));
        Self {
            name: name.to_owned(),
            generations: BTreeMap::from(heard),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whoever names no run is known for one stream.
    pub(super) fn begin_stream(&mut self) {
        if self.name.is_empty() {
            self.generations.clear();
        }
    }

    /// Takes note of a number, or gives the later one that was heard before it.
    ///
    /// # Errors
    /// The later number of the same run.
    pub(super) fn hear(&mut self, name: &str, kind: Kind, generation: u64) -> Result<(), u64> {
        if name != self.name {
            if !self.name.is_empty() {
                tracing::info!(
                    before = self.name,
                    now = name,
                    generation,
                    "another run of a control plane is followed; its generations are counted by themselves"
                );
            }
            *self = Self {
                name: name.to_owned(),
                generations: BTreeMap::new(),
            };
        }
        let last = self.generations.get(&kind).copied().unwrap_or(0);
        if generation < last {
            return Err(last);
        }
        self.generations.insert(kind, generation);
        Ok(())
    }
}

/// The name of the run, where a control plane of Weir's calls itself this; empty for one that has none.
pub(super) fn name(identifier: &str) -> Option<&str> {
    let rest = identifier.strip_prefix(OURS)?;
    match rest.is_empty() {
        true => Some(""),
        false => rest.strip_prefix('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_plane_of_ours_is_known_by_what_it_calls_itself() {
        for (identifier, expected) in [
            ("weir/0a", Some("0a")),
            ("weir", Some("")),
            ("weird", None),
            ("envoy-control/1", None),
            ("", None),
        ] {
            assert_eq!(name(identifier), expected, "{identifier}");
        }
    }

    #[test]
    fn numbers_grow_within_a_run_and_begin_anew_with_another() {
        let mut run = Run::default();
        assert_eq!(run.hear("a", Kind::Cluster, 50), Ok(()));
        assert_eq!(run.hear("a", Kind::Cluster, 49), Err(50));
        assert_eq!(run.hear("a", Kind::Route, 49), Ok(()), "of another type");
        run.begin_stream();
        assert_eq!(
            run.hear("a", Kind::Cluster, 49),
            Err(50),
            "on the next stream"
        );
        assert_eq!(run.hear("b", Kind::Cluster, 1), Ok(()));
        assert_eq!(run.hear("b", Kind::Cluster, 0), Err(1));
    }

    #[test]
    fn one_that_has_no_name_is_known_for_a_stream() {
        let mut run = Run::default();
        assert_eq!(run.hear("", Kind::Cluster, 9), Ok(()));
        assert_eq!(run.hear("", Kind::Cluster, 8), Err(9));
        run.begin_stream();
        assert_eq!(run.hear("", Kind::Cluster, 1), Ok(()));
    }

    #[test]
    fn a_generation_that_was_on_disk_is_the_least_that_its_run_may_tell() {
        let mut run = Run::resumed("a", 7);
        assert_eq!(run.hear("a", Kind::Endpoint, 6), Err(7));
        assert_eq!(run.hear("a", Kind::Endpoint, 7), Ok(()));
        assert_eq!(Run::resumed("a", 7).hear("b", Kind::Endpoint, 1), Ok(()));
    }
}
