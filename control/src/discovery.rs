//! Where configuration comes from besides the command line: files and container engines.
//!
//! A provider sees something, makes fragments of it and tells the watcher. It keeps what it knows while its source is
//! gone, and says so on the board.

pub mod docker;
pub mod file;
