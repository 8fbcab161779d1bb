//! What the control plane decides, as pure functions: no clock, no I/O, no chance.
//!
//! - [`merge`](mod@merge): in which order the sources of a configuration are compiled.
//! - [`hold`](mod@hold): which endpoints that vanished are kept a while (semantics 36).
//! - [`mesh`](mod@mesh): what a sidecar is told, and what its identity makes of it.
//! - [`shares`]: what each version of a split gets once a person has stepped in.
//! - [`overrides`]: the weights set by hand, laid over a compiled model.
//! - [`request`]: whether a requested change of weights makes sense, and how to say it.
//! - [`pin`]: a generation of the past, laid over what the sources say today.
//! - [`scope`]: what one node may see of a model.
//! - [`view`]: configured, overridden and effective weights side by side.

pub mod hold;
pub mod merge;
pub mod mesh;
pub mod overrides;
pub mod pin;
pub mod request;
pub mod scope;
pub mod shares;
pub mod view;

pub use hold::{Decision, Hold, Seen};
pub use merge::{Origin, merge};
pub use overrides::{Override, Overrides, apply};
pub use pin::{Laid, Pin, lay};
pub use request::{Change, SetError, check_clear, check_set, describe};
pub use scope::{Allowed, view};
pub use view::{Rollout, VersionSplit, rollout_of, rollouts};
