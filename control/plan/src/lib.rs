//! What the control plane decides, as pure functions: no clock, no I/O, no chance.
//!
//! - [`merge`](mod@merge): in which order the sources of a configuration are compiled.
//! - [`hold`](mod@hold): which endpoints that vanished are kept a while (semantics 36).
//! - [`shares`]: what each version of a split gets once a person has stepped in.
//! - [`overrides`]: the weights set by hand, laid over a compiled model.
//! - [`request`]: whether a requested change of weights makes sense, and how to say it.
//! - [`view`]: configured, overridden and effective weights side by side.

pub mod hold;
pub mod merge;
pub mod overrides;
pub mod request;
pub mod shares;
pub mod view;

pub use hold::{Decision, Hold, Seen};
pub use merge::{Origin, merge};
pub use overrides::{Override, Overrides, apply};
pub use request::{Change, SetError, check_clear, check_set, describe};
pub use view::{Rollout, VersionSplit, rollout_of, rollouts};
