//! The mesh, as pure functions over models.
//!
//! [`view`] is what a sidecar is told: its own inbound listener, an outbound one with a route to each service by its name, and
//! the services. [`weave`](weave()) is done where the identity is: it puts certificates, addresses and the way to the app into that model.
//! What is told holds no key, and what is woven is never sent to anybody.

mod capture;
mod checks;
mod modes;
mod view;
mod way;
mod weave;

#[cfg(test)]
mod tests;

pub use checks::admits_checks;
pub use modes::with_modes;
pub use view::{Meant, inbound, view};
pub use weave::{Beside, Credentials, closed, weave};

/// Where a sidecar takes connections for its app.
pub const INBOUND: &str = "mesh/inbound";
/// Where a sidecar takes requests of its app.
pub const OUTBOUND: &str = "mesh/outbound";
/// The same over IPv6, where the kernel redirects them.
pub const OUTBOUND_V6: &str = "mesh/outbound6";
