//! The model: one valid, resolved configuration, whatever it was written in.
//!
//! A value that exists is valid: every constructor that can refuse does so, and nothing after
//! compilation has to check again. The model knows no YAML, no labels and no protobuf.

mod balance;
mod health;
mod listener;
mod names;
mod protect;
mod route;
mod service;
mod stream;
mod traffic;

pub use balance::{
    Balancer, ConsistentHash, Distribute, HashKey, HashTable, LoadBalancer, Locality,
    LocalityPolicy, Warmup,
};
pub use health::{
    BodyMatch, GrpcProbe, HealthCheck, HealthProbe, HttpProbe, ProbeMethod, StatusRange, TcpProbe,
};
pub use listener::{
    Limits, Listener, PathPolicy, Protocol, ProxyProtocol, ProxyVersion, TrustedHops, UdpLimits,
};
pub use names::{
    EndpointId, Invalid, ListenerName, RouteName, ServiceName, Source, VersionName, Weight,
};
pub use protect::{ConnectionPool, FailurePercentage, OutlierDetection, RetryLimit, SuccessRate};
pub use route::{
    BackendRef, Filter, HeaderEdits, HostPattern, Match, PathMatch, PathModifier, Redirect, Retry,
    RetryOn, Rewrite, Route, Rule, Sticky, StickyKey, Timeouts, ValueMatch,
};
pub use service::{Admission, Endpoint, Service, Version};
pub use stream::StreamRoute;
pub use traffic::{Abort, Delay, Fault, Mirror, Percent, RateLimit, RateLimitKey};

use std::sync::Arc;

/// Everything the data plane serves, as one immutable value.
///
/// Equality is by content, so that a control plane can drop an update that changes nothing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model {
    /// Sorted by name; names are unique.
    pub listeners: Vec<Arc<Listener>>,
    /// Sorted by name; names are unique.
    pub services: Vec<Arc<Service>>,
    /// Sorted by name; names are unique.
    pub routes: Vec<Arc<Route>>,
    /// Sorted by name; no route of HTTP has the name of one of these.
    pub streams: Vec<Arc<StreamRoute>>,
}

impl Model {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<Service>> {
        let at = self
            .services
            .binary_search_by(|s| s.name.as_str().cmp(name));
        at.ok().map(|i| &self.services[i])
    }

    /// The listener of that name.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        let at = self
            .listeners
            .binary_search_by(|l| l.name.as_str().cmp(name));
        at.ok().map(|i| &self.listeners[i])
    }

    /// Puts everything in name order, which the look-ups rely on.
    pub fn sort(&mut self) {
        self.listeners.sort_by(|a, b| a.name.cmp(&b.name));
        self.services.sort_by(|a, b| a.name.cmp(&b.name));
        self.routes.sort_by(|a, b| a.name.cmp(&b.name));
        self.streams.sort_by(|a, b| a.name.cmp(&b.name));
    }
}
