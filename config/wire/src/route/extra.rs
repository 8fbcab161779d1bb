//! What Envoy has filters for, with settings of each route: faults, limits of rate, gRPC-Web.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::r#type::v3::{HttpStatus, TokenBucket};
use envoy_types::pb::google::protobuf::Any;
use prost::Name as _;
use weir_config::model::{Abort, Delay, Fault, Filter, Percent, RateLimit, RateLimitKey};

use crate::basic::{
    duration, fraction, in_order, narrow, pack, percent, runtime_fraction, runtime_percent, time,
    time_or, u32_or, u32_value, unpack,
};
use crate::refusal::{Refusal, Within as _, take};

pub(crate) const FAULT: &str = "envoy.filters.http.fault";
pub(crate) const LIMIT: &str = "envoy.filters.http.local_ratelimit";
pub(crate) const GRPC_WEB: &str = "envoy.filters.http.grpc_web";

/// Envoy's own default, of limits by client and the like.
const MAX_KEYS: u32 = 10_000;

/// The settings of these filters; `limits` says whether those of rate are among them.
pub(super) fn encode(filters: &[Filter], limits: bool) -> HashMap<String, Any> {
    let mut all: Vec<(String, Any)> = Vec::new();
    for filter in filters {
        let (name, config) = match filter {
            Filter::Fault(fault) => (FAULT, pack(&encode_fault(fault))),
            Filter::RateLimit(limit) if limits && limit.key == RateLimitKey::Route => {
                (LIMIT, pack(&encode_limit(limit)))
            }
            Filter::GrpcWeb => (GRPC_WEB, pack(&enabled())),
            _ => continue,
        };
        if all.iter().all(|(other, _)| other != name) {
            all.push((name.to_owned(), config));
        }
    }
    in_order(all)
}

/// Turns a filter on that is off by default.
fn enabled() -> FilterConfig {
    FilterConfig {
        config: Some(Any::default()),
        ..FilterConfig::default()
    }
}

fn encode_fault(own: &Fault) -> HttpFault {
    HttpFault {
        delay: own.delay.map(|delay| FaultDelay {
            percentage: Some(fraction(delay.percent)),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(delay.duration))),
        }),
        abort: own.abort.map(|abort| FaultAbort {
            percentage: Some(fraction(abort.percent)),
            error_type: Some(ErrorType::HttpStatus(abort.status.into())),
            ..FaultAbort::default()
        }),
        ..HttpFault::default()
    }
}

fn encode_limit(own: &RateLimit) -> LocalRateLimit {
    let always: Option<RuntimeFractionalPercent> = runtime_fraction(Percent::ALL);
    LocalRateLimit {
        stat_prefix: "weir".to_owned(),
        status: Some(HttpStatus { code: 429 }),
        token_bucket: Some(TokenBucket {
            max_tokens: own.burst,
            tokens_per_fill: u32_value(own.requests),
            fill_interval: Some(duration(own.per)),
        }),
        filter_enabled: always.clone(),
        filter_enforced: always,
        ..LocalRateLimit::default()
    }
}

/// The filters that these settings are for, in a fixed order.
pub(super) fn decode(mut all: HashMap<String, Any>) -> Result<Vec<Filter>, Refusal> {
    let mut filters = Vec::new();
    let at = |name: &str| format!("typed_per_filter_config[{name:?}]");
    if let Some(config) = all.remove(LIMIT) {
        filters.push(Filter::RateLimit(
            unpack(&config).and_then(decode_limit).within(&at(LIMIT))?,
        ));
    }
    if let Some(config) = all.remove(FAULT) {
        filters.push(Filter::Fault(
            unpack(&config).and_then(decode_fault).within(&at(FAULT))?,
        ));
    }
    if let Some(config) = all.remove(GRPC_WEB)
        && decode_enabled(&config).within(&at(GRPC_WEB))?
    {
        filters.push(Filter::GrpcWeb);
    }
    match all.keys().min() {
        None => Ok(filters),
        Some(other) => Err(Refusal::unsupported(&at(other))),
    }
}

fn decode_enabled(any: &Any) -> Result<bool, Refusal> {
    if any.type_url != FilterConfig::type_url() {
        return Err(Refusal::new(
            "is not a FilterConfig, which is what turns the filter on",
        ));
    }
    take!(unpack::<FilterConfig>(any)? => FilterConfig { config, is_optional, disabled } refuse {});
    let _ = is_optional;
    match config.is_none_or(|config| config == Any::default() || config.value.is_empty()) {
        true => Ok(!disabled),
        false => Err(Refusal::unsupported("config")),
    }
}

fn decode_fault(wire: HttpFault) -> Result<Fault, Refusal> {
    // Statistics of their own are none of a route's.
    take!(wire => HttpFault { delay, abort, disable_downstream_cluster_stats } refuse {
        upstream_cluster, headers, downstream_nodes, max_active_faults, response_rate_limit, delay_percent_runtime,
        abort_percent_runtime, delay_duration_runtime, abort_http_status_runtime, max_active_faults_runtime,
        response_rate_limit_percent_runtime, abort_grpc_status_runtime, filter_metadata,
    });
    let _ = disable_downstream_cluster_stats;
    Ok(Fault {
        delay: delay.map(decode_delay).transpose().within("delay")?,
        abort: abort.map(decode_abort).transpose().within("abort")?,
    })
}

fn decode_delay(wire: FaultDelay) -> Result<Delay, Refusal> {
    let FaultDelay {
        percentage,
        fault_delay_secifier,
    } = wire;
    let share = percentage.unwrap_or_default();
    Ok(Delay {
        percent: percent(&share).within("percentage")?,
        duration: match fault_delay_secifier {
            Some(FaultDelaySecifier::FixedDelay(wire)) => time(&wire).within("fixed_delay")?,
            Some(FaultDelaySecifier::HeaderDelay(_)) => {
                return Err(Refusal::unsupported("header_delay"));
            }
            None => return Err(Refusal::missing("fixed_delay")),
        },
    })
}

fn decode_abort(wire: FaultAbort) -> Result<Abort, Refusal> {
    take!(wire => FaultAbort { percentage, error_type } refuse { response_body });
    let share = percentage.unwrap_or_default();
    Ok(Abort {
        percent: percent(&share).within("percentage")?,
        status: match error_type {
            Some(ErrorType::HttpStatus(status)) => narrow(status).within("http_status")?,
            Some(ErrorType::GrpcStatus(_)) => return Err(Refusal::unsupported("grpc_status")),
            Some(ErrorType::HeaderAbort(_)) => return Err(Refusal::unsupported("header_abort")),
            None => return Err(Refusal::missing("http_status")),
        },
    })
}

fn decode_limit(wire: LocalRateLimit) -> Result<RateLimit, Refusal> {
    take!(wire => LocalRateLimit { stat_prefix, status, token_bucket, filter_enabled, filter_enforced } refuse {
        request_headers_to_add_when_not_enforced, response_headers_to_add, descriptors, stage,
        local_rate_limit_per_downstream_connection, local_cluster_rate_limit, enable_x_ratelimit_headers, vh_rate_limits,
        always_consume_default_token_bucket, rate_limited_as_resource_exhausted, rate_limits, max_dynamic_descriptors,
        enable_retry_after_header,
    });
    let _ = stat_prefix;
    if status.is_some_and(|status| !matches!(status.code, 0 | 429)) {
        return Err(Refusal::new("is not 429").within("status"));
    }
    for (field, share) in [
        ("filter_enabled", filter_enabled),
        ("filter_enforced", filter_enforced),
    ] {
        let share = share
            .ok_or_else(|| Refusal::new("is missing, so that nothing is limited").within(field))?;
        if runtime_percent(share).within(field)? != Percent::ALL {
            return Err(Refusal::new("is not 100%, which is what is supported").within(field));
        }
    }
    let bucket = token_bucket.ok_or_else(|| Refusal::missing("token_bucket"))?;
    take!(bucket => TokenBucket { max_tokens, tokens_per_fill, fill_interval } refuse {});
    let per = time_or(fill_interval.as_ref(), Duration::from_secs(1));
    Ok(RateLimit {
        requests: u32_or(tokens_per_fill.as_ref(), 1),
        per: per.within("fill_interval").within("token_bucket")?,
        burst: max_tokens,
        key: RateLimitKey::Route,
        max_keys: MAX_KEYS,
    })
}
