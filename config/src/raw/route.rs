//! Routes as a file writes them, with the names of the Gateway API's HTTPRoute.

use std::time::Duration;

use schemars::{Schema, json_schema};

use super::filter::Filter;
use super::object::{object, words};
use super::scalar::Refused;
use super::{At, Later, Scalar};
use crate::model::{GrpcCondition, Protocol, RetryOn, Weight};

object! {
    /// Rules for some hosts on some listeners.
    Route = "a route" {
        /// Unique.
        #[schemars(required)]
        name: At<String> = "name",
        /// Names of listeners, all of HTTP or none. Default every HTTP listener.
        listeners: Vec<At<String>> = "listeners",
        /// shop.example.com, or *.example.com for one or more labels in front. Default every host.
        hostnames: Vec<At<String>> = "hostnames",
        #[schemars(required)]
        rules: Vec<Rule> = "rules",
    }
    extra {
        /// Seconds since 1970 of the oldest container behind it; 0 in a file.
        age: u64,
        /// In step with the hostnames: since when a container claims each.
        host_ages: Vec<u64>,
        /// Some container asks for every listener, whatever others name.
        every_listener: bool,
        /// What a container's listeners must speak. A file's route is of what its listeners are.
        protocol: Option<At<Protocol>>,
    }
}

object! {
    /// Which requests, what is done to them, and where they go.
    Rule = "a rule" {
        /// For people only.
        name: At<String> = "name",
        /// Any of these. Default every path.
        matches: Vec<RouteMatch> = "matches",
        /// In order.
        filters: Vec<Filter> = "filters",
        backend_refs: Vec<BackendRef> = "backendRefs",
        /// Keeps a client with one version.
        sticky: Box<Sticky> = "sticky",
        timeouts: Box<Timeouts> = "timeouts",
        retry: Box<Retry> = "retry",
        /// Read, but not enforced by this version.
        session_persistence: Later = "sessionPersistence",
    }
}

object! {
    /// All of the conditions must hold.
    RouteMatch = "a match" {
        path: PathMatch = "path",
        headers: Vec<ValueMatch> = "headers",
        query_params: Vec<ValueMatch> = "queryParams",
        /// GET, POST, ...
        method: At<String> = "method",
        /// A call of gRPC, in place of path.
        grpc: GrpcMatch = "grpc",
    }
}

object! {
    /// A call of gRPC (Gateway API, GRPCMethodMatch): service, method or both.
    GrpcMatch = "a gRPC match" {
        /// Exact (default) or RegularExpression (each anchored at both ends).
        kind: At<GrpcKind> = "type",
        /// With its package, such as shop.Cart. Default every service.
        service: At<String> = "service",
        /// Default every method.
        method: At<String> = "method",
    }
}

words! {
    /// How a call's names are compared.
    GrpcKind = "a gRPC match type" { Exact = "Exact", RegularExpression = "RegularExpression" }
}

object! {
    /// A condition on the path.
    PathMatch = "a path match" {
        /// Exact, PathPrefix (default; whole segments) or RegularExpression (anchored at both ends).
        kind: At<PathKind> = "type",
        /// Default /.
        value: At<String> = "value",
    }
}

words! {
    /// How a path is compared.
    PathKind = "a path match type" { Exact = "Exact", PathPrefix = "PathPrefix", RegularExpression = "RegularExpression" }
}

object! {
    /// A condition on a header or a query parameter.
    ValueMatch = "a value match" {
        /// Exact (default) or RegularExpression (anchored at both ends).
        kind: At<ValueKind> = "type",
        #[schemars(required)]
        name: At<String> = "name",
        #[schemars(required)]
        value: At<String> = "value",
    }
}

words! {
    /// How a value is compared.
    ValueKind = "a value match type" { Exact = "Exact", RegularExpression = "RegularExpression" }
}

object! {
    /// A destination and its share.
    BackendRef = "a backend reference" {
        /// The service.
        #[schemars(required)]
        name: At<String> = "name",
        /// Default: every version, by the service's own weights.
        version: At<String> = "version",
        /// Relative to its siblings, in steps of 0.1. Default 1.
        weight: At<Weight> = "weight",
    }
}

object! {
    /// One of cookie, header and clientIp.
    Sticky = "sticky" {
        /// A cookie that Weir sets where it is missing.
        cookie: At<String> = "cookie",
        /// How long the cookie lives. Default: the browser's session.
        max_age: At<Duration> = "maxAge",
        header: At<String> = "header",
        client_ip: At<bool> = "clientIp",
    }
}

object! {
    /// Bounds on one request.
    Timeouts = "timeouts" {
        /// All tries together. 0s is none. Default 15s.
        request: At<Duration> = "request",
        /// One try. 0s is none. Default none.
        backend_request: At<Duration> = "backendRequest",
    }
}

object! {
    /// When a request is tried again.
    Retry = "retry" {
        /// Tries beyond the first. Default 2.
        attempts: At<u8> = "attempts",
        /// connect-failure, refused-stream, reset-before-request, gateway-error, 5xx or a status; of gRPC cancelled,
        /// deadline-exceeded, internal, resource-exhausted or unavailable.
        /// Default the first three.
        on: Vec<At<RetryCondition>> = "on",
        backoff: Backoff = "backoff",
        /// Lets a try that has no answer within timeouts.backendRequest go on beside the next one; the first answer
        /// counts. For requests that may be made twice. Default false.
        hedge: At<bool> = "hedge",
    }
}

object! {
    /// The pause before a further try.
    Backoff = "retry.backoff" {
        /// Doubled each time. Default 25ms.
        base: At<Duration> = "base",
        /// Default 250ms.
        max: At<Duration> = "max",
    }
}

/// A condition of a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryCondition(pub RetryOn);

const CONDITIONS: [(&str, RetryOn); 10] = [
    ("connect-failure", RetryOn::ConnectFailure),
    ("refused-stream", RetryOn::RefusedStream),
    ("reset-before-request", RetryOn::ResetBeforeRequest),
    ("gateway-error", RetryOn::GatewayError),
    ("5xx", RetryOn::FiveXx),
    grpc(GrpcCondition::Cancelled),
    grpc(GrpcCondition::DeadlineExceeded),
    grpc(GrpcCondition::Internal),
    grpc(GrpcCondition::ResourceExhausted),
    grpc(GrpcCondition::Unavailable),
];

const fn grpc(condition: GrpcCondition) -> (&'static str, RetryOn) {
    (condition.text(), RetryOn::Grpc(condition))
}

impl RetryCondition {
    /// The word that [`Scalar::parse`] reads.
    #[must_use]
    pub fn text(self) -> String {
        match CONDITIONS.iter().find(|(_, on)| *on == self.0) {
            Some((word, _)) => (*word).to_owned(),
            None => match self.0 {
                RetryOn::Status(status) => status.to_string(),
                other => format!("{other:?}"),
            },
        }
    }
}

impl Scalar for RetryCondition {
    const WHAT: &'static str = "a retry condition";

    fn parse(text: &str) -> Result<Self, Refused> {
        if let Some((_, on)) = CONDITIONS.iter().find(|(word, _)| *word == text) {
            return Ok(Self(*on));
        }
        match text.parse::<u16>() {
            Ok(status @ 400..=599) => Ok(Self(RetryOn::Status(status))),
            Ok(_) => Err(Refused {
                message: format!("{text:?} is not a status to retry"),
                help: Some("a status to retry is from 400 to 599".to_owned()),
            }),
            Err(_) => Err(Refused::word(
                Self::WHAT,
                text,
                &CONDITIONS.map(|(word, _)| word),
            )),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "enum": CONDITIONS.map(|(word, _)| word) },
            { "type": "integer", "minimum": 400, "maximum": 599 },
        ] })
    }
}

impl Scalar for Protocol {
    const WHAT: &'static str = "a protocol of this version";

    fn parse(text: &str) -> Result<Self, Refused> {
        let named = |p: &&Self| p.text().eq_ignore_ascii_case(text);
        let found = Self::ALL.iter().find(named).copied();
        found.ok_or_else(|| Refused::word(Self::WHAT, text, &Self::ALL.map(Self::text)))
    }

    fn schema() -> Schema {
        json_schema!({ "enum": Self::ALL.map(Self::text) })
    }
}
