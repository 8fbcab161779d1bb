//! What must hold, whatever happens.

mod coverage;
mod ejections;
mod limits;
mod members;
mod rates;

pub(crate) use coverage::Coverage;
pub(crate) use ejections::Ejections;
pub(crate) use limits::Limits;
pub(crate) use members::Members;
pub(crate) use rates::Rates;

use crate::world::World;

/// A rule that is checked after every step, by a panic where it is broken.
pub(crate) trait Law {
    fn check(&mut self, world: &World);
}
