//! What can end a stream early, and how it is told.

use std::io;

use super::client_hello::HelloError;
use crate::listener::receive::ReceiveError;
use crate::telemetry::Flag;

/// Why a stream was not carried to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("{0}")]
    Receive(#[from] ReceiveError),
    #[error("a PROXY header from a peer that may not send one")]
    Forged,
    #[error("{0}")]
    Hello(#[from] HelloError),
    #[error("the ClientHello did not arrive in time")]
    HelloTimeout,
    #[error("this client may not connect")]
    Forbidden,
    #[error("no route takes this")]
    NoRoute,
    #[error("the route leads to no service")]
    NoBackend,
    #[error("no endpoint of the service can take a connection now")]
    NoEndpoint,
    #[error("the service has as many connections as it may")]
    Overloaded,
    #[error("no connection to the endpoint: {0}")]
    Connect(io::Error),
    #[error("the endpoint could not be reached in time")]
    ConnectTimeout,
    #[error("the client broke the connection off")]
    Client,
    #[error("the endpoint broke the connection off")]
    Endpoint,
    #[error("the endpoint was removed, and its time to drain is over")]
    Removed,
    #[error("nothing moved for too long")]
    Idle,
}

impl StreamError {
    /// Whose doing it was, as the access log says it.
    pub(super) fn flag(&self) -> Flag {
        match self {
            Self::Receive(ReceiveError::Gone) | Self::Client => Flag::DC,
            Self::Receive(_) | Self::Forged | Self::Hello(_) | Self::HelloTimeout => Flag::DPE,
            Self::NoRoute | Self::NoBackend => Flag::NR,
            Self::Forbidden => Flag::AZ,
            Self::NoEndpoint => Flag::UH,
            Self::Overloaded => Flag::UO,
            Self::Connect(_) | Self::ConnectTimeout => Flag::UF,
            Self::Endpoint | Self::Removed => Flag::UC,
            Self::Idle => Flag::SI,
        }
    }

    /// The alert that tells a client of TLS, which has not been answered yet (RFC 8446, section 6.2).
    pub(super) fn alert(&self) -> Option<u8> {
        match self {
            Self::Hello(error) => Some(error.alert()),
            // access_denied
            Self::Forbidden => Some(49),
            // unrecognized_name
            Self::NoRoute => Some(112),
            // internal_error: it may try again.
            Self::NoBackend
            | Self::NoEndpoint
            | Self::Overloaded
            | Self::Connect(_)
            | Self::ConnectTimeout => Some(80),
            _ => None,
        }
    }
}
