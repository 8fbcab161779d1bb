//! Upstream: which endpoints there are, how they fare, and the connections to them.

pub(crate) mod connect;
pub mod endpoint;
pub(crate) mod feedback;
mod heartbeat;
pub(crate) mod local;
pub(crate) mod multiplex;
pub(crate) mod permit;
pub(crate) mod pick;
pub(crate) mod pool;
pub mod probe;
pub mod registry;
pub mod service;
pub(crate) mod suspect;
pub(crate) mod wait;
