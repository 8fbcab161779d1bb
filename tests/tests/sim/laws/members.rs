//! The detector knows the endpoints that there are, and of those that left nothing.

use std::collections::BTreeMap;

use weir_decide::outlier::Standing;

use super::Law;
use crate::event::Id;
use crate::world::World;

#[derive(Default)]
pub(crate) struct Members {
    /// Which endpoint had the id after the step before.
    born: BTreeMap<Id, u64>,
}

impl Law for Members {
    fn check(&mut self, world: &World) {
        let known: Vec<&Id> = world.detector.members().map(|(id, _)| id).collect();
        let there: Vec<&Id> = world.fleet.keys().collect();
        assert_eq!(known, there, "the detector's members are not the fleet");

        for (id, endpoint) in &world.fleet {
            if self.born.get(id) == Some(&endpoint.born) {
                continue;
            }
            let standing = world.detector.explain(id).expect("a member");
            let blank = Standing {
                failing_actively: standing.failing_actively,
                ..Standing::default()
            };
            assert_eq!(*standing, blank, "{id} is new and inherits");
        }
        self.born = world
            .fleet
            .iter()
            .map(|(&id, endpoint)| (id, endpoint.born))
            .collect();
    }
}
