//! HTTP/2, on the `h2` crate: its connections, what is watched on them, and its messages as the request path has them.

mod block;
mod caught;
pub(crate) mod exchange;
mod fields;
pub(crate) mod head;
pub(crate) mod io;
pub(crate) mod offenders;
pub(crate) mod pulse;
pub(crate) mod residents;
pub(crate) mod serve;
pub mod translate;
pub(crate) mod watch;
pub(in crate::http) mod websocket;
