//! HTTP/1.1: a codec without I/O ([`head`], [`body`]), and the connection that drives it.

pub mod body;
pub(crate) mod flow;
pub mod head;
pub(crate) mod serve;
pub(crate) mod tap;
pub(crate) mod write;
