//! Services: named groups of endpoints in versions, and the policies they are called under.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{
    BackendTls, ConnectionPool, EndpointId, HealthCheck, LoadBalancer, Locality, OutlierDetection,
    ProxyVersion, ServiceMesh, ServiceName, Source, VersionName, Weight,
};

/// A named group of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub name: ServiceName,
    /// How a reference without a version is split; each version that has an endpoint or a declared weight, sorted
    /// by name. A version's share is independent of how many endpoints it has.
    pub versions: Vec<Version>,
    /// Sorted by id; ids are unique in the service.
    pub endpoints: Vec<Endpoint>,
    pub load_balancer: LoadBalancer,
    pub pool: ConnectionPool,
    pub outlier: OutlierDetection,
    /// `None`: an endpoint is as its source says ([`Admission`]).
    pub health_check: Option<HealthCheck>,
    /// How long requests in flight on a removed endpoint may go on. Default 30 s.
    pub drain_timeout: Duration,
    /// The PROXY header that endpoints are sent in front of a TCP stream. Default none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// What endpoints speak.
    pub protocol: AppProtocol,
    /// How they are called over TLS. `None`: in plain text.
    pub tls: Option<Arc<BackendTls>>,
    /// How it is met in the mesh. `None`: it is not in it.
    pub mesh: Option<ServiceMesh>,
    pub source: Source,
}

impl Service {
    /// A service without endpoints, with every policy at its default.
    #[must_use]
    pub fn new(name: ServiceName) -> Self {
        Self {
            name,
            versions: Vec::new(),
            endpoints: Vec::new(),
            load_balancer: LoadBalancer::default(),
            pool: ConnectionPool::default(),
            outlier: OutlierDetection::default(),
            health_check: None,
            drain_timeout: Duration::from_secs(30),
            proxy_protocol: None,
            protocol: AppProtocol::default(),
            tls: None,
            mesh: None,
            source: Source::default(),
        }
    }
}

/// What the endpoints of a service speak, where they are sent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppProtocol {
    /// HTTP/1.1 in plain text; over TLS HTTP/2 or HTTP/1.1, as ALPN decides.
    #[default]
    Http,
    /// HTTP/1.1, whatever else they could.
    Http1,
    /// HTTP/2: in plain text by prior knowledge (RFC 9113, section 3.3), over TLS as the only one offered.
    H2c,
}

impl AppProtocol {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Http1 => "http1",
            Self::H2c => "h2c",
        }
    }
}

/// A version and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub name: VersionName,
    pub weight: Weight,
}

/// One address that answers for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub id: EndpointId,
    pub address: SocketAddr,
    pub version: VersionName,
    /// Relative to the other endpoints of the same version. Default 1.
    pub weight: Weight,
    /// 0 is asked first; a higher number takes what those before it cannot (Envoy, priority levels). Default 0.
    pub priority: u8,
    /// Where it runs, for load balancing by locality.
    pub locality: Option<Locality>,
    pub admission: Admission,
    pub source: Source,
}

impl Endpoint {
    /// An endpoint of the stable version that is ready, with weight 1.
    #[must_use]
    pub fn new(id: EndpointId, address: SocketAddr) -> Self {
        Self {
            id,
            address,
            version: VersionName::stable(),
            weight: Weight::ONE,
            priority: 0,
            locality: None,
            admission: Admission::Ready,
            source: Source::default(),
        }
    }
}

/// What the source of an endpoint says of it; the proxy's own probes come on top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Takes requests as soon as it is known.
    Ready,
    /// Takes requests after its first successful probe: the service's health check, or a TCP connect.
    Probe,
    /// Takes none now, for this reason (`starting`, `unhealthy`, `paused`).
    NotReady(Arc<str>),
    /// Takes no new requests; those in flight finish.
    Draining,
}
