//! Bounds on a service's use, and what ejects its endpoints.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::thresholds::RetryBudget;
use envoy_types::pb::envoy::config::cluster::v3::{CircuitBreakers, OutlierDetection as Wire};
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::google::protobuf::UInt32Value;
use weir_config::model::{
    ConnectionPool, FailurePercentage, OutlierDetection, RetryLimit, SuccessRate,
};

use crate::basic::{
    bool_value, duration, narrow, real_percent, time_or, u32_or, u32_value, whole_percent,
};
use crate::refusal::{Refusal, Within as _, take};

/// Below that many endpoints more of them may be ejected, where nothing is said (semantics of `max_ejection_percent`).
const FEW: usize = 10;

pub(super) fn breakers(pool: &ConnectionPool) -> CircuitBreakers {
    let (max_retries, retry_budget) = match pool.retries {
        RetryLimit::Fixed(most) => (u32_value(most), None),
        RetryLimit::Budget { percent, min } => (
            None,
            Some(RetryBudget {
                budget_percent: real_percent(percent.into()),
                budget_interval: None,
                min_retry_concurrency: u32_value(min),
            }),
        ),
    };
    let per_host = pool.max_connections_per_endpoint.map(|most| Thresholds {
        max_connections: u32_value(most),
        ..Thresholds::default()
    });
    CircuitBreakers {
        thresholds: vec![Thresholds {
            priority: RoutingPriority::Default.into(),
            max_connections: u32_value(pool.max_connections),
            max_pending_requests: u32_value(pool.max_pending),
            max_requests: u32_value(pool.max_requests),
            max_retries,
            retry_budget,
            ..Thresholds::default()
        }],
        per_host_thresholds: per_host.into_iter().collect(),
    }
}

/// The bounds of Envoy where nothing is said, and those of Weir where Envoy has none.
pub(super) fn pool(wire: Option<CircuitBreakers>) -> Result<ConnectionPool, Refusal> {
    let mut pool = ConnectionPool {
        retries: RetryLimit::Fixed(3),
        ..ConnectionPool::default()
    };
    let CircuitBreakers {
        thresholds,
        per_host_thresholds,
    } = wire.unwrap_or_default();
    for (index, bounds) in thresholds.into_iter().enumerate() {
        threshold(bounds, &mut pool).at("thresholds", index)?;
    }
    for (index, bounds) in per_host_thresholds.into_iter().enumerate() {
        per_host(bounds, &mut pool).at("per_host_thresholds", index)?;
    }
    Ok(pool)
}

fn threshold(wire: Thresholds, pool: &mut ConnectionPool) -> Result<(), Refusal> {
    // Statistics of what is left of a bound are kept either way.
    take!(wire => Thresholds {
        priority, max_connections, max_pending_requests, max_requests, max_retries, retry_budget, track_remaining,
    } refuse { max_connection_pools });
    let _ = track_remaining;
    // Routes of high priority are refused, so that their bounds bind nobody.
    if priority != RoutingPriority::Default as i32 {
        return Ok(());
    }
    pool.max_connections = u32_or(max_connections.as_ref(), 1024);
    pool.max_pending = u32_or(max_pending_requests.as_ref(), 1024);
    pool.max_requests = u32_or(max_requests.as_ref(), 1024);
    pool.retries = match retry_budget {
        Some(budget) => retries(budget).within("retry_budget")?,
        None => RetryLimit::Fixed(u32_or(max_retries.as_ref(), 3)),
    };
    Ok(())
}

fn retries(wire: RetryBudget) -> Result<RetryLimit, Refusal> {
    take!(wire => RetryBudget { budget_percent, min_retry_concurrency } refuse { budget_interval });
    Ok(RetryLimit::Budget {
        percent: budget_percent
            .map_or(Ok(20), |percent| whole_percent(&percent))
            .within("budget_percent")?,
        min: u32_or(min_retry_concurrency.as_ref(), 3),
    })
}

fn per_host(wire: Thresholds, pool: &mut ConnectionPool) -> Result<(), Refusal> {
    take!(wire => Thresholds { priority, max_connections, track_remaining } refuse {
        max_pending_requests, max_requests, max_retries, retry_budget, max_connection_pools,
    });
    let _ = track_remaining;
    if priority == RoutingPriority::Default as i32 {
        pool.max_connections_per_endpoint = max_connections.map(|most| most.value);
    }
    Ok(())
}

pub(super) fn outlier(own: &OutlierDetection, size: usize) -> Wire {
    let enforcing = |on: bool| u32_value(if on && !own.observe_only { 100 } else { 0 });
    let at_least_one = |count: u32| u32_value(count.max(1));
    let rate = own.success_rate.unwrap_or_default();
    let share = own.failure_percentage.unwrap_or_default();
    let percent = own
        .max_ejection_percent
        .unwrap_or(if size < FEW { 50 } else { 10 });
    Wire {
        consecutive_5xx: at_least_one(own.consecutive_5xx),
        enforcing_consecutive_5xx: enforcing(own.consecutive_5xx > 0),
        consecutive_gateway_failure: at_least_one(own.consecutive_gateway),
        enforcing_consecutive_gateway_failure: enforcing(own.consecutive_gateway > 0),
        split_external_local_origin_errors: own.split_local_origin,
        consecutive_local_origin_failure: at_least_one(own.consecutive_local_origin),
        enforcing_consecutive_local_origin_failure: enforcing(own.consecutive_local_origin > 0),
        enforcing_local_origin_success_rate: u32_value(0),
        interval: Some(duration(own.interval)),
        base_ejection_time: Some(duration(own.base_ejection_time)),
        max_ejection_time: Some(duration(own.max_ejection_time)),
        max_ejection_time_jitter: Some(duration(own.base_ejection_time / 10)),
        max_ejection_percent: u32_value(percent.into()),
        always_eject_one_host: bool_value(own.always_eject_one),
        success_rate_minimum_hosts: u32_value(rate.minimum_hosts),
        success_rate_request_volume: u32_value(rate.request_volume),
        success_rate_stdev_factor: u32_value(thousandths(rate.stdev_factor)),
        enforcing_success_rate: enforcing(own.success_rate.is_some()),
        failure_percentage_threshold: u32_value(share.threshold.into()),
        failure_percentage_minimum_hosts: u32_value(share.minimum_hosts),
        failure_percentage_request_volume: u32_value(share.request_volume),
        enforcing_failure_percentage: enforcing(own.failure_percentage.is_some()),
        enforcing_failure_percentage_local_origin: u32_value(0),
        successful_active_health_check_uneject_host: bool_value(own.check_ends_ejection),
        ..Wire::default()
    }
}

fn thousandths(factor: f64) -> u32 {
    // A cast of a float saturates, and a factor is never negative.
    (factor * 1000.0).round() as u32
}

/// What nobody asked for is off: the default of Weir ejects who does not answer, that of Envoy nobody.
pub(super) fn detection(wire: Option<Wire>) -> Result<OutlierDetection, Refusal> {
    let Some(wire) = wire else {
        return Ok(OutlierDetection {
            consecutive_5xx: 0,
            consecutive_gateway: 0,
            split_local_origin: false,
            consecutive_local_origin: 0,
            success_rate: None,
            ..OutlierDetection::configured()
        });
    };
    // Weir's jitter is its own.
    take!(wire => Wire {
        consecutive_5xx, interval, base_ejection_time, max_ejection_percent, enforcing_consecutive_5xx,
        enforcing_success_rate, success_rate_minimum_hosts, success_rate_request_volume, success_rate_stdev_factor,
        consecutive_gateway_failure, enforcing_consecutive_gateway_failure, split_external_local_origin_errors,
        consecutive_local_origin_failure, enforcing_consecutive_local_origin_failure,
        enforcing_local_origin_success_rate, failure_percentage_threshold, enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin, failure_percentage_minimum_hosts,
        failure_percentage_request_volume, max_ejection_time, max_ejection_time_jitter,
        successful_active_health_check_uneject_host, always_eject_one_host,
    } refuse { monitors, detect_degraded_hosts });
    let _ = max_ejection_time_jitter;
    let split = split_external_local_origin_errors;
    // Rates of failures to answer alone: only where they are split off, and on by default then.
    let rates = (
        enforcing_local_origin_success_rate,
        enforcing_failure_percentage_local_origin,
    );
    if split && enforced(rates.0, true).within("enforcing_local_origin_success_rate")? {
        return Err(
            Refusal::new("is not 0: no rate of local failures is supported")
                .within("enforcing_local_origin_success_rate"),
        );
    }
    if split && enforced(rates.1, false).within("enforcing_failure_percentage_local_origin")? {
        return Err(Refusal::unsupported(
            "enforcing_failure_percentage_local_origin",
        ));
    }
    let consecutive = |count: Option<UInt32Value>, enforcing, default, field| {
        let on = enforced(enforcing, default).within(field)?;
        Ok::<u32, Refusal>(if on { u32_or(count.as_ref(), 5) } else { 0 })
    };
    let success_rate = enforced(enforcing_success_rate, true).within("enforcing_success_rate")?;
    let failure_percentage =
        enforced(enforcing_failure_percentage, false).within("enforcing_failure_percentage")?;
    let base = time_or(base_ejection_time.as_ref(), Duration::from_secs(30))
        .within("base_ejection_time")?;
    let rate = SuccessRate {
        minimum_hosts: u32_or(success_rate_minimum_hosts.as_ref(), 5),
        request_volume: u32_or(success_rate_request_volume.as_ref(), 100),
        stdev_factor: f64::from(u32_or(success_rate_stdev_factor.as_ref(), 1900)) / 1000.0,
    };
    let share = FailurePercentage {
        threshold: narrow(u32_or(failure_percentage_threshold.as_ref(), 85))
            .within("failure_percentage_threshold")?,
        minimum_hosts: u32_or(failure_percentage_minimum_hosts.as_ref(), 5),
        request_volume: u32_or(failure_percentage_request_volume.as_ref(), 50),
    };
    Ok(OutlierDetection {
        consecutive_5xx: consecutive(
            consecutive_5xx,
            enforcing_consecutive_5xx,
            true,
            "enforcing_consecutive_5xx",
        )?,
        consecutive_gateway: consecutive(
            consecutive_gateway_failure,
            enforcing_consecutive_gateway_failure,
            false,
            "enforcing_consecutive_gateway_failure",
        )?,
        split_local_origin: split,
        consecutive_local_origin: consecutive(
            consecutive_local_origin_failure,
            enforcing_consecutive_local_origin_failure,
            true,
            "enforcing_consecutive_local_origin_failure",
        )?,
        interval: time_or(interval.as_ref(), Duration::from_secs(10)).within("interval")?,
        base_ejection_time: base,
        max_ejection_time: time_or(
            max_ejection_time.as_ref(),
            base.max(Duration::from_secs(300)),
        )
        .within("max_ejection_time")?,
        max_ejection_percent: Some(
            narrow::<u8>(u32_or(max_ejection_percent.as_ref(), 10))
                .within("max_ejection_percent")?,
        ),
        always_eject_one: always_eject_one_host.is_some_and(|yes| yes.value),
        min_health_percent: 50,
        success_rate: success_rate.then_some(rate),
        failure_percentage: failure_percentage.then_some(share),
        check_ends_ejection: successful_active_health_check_uneject_host
            .is_none_or(|yes| yes.value),
        observe_only: false,
    })
}

/// All or nothing: a chance in between is refused.
fn enforced(wire: Option<UInt32Value>, default: bool) -> Result<bool, Refusal> {
    match wire.map(|wire| wire.value) {
        None => Ok(default),
        Some(0) => Ok(false),
        Some(100) => Ok(true),
        Some(other) => Err(Refusal::new(format!("is {other}; 0 and 100 are supported"))),
    }
}
