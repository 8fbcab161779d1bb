//! The model: one valid, resolved configuration, whatever it was written in.
//!
//! A value that exists is valid: every constructor that can refuse does so, and nothing after
//! compilation has to check again. The model knows no YAML, no labels and no protobuf.

mod authorization;
mod balance;
mod health;
mod identity;
mod listener;
mod mesh;
mod names;
mod protect;
mod route;
mod service;
mod stream;
mod tls;
mod tracing;
mod traffic;

pub use authorization::{
    AccessAction, AccessCondition, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among,
    Authorization, MeshAccess, Pattern, PeerMode, ServiceAccess,
};
pub use balance::{
    Balancer, ConsistentHash, Distribute, HashKey, HashTable, LoadBalancer, Locality,
    LocalityPolicy, Warmup,
};
pub use health::{
    BodyMatch, GrpcProbe, HealthCheck, HealthProbe, HttpProbe, ProbeMethod, StatusRange, TcpProbe,
};
pub use identity::{SpiffeId, TrustDomain};
pub use listener::{
    ForwardClientCert, Http2, Limits, Listener, PathPolicy, Protocol, ProxyProtocol, ProxyVersion,
    TrustedHops, UdpLimits,
};
pub use mesh::{Capture, INBOUND_PORT, MeshMode, MeshProtocol, ServiceMesh};
pub use names::{
    EndpointId, Invalid, ListenerName, PolicyName, RouteName, ServiceName, Source, VersionName,
    Weight,
};
pub use protect::{ConnectionPool, FailurePercentage, OutlierDetection, RetryLimit, SuccessRate};
pub use route::{
    BackendRef, Filter, GrpcCondition, HeaderEdits, HostPattern, Match, PathMatch, PathModifier,
    Redirect, Retry, RetryOn, Rewrite, Route, Rule, Sticky, StickyKey, Timeouts, ValueMatch,
};
pub use service::{Admission, AppProtocol, Endpoint, Service, Version};
pub use stream::StreamRoute;
pub use tls::{
    Alpn, AltName, BackendRoots, BackendTls, Certificate, ClientAuth, ClientAuthMode, HostTls,
    Life, ListenerTls, OcspAnswer, OcspStatus, PrivateKey, Roots, TlsVersion,
};
pub use tracing::{Otlp, OtlpProtocol, Propagation, Sampling, Secret, Tracing};
pub use traffic::{Abort, Delay, Fault, Mirror, Percent, RateLimit, RateLimitKey};

use std::sync::Arc;

/// Everything the data plane serves, as one immutable value.
///
/// Equality is by content, so that a control plane can drop an update that changes nothing. What two models share is equal
/// without a look: see [`Model::share`].
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Sorted by name; names are unique.
    pub listeners: Vec<Arc<Listener>>,
    /// Sorted by name; names are unique.
    pub services: Vec<Arc<Service>>,
    /// Sorted by name; names are unique.
    pub routes: Vec<Arc<Route>>,
    /// Sorted by name; no route of HTTP has the name of one of these.
    pub streams: Vec<Arc<StreamRoute>>,
    pub tracing: Arc<Tracing>,
    /// Who may call which service of the mesh.
    pub access: Arc<MeshAccess>,
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

    /// Takes from `before` each part that is equal, in the place of its own, so that whoever compares the two, or keeps
    /// something for a part, knows by its address that it is the same. Both must be sorted.
    pub fn share(&mut self, before: &Self) {
        share(&mut self.listeners, &before.listeners, |l| l.name.as_str());
        share(&mut self.services, &before.services, |s| s.name.as_str());
        share(&mut self.routes, &before.routes, |r| r.name.as_str());
        share(&mut self.streams, &before.streams, |r| r.name.as_str());
        if self.tracing == before.tracing {
            self.tracing = Arc::clone(&before.tracing);
        }
        if self.access == before.access {
            self.access = Arc::clone(&before.access);
        }
    }

    /// Puts everything in name order, which the look-ups rely on.
    pub fn sort(&mut self) {
        self.listeners.sort_by(|a, b| a.name.cmp(&b.name));
        self.services.sort_by(|a, b| a.name.cmp(&b.name));
        self.routes.sort_by(|a, b| a.name.cmp(&b.name));
        self.streams.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        // Whoever adds a part compares it here.
        let Self {
            listeners,
            services,
            routes,
            streams,
            tracing,
            access,
        } = self;
        all_same(listeners, &other.listeners)
            && all_same(services, &other.services)
            && all_same(routes, &other.routes)
            && all_same(streams, &other.streams)
            && same(tracing, &other.tracing)
            && same(access, &other.access)
    }
}

/// Whether two are equal; those at one address are. The standard library looks at the address only where equality is
/// reflexive, and a model holds floats. None of them is a NaN.
#[must_use]
pub fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

/// Whether all are [`same`], one by one.
#[must_use]
pub fn all_same<T: PartialEq>(a: &[Arc<T>], b: &[Arc<T>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

fn share<T: PartialEq>(own: &mut [Arc<T>], before: &[Arc<T>], name: impl Fn(&T) -> &str) {
    let mut rest = before;
    for item in own {
        // Both are in the order of names: what comes before this one is no other's either.
        let at = rest.partition_point(|other| name(other) < name(item));
        rest = rest.get(at..).unwrap_or_default();
        if let Some(other) = rest.first()
            && name(other) == name(item)
            && same(other, item)
        {
            *item = Arc::clone(other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(services: &[(&str, u64)]) -> Model {
        let service = |(name, seconds): &(&str, u64)| {
            Arc::new(Service {
                drain_timeout: std::time::Duration::from_secs(*seconds),
                ..Service::new(name.parse().unwrap())
            })
        };
        Model {
            services: services.iter().map(service).collect(),
            ..Model::default()
        }
    }

    #[test]
    fn what_is_equal_is_shared_and_nothing_else() {
        let before = model(&[("a", 1), ("b", 1), ("d", 1)]);
        let mut after = model(&[("a", 1), ("b", 2), ("c", 1), ("d", 1)]);
        let as_it_was = after.clone();
        after.share(&before);
        assert_eq!(after, as_it_was);
        let shared = |name: &str| {
            let both = after.service(name).zip(before.service(name));
            both.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
        };
        assert_eq!(["a", "b", "c", "d"].map(shared), [true, false, false, true]);
        assert!(Arc::ptr_eq(&after.tracing, &before.tracing));
    }

    #[test]
    fn models_are_equal_by_content() {
        let (one, two) = (model(&[("a", 1)]), model(&[("a", 1)]));
        assert_eq!(one, two);
        assert_ne!(one, model(&[("a", 2)]));
        assert_ne!(one, model(&[]));
    }
}
