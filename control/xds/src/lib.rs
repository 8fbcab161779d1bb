//! The control plane's end of xDS v3: what each proxy is told, and what it answered.
//!
//! [`session`] is one client's stream without its socket; [`view`] is what a group of clients is to know; [`server`] puts both
//! behind gRPC, with TLS, and asks a [`server::Gate`] who may come in. Nothing in here knows the model: resources are opaque.

pub mod limits;
pub mod server;
pub mod session;
pub mod view;

pub use session::{Progress, Protocol, Session};
pub use view::View;
