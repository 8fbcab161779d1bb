//! Services as a file writes them, with the names of Istio's DestinationRule.

use std::net::SocketAddr;
use std::time::Duration;

use super::object::{object, words};
use super::tls::BackendTls;
use super::{At, ConnectionPool, HealthCheck, LoadBalancer, OutlierDetection};
use crate::model::{self, Admission, EndpointId, Locality, Weight};

object! {
    /// A named group of endpoints, and how they are called.
    Service = "a service" {
        /// Unique; routes name it.
        #[schemars(required)]
        name: At<String> = "name",
        /// Fixed addresses, besides what discovery finds.
        endpoints: Vec<Endpoint> = "endpoints",
        /// How a reference without a version is split. Versions that state no weight share what remains
        /// to 100: all of it goes to stable if it is among them.
        versions: Vec<Version> = "versions",
        /// How an endpoint is picked. Default LEAST_REQUEST.
        load_balancer: Box<LoadBalancer> = "loadBalancer",
        /// Active checks. With them an endpoint takes no request before its first pass.
        health_check: Box<HealthCheck> = "healthCheck",
        /// Bounds on connections and requests.
        connection_pool: Box<ConnectionPool> = "connectionPool",
        /// Ejection of failing endpoints. Default: only those that do not answer at all.
        outlier_detection: Box<OutlierDetection> = "outlierDetection",
        /// How long requests in flight on a removed endpoint may go on. Default 30s.
        drain_timeout: At<Duration> = "drainTimeout",
        /// v1 or v2: endpoints are sent a PROXY header in front of each TCP stream. Default none.
        proxy_protocol: At<ProxyVersion> = "proxyProtocol",
        /// What endpoints speak: http (default), http1, h2c or grpc, which is the same as h2c.
        app_protocol: At<AppProtocol> = "appProtocol",
        /// Calls endpoints over TLS. Default in plain text.
        tls: Box<BackendTls> = "tls",
        /// It is in the mesh: sidecars beside its endpoints take connections, over TLS between identities. Default it is not.
        mesh: ServiceMesh = "mesh",
    }
    extra {
        /// A provider's part, which adds to what files and labels say, wherever it was written.
        discovered: bool,
    }
}

words! {
    /// The PROXY header that is sent.
    ProxyVersion = "a version of the PROXY protocol" { V1 = "v1", V2 = "v2" }
}

object! {
    /// How a service is met in the mesh.
    ServiceMesh = "mesh of a service" {
        /// strict (default): callers need an identity of the mesh. permissive: plain text is taken, too. off: it is not in the mesh.
        mode: At<MeshMode> = "mode",
        /// Where the sidecars beside its endpoints take connections. Default 15006.
        port: At<u16> = "port",
        /// What it is sent: http (default), or tcp for connections as a whole.
        protocol: At<MeshProtocol> = "protocol",
        /// With tcp: the port on loopback where the sidecars of its callers take connections for it.
        listen: At<u16> = "listen",
    }
}

words! {
    /// Who may connect to a service's sidecars.
    MeshMode = "a mode of the mesh" { Strict = "strict", Permissive = "permissive", Off = "off" }
}

words! {
    /// What a service in the mesh is sent.
    MeshProtocol = "a protocol of the mesh" { Http = "http", Tcp = "tcp" }
}

words! {
    /// What endpoints speak.
    AppProtocol = "a protocol of endpoints" { Http = "http", Http1 = "http1", H2c = "h2c", Grpc = "grpc" }
}

impl From<AppProtocol> for model::AppProtocol {
    fn from(protocol: AppProtocol) -> Self {
        match protocol {
            AppProtocol::Http => Self::Http,
            AppProtocol::Http1 => Self::Http1,
            AppProtocol::H2c | AppProtocol::Grpc => Self::H2c,
        }
    }
}

impl From<ProxyVersion> for model::ProxyVersion {
    fn from(version: ProxyVersion) -> Self {
        match version {
            ProxyVersion::V1 => Self::V1,
            ProxyVersion::V2 => Self::V2,
        }
    }
}

object! {
    /// One address of a service.
    Endpoint = "an endpoint" {
        /// IP:port.
        #[schemars(required)]
        address: At<SocketAddr> = "address",
        /// Default stable.
        version: At<String> = "version",
        /// Relative to the other endpoints of its version. Default 1.
        weight: At<Weight> = "weight",
        /// 0 is asked first; a higher number takes what those before it cannot. Default 0.
        priority: At<u8> = "priority",
        /// Where it runs: region/zone/subzone.
        locality: At<Locality> = "locality",
    }
    extra {
        /// A container's: its id and port.
        id: Option<EndpointId>,
        /// What a container's engine says of it.
        admission: Option<Admission>,
    }
}

object! {
    /// A version and its share.
    Version = "a version" {
        #[schemars(required)]
        name: At<String> = "name",
        /// Percent, in steps of 0.1.
        weight: At<Weight> = "weight",
    }
    extra {
        /// Nothing of it can take a request yet or any more, so it has no share.
        dormant: bool,
    }
}
