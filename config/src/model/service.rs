//! Services: named groups of endpoints in versions, and the policies they are called under.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{EndpointId, ServiceName, Source, VersionName, Weight};

/// A named group of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    pub name: ServiceName,
    /// How a reference without a version is split; each version that has an endpoint or a declared weight, sorted
    /// by name. A version's share is independent of how many endpoints it has.
    pub versions: Vec<Version>,
    /// Sorted by id; ids are unique in the service.
    pub endpoints: Vec<Endpoint>,
    pub balancer: Balancer,
    pub pool: ConnectionPool,
    /// `None`: an endpoint is as its source says ([`Admission`]).
    pub health_check: Option<HealthCheck>,
    /// How long requests in flight on a removed endpoint may go on. Default 30 s.
    pub drain_timeout: Duration,
    pub source: Source,
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
    pub admission: Admission,
    pub source: Source,
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

/// How an endpoint is picked within a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balancer {
    /// Fewest requests in flight of two drawn at random.
    #[default]
    LeastRequest,
    /// Smooth weighted round robin.
    RoundRobin,
    Random,
}

/// Bounds on connections and requests towards a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPool {
    /// Default 3 s.
    pub connect_timeout: Duration,
    /// An idle connection is closed after this. Default 60 s.
    pub idle_timeout: Duration,
    /// 0: no bound. Default 0.
    pub max_requests_per_connection: u32,
    /// Idle connections kept per endpoint and worker. Default 128.
    pub max_idle_per_endpoint: usize,
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            idle_timeout: Duration::from_secs(60),
            max_requests_per_connection: 0,
            max_idle_per_endpoint: 128,
        }
    }
}

/// An active check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub probe: HealthProbe,
    /// Default 5 s, jittered by 10%.
    pub interval: Duration,
    /// Default 1 s.
    pub timeout: Duration,
    /// Failures in a row that take an endpoint out. Default 3.
    pub unhealthy_threshold: u32,
    /// Successes in a row that bring it back; the very first success admits a new endpoint. Default 2.
    pub healthy_threshold: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            probe: HealthProbe::Tcp,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            unhealthy_threshold: 3,
            healthy_threshold: 2,
        }
    }
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthProbe {
    /// A connection that is accepted passes.
    Tcp,
    /// `GET path`; a status of 200 to 299 passes.
    Http {
        path: Arc<str>,
        host: Option<Arc<str>>,
    },
}
