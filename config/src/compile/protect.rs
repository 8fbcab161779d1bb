//! Connection pools and outlier detection: bounds, and when an endpoint is taken out.

use std::time::Duration;

use super::report::Report;
use crate::model::{
    AppProtocol, ConnectionPool, FailurePercentage, OutlierDetection, RetryLimit, SuccessRate,
};
use crate::raw::{self, At, Decimal, H2Upgrade, Later, millis_or_more};

/// What a limit is when it is left out, for the help of one that is 0.
const NO_BOUND: &str = "no bound";

pub(crate) fn connection_pool(raw: &raw::ConnectionPool, report: &mut Report) -> ConnectionPool {
    let mut pool = ConnectionPool::default();
    if let Some(raw) = &raw.tcp {
        tcp(raw, &mut pool, report);
    }
    if let Some(raw) = &raw.http {
        http(raw, &mut pool, report);
    }
    pool
}

fn tcp(raw: &raw::TcpPool, pool: &mut ConnectionPool, report: &mut Report) {
    let max = limit(&raw.max_connections, "maxConnections", "1024", report);
    pool.max_connections = max.unwrap_or(pool.max_connections);
    let at = &raw.max_connections_per_endpoint;
    pool.max_connections_per_endpoint = limit(at, "maxConnectionsPerEndpoint", NO_BOUND, report);
    time(&raw.connect_timeout, &mut pool.connect_timeout, report);
    time(&raw.idle_timeout, &mut pool.stream_idle_timeout, report);
    for (later, name) in [
        (&raw.tcp_keepalive, "tcpKeepalive"),
        (&raw.max_connection_duration, "maxConnectionDuration"),
    ] {
        later_field(later, &format!("connectionPool.tcp.{name}"), report);
    }
}

fn http(raw: &raw::HttpPool, pool: &mut ConnectionPool, report: &mut Report) {
    let at = &raw.http1_max_pending_requests;
    let max = limit(at, "http1MaxPendingRequests", "1024", report);
    pool.max_pending = max.unwrap_or(pool.max_pending);
    let max = limit(&raw.http2_max_requests, "http2MaxRequests", "1024", report);
    pool.max_requests = max.unwrap_or(pool.max_requests);
    let at = &raw.max_requests_per_endpoint;
    pool.max_requests_per_endpoint = limit(at, "maxRequestsPerEndpoint", NO_BOUND, report);
    let per_connection = raw.max_requests_per_connection.as_ref();
    pool.max_requests_per_connection = per_connection.map_or(0, |at| at.value);
    time(&raw.idle_timeout, &mut pool.idle_timeout, report);
    if let Some(at) = &raw.max_idle_per_endpoint {
        let max = report.bounded(at, |n| n <= 65_536, "maxIdlePerEndpoint is at most 65536");
        pool.max_idle_per_endpoint = max.map_or(pool.max_idle_per_endpoint, |n| n as usize);
    }
    if let Some(budget) = &raw.retry_budget {
        one_retry_limit(raw.max_retries.as_ref(), report);
        pool.retries = retry_budget(budget, report);
    } else if let Some(at) = &raw.max_retries {
        pool.retries = RetryLimit::Fixed(at.value);
    }
    let streams = raw.max_concurrent_streams.as_ref();
    pool.max_concurrent_streams = streams.map_or(0, |at| at.value);
    let later = &raw.use_client_protocol;
    later_field(later, "connectionPool.http.useClientProtocol", report);
}

/// What the pool says of HTTP/2 towards endpoints (Istio, `H2UpgradePolicy`).
pub(super) fn upgrade(raw: &raw::ConnectionPool) -> Option<AppProtocol> {
    let policy = raw.http.as_ref()?.h2_upgrade_policy.as_ref()?;
    match policy.value {
        H2Upgrade::Upgrade => Some(AppProtocol::H2c),
        H2Upgrade::DoNotUpgrade => Some(AppProtocol::Http1),
        H2Upgrade::Default => None,
    }
}

/// A budget stands before a number (Envoy, `CircuitBreakers.Thresholds.retry_budget`).
pub(super) fn one_retry_limit(number: Option<&At<u32>>, report: &mut Report) {
    if let Some(at) = number {
        report.warn(
            &at.place,
            "maxRetries has no effect beside retryBudget",
            "both bound the retries in flight; keep one of them",
        );
    }
}

pub(super) fn retry_budget(raw: &raw::RetryBudget, report: &mut Report) -> RetryLimit {
    let (mut percent, mut min) = (20, 3);
    percentage(&raw.percent, "retryBudget.percent", &mut percent, report);
    if let Some(at) = &raw.min_retry_concurrency {
        min = at.value;
    }
    RetryLimit::Budget { percent, min }
}

/// A limit of 0 would let nothing through at all, which is never what a person means by it.
fn limit(at: &Option<At<u32>>, name: &str, default: &str, report: &mut Report) -> Option<u32> {
    let at = at.as_ref()?;
    if at.value == 0 {
        report.error_help(
            &at.place,
            format!("{name} is at least 1: 0 would let nothing through"),
            format!("leave it out for the default, {default}"),
        );
        return None;
    }
    Some(at.value)
}

fn time(at: &Option<At<Duration>>, into: &mut Duration, report: &mut Report) {
    let want = "this time is at least 1ms";
    let value = at
        .as_ref()
        .and_then(|at| report.bounded(at, millis_or_more, want));
    *into = value.unwrap_or(*into);
}

fn percentage(at: &Option<At<u8>>, name: &str, into: &mut u8, report: &mut Report) {
    let want = format!("{name} is from 0 to 100 percent");
    let value = at
        .as_ref()
        .and_then(|at| report.bounded(at, |n| n <= 100, &want));
    *into = value.unwrap_or(*into);
}

/// At least 1: with 0 there would be nothing to judge by.
fn count(at: &Option<At<u32>>, name: &str, into: &mut u32, report: &mut Report) {
    let want = format!("{name} is at least 1");
    let value = at
        .as_ref()
        .and_then(|at| report.bounded(at, |n| n > 0, &want));
    *into = value.unwrap_or(*into);
}

fn later_field(later: &Option<Later>, name: &str, report: &mut Report) {
    if let Some(later) = later {
        report.not_enforced(&later.place, name);
    }
}

pub(crate) fn outlier_detection(
    raw: &raw::OutlierDetection,
    report: &mut Report,
) -> OutlierDetection {
    let mut outlier = OutlierDetection::configured();
    consecutive(raw, &mut outlier, report);
    time(&raw.interval, &mut outlier.interval, report);
    ejection_time(raw, &mut outlier, report);
    if let Some(at) = &raw.max_ejection_percent {
        let want = "maxEjectionPercent is from 0 to 100 percent";
        outlier.max_ejection_percent = report.bounded(at, |n| n <= 100, want);
    }
    let panic = &mut outlier.min_health_percent;
    percentage(&raw.min_health_percent, "minHealthPercent", panic, report);
    if let Some(at) = &raw.always_eject_one_host {
        outlier.always_eject_one = at.value;
    }
    if let Some(raw) = &raw.success_rate {
        outlier.success_rate = success_rate(raw, report);
    }
    if let Some(raw) = &raw.failure_percentage {
        outlier.failure_percentage = Some(failure_percentage(raw, report));
    }
    if let Some(at) = &raw.successful_active_health_check_uneject_host {
        outlier.check_ends_ejection = at.value;
    }
    if let Some(at) = &raw.observe_only {
        outlier.observe_only = at.value;
    }
    outlier
}

fn consecutive(raw: &raw::OutlierDetection, outlier: &mut OutlierDetection, report: &mut Report) {
    if let (Some(old), Some(_)) = (&raw.consecutive_errors, &raw.consecutive_5xx_errors) {
        report.error_help(
            &old.place,
            "consecutiveErrors and consecutive5xxErrors are both given",
            "consecutiveErrors is the old name of consecutive5xxErrors; keep the new one",
        );
    }
    for (at, into) in [
        (&raw.consecutive_errors, &mut outlier.consecutive_5xx),
        (
            &raw.consecutive_gateway_errors,
            &mut outlier.consecutive_gateway,
        ),
        (
            &raw.consecutive_local_origin_failures,
            &mut outlier.consecutive_local_origin,
        ),
    ] {
        *into = at.as_ref().map_or(*into, |at| at.value);
    }
    if let Some(at) = &raw.consecutive_5xx_errors {
        outlier.consecutive_5xx = at.value;
    }
    if let Some(at) = &raw.split_external_local_origin_errors {
        outlier.split_local_origin = at.value;
    }
    if let (Some(at), false) = (
        &raw.consecutive_local_origin_failures,
        outlier.split_local_origin,
    ) {
        report.warn(
            &at.place,
            "consecutiveLocalOriginFailures has no effect: failures to answer are not counted apart",
            "set splitExternalLocalOriginErrors: true",
        );
    }
}

/// What is left out never contradicts what is there: the default of the longest time grows with the shortest
/// (Envoy, `OutlierDetection.max_ejection_time`).
fn ejection_time(raw: &raw::OutlierDetection, outlier: &mut OutlierDetection, report: &mut Report) {
    time(
        &raw.base_ejection_time,
        &mut outlier.base_ejection_time,
        report,
    );
    let Some(at) = &raw.max_ejection_time else {
        outlier.max_ejection_time = outlier.max_ejection_time.max(outlier.base_ejection_time);
        return;
    };
    outlier.max_ejection_time = at.value;
    if at.value < outlier.base_ejection_time {
        report.error_help(
            &at.place,
            "maxEjectionTime is shorter than baseEjectionTime",
            "an ejection lasts baseEjectionTime at least, 30s unless it is set",
        );
    }
}

fn success_rate(raw: &raw::SuccessRate, report: &mut Report) -> Option<SuccessRate> {
    let mut rate = SuccessRate::default();
    count(
        &raw.minimum_hosts,
        "minimumHosts",
        &mut rate.minimum_hosts,
        report,
    );
    count(
        &raw.request_volume,
        "requestVolume",
        &mut rate.request_volume,
        report,
    );
    if let Some(at) = &raw.stdev_factor {
        let fits = |n: Decimal| n.0 > 0.0 && n.0 <= 100.0;
        let factor = report.bounded(at, fits, "stdevFactor is more than 0 and at most 100");
        rate.stdev_factor = factor.map_or(rate.stdev_factor, |n| n.0);
    }
    let enabled = raw.enabled.as_ref().is_none_or(|at| at.value);
    enabled.then_some(rate)
}

fn failure_percentage(raw: &raw::FailurePercentage, report: &mut Report) -> FailurePercentage {
    let mut failure = FailurePercentage::default();
    if let Some(at) = &raw.threshold {
        let fits = |n| (1..=100).contains(&n);
        let threshold = report.bounded(at, fits, "threshold is from 1 to 100 percent");
        failure.threshold = threshold.unwrap_or(failure.threshold);
    }
    count(
        &raw.minimum_hosts,
        "minimumHosts",
        &mut failure.minimum_hosts,
        report,
    );
    count(
        &raw.request_volume,
        "requestVolume",
        &mut failure.request_volume,
        report,
    );
    failure
}
