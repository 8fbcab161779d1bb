//! Active checks: what is asked of an endpoint, how often, and what counts as an answer.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;

/// An active check.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub probe: HealthProbe,
    /// Asked at this port of the endpoint's address. `None`: at the endpoint's own.
    pub port: Option<NonZeroU16>,
    /// Default 5 s, jittered by 10%.
    pub interval: Duration,
    /// For the whole check, from connecting to the last byte that it needs. Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that take an endpoint out. Default 3.
    pub unhealthy_threshold: u32,
    /// Successes in a row that bring it back; the very first success admits a new endpoint. Default 2.
    pub healthy_threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            probe: HealthProbe::default(),
            port: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_threshold: 3,
            healthy_threshold: 2,
        }
    }
}

/// What a check does, on a connection of its own. The default is a TCP connect.
#[derive(Debug, Clone, PartialEq)]
pub enum HealthProbe {
    Tcp(TcpProbe),
    Http(HttpProbe),
    Grpc(GrpcProbe),
}

impl Default for HealthProbe {
    fn default() -> Self {
        Self::Tcp(TcpProbe::default())
    }
}

/// A connection that is accepted passes; with `expect`, one on which these bytes come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TcpProbe {
    /// Written once connected.
    pub send: Option<Arc<[u8]>>,
    /// Looked for in the first 64 KiB that come.
    pub expect: Option<Arc<[u8]>>,
}

/// One request of HTTP/1.1.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpProbe {
    pub method: ProbeMethod,
    /// A path, with a query if need be.
    pub path: Arc<str>,
    /// `None`: the address that is asked.
    pub host: Option<Arc<str>>,
    /// Further fields, names in lower case.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// The statuses that pass; never empty. Default 200 to 299.
    pub expected: Vec<StatusRange>,
    /// What the body must hold, too.
    pub body: Option<BodyMatch>,
}

impl HttpProbe {
    /// `GET path`, of which a status of 200 to 299 passes.
    #[must_use]
    pub fn get(path: impl Into<Arc<str>>) -> Self {
        Self {
            method: ProbeMethod::Get,
            path: path.into(),
            host: None,
            headers: Vec::new(),
            expected: vec![StatusRange::SUCCESS],
            body: None,
        }
    }
}

/// How a check by HTTP asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeMethod {
    Get,
    Head,
}

impl ProbeMethod {
    /// As a request line has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// Statuses from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    pub low: u16,
    pub high: u16,
}

impl StatusRange {
    /// 200 to 299.
    pub const SUCCESS: Self = Self {
        low: 200,
        high: 299,
    };

    /// Whether this status is one of them.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.low..=self.high).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    /// `204`, `200-299`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.low == self.high {
            true => write!(f, "{}", self.low),
            false => write!(f, "{}-{}", self.low, self.high),
        }
    }
}

/// What is looked for in the first 64 KiB of a body.
#[derive(Debug, Clone)]
pub enum BodyMatch {
    Contains(Arc<str>),
    /// Matches anywhere; bytes, for a body need not be UTF-8.
    Regex(Regex),
}

impl PartialEq for BodyMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Contains(a), Self::Contains(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// `grpc.health.v1.Health/Check` over HTTP/2 without TLS; SERVING passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrpcProbe {
    /// The service that is asked about. Empty: the server as a whole.
    pub service: Arc<str>,
    /// `None`: the address that is asked.
    pub authority: Option<Arc<str>>,
}
