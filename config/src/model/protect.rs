//! What protects a service and its callers: bounds on its use, and ejection of endpoints that fail.

use std::time::Duration;

/// Bounds on connections and requests towards a service (Istio, `connectionPool`). The limits are the service's,
/// over all versions and all workers, and hold exactly (semantics 9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionPool {
    /// Open connections, idle ones included. Default 1024.
    pub max_connections: u32,
    /// Open connections to one endpoint. Default: no bound of its own.
    pub max_connections_per_endpoint: Option<u32>,
    /// Default 3 s.
    pub connect_timeout: Duration,
    /// A TCP stream on which nothing moves is closed after this. Default 5 min.
    pub stream_idle_timeout: Duration,
    /// Requests that wait for a connection. Default 1024.
    pub max_pending: u32,
    /// Active requests, whatever the protocol (`http2MaxRequests`). Default 1024.
    pub max_requests: u32,
    /// Active requests on one endpoint. Default: no bound of its own.
    pub max_requests_per_endpoint: Option<u32>,
    /// An idle connection is closed after this. Default 60 s.
    pub idle_timeout: Duration,
    /// 0: no bound. Default 0.
    pub max_requests_per_connection: u32,
    /// Streams at once on one HTTP/2 connection. 0: as many as the endpoint allows. Default 0.
    pub max_concurrent_streams: u32,
    /// Idle connections kept per endpoint and worker. Default 1024.
    pub max_idle_per_endpoint: usize,
    pub retries: RetryLimit,
}

/// How many retries may be in flight at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryLimit {
    /// That many (`maxRetries`).
    Fixed(u32),
    /// A share of the active requests (Envoy, `RetryBudget`), the default: 20%, at least 3.
    Budget { percent: u8, min: u32 },
}

impl Default for RetryLimit {
    fn default() -> Self {
        Self::Budget {
            percent: 20,
            min: 3,
        }
    }
}

impl Default for ConnectionPool {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_endpoint: None,
            connect_timeout: Duration::from_secs(3),
            stream_idle_timeout: Duration::from_secs(300),
            max_pending: 1024,
            max_requests: 1024,
            max_requests_per_endpoint: None,
            idle_timeout: Duration::from_secs(60),
            max_requests_per_connection: 0,
            max_concurrent_streams: 0,
            max_idle_per_endpoint: 1024,
            retries: RetryLimit::default(),
        }
    }
}

/// When an endpoint that fails is taken out for a time (Istio, `outlierDetection`; Envoy, outlier detection). Each
/// version of a service is judged on its own, as Istio's subsets are.
#[derive(Debug, Clone, PartialEq)]
pub struct OutlierDetection {
    /// Answers with a 5xx in a row, failures to answer included unless split off. 0: off.
    pub consecutive_5xx: u32,
    /// 502, 503, 504, and failures to answer unless split off, in a row. 0: off.
    pub consecutive_gateway: u32,
    /// Connects that fail, resets and timeouts are counted apart from what endpoints answer.
    pub split_local_origin: bool,
    /// Failures to answer in a row, where they are counted apart. 0: off.
    pub consecutive_local_origin: u32,
    /// How often rates are judged and ejections end. Default 10 s.
    pub interval: Duration,
    /// Times the ejections in a row. Default 30 s.
    pub base_ejection_time: Duration,
    /// Default 300 s.
    pub max_ejection_time: Duration,
    /// Of a version's endpoints. `None`: 10, and 50 below ten endpoints.
    pub max_ejection_percent: Option<u8>,
    /// One may be ejected whatever the percentage says, where there are two or more. Default yes.
    pub always_eject_one: bool,
    /// Panic: with fewer healthy endpoints than this, in percent of a priority, all are used. 0: off. Default 50.
    pub min_health_percent: u8,
    /// Rate of answers that are no 5xx, against the other endpoints'. Default none.
    pub success_rate: Option<SuccessRate>,
    /// Share of failures, against a number. Default none.
    pub failure_percentage: Option<FailurePercentage>,
    /// A health check that passes ends an ejection, where it proves enough. Default yes.
    pub check_ends_ejection: bool,
    /// What is detected is only counted, and nobody ejected. Default no.
    pub observe_only: bool,
}

impl OutlierDetection {
    /// What holds where a file or label asks for outlier detection without saying more.
    #[must_use]
    pub fn configured() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway: 0,
            split_local_origin: false,
            consecutive_local_origin: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: None,
            always_eject_one: true,
            min_health_percent: 50,
            success_rate: Some(SuccessRate::default()),
            failure_percentage: None,
            check_ends_ejection: true,
            observe_only: false,
        }
    }
}

impl OutlierDetection {
    /// Whether anybody is ejected for not answering: otherwise nobody need look whether an endpoint is there.
    #[must_use]
    pub fn judges_unanswered(&self) -> bool {
        match self.split_local_origin {
            true => self.consecutive_local_origin > 0,
            false => self.consecutive_5xx > 0 || self.consecutive_gateway > 0,
        }
    }
}

impl Default for OutlierDetection {
    /// What holds where nothing asks for it: an endpoint that does not answer at all, five times in a row, is ejected;
    /// what endpoints answer is their own business.
    fn default() -> Self {
        Self {
            consecutive_5xx: 0,
            split_local_origin: true,
            success_rate: None,
            ..Self::configured()
        }
    }
}

/// Ejects an endpoint whose rate of success lies below mean - factor x standard deviation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SuccessRate {
    /// Endpoints with enough requests that there must be. Default 5.
    pub minimum_hosts: u32,
    /// Requests in an interval that make an endpoint count. Default 100.
    pub request_volume: u32,
    /// Default 1.9.
    pub stdev_factor: f64,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self {
            minimum_hosts: 5,
            request_volume: 100,
            stdev_factor: 1.9,
        }
    }
}

/// Ejects an endpoint that fails at least that share of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailurePercentage {
    /// Default 85.
    pub threshold: u8,
    /// Endpoints with enough requests that there must be. Default 5.
    pub minimum_hosts: u32,
    /// Requests in an interval that make an endpoint count. Default 50.
    pub request_volume: u32,
}

impl Default for FailurePercentage {
    fn default() -> Self {
        Self {
            threshold: 85,
            minimum_hosts: 5,
            request_volume: 50,
        }
    }
}
