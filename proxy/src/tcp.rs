//! TCP: connections that are passed on as they are.

mod attempt;
pub mod client_hello;
mod error;
mod hello;
mod pump;
mod relay;
pub(crate) mod serve;
