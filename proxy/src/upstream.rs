//! Upstream: which endpoints there are, how they fare, and the connections to them.

pub(crate) mod connect;
pub(crate) mod local;
pub(crate) mod pick;
pub(crate) mod pool;
pub mod probe;
pub mod registry;
