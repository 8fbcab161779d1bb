//! The data plane: it moves bytes.
//!
//! [`Proxy::start`] starts one worker thread per CPU; [`Handle::publish`] gives them a model to serve. The data
//! plane never parses configuration and never asks where an endpoint came from; it keeps serving what it
//! was last given for as long as it lives.

pub mod admin;
mod authorize;
mod buffer;
pub mod http;
pub mod listener;
mod moment;
mod runtime;
pub mod snapshot;
mod socket;
mod stream;
mod sync;
pub mod tcp;
pub mod telemetry;
mod timer;
mod tls;
mod udp;
pub mod upstream;
mod worker;

pub use runtime::{
    Action, Applied, Handle, OperateError, Operated, Operation, Options, Proxy, Readiness,
    StartError,
};
