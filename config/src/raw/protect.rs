//! Bounds on the use of a service and the ejection of failing endpoints, as a file writes them: Istio's
//! `connectionPool` and `outlierDetection`.

use std::time::Duration;

use super::object::{object, words};
use super::{At, Decimal, Later};

object! {
    /// Bounds on connections and requests, over all workers.
    ConnectionPool = "connectionPool" {
        tcp: TcpPool = "tcp",
        http: HttpPool = "http",
    }
}

object! {
    /// Bounds on connections.
    TcpPool = "connectionPool.tcp" {
        /// Open connections to the service. Default 1024.
        max_connections: At<u32> = "maxConnections",
        /// Open connections to each endpoint. Default: no bound of its own.
        max_connections_per_endpoint: At<u32> = "maxConnectionsPerEndpoint",
        /// Default 3s.
        connect_timeout: At<Duration> = "connectTimeout",
        /// A TCP stream on which nothing moves is closed after this. Default 5m.
        idle_timeout: At<Duration> = "idleTimeout",
        /// Read, but not enforced by this version.
        tcp_keepalive: Later = "tcpKeepalive",
        /// Read, but not enforced by this version.
        max_connection_duration: Later = "maxConnectionDuration",
    }
}

object! {
    /// Bounds on HTTP connections and requests.
    HttpPool = "connectionPool.http" {
        /// Requests that wait for a connection. Default 1024.
        http1_max_pending_requests: At<u32> = "http1MaxPendingRequests",
        /// Active requests, whatever the protocol. Default 1024.
        http2_max_requests: At<u32> = "http2MaxRequests",
        /// Active requests on each endpoint. Default: no bound of its own.
        max_requests_per_endpoint: At<u32> = "maxRequestsPerEndpoint",
        /// 0 is no bound. Default 0.
        max_requests_per_connection: At<u32> = "maxRequestsPerConnection",
        /// Retries in flight; 0 is none at all. Default: a retry budget.
        max_retries: At<u32> = "maxRetries",
        /// Retries in flight as a share of the active requests. Instead of maxRetries.
        retry_budget: RetryBudget = "retryBudget",
        /// An idle connection is closed after this. Default 60s.
        idle_timeout: At<Duration> = "idleTimeout",
        /// Idle connections kept per endpoint and worker. Default 1024.
        max_idle_per_endpoint: At<u32> = "maxIdlePerEndpoint",
        /// UPGRADE speaks HTTP/2 to endpoints, DO_NOT_UPGRADE HTTP/1.1; appProtocol stands before it. Default DEFAULT.
        h2_upgrade_policy: At<H2Upgrade> = "h2UpgradePolicy",
        /// Read, but not enforced by this version.
        use_client_protocol: Later = "useClientProtocol",
        /// Streams at once on one HTTP/2 connection; 0 is as many as the endpoint allows. Default 0.
        max_concurrent_streams: At<u32> = "maxConcurrentStreams",
    }
}

words! {
    /// Whether HTTP/2 is spoken to endpoints (Istio).
    H2Upgrade = "an upgrade policy" { Default = "DEFAULT", DoNotUpgrade = "DO_NOT_UPGRADE", Upgrade = "UPGRADE" }
}

object! {
    /// How many retries may be in flight.
    RetryBudget = "retryBudget" {
        /// Of the active requests. Default 20.
        percent: At<u8> = "percent",
        /// That many are always allowed. Default 3.
        min_retry_concurrency: At<u32> = "minRetryConcurrency",
    }
}

object! {
    /// Ejection of failing endpoints. An empty mapping turns it on with its defaults.
    OutlierDetection = "outlierDetection" {
        /// Answers with a 5xx in a row; 0 is off. Default 5.
        consecutive_5xx_errors: At<u32> = "consecutive5xxErrors",
        /// The old name of consecutive5xxErrors.
        consecutive_errors: At<u32> = "consecutiveErrors",
        /// 502, 503 and 504 in a row; 0 is off. Default 0.
        consecutive_gateway_errors: At<u32> = "consecutiveGatewayErrors",
        /// Counts failures to answer apart from what endpoints answer. Default false.
        split_external_local_origin_errors: At<bool> = "splitExternalLocalOriginErrors",
        /// Failures to answer in a row, where they are counted apart; 0 is off. Default 5.
        consecutive_local_origin_failures: At<u32> = "consecutiveLocalOriginFailures",
        /// How often rates are judged and ejections end. Default 10s.
        interval: At<Duration> = "interval",
        /// Times the ejections in a row. Default 30s.
        base_ejection_time: At<Duration> = "baseEjectionTime",
        /// Default 300s, or baseEjectionTime if that is longer.
        max_ejection_time: At<Duration> = "maxEjectionTime",
        /// Of a version's endpoints. Default 10, and 50 below ten endpoints.
        max_ejection_percent: At<u8> = "maxEjectionPercent",
        /// Panic: with fewer healthy endpoints than this all are used; 0 is off. Default 50.
        min_health_percent: At<u8> = "minHealthPercent",
        /// One may be ejected whatever the percentage says, where there are two or more. Default true.
        always_eject_one_host: At<bool> = "alwaysEjectOneHost",
        /// Against the other endpoints' rate. On by default.
        success_rate: SuccessRate = "successRate",
        /// Against a number. Off by default; an empty mapping turns it on.
        failure_percentage: FailurePercentage = "failurePercentage",
        /// A health check that passes ends an ejection. Default true.
        successful_active_health_check_uneject_host: At<bool> = "successfulActiveHealthCheckUnejectHost",
        /// Counts what it detects and ejects nobody. Default false.
        observe_only: At<bool> = "observeOnly",
    }
}

object! {
    /// Ejects whose rate of success lies far below the others'.
    SuccessRate = "outlierDetection.successRate" {
        /// Default true.
        enabled: At<bool> = "enabled",
        /// Endpoints with enough requests that there must be. Default 5.
        minimum_hosts: At<u32> = "minimumHosts",
        /// Requests in an interval that make an endpoint count. Default 100.
        request_volume: At<u32> = "requestVolume",
        /// Standard deviations below the mean. Default 1.9.
        stdev_factor: At<Decimal> = "stdevFactor",
    }
}

object! {
    /// Ejects who fails at least that share of its requests.
    FailurePercentage = "outlierDetection.failurePercentage" {
        /// Percent. Default 85.
        threshold: At<u8> = "threshold",
        /// Endpoints with enough requests that there must be. Default 5.
        minimum_hosts: At<u32> = "minimumHosts",
        /// Requests in an interval that make an endpoint count. Default 50.
        request_volume: At<u32> = "requestVolume",
    }
}
