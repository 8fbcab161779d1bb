//! When and how often a request is tried again.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate,
};
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, HedgePolicy, RetryPolicy};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use prost::Name as _;
use weir_config::model::{GrpcCondition, Retry, RetryOn, Rule};

use super::matching::regex_matcher;
use crate::basic::{bound, duration, narrow, pack, time, time_or, u32_or, u32_value};
use crate::refusal::{Refusal, Within as _, take};

/// Which methods are tried again after an answer (RFC 9110, section 9.2.2).
const IDEMPOTENT: &str = "GET|HEAD|OPTIONS|TRACE|PUT|DELETE";
/// How often Envoy looks for an endpoint that was not tried yet.
const SEARCHES: i64 = 5;
const BASE: Duration = Duration::from_millis(25);

const GRPC: [GrpcCondition; 5] = [
    GrpcCondition::Cancelled,
    GrpcCondition::DeadlineExceeded,
    GrpcCondition::ResourceExhausted,
    GrpcCondition::Internal,
    GrpcCondition::Unavailable,
];

pub(super) fn encode(rule: &Rule) -> RetryPolicy {
    let retry = &rule.retry;
    let statuses: Vec<u32> = retry.on.iter().filter_map(status).collect();
    let mut conditions: Vec<&str> = Vec::new();
    for on in &retry.on {
        let text = match on {
            RetryOn::ConnectFailure => "connect-failure",
            RetryOn::RefusedStream => "refused-stream",
            RetryOn::ResetBeforeRequest => "reset-before-request",
            RetryOn::FiveXx => "5xx",
            RetryOn::GatewayError => "gateway-error",
            RetryOn::Status(_) => "retriable-status-codes",
            RetryOn::Grpc(condition) => condition.text(),
        };
        if !conditions.contains(&text) {
            conditions.push(text);
        }
    }
    let answers = |on: &RetryOn| {
        matches!(
            on,
            RetryOn::FiveXx | RetryOn::GatewayError | RetryOn::Status(_)
        )
    };
    let careful = retry.on.iter().any(answers);
    RetryPolicy {
        retry_on: conditions.join(","),
        num_retries: u32_value(retry.attempts.into()),
        per_try_timeout: rule.timeouts.backend_request.map(duration),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
            config_type: Some(retry_host_predicate::ConfigType::TypedConfig(pack(
                &PreviousHostsPredicate {},
            ))),
        }],
        host_selection_retry_max_attempts: SEARCHES,
        retriable_status_codes: statuses,
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(duration(retry.backoff_base)),
            max_interval: Some(duration(retry.backoff_max)),
        }),
        // After an answer Weir tries only again what may be done twice. Envoy asks no such thing by itself; told so, it holds
        // back from all conditions alike.
        retriable_request_headers: careful.then(idempotent).into_iter().collect(),
        ..RetryPolicy::default()
    }
}

fn status(on: &RetryOn) -> Option<u32> {
    match on {
        RetryOn::Status(status) => Some((*status).into()),
        _ => None,
    }
}

fn idempotent() -> HeaderMatcher {
    HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex_matcher(IDEMPOTENT))),
            ignore_case: false,
        })),
        ..HeaderMatcher::default()
    }
}

pub(super) fn hedge(retry: &Retry) -> Option<HedgePolicy> {
    retry.hedge.then(|| HedgePolicy {
        initial_requests: u32_value(1),
        hedge_on_per_try_timeout: true,
        ..HedgePolicy::default()
    })
}

/// Without a policy nothing is tried again.
pub(super) fn decode(
    wire: Option<RetryPolicy>,
    hedge: Option<HedgePolicy>,
) -> Result<(Retry, Option<Duration>), Refusal> {
    let hedge = hedge
        .map_or(Ok(false), decode_hedge)
        .within("hedge_policy")?;
    let Some(wire) = wire else {
        let none = Retry {
            attempts: 0,
            on: Vec::new(),
            hedge,
            ..Retry::default()
        };
        return Ok((none, None));
    };
    let (retry, per_try) = policy(wire).within("retry_policy")?;
    Ok((Retry { hedge, ..retry }, per_try))
}

fn decode_hedge(wire: HedgePolicy) -> Result<bool, Refusal> {
    take!(wire => HedgePolicy { initial_requests, hedge_on_per_try_timeout } refuse { additional_request_chance });
    match u32_or(initial_requests.as_ref(), 1) {
        1 => Ok(hedge_on_per_try_timeout),
        _ => Err(Refusal::new("is not 1").within("initial_requests")),
    }
}

fn policy(wire: RetryPolicy) -> Result<(Retry, Option<Duration>), Refusal> {
    // An endpoint that was tried is avoided in any case; how often one is looked for is for the balancer to say.
    take!(wire => RetryPolicy {
        retry_on, num_retries, per_try_timeout, retry_host_predicate, host_selection_retry_max_attempts,
        retriable_status_codes, retry_back_off, retriable_request_headers,
    } refuse {
        per_try_idle_timeout, retry_priority, retry_options_predicates, rate_limited_retry_back_off, retriable_headers,
        refresh_cluster_on_retry,
    });
    let _ = host_selection_retry_max_attempts;
    for (index, predicate) in retry_host_predicate.into_iter().enumerate() {
        let known = matches!(predicate.config_type, Some(retry_host_predicate::ConfigType::TypedConfig(ref any))
            if any.type_url == PreviousHostsPredicate::type_url());
        if !known {
            return Err(Refusal::new(
                "is not that of previous hosts, which is supported",
            ))
            .at("retry_host_predicate", index);
        }
    }
    if !retriable_request_headers.is_empty() && retriable_request_headers != [idempotent()] {
        return Err(Refusal::unsupported("retriable_request_headers"));
    }
    let on = conditions(&retry_on, &retriable_status_codes)?;
    let (backoff_base, backoff_max) = backoff(retry_back_off).within("retry_back_off")?;
    let attempts = match on.is_empty() {
        // Envoy tries once more where it is not told how often.
        true => num_retries.map_or(Ok(0), |count| narrow(count.value)),
        false => narrow(u32_or(num_retries.as_ref(), 1)),
    };
    let per_try = per_try_timeout
        .map_or(Ok(None), |wire| bound(&wire))
        .within("per_try_timeout")?;
    let retry = Retry {
        attempts: attempts.within("num_retries")?,
        on,
        backoff_base,
        backoff_max,
        hedge: false,
    };
    Ok((retry, per_try))
}

fn conditions(text: &str, statuses: &[u32]) -> Result<Vec<RetryOn>, Refusal> {
    let mut on = Vec::new();
    for condition in text
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        on.push(match condition {
            "connect-failure" => RetryOn::ConnectFailure,
            "refused-stream" => RetryOn::RefusedStream,
            "reset-before-request" => RetryOn::ResetBeforeRequest,
            "5xx" => RetryOn::FiveXx,
            "gateway-error" => RetryOn::GatewayError,
            "retriable-status-codes" => {
                for (index, status) in statuses.iter().enumerate() {
                    let status = u16::try_from(*status)
                        .ok()
                        .filter(|s| (400..=599).contains(s));
                    let status = status.ok_or_else(|| Refusal::new("is no status from 400 to 599"));
                    on.push(RetryOn::Status(status.at("retriable_status_codes", index)?));
                }
                continue;
            }
            other => match GRPC.iter().find(|grpc| grpc.text() == other) {
                Some(grpc) => RetryOn::Grpc(*grpc),
                None => {
                    let why = format!("holds {other:?}, which is not supported");
                    return Err(Refusal::new(why).within("retry_on"));
                }
            },
        });
    }
    Ok(on)
}

fn backoff(wire: Option<RetryBackOff>) -> Result<(Duration, Duration), Refusal> {
    let Some(wire) = wire else {
        return Ok((BASE, BASE * 10));
    };
    take!(wire => RetryBackOff { base_interval, max_interval } refuse {});
    let base = base_interval.ok_or_else(|| Refusal::missing("base_interval"))?;
    let base = time(&base).within("base_interval")?;
    let most = time_or(max_interval.as_ref(), base.saturating_mul(10)).within("max_interval")?;
    Ok((base, most))
}
