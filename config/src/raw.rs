//! What was written, field by field, and where: the mirror of a file or of a container's labels.
//!
//! Nothing is resolved here: a route may name a service that is not there. Single values are
//! already of their type (a duration is a [`std::time::Duration`]), because only the reader knows the place to point at.
//! `serde` reads nothing here: it would stop at the first mistake, where a person wants all of them.

mod authorization;
mod balance;
mod control;
mod destination_rule;
mod discovery;
mod document;
mod endpoint_file;
mod filter;
mod health;
mod istio;
mod listener;
mod mesh;
mod object;
mod overload;
mod protect;
pub(crate) mod read;
mod route;
mod scalar;
mod service;
mod tls;
mod tracing;
mod traffic;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};

pub use authorization::{
    AccessRule, Action, Authorization, Condition, Mode, RuleFrom, RuleOperation, RuleSource, RuleTo,
};
pub use balance::{
    ConsistentHash, Distribute, Failover, HttpCookie, LoadBalancer, LocalityLb, Maglev, RingHash,
    Shares, Simple, Warmup,
};
pub use control::{Control, ControlNode, ControlTls};
pub use destination_rule::{
    ClientTls, DestinationRule, Metadata, PortPolicy, PortSelector, Spec, Subset, SubsetLabels,
    TrafficPolicy,
};
pub use discovery::{Discovery, Dns, Docker, EndpointFiles, RecordKind, Swarm, SwarmAddresses};
pub use document::{Admin, Document, LogFormat};
pub use endpoint_file::{EndpointFile, ListedEndpoint};
pub use filter::{
    Age, DirectResponse, Filter, FilterKind, Header, HeaderModifier, PathRewrite, RequestRedirect,
    RewriteKind, StrictTransportSecurity, UrlRewrite,
};
pub use health::{
    BodyMatch, Escaped, GrpcProbe, HealthCheck, HttpProbe, ProbeMethod, StatusRange, TcpProbe,
    escaped_text,
};
pub use istio::{
    AuthorizationPolicy, AuthorizationSpec, MutualTls, PeerAuthentication, PeerSpec,
    PolicyMetadata, PortModes, Selector,
};
pub use listener::{
    ForwardClientCert, Hops, Http2, Limits, Listener, Policy, ProxyProtocol, Tlvs, Udp,
};
pub use mesh::{Mesh, MeshCa};
pub use overload::{Bytes, Overload, OverloadMemory, Share};
pub use protect::{
    ConnectionPool, FailurePercentage, H2Upgrade, HttpPool, OutlierDetection, RetryBudget,
    SuccessRate, TcpPool,
};
pub use route::{
    BackendRef, Backoff, GrpcKind, GrpcMatch, PathKind, PathMatch, Retry, RetryCondition, Route,
    RouteMatch, Rule, Sticky, Timeouts, ValueKind, ValueMatch,
};
pub(crate) use scalar::millis_or_more;
pub use scalar::{Decimal, Refused, Scalar, duration_text};
pub use service::{
    AppProtocol, Endpoint, MeshMode, MeshProtocol, ProxyVersion, Service, ServiceMesh, Version,
};
pub use tls::{
    AltNameKind, BackendTls, BackendValidation, CertificateRef, ClientAuth, HostTls, ListenerTls,
    SubjectAltName, WellKnown,
};
pub use tracing::{Otlp, Pairs, Tracing};
pub use traffic::{FaultAbort, FaultDelay, FaultInjection, RateLimit, RateLimitKey, RequestMirror};

use crate::diagnostic::Place;

/// A single value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct At<T> {
    pub value: T,
    pub place: Place,
}

impl<T> At<T> {
    /// A value written at a place.
    #[must_use]
    pub fn new(value: T, place: Place) -> Self {
        Self { value, place }
    }
}

impl<T: Scalar> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed(T::WHAT)
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// Where an object was written, and whether something in it could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    pub place: Place,
    /// It was reported already; the compiler leaves the whole item out and says no more about it.
    pub broken: bool,
}

/// A field that this version knows but does not act on: whatever it holds is accepted and a warning names it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Later {
    pub place: Place,
}

impl JsonSchema for Later {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Later")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}
