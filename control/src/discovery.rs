//! Where configuration comes from besides the command line: files, container engines, names.
//!
//! [`provider`] says what a source of endpoints is and does for each what they have in common: it keeps what is known
//! while its source is gone, and says so on the board. Configuration files are no such source, since they are refused
//! as a whole: [`file`] goes its own way.

pub(crate) mod dns;
pub(crate) mod docker;
pub(crate) mod endpoint_files;
pub(crate) mod engine;
pub(crate) mod file;
pub(crate) mod swarm;

mod eyes;
mod pace;
mod provider;
