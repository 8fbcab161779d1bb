//! TLS of the data plane, on rustls with aws-lc-rs.
//!
//! [`stream`] carries bytes once a connection is up, [`handshake`] brings it up. Nothing here opens a file: certificates
//! and keys are part of the model.

mod accept;
pub(crate) mod certificate;
mod client;
mod error;
mod handshake;
mod hosts;
mod info;
mod provider;
mod server;
mod socket;
pub(crate) mod strangers;
mod stream;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use accept::{Incoming, Welcome, accept};
pub(crate) use client::{ClientTls, connect, connect_alone, connect_as};
pub(crate) use error::TlsError;
pub(crate) use info::{Alpn, TlsInfo};
pub(crate) use server::ServerTls;
pub(crate) use stream::TlsStream;
