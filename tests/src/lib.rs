//! The harness of the end-to-end tests: the real `weir` binary, driven from outside.
//!
//! Nothing here shares code with the product. The client and the origins speak HTTP/1 through
//! [`wire`], which keeps every byte, so that a test can tell what was really sent and received;
//! HTTP/2 in [`h2`], and TLS in [`tls`] with certificates of [`pki`].
//! Everything runs on loopback and plain threads, every wait has a deadline, and whatever a
//! test starts dies with the value that started it.

pub mod binary;
pub mod client;
pub mod config;
pub mod docker;
pub mod grpc;
pub mod h2;
pub mod load;
pub mod namespace;
pub mod origin;
pub mod pki;
pub mod ports;
pub mod program;
pub mod stats;
pub mod suite;
pub mod tls;
pub mod tools;
pub mod wait;
pub mod weir;
pub mod wire;

use std::io::Write;

/// Prints a line of a report where `cargo test -- --nocapture`, or a failing test, shows it.
pub fn say(line: &str) {
    // A closed stderr only loses the report.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this runs in continuous integration, where what cannot run must fail.
#[must_use]
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}
