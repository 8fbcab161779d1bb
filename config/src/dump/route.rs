//! Routes as JSON.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{traffic, weight};
use crate::model::{
    BackendRef, Filter, HeaderEdits, HostPattern, Match, PathMatch, PathModifier, Redirect, Retry,
    Rewrite, Route, Rule, Sticky, StickyKey, StreamRoute, Timeouts, ValueMatch,
};
use crate::raw::{RetryCondition, duration_text};

pub(super) fn route(route: &Route) -> Value {
    json!({
        "name": route.name.as_str(),
        "listeners": route.listeners.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "hostnames": route.hostnames.iter().map(HostPattern::text).collect::<Vec<_>>(),
        "rules": route.rules.iter().map(rule).collect::<Vec<_>>(),
        "source": route.source.to_string(),
    })
}

/// A route of streams, whose one rule has destinations only.
pub(super) fn stream(route: &StreamRoute) -> Value {
    json!({
        "name": route.name.as_str(),
        "listeners": route.listeners.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "hostnames": route.hostnames.iter().map(HostPattern::text).collect::<Vec<_>>(),
        "rules": [{ "backendRefs": backends(&route.backends) }],
        "source": route.source.to_string(),
    })
}

fn backends(backends: &[BackendRef]) -> Vec<Value> {
    let one = |backend: &BackendRef| {
        json!({
            "name": backend.service.as_str(),
            "version": backend.version.as_ref().map(|version| version.as_str()),
            "weight": weight(backend.weight),
        })
    };
    backends.iter().map(one).collect()
}

fn rule(rule: &Rule) -> Value {
    json!({
        "matches": rule.matches.iter().map(matched).collect::<Vec<_>>(),
        "filters": rule.filters.iter().map(filter).collect::<Vec<_>>(),
        "backendRefs": backends(&rule.backends),
        "sticky": rule.sticky.as_ref().map(sticky),
        "timeouts": timeouts(&rule.timeouts),
        "retry": retry(&rule.retry),
    })
}

fn matched(m: &Match) -> Value {
    let (kind, value) = match &m.path {
        PathMatch::Exact(path) => ("Exact", &**path),
        PathMatch::Prefix(path) => ("PathPrefix", &**path),
        PathMatch::Regex(regex) => ("RegularExpression", bare(regex.as_str())),
    };
    let values = |pairs: &[(Arc<str>, ValueMatch)]| {
        let value = |(name, value): &(Arc<str>, ValueMatch)| match value {
            ValueMatch::Exact(text) => json!({ "type": "Exact", "name": name, "value": text }),
            ValueMatch::Regex(regex) => {
                json!({ "type": "RegularExpression", "name": name, "value": bare(regex.as_str()) })
            }
        };
        pairs.iter().map(value).collect::<Vec<_>>()
    };
    json!({
        "path": { "type": kind, "value": value },
        "headers": values(&m.headers),
        "queryParams": values(&m.query),
        "method": m.method,
    })
}

/// The pattern as it was written, without the anchors that the compiler put around it.
fn bare(pattern: &str) -> &str {
    pattern
        .strip_prefix("^(?:")
        .and_then(|rest| rest.strip_suffix(")$"))
        .unwrap_or(pattern)
}

fn filter(filter: &Filter) -> Value {
    match filter {
        Filter::RequestHeaders(e) => {
            json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": edits(e) })
        }
        Filter::ResponseHeaders(e) => {
            json!({ "type": "ResponseHeaderModifier", "responseHeaderModifier": edits(e) })
        }
        Filter::Redirect(r) => json!({ "type": "RequestRedirect", "requestRedirect": redirect(r) }),
        Filter::Rewrite(r) => json!({ "type": "URLRewrite", "urlRewrite": rewrite(r) }),
        Filter::DirectResponse {
            status,
            body,
            content_type,
        } => json!({
            "type": "DirectResponse",
            "directResponse": { "status": status, "body": body, "contentType": content_type },
        }),
        Filter::RateLimit(limit) => traffic::rate_limit(limit),
        Filter::Fault(fault) => traffic::fault(fault),
        Filter::Mirror(mirror) => traffic::mirror(mirror),
        Filter::Hsts(value) => json!({ "type": "StrictTransportSecurity", "value": value }),
        Filter::GrpcWeb => json!({ "type": "GrpcWeb" }),
    }
}

fn edits(edits: &HeaderEdits) -> Value {
    let pairs = |pairs: &[(Arc<str>, Arc<str>)]| {
        pairs
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect::<Vec<_>>()
    };
    json!({ "set": pairs(&edits.set), "add": pairs(&edits.add), "remove": edits.remove })
}

fn redirect(redirect: &Redirect) -> Value {
    json!({
        "scheme": redirect.scheme,
        "hostname": redirect.hostname,
        "path": redirect.path.as_ref().map(modifier),
        "port": redirect.port,
        "statusCode": redirect.status,
    })
}

fn rewrite(rewrite: &Rewrite) -> Value {
    json!({ "hostname": rewrite.hostname, "path": rewrite.path.as_ref().map(modifier) })
}

fn modifier(modifier: &PathModifier) -> Value {
    match modifier {
        PathModifier::Full(path) => json!({ "type": "ReplaceFullPath", "replaceFullPath": path }),
        PathModifier::Prefix(path) => {
            json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": path })
        }
    }
}

fn sticky(sticky: &Sticky) -> Value {
    match &sticky.key {
        StickyKey::Cookie { name, max_age } => {
            json!({ "cookie": name, "maxAge": max_age.map(duration_text) })
        }
        StickyKey::Header(name) => json!({ "header": name }),
        StickyKey::ClientIp => json!({ "clientIp": true }),
    }
}

fn timeouts(timeouts: &Timeouts) -> Value {
    // As in a file, `0s` is no bound.
    let text = |bound: Option<std::time::Duration>| duration_text(bound.unwrap_or_default());
    json!({ "request": text(timeouts.request), "backendRequest": text(timeouts.backend_request) })
}

fn retry(retry: &Retry) -> Value {
    json!({
        "attempts": retry.attempts,
        "on": retry.on.iter().map(|on| RetryCondition(*on).text()).collect::<Vec<_>>(),
        "backoff": { "base": duration_text(retry.backoff_base), "max": duration_text(retry.backoff_max) },
        "hedge": retry.hedge,
    })
}
