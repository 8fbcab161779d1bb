//! The policies of a service, in the words of a file.

use serde_json::{Map, Value, json};

use crate::model::{
    Balancer, ConnectionPool, ConsistentHash, Distribute, FailurePercentage, HashKey, HashTable,
    LoadBalancer, LocalityPolicy, OutlierDetection, RetryLimit, SuccessRate, Warmup,
};
use crate::raw::duration_text;

pub(super) fn load_balancer(policy: &LoadBalancer) -> Value {
    let simple = match &policy.balancer {
        Balancer::LeastRequest => Some("LEAST_REQUEST"),
        Balancer::RoundRobin => Some("ROUND_ROBIN"),
        Balancer::Random => Some("RANDOM"),
        Balancer::PeakEwma => Some("PEAK_EWMA"),
        Balancer::ConsistentHash(_) => None,
    };
    let hash = match &policy.balancer {
        Balancer::ConsistentHash(hash) => Some(consistent_hash(hash)),
        _ => None,
    };
    json!({
        "simple": simple,
        "consistentHash": hash,
        "warmup": policy.warmup.as_ref().map(warmup),
        "localityLbSetting": policy.locality.as_ref().map(locality),
    })
}

fn consistent_hash(hash: &ConsistentHash) -> Value {
    let mut out = match &hash.key {
        HashKey::Header(name) => json!({ "httpHeaderName": name }),
        HashKey::Cookie {
            name,
            path,
            max_age,
        } => {
            json!({ "httpCookie": { "name": name, "path": path, "ttl": max_age.map(duration_text) } })
        }
        HashKey::SourceIp => json!({ "useSourceIp": true }),
        HashKey::Query(name) => json!({ "httpQueryParameterName": name }),
    };
    match hash.table {
        HashTable::Ring { min_size } => out["ringHash"] = json!({ "minimumRingSize": min_size }),
        HashTable::Maglev { size } => out["maglev"] = json!({ "tableSize": size }),
    }
    out
}

fn warmup(warmup: &Warmup) -> Value {
    json!({
        "duration": duration_text(warmup.duration),
        "minimumPercent": warmup.minimum_percent,
        "aggression": warmup.aggression,
    })
}

fn locality(policy: &LocalityPolicy) -> Value {
    let mut out = json!({ "enabled": true });
    // A file states one of the two; an empty list of the other would be a second statement.
    if !policy.distribute.is_empty() {
        out["distribute"] = policy.distribute.iter().map(distribute).collect();
    }
    if !policy.failover.is_empty() {
        let regions = policy.failover.iter();
        out["failover"] = regions
            .map(|(from, to)| json!({ "from": from, "to": to }))
            .collect();
    }
    out
}

fn distribute(distribute: &Distribute) -> Value {
    let shares = distribute.to.iter();
    let to: Map<String, Value> = shares
        .map(|(place, percent)| (place.to_string(), json!(percent)))
        .collect();
    json!({ "from": distribute.from.to_string(), "to": to })
}

pub(super) fn connection_pool(pool: &ConnectionPool) -> Value {
    let (max_retries, retry_budget) = match pool.retries {
        RetryLimit::Fixed(max) => (Some(max), None),
        RetryLimit::Budget { percent, min } => (
            None,
            Some(json!({ "percent": percent, "minRetryConcurrency": min })),
        ),
    };
    json!({
        "tcp": {
            "maxConnections": pool.max_connections,
            "maxConnectionsPerEndpoint": pool.max_connections_per_endpoint,
            "connectTimeout": duration_text(pool.connect_timeout),
            "idleTimeout": duration_text(pool.stream_idle_timeout),
        },
        "http": {
            "http1MaxPendingRequests": pool.max_pending,
            "http2MaxRequests": pool.max_requests,
            "maxRequestsPerEndpoint": pool.max_requests_per_endpoint,
            "maxRequestsPerConnection": pool.max_requests_per_connection,
            "maxConcurrentStreams": pool.max_concurrent_streams,
            "maxRetries": max_retries,
            "retryBudget": retry_budget,
            "idleTimeout": duration_text(pool.idle_timeout),
            "maxIdlePerEndpoint": pool.max_idle_per_endpoint,
        },
    })
}

pub(super) fn outlier_detection(outlier: &OutlierDetection) -> Value {
    json!({
        "consecutive5xxErrors": outlier.consecutive_5xx,
        "consecutiveGatewayErrors": outlier.consecutive_gateway,
        "splitExternalLocalOriginErrors": outlier.split_local_origin,
        // In force only where they are counted apart.
        "consecutiveLocalOriginFailures":
            outlier.split_local_origin.then_some(outlier.consecutive_local_origin),
        "interval": duration_text(outlier.interval),
        "baseEjectionTime": duration_text(outlier.base_ejection_time),
        "maxEjectionTime": duration_text(outlier.max_ejection_time),
        "maxEjectionPercent": outlier.max_ejection_percent,
        "alwaysEjectOneHost": outlier.always_eject_one,
        "minHealthPercent": outlier.min_health_percent,
        "successRate": success_rate(outlier.success_rate.as_ref()),
        "failurePercentage": outlier.failure_percentage.as_ref().map(failure_percentage),
        "successfulActiveHealthCheckUnejectHost": outlier.check_ends_ejection,
        "observeOnly": outlier.observe_only,
    })
}

/// On unless it is said to be off, so that it is said.
fn success_rate(rate: Option<&SuccessRate>) -> Value {
    match rate {
        Some(rate) => json!({
            "enabled": true,
            "minimumHosts": rate.minimum_hosts,
            "requestVolume": rate.request_volume,
            "stdevFactor": rate.stdev_factor,
        }),
        None => json!({ "enabled": false }),
    }
}

fn failure_percentage(failure: &FailurePercentage) -> Value {
    json!({
        "threshold": failure.threshold,
        "minimumHosts": failure.minimum_hosts,
        "requestVolume": failure.request_volume,
    })
}
