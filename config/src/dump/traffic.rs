//! Rate limits, faults and mirrors as JSON.

use serde_json::{Value, json};

use crate::model::{Fault, Mirror, Percent, RateLimit, RateLimitKey};
use crate::raw::duration_text;

pub(super) fn rate_limit(limit: &RateLimit) -> Value {
    let (key, header) = match &limit.key {
        RateLimitKey::Route => ("Route", None),
        RateLimitKey::ClientIp => ("ClientIp", None),
        RateLimitKey::Header(name) => ("Header", Some(name)),
    };
    // As a file has it: only a limit with a key bounds its keys.
    let max_keys = (limit.key != RateLimitKey::Route).then_some(limit.max_keys);
    json!({
        "type": "RateLimit",
        "rateLimit": {
            "requests": limit.requests,
            "per": duration_text(limit.per),
            "burst": limit.burst,
            "key": key,
            "header": header,
            "maxKeys": max_keys,
        },
    })
}

pub(super) fn fault(fault: &Fault) -> Value {
    json!({
        "type": "FaultInjection",
        "faultInjection": {
            "delay": fault.delay.map(|delay| json!({
                "duration": duration_text(delay.duration),
                "percent": percent(delay.percent),
            })),
            "abort": fault.abort.map(|abort| json!({
                "status": abort.status,
                "percent": percent(abort.percent),
            })),
        },
    })
}

pub(super) fn mirror(mirror: &Mirror) -> Value {
    json!({
        "type": "RequestMirror",
        "requestMirror": {
            "backendRef": {
                "name": mirror.service.as_str(),
                "version": mirror.version.as_ref().map(|version| version.as_str()),
            },
            "percent": percent(mirror.percent),
        },
    })
}

/// A whole percentage without a fraction, as people write it.
fn percent(percent: Percent) -> Value {
    match percent.tenths() % 10 {
        0 => json!(percent.tenths() / 10),
        _ => json!(f64::from(percent.tenths()) / 10.0),
    }
}
