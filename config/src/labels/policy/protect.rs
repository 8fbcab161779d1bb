//! `weir.pool.*` and `weir.outlier.*`.

use super::super::keys::Labels;
use crate::diagnostic::Diagnostic;
use crate::raw::{
    ConnectionPool, FailurePercentage, HttpPool, Meta, OutlierDetection, RetryBudget, SuccessRate,
    TcpPool,
};

pub(super) fn pool(labels: &Labels<'_>, meta: Meta, found: &mut Vec<Diagnostic>) -> ConnectionPool {
    let tcp = TcpPool {
        meta: meta.clone(),
        max_connections: labels.get("weir.pool.maxConnections", found),
        max_connections_per_endpoint: labels.get("weir.pool.maxConnectionsPerEndpoint", found),
        connect_timeout: labels.get("weir.pool.connectTimeout", found),
        idle_timeout: labels.get("weir.pool.tcpIdleTimeout", found),
        ..TcpPool::default()
    };
    let http = HttpPool {
        meta: meta.clone(),
        http1_max_pending_requests: labels.get("weir.pool.http1MaxPendingRequests", found),
        http2_max_requests: labels.get("weir.pool.http2MaxRequests", found),
        max_requests_per_endpoint: labels.get("weir.pool.maxRequestsPerEndpoint", found),
        max_requests_per_connection: labels.get("weir.pool.maxRequestsPerConnection", found),
        max_retries: labels.get("weir.pool.maxRetries", found),
        retry_budget: retry_budget(labels, &meta, found),
        idle_timeout: labels.get("weir.pool.idleTimeout", found),
        max_idle_per_endpoint: labels.get("weir.pool.maxIdlePerEndpoint", found),
        ..HttpPool::default()
    };
    ConnectionPool {
        meta,
        tcp: Some(tcp),
        http: Some(http),
    }
}

fn retry_budget(
    labels: &Labels<'_>,
    meta: &Meta,
    found: &mut Vec<Diagnostic>,
) -> Option<RetryBudget> {
    labels
        .has_any("weir.pool.retryBudget.")
        .then(|| RetryBudget {
            meta: meta.clone(),
            percent: labels.get("weir.pool.retryBudget.percent", found),
            min_retry_concurrency: labels.get("weir.pool.retryBudget.minRetryConcurrency", found),
        })
}

pub(super) fn outlier(
    labels: &Labels<'_>,
    meta: Meta,
    found: &mut Vec<Diagnostic>,
) -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx_errors: labels.get("weir.outlier.consecutive5xxErrors", found),
        consecutive_errors: labels.get("weir.outlier.consecutiveErrors", found),
        consecutive_gateway_errors: labels.get("weir.outlier.consecutiveGatewayErrors", found),
        split_external_local_origin_errors: labels
            .get("weir.outlier.splitExternalLocalOriginErrors", found),
        consecutive_local_origin_failures: labels
            .get("weir.outlier.consecutiveLocalOriginFailures", found),
        interval: labels.get("weir.outlier.interval", found),
        base_ejection_time: labels.get("weir.outlier.baseEjectionTime", found),
        max_ejection_time: labels.get("weir.outlier.maxEjectionTime", found),
        max_ejection_percent: labels.get("weir.outlier.maxEjectionPercent", found),
        min_health_percent: labels.get("weir.outlier.minHealthPercent", found),
        always_eject_one_host: labels.get("weir.outlier.alwaysEjectOneHost", found),
        success_rate: success_rate(labels, &meta, found),
        failure_percentage: failure_percentage(labels, &meta, found),
        successful_active_health_check_uneject_host: labels
            .get("weir.outlier.successfulActiveHealthCheckUnejectHost", found),
        observe_only: labels.get("weir.outlier.observeOnly", found),
        meta,
    }
}

fn success_rate(
    labels: &Labels<'_>,
    meta: &Meta,
    found: &mut Vec<Diagnostic>,
) -> Option<SuccessRate> {
    labels
        .has_any("weir.outlier.successRate.")
        .then(|| SuccessRate {
            meta: meta.clone(),
            enabled: labels.get("weir.outlier.successRate.enabled", found),
            minimum_hosts: labels.get("weir.outlier.successRate.minimumHosts", found),
            request_volume: labels.get("weir.outlier.successRate.requestVolume", found),
            stdev_factor: labels.get("weir.outlier.successRate.stdevFactor", found),
        })
}

fn failure_percentage(
    labels: &Labels<'_>,
    meta: &Meta,
    found: &mut Vec<Diagnostic>,
) -> Option<FailurePercentage> {
    labels
        .has_any("weir.outlier.failurePercentage.")
        .then(|| FailurePercentage {
            meta: meta.clone(),
            threshold: labels.get("weir.outlier.failurePercentage.threshold", found),
            minimum_hosts: labels.get("weir.outlier.failurePercentage.minimumHosts", found),
            request_volume: labels.get("weir.outlier.failurePercentage.requestVolume", found),
        })
}
