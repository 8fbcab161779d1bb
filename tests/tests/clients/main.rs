//! Clients that people use, through the proxy: what they say must work, works.
//!
//! `WEIR_FRONT=haproxy` puts HAProxy in the place of Weir, to tell a fault of ours from one of a test.

mod browser;
mod command;
mod conformance;
mod front;
mod libraries;
mod scanners;
mod websocket;
