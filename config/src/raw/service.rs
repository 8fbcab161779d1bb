//! Services as a file writes them, with the names of Istio's DestinationRule.

use std::net::SocketAddr;
use std::time::Duration;

use super::object::{object, words};
use super::{At, Later};
use crate::model::{self, Admission, EndpointId, Weight};

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
        load_balancer: LoadBalancer = "loadBalancer",
        /// Active checks. With them an endpoint takes no request before its first pass.
        health_check: HealthCheck = "healthCheck",
        /// Bounds on connections and requests.
        connection_pool: ConnectionPool = "connectionPool",
        /// Read, but not enforced by this version.
        outlier_detection: OutlierDetection = "outlierDetection",
        /// How long requests in flight on a removed endpoint may go on. Default 30s.
        drain_timeout: At<Duration> = "drainTimeout",
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

object! {
    /// How an endpoint is picked.
    LoadBalancer = "loadBalancer" {
        /// LEAST_REQUEST, ROUND_ROBIN or RANDOM.
        simple: At<Simple> = "simple",
        /// Read, but not enforced by this version.
        consistent_hash: Later = "consistentHash",
        /// Read, but not enforced by this version.
        warmup: Later = "warmup",
        /// Read, but not enforced by this version.
        locality: Later = "localityLbSetting",
    }
}

words! {
    /// A balancer without settings.
    Simple = "a balancer of this version" {
        LeastRequest = "LEAST_REQUEST",
        RoundRobin = "ROUND_ROBIN",
        Random = "RANDOM",
    }
}

impl From<Simple> for model::Balancer {
    fn from(simple: Simple) -> Self {
        match simple {
            Simple::LeastRequest => Self::LeastRequest,
            Simple::RoundRobin => Self::RoundRobin,
            Simple::Random => Self::Random,
        }
    }
}

object! {
    /// Active checks of every endpoint.
    HealthCheck = "healthCheck" {
        /// GET a path; 200 to 299 passes.
        http: HttpProbe = "http",
        /// A connection that is accepted passes. The default.
        tcp: TcpProbe = "tcp",
        /// Default 5s.
        interval: At<Duration> = "interval",
        /// Default 1s.
        timeout: At<Duration> = "timeout",
        /// Failures in a row that take an endpoint out. Default 3.
        unhealthy_threshold: At<u32> = "unhealthyThreshold",
        /// Passes in a row that bring it back. Default 2.
        healthy_threshold: At<u32> = "healthyThreshold",
    }
}

object! {
    /// A check by HTTP.
    HttpProbe = "healthCheck.http" {
        #[schemars(required)]
        path: At<String> = "path",
        /// The Host header. Default: the endpoint's address.
        host: At<String> = "host",
    }
}

object! {
    /// A check by TCP: it has no settings.
    TcpProbe = "healthCheck.tcp" {}
}

object! {
    /// Bounds on connections and requests.
    ConnectionPool = "connectionPool" {
        tcp: TcpPool = "tcp",
        http: HttpPool = "http",
    }
}

object! {
    /// Bounds on connections.
    TcpPool = "connectionPool.tcp" {
        /// Read, but not enforced by this version.
        max_connections: At<u32> = "maxConnections",
        /// Default 3s.
        connect_timeout: At<Duration> = "connectTimeout",
        /// Read, but not enforced by this version; http.idleTimeout is.
        idle_timeout: At<Duration> = "idleTimeout",
    }
}

object! {
    /// Bounds on HTTP connections and requests.
    HttpPool = "connectionPool.http" {
        /// Read, but not enforced by this version.
        http1_max_pending_requests: At<u32> = "http1MaxPendingRequests",
        /// Read, but not enforced by this version.
        http2_max_requests: At<u32> = "http2MaxRequests",
        /// 0 is no bound. Default 0.
        max_requests_per_connection: At<u32> = "maxRequestsPerConnection",
        /// Read, but not enforced by this version.
        max_retries: At<u32> = "maxRetries",
        /// An idle connection is closed after this. Default 60s.
        idle_timeout: At<Duration> = "idleTimeout",
        /// Idle connections kept per endpoint and worker. Default 128.
        max_idle_per_endpoint: At<u32> = "maxIdlePerEndpoint",
    }
}

object! {
    /// Ejection of failing endpoints: read, but not enforced by this version.
    OutlierDetection = "outlierDetection" {
        consecutive_5xx_errors: At<u32> = "consecutive5xxErrors",
        consecutive_errors: At<u32> = "consecutiveErrors",
        consecutive_gateway_errors: At<u32> = "consecutiveGatewayErrors",
        split_external_local_origin_errors: At<bool> = "splitExternalLocalOriginErrors",
        consecutive_local_origin_failures: At<u32> = "consecutiveLocalOriginFailures",
        interval: At<Duration> = "interval",
        base_ejection_time: At<Duration> = "baseEjectionTime",
        max_ejection_time: At<Duration> = "maxEjectionTime",
        max_ejection_percent: At<u8> = "maxEjectionPercent",
        min_health_percent: At<u8> = "minHealthPercent",
        always_eject_one_host: At<bool> = "alwaysEjectOneHost",
        success_rate: Later = "successRate",
        failure_percentage: Later = "failurePercentage",
    }
}
