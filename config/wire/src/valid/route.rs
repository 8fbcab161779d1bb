//! Routes, and what their rules do.

use std::time::Duration;

use weir_config::model::{
    Filter, HeaderEdits, Match, PathMatch, PathModifier, RateLimit, Route, Rule, StickyKey,
    StreamRoute,
};

use super::{MAX_TIME, is_host, is_path, is_token, is_value, must};
use crate::refusal::{Refusal, Within as _};

/// Most destinations of a rule, and matches, and filters.
const MAX_BACKENDS: usize = 1_000;
const MAX_MATCHES: usize = 1_000;
const MAX_FILTERS: usize = 100;
/// Largest body of a direct response, in bytes.
const MAX_BODY: usize = 64 * 1024;

pub(crate) fn stream(own: &StreamRoute) -> Result<(), Refusal> {
    must(!own.listeners.is_empty(), "names no listener")?;
    must(!own.backends.is_empty(), "has no destination")?;
    must(
        own.backends.len() <= MAX_BACKENDS,
        "has too many destinations",
    )
}

pub(crate) fn route(own: &Route) -> Result<(), Refusal> {
    for (index, rule) in own.rules.iter().enumerate() {
        self::rule(rule).at("rules", index)?;
    }
    Ok(())
}

fn rule(own: &Rule) -> Result<(), Refusal> {
    must(
        !own.matches.is_empty() && own.matches.len() <= MAX_MATCHES,
        "are none, or too many",
    )
    .within("matches")?;
    must(own.backends.len() <= MAX_BACKENDS, "are too many").within("clusters")?;
    must(own.filters.len() <= MAX_FILTERS, "are too many").within("filters")?;
    own.matches.iter().try_for_each(conditions)?;
    let prefixes = own
        .matches
        .iter()
        .all(|one| matches!(one.path, PathMatch::Prefix(_)));
    must(
        prefixes || !own.filters.iter().any(replaces_prefix),
        "is not that of a prefix",
    )
    .within("prefix_rewrite")?;
    own.filters.iter().try_for_each(filter)?;
    let bounds = [own.timeouts.request, own.timeouts.backend_request];
    must(
        bounds.iter().flatten().all(|time| *time <= MAX_TIME),
        "is longer than a year",
    )
    .within("timeout")?;
    let backoff =
        own.retry.backoff_max <= MAX_TIME && own.retry.backoff_base <= own.retry.backoff_max;
    must(
        backoff,
        "is longer than a year, or its base is longer than its end",
    )
    .within("retry_back_off")?;
    match own.sticky.as_ref().map(|sticky| &sticky.key) {
        Some(StickyKey::Cookie { name, .. } | StickyKey::Header(name)) => {
            must(is_token(name), "is not the name of a field or a cookie").within("hash_policy")
        }
        Some(StickyKey::ClientIp) | None => Ok(()),
    }
}

fn conditions(own: &Match) -> Result<(), Refusal> {
    if let PathMatch::Exact(path) | PathMatch::Prefix(path) = &own.path {
        must(is_path(path), "is no path that a request could have").within("path")?;
    }
    if let PathMatch::Prefix(prefix) = &own.path {
        must(
            &**prefix == "/" || !prefix.ends_with('/'),
            "ends with a slash",
        )
        .within("path_separated_prefix")?;
    }
    must(
        own.headers.iter().all(|(name, _)| is_token(name)),
        "is not the name of a field",
    )
    .within("headers")?;
    must(
        own.method.iter().all(|method| is_token(method)),
        "is no method",
    )
    .within("headers")
}

fn replaces_prefix(own: &Filter) -> bool {
    let path = match own {
        Filter::Redirect(redirect) => &redirect.path,
        Filter::Rewrite(rewrite) => &rewrite.path,
        _ => return false,
    };
    matches!(path, Some(PathModifier::Prefix(_)))
}

fn filter(own: &Filter) -> Result<(), Refusal> {
    match own {
        Filter::RequestHeaders(edits) => self::edits(edits).within("request_headers_to_add"),
        Filter::ResponseHeaders(edits) => self::edits(edits).within("response_headers_to_add"),
        Filter::Redirect(redirect) => {
            let scheme = redirect.scheme.as_deref().unwrap_or("http");
            must(matches!(scheme, "http" | "https"), "is not http or https")
                .within("scheme_redirect")?;
            let statuses = [301, 302, 303, 307, 308];
            must(
                statuses.contains(&redirect.status),
                "is no status of a redirect",
            )
            .within("response_code")?;
            must(
                redirect.hostname.iter().all(|host| is_host(host)),
                "is no host",
            )
            .within("host_redirect")
        }
        Filter::Rewrite(rewrite) => must(
            rewrite.hostname.iter().all(|host| is_host(host)),
            "is no host",
        )
        .within("host_rewrite_literal"),
        Filter::DirectResponse {
            status,
            body,
            content_type,
        } => {
            must((200..=599).contains(status), "is no status from 200 to 599").within("status")?;
            must(body.len() <= MAX_BODY, "is longer than 64 KiB").within("body")?;
            must(is_value(content_type), "is no value of a field").within("content-type")
        }
        Filter::RateLimit(limit) => rate_limit(limit).within("token_bucket"),
        Filter::Fault(fault) => {
            let delay = fault
                .delay
                .is_none_or(|delay| delay.duration <= Duration::from_secs(3600));
            must(delay, "is longer than an hour").within("fixed_delay")?;
            let abort = fault
                .abort
                .is_none_or(|abort| (400..=599).contains(&abort.status));
            must(abort, "is no status from 400 to 599").within("http_status")
        }
        Filter::Hsts(value) => {
            must(is_value(value), "is no value of a field").within("strict-transport-security")
        }
        Filter::Mirror(_) | Filter::GrpcWeb => Ok(()),
    }
}

fn rate_limit(own: &RateLimit) -> Result<(), Refusal> {
    let counts = [own.requests, own.burst];
    must(
        counts.iter().all(|count| (1..=1_000_000).contains(count)),
        "holds a count that is not 1 to 1000000",
    )?;
    let per = (Duration::from_secs(1)..=Duration::from_secs(3600)).contains(&own.per);
    must(per, "is not 1 s to 1 h").within("fill_interval")?;
    must(
        (100..=1_000_000).contains(&own.max_keys),
        "is not 100 to 1000000",
    )
    .within("max_keys")
}

fn edits(own: &HeaderEdits) -> Result<(), Refusal> {
    fields(&own.set)?;
    fields(&own.add)?;
    own.remove.iter().try_for_each(|name| editable(name))
}

pub(super) fn fields(all: &[(std::sync::Arc<str>, std::sync::Arc<str>)]) -> Result<(), Refusal> {
    all.iter().try_for_each(|(name, value)| {
        editable(name)?;
        must(
            is_value(value),
            &format!("holds a value of {name:?} that no field may have"),
        )
    })
}

fn editable(name: &str) -> Result<(), Refusal> {
    must(
        is_token(name) && !HeaderEdits::NEVER.contains(&name),
        &format!("names {name:?}, which is no field that may be edited"),
    )
}
