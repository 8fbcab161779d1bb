//! TCP: connections that are passed on as they are.

mod attempt;
pub mod client_hello;
mod error;
mod half;
mod held;
mod hello;
pub(crate) mod pipe;
mod pump;
mod relay;
mod secured;
pub(crate) mod serve;
