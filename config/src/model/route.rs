//! Routes: which requests go where, in the terms of the Gateway API's HTTPRoute.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::names::Invalid;
use super::traffic::{Fault, Mirror, RateLimit};
use super::{ListenerName, RouteName, ServiceName, Source, VersionName, Weight};

/// A set of rules for some hostnames on some listeners.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: RouteName,
    /// Empty: every HTTP listener.
    pub listeners: Vec<ListenerName>,
    /// Empty: every host.
    pub hostnames: Vec<HostPattern>,
    pub rules: Vec<Rule>,
    /// Breaks ties between equal matches, the lower the older: seconds since 1970 of a container's
    /// creation, 0 for files (then the order of names decides).
    pub age: u64,
    pub source: Source,
}

/// A hostname to match, lower case, without port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `shop.example.com`
    Exact(Arc<str>),
    /// `*.example.com`, held without the star as `.example.com`; matches one or more labels before it
    /// (Gateway API, `HTTPRouteSpec.hostnames`).
    Wildcard(Arc<str>),
}

impl HostPattern {
    /// Reads `shop.example.com`, `*.example.com`, an IP address or `*` (which is `None`: every host).
    ///
    /// # Errors
    /// [`Invalid`] for a port, a scheme, a path, a star elsewhere, an empty or overlong label.
    pub fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        let lower = text.trim().to_ascii_lowercase();
        if lower == "*" {
            return Ok(None);
        }
        let bad = |why: &str| Err(Invalid(format!("{text:?} is not a hostname: {why}")));
        let (wild, rest) = match lower.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, lower.as_str()),
        };
        let bare = rest.strip_suffix('.').unwrap_or(rest);
        if bare.parse::<std::net::Ipv4Addr>().is_ok() || bare.starts_with('[') {
            let inner = bare.trim_start_matches('[').trim_end_matches(']');
            let is_address = inner.parse::<std::net::IpAddr>().is_ok();
            return match is_address && !wild {
                true => Ok(Some(Self::Exact(Arc::from(bare)))),
                false => bad("an address stands alone, IPv6 in brackets"),
            };
        }
        if bare.is_empty() || bare.len() > 253 {
            return bad("it has 1 to 253 characters");
        }
        if bare.contains('/') {
            return bad("leave out the scheme and the path");
        }
        if bare.contains(':') {
            return bad("leave out the port, the listener decides it");
        }
        if bare.contains('*') {
            return bad("a star stands only for whole labels at the front, as in *.example.com");
        }
        for label in bare.split('.') {
            let fits = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            if label.is_empty() || label.len() > 63 || !fits {
                return bad("its labels hold 1 to 63 letters, digits and hyphens");
            }
        }
        Ok(Some(match wild {
            true => Self::Wildcard(Arc::from(format!(".{bare}"))),
            false => Self::Exact(Arc::from(bare)),
        }))
    }

    /// As a person writes it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Exact(host) => host.to_string(),
            Self::Wildcard(suffix) => format!("*{suffix}"),
        }
    }
}

/// Matches (any of them), filters, and where to.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Never empty: a rule without matches holds one that matches every path.
    pub matches: Vec<Match>,
    pub filters: Vec<Filter>,
    /// May be empty when a filter answers (redirect, direct response).
    pub backends: Vec<BackendRef>,
    pub sticky: Option<Sticky>,
    pub timeouts: Timeouts,
    pub retry: Retry,
}

impl Rule {
    /// A rule that takes everything to these destinations, with every policy at its default.
    #[must_use]
    pub fn every(backends: Vec<BackendRef>) -> Self {
        Self {
            matches: vec![Match::every()],
            filters: Vec::new(),
            backends,
            sticky: None,
            timeouts: Timeouts::default(),
            retry: Retry::default(),
        }
    }
}

/// All of the conditions must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub path: PathMatch,
    /// Names are lower case.
    pub headers: Vec<(Arc<str>, ValueMatch)>,
    pub query: Vec<(Arc<str>, ValueMatch)>,
    /// Case-sensitive, as methods are (RFC 9110, section 9.1).
    pub method: Option<Arc<str>>,
}

impl Match {
    /// Matches every request.
    #[must_use]
    pub fn every() -> Self {
        Self {
            path: PathMatch::Prefix(Arc::from("/")),
            headers: Vec::new(),
            query: Vec::new(),
            method: None,
        }
    }
}

/// How the canonical path is matched.
#[derive(Debug, Clone)]
pub enum PathMatch {
    Exact(Arc<str>),
    /// Whole segments: `/api` matches `/api` and `/api/x`, not `/apix`. Held without a final slash; `/` is all.
    Prefix(Arc<str>),
    /// Anchored at both ends.
    Regex(Regex),
}

impl PartialEq for PathMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) | (Self::Prefix(a), Self::Prefix(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// How a header's or a query parameter's value is matched.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    Exact(Arc<str>),
    /// Anchored at both ends.
    Regex(Regex),
}

impl ValueMatch {
    /// Whether this value matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(want) => &**want == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

impl PartialEq for ValueMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// One destination of a rule and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendRef {
    pub service: ServiceName,
    /// `None`: every version of the service, by the service's own split ([`super::Service::versions`]).
    pub version: Option<VersionName>,
    pub weight: Weight,
}

/// Done to a request or its response, in order. Gateway API filter types, and some of our own.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    RequestHeaders(HeaderEdits),
    ResponseHeaders(HeaderEdits),
    Redirect(Redirect),
    Rewrite(Rewrite),
    /// Answers without asking an endpoint.
    DirectResponse {
        status: u16,
        body: Arc<str>,
        content_type: Arc<str>,
    },
    /// Refuses with 429 what is too much.
    RateLimit(RateLimit),
    Fault(Fault),
    Mirror(Mirror),
    /// Tells browsers to come over TLS only: the value of `Strict-Transport-Security`, sent over TLS alone (RFC 6797,
    /// section 7.2).
    Hsts(Arc<str>),
    /// Takes gRPC-Web from browsers and hands gRPC on.
    GrpcWeb,
}

/// Edits to a head: `remove`, then `set`, then `add`. Names are lower case; names and values are
/// valid field names and values, and never hop-by-hop or framing fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    pub set: Vec<(Arc<str>, Arc<str>)>,
    pub add: Vec<(Arc<str>, Arc<str>)>,
    pub remove: Vec<Arc<str>>,
}

impl HeaderEdits {
    /// Fields that belong to one hop or to the framing of a message (RFC 9110, section 7.6.1): a configuration that edits them
    /// would break the connection or let a request be smuggled.
    pub const NEVER: [&str; 13] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
}

/// Answers with a `Location` (Gateway API, `HTTPRequestRedirectFilter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub scheme: Option<Arc<str>>,
    pub hostname: Option<Arc<str>>,
    pub path: Option<PathModifier>,
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308. Default 302.
    pub status: u16,
}

/// Changes what the endpoint sees (Gateway API, `HTTPURLRewriteFilter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    pub hostname: Option<Arc<str>>,
    pub path: Option<PathModifier>,
}

/// How a path is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathModifier {
    Full(Arc<str>),
    /// Replaces the prefix that the rule matched; only in rules whose matches are all prefixes.
    Prefix(Arc<str>),
}

/// Keeps a client with one version: a hash bucket, so that raising a canary's weight moves nobody back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    pub key: StickyKey,
}

/// What is hashed to the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyKey {
    /// A cookie that Weir sets itself where it is missing; its value is the bucket's key.
    Cookie {
        name: Arc<str>,
        max_age: Option<Duration>,
    },
    /// A request header; a request without it is split as if not sticky.
    Header(Arc<str>),
    /// The client's address.
    ClientIp,
}

/// Bounds on one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// All tries together, to the last byte of the response; 504 before its first. `None`: no bound. Default 15 s.
    pub request: Option<Duration>,
    /// One try. Default none.
    pub backend_request: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            request: Some(Duration::from_secs(15)),
            backend_request: None,
        }
    }
}

/// When and how often a request is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries beyond the first. Default 2.
    pub attempts: u8,
    /// Default connect-failure, refused-stream, reset-before-request.
    pub on: Vec<RetryOn>,
    /// Default 25 ms, doubled each time, capped at 250 ms, with full jitter.
    pub backoff_base: Duration,
    pub backoff_max: Duration,
    /// Whether a try that has no answer within its own time goes on beside the next one; the first answer counts
    /// (Envoy, `hedge_on_per_try_timeout`). Default no.
    pub hedge: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 2,
            on: vec![
                RetryOn::ConnectFailure,
                RetryOn::RefusedStream,
                RetryOn::ResetBeforeRequest,
            ],
            backoff_base: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
            hedge: false,
        }
    }
}

/// A condition under which a request may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// No connection could be made: nothing was sent.
    ConnectFailure,
    /// The endpoint refused the stream unprocessed (HTTP/2).
    RefusedStream,
    /// A reused connection closed before any byte of the response, with the request replayable.
    ResetBeforeRequest,
    /// Any 5xx answer, or none; idempotent methods only.
    FiveXx,
    /// 502, 503 or 504; idempotent methods only.
    GatewayError,
    /// This status; idempotent methods only.
    Status(u16),
    /// A call of gRPC that ended with this before any message of an answer, whatever its method: gRPC sends all with
    /// POST.
    Grpc(GrpcCondition),
}

/// Codes of gRPC that a further try may help against (Envoy, `x-envoy-retry-grpc-on`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcCondition {
    Cancelled,
    DeadlineExceeded,
    ResourceExhausted,
    Internal,
    Unavailable,
}

impl GrpcCondition {
    /// The number in `grpc-status`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Cancelled => 1,
            Self::DeadlineExceeded => 4,
            Self::ResourceExhausted => 8,
            Self::Internal => 13,
            Self::Unavailable => 14,
        }
    }

    /// As a configuration writes it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
        }
    }
}
