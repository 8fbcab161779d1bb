//! HTTP: the codec, the request path, and the answers that are our own.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod error;
pub(crate) mod filter;
pub(crate) mod forward;
pub(crate) mod grpc;
pub mod h1;
pub mod h2;
pub(crate) mod linger;
pub(crate) mod refuse;
pub(crate) mod stall;
pub(crate) mod tunnel;
