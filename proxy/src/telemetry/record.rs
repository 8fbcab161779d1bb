//! One request, as it is counted ([`Sample`]) and logged ([`Record`]) when it ends.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::http::h1::head::Method;
use crate::snapshot::SeriesIds;

/// Why a response is not the origin's own; the letters are Envoy's (`RESPONSE_FLAGS`), but for DI:
/// Envoy's means a delay, which is FI here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Flag {
    /// The origin answered and the answer was delivered.
    #[default]
    None,
    /// No healthy endpoint.
    UH,
    /// No connection to the endpoint.
    UF,
    /// A limit towards the service was reached.
    UO,
    /// No route matched.
    NR,
    /// Tried as often as allowed.
    URX,
    /// The endpoint closed, or what it sent could not be understood.
    UC,
    /// The endpoint took too long.
    UT,
    /// The client closed first.
    DC,
    /// Refused by a rate limit.
    RL,
    /// The request was malformed: Envoy's downstream protocol error.
    DPE,
    /// A filter answered: redirect or direct response.
    DI,
    /// A fault was injected: it was answered with one, or delayed by one.
    FI,
    /// Nothing moved on a stream of TCP for too long, or a client did not read its answer.
    SI,
    /// The caller may not ask this (Envoy: `rbac_access_denied`).
    AZ,
    /// Shed: the process has as much to do as it can hold (Envoy: overload manager).
    OM,
}

impl Flag {
    /// As it stands in the log and in the metric; `-` for none.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::UH => "UH",
            Self::UF => "UF",
            Self::UO => "UO",
            Self::NR => "NR",
            Self::URX => "URX",
            Self::UC => "UC",
            Self::UT => "UT",
            Self::DC => "DC",
            Self::RL => "RL",
            Self::DPE => "DPE",
            Self::DI => "DI",
            Self::FI => "FI",
            Self::SI => "SI",
            Self::AZ => "AZ",
            Self::OM => "OM",
        }
    }
}

/// What a client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Spoken {
    Http10,
    Http11,
    Http2,
    Tcp,
    /// TLS that was passed on as it is.
    Tls,
    Udp,
}

impl Spoken {
    /// HTTP by the minor version of a head, which is 2 for HTTP/2.
    #[must_use]
    pub fn http(minor: u8) -> Self {
        match minor {
            0 => Self::Http10,
            1 => Self::Http11,
            _ => Self::Http2,
        }
    }

    /// Whether it is counted as a stream and not as a request.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::Udp)
    }

    /// As it stands in the log and in the metric.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tcp => "tcp",
            Self::Tls => "tls-passthrough",
            Self::Udp => "udp",
        }
    }
}

/// What is counted of a request, or of a stream, when it has ended.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Interned label values: listener, route, service, version.
    pub series: SeriesIds,
    pub method: Method,
    pub protocol: Spoken,
    /// 0 where nothing was answered.
    pub status: u16,
    pub flag: Flag,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub duration: Duration,
    /// From the first try to the head of the response; `None` where no endpoint answered.
    pub upstream: Option<Duration>,
}

/// All that a line of the log says of a request; gathered only where there is a log. Borrowed: nothing is copied
/// but into the line.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    pub time: SystemTime,
    pub sample: Sample,
    pub listener: &'a str,
    pub route: &'a str,
    pub service: &'a str,
    pub version: &'a str,
    pub endpoint: Option<&'a str>,
    pub method: &'a [u8],
    /// Of a stream of TLS the name that its client asked for.
    pub host: &'a [u8],
    /// The canonical path, or the raw one where the request was refused; never the query.
    pub path: &'a [u8],
    /// How a call of gRPC ended; `None` of what is none.
    pub grpc_status: Option<u8>,
    pub attempts: u8,
    /// The policy that refused it, or would have; empty where none did.
    pub policy: &'a str,
    pub client: std::net::IpAddr,
    pub peer: SocketAddr,
    pub request_id: &'a [u8],
    /// In hexadecimal, as are those of spans.
    pub trace_id: Option<[u8; 32]>,
    /// Of Weir's span; where it records none, of the one that the endpoint is told.
    pub span_id: Option<[u8; 16]>,
    /// `None` where the client spoke without.
    pub tls: Option<Tls<'a>>,
}

/// What was agreed on with a client that speaks TLS with us.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'a> {
    /// `TLSv1.3` or `TLSv1.2`.
    pub version: &'static str,
    /// The name that the client asked for; empty where it asked for none.
    pub sni: &'a [u8],
    /// The protocol, in its own words; empty where none was agreed on.
    pub alpn: &'a [u8],
    /// The first name in the client's certificate; empty where it has shown none.
    pub peer_san: &'a [u8],
}
