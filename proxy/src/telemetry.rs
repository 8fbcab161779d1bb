//! What is counted and written down of every request.

pub mod access_log;
pub mod metrics;
pub mod names;
mod record;
pub(crate) mod trace;

pub use record::{Flag, Record, Sample, Spoken, Tls};
