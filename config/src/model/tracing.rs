//! Trace context and spans: what is read, written and exported.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How requests are traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracing {
    /// Of the requests for which no caller has decided. Default none.
    pub sampling: Sampling,
    /// What is written towards endpoints, never empty; whatever is known is read. Default W3C trace context.
    pub propagation: Vec<Propagation>,
    /// Whether a caller's decision to sample is followed; its ids are kept either way. Default yes.
    pub trust_caller: bool,
    /// A field of the answer that tells the client the trace's id, in lower case.
    pub response_header: Option<Arc<str>>,
    /// Where spans go; `None`: nowhere.
    pub otlp: Option<Otlp>,
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            sampling: Sampling::NONE,
            propagation: vec![Propagation::TraceContext],
            trust_caller: true,
            response_header: None,
            otlp: None,
        }
    }
}

/// A part of the requests, in steps of 0.01 percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sampling(u16);

impl Sampling {
    /// No request.
    pub const NONE: Self = Self(0);
    /// Every request.
    pub const ALL: Self = Self(10_000);

    /// Takes hundredths of a percent; more than 10,000 are all.
    #[must_use]
    pub fn from_hundredths(hundredths: u16) -> Self {
        Self(hundredths.min(Self::ALL.0))
    }

    /// In ten-thousandths of the whole: 0 to 10,000.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Sampling {
    /// In percent: `1`, `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}"),
        }
    }
}

/// Header fields that carry a trace context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate` (W3C Trace Context).
    TraceContext,
    /// `b3` in one field.
    B3,
    /// `x-b3-traceid` and its siblings.
    B3Multi,
}

impl Propagation {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
        }
    }
}

/// A receiver of spans (OpenTelemetry protocol).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// Whether it is called over TLS, with the authorities that the machine trusts.
    pub https: bool,
    /// A name or an address, IPv6 without brackets.
    pub host: String,
    pub port: u16,
    /// What the endpoint's URL says after the host, without a final slash; mostly nothing. With HTTP, `/v1/traces`
    /// follows it.
    pub path: String,
    pub protocol: OtlpProtocol,
    /// Sent with each export, such as a key. Names in lower case.
    pub headers: Vec<(Arc<str>, Secret)>,
    /// Of one export. Default 10 s.
    pub timeout: Duration,
    /// The attribute `service.name`. Default `weir`.
    pub service_name: String,
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, by default on port 4317.
    Grpc,
    /// Protobuf over HTTP, by default on port 4318.
    Http,
}

impl OtlpProtocol {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// Text that never shows in `Debug` output, nor in anything that writes a model out.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Takes the text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text, for those who send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(not shown)")
    }
}
