//! The control plane: watches containers and files, compiles what it sees, and hands out models.
//!
//! One change, in file hops: [`discovery`] sees something and re-lists; `watcher` merges all sources, compiles, lays
//! the overrides over the result and drops it if nothing changed; [`Control::models`] hands the new generation to
//! whoever serves it, which reports back through [`Control::applied`]; [`followers`] knows how far each has come. [`store`] keeps what must outlive a restart,
//! [`api`] shows and changes it.
//!
//! Nothing in here knows the data plane, and the data plane knows nothing of Docker.

pub mod api;
pub mod clock;
pub mod control;
pub mod discovery;
pub mod events;
pub mod followers;
pub mod gate;
pub mod history;
pub mod mesh;
pub mod operate;
pub mod store;
pub mod xds;

mod board;
mod certs;
mod metrics;
mod watcher;

pub use control::{Control, ControlOptions, Published, StartError};
pub use mesh::EdgeIdentity;
pub use watcher::{ConfigRequest, Refused};
