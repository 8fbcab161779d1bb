//! Filters that limit, copy and spoil requests, as a file writes them.

use std::time::Duration;

use super::At;
use super::object::{object, words};
use super::route::BackendRef;
use crate::model::Percent;

object! {
    /// A token bucket for requests; what is beyond it gets 429.
    RateLimit = "rateLimit" {
        /// Requests in each `per`: 1 to 1000000.
        #[schemars(required)]
        requests: At<u32> = "requests",
        /// 1s to 1h. Default 1s.
        per: At<Duration> = "per",
        /// Requests at once: 1 to 1000000. Default as many as `requests`.
        burst: At<u32> = "burst",
        /// Route (default): one bucket. ClientIp, Header: one for each.
        key: At<RateLimitKey> = "key",
        /// The name of the header, for the key Header.
        header: At<String> = "header",
        /// Most buckets kept: 100 to 1000000. Default 10000.
        max_keys: At<u32> = "maxKeys",
    }
}

words! {
    /// What has a bucket of its own.
    RateLimitKey = "a key of a rate limit" { Route = "Route", ClientIp = "ClientIp", Header = "Header" }
}

object! {
    /// Delays or fails a part of the requests on purpose.
    FaultInjection = "faultInjection" {
        delay: FaultDelay = "delay",
        abort: FaultAbort = "abort",
    }
}

object! {
    /// Holds requests before they go on.
    FaultDelay = "a delay" {
        /// 1ms to 1h.
        #[schemars(required)]
        duration: At<Duration> = "duration",
        /// 0 to 100 in steps of 0.1.
        #[schemars(required)]
        percent: At<Percent> = "percent",
    }
}

object! {
    /// Answers requests in place of an endpoint.
    FaultAbort = "an abort" {
        /// 400 to 599.
        #[schemars(required)]
        status: At<u16> = "status",
        /// 0 to 100 in steps of 0.1.
        #[schemars(required)]
        percent: At<Percent> = "percent",
    }
}

object! {
    /// Sends a copy of requests to another service; its answers are thrown away.
    RequestMirror = "requestMirror" {
        #[schemars(required)]
        backend_ref: BackendRef = "backendRef",
        /// 0 to 100 in steps of 0.1. Default 100.
        percent: At<Percent> = "percent",
    }
}
