//! What can go wrong with a request, and the one place that says what a client is told of it.

use std::io;

use weir_decide::path::PathError;

use crate::http::h1::head::HeadError;
use crate::runtime::overload::Shed;
use crate::telemetry::Flag;
use crate::upstream::service::Limit;

/// Why a request was not answered by an endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("{0}")]
    Head(#[from] HeadError),
    #[error("{0}")]
    Path(#[from] PathError),
    #[error("the head did not arrive in time")]
    HeadTimeout,
    #[error(
        "this host asks its clients for a certificate in another way than this connection was opened with"
    )]
    Misdirected,
    #[error("this caller may not ask this")]
    Forbidden,
    #[error("no route matches this host and path")]
    NoRoute,
    #[error("the route leads to no service")]
    NoBackend,
    #[error("no endpoint of the service can take a request now")]
    NoEndpoint,
    #[error("{}", .0.told())]
    Overloaded(Limit),
    #[error("the proxy is overloaded")]
    Shed {
        why: Shed,
        /// Seconds after which the client may try again: 1 to 3.
        retry_after: u8,
    },
    #[error("no connection to the endpoint: {0}")]
    Connect(io::Error),
    #[error("the endpoint could not be reached in time")]
    ConnectTimeout,
    #[error("the endpoint closed before it answered")]
    Reset,
    #[error("the endpoint takes no more requests on its connection")]
    GoingAway,
    #[error("the endpoint takes no WebSocket over HTTP/2 (RFC 8441)")]
    NoTunnel,
    #[error("the endpoint's answer cannot be understood: {0}")]
    BadAnswer(&'static str),
    #[error("the endpoint did not answer in time")]
    Timeout,
    #[error("the caller's deadline has passed")]
    Deadline,
    #[error("the request's body is malformed or was cut off")]
    BadBody,
    #[error("the client went away")]
    ClientGone,
    #[error("the body did not arrive in time")]
    BodyTimeout,
}

impl ProxyError {
    /// The status, where the client can still be told (RFC 9110, section 15).
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Head(error) => error.status(),
            Self::Path(_) | Self::BadBody | Self::ClientGone => 400,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::Forbidden => 403,
            Self::NoRoute => 404,
            Self::Misdirected => 421,
            Self::NoBackend => 500,
            Self::NoEndpoint | Self::Overloaded(_) | Self::Shed { .. } | Self::Connect(_) => 503,
            Self::Reset | Self::GoingAway | Self::NoTunnel | Self::BadAnswer(_) => 502,
            Self::ConnectTimeout | Self::Timeout | Self::Deadline => 504,
        }
    }

    /// Whose doing it was, as the access log says it.
    pub(crate) fn flag(&self) -> Flag {
        match self {
            Self::Head(_)
            | Self::Path(_)
            | Self::HeadTimeout
            | Self::BadBody
            | Self::BodyTimeout => Flag::DPE,
            Self::ClientGone => Flag::DC,
            Self::NoRoute | Self::NoBackend | Self::Misdirected => Flag::NR,
            Self::Forbidden => Flag::AZ,
            Self::NoEndpoint => Flag::UH,
            Self::Overloaded(_) => Flag::UO,
            Self::Shed { .. } => Flag::OM,
            Self::Connect(_) | Self::ConnectTimeout => Flag::UF,
            Self::Reset | Self::GoingAway | Self::NoTunnel | Self::BadAnswer(_) => Flag::UC,
            Self::Timeout | Self::Deadline => Flag::UT,
        }
    }

    /// Field lines that go with the answer.
    pub(crate) fn lines(&self) -> &'static [u8] {
        match self {
            // As Envoy's x-envoy-overloaded: not the application's own 503 (semantics 9).
            Self::Overloaded(_) => b"x-weir-overloaded: true\r\n",
            // When it may be tried again (RFC 9110, section 10.2.3); not all at the same moment.
            Self::Shed { retry_after, .. } => match retry_after {
                1 => b"Retry-After: 1\r\nx-weir-overloaded: true\r\n",
                2 => b"Retry-After: 2\r\nx-weir-overloaded: true\r\n",
                _ => b"Retry-After: 3\r\nx-weir-overloaded: true\r\n",
            },
            _ => b"",
        }
    }

    /// Whether what came is no request at all, however it was meant.
    pub(crate) fn is_malformed(&self) -> bool {
        use HeadError::{Framing, Host, Syntax};
        matches!(self, Self::Head(Syntax(_) | Framing(_) | Host(_)))
    }

    /// Whether the endpoint that was asked is to blame.
    pub(crate) fn is_of_endpoint(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::ConnectTimeout
                | Self::Reset
                | Self::BadAnswer(_)
                | Self::Timeout
        )
    }

    /// Whether the connection to the client can carry another request: not when we no longer know where the next starts.
    pub(crate) fn closes(&self) -> bool {
        matches!(
            self,
            Self::Head(_)
                | Self::Path(_)
                | Self::HeadTimeout
                | Self::BadBody
                | Self::ClientGone
                | Self::BodyTimeout
        )
    }
}
