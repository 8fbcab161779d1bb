//! Filters: each holds the settings that its type names, and no others.

use std::sync::Arc;

use super::report::Report;
use super::route::Names;
use super::{header, path, traffic};
use crate::Place;
use crate::model::{Filter, HostPattern, Match, PathMatch, PathModifier, Redirect, Rewrite};
use crate::raw::{self, At, FilterKind, RewriteKind};

/// Largest body of a direct response, in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Whether the filter answers without asking an endpoint.
pub(super) fn answers(filter: &Filter) -> bool {
    matches!(filter, Filter::Redirect(_) | Filter::DirectResponse { .. })
}

pub(super) fn compile(
    all: &[raw::Filter],
    matches: &[Match],
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Filter> {
    let mut filters: Vec<Filter> = Vec::new();
    for raw in all {
        let Some(filter) = compile_one(raw, matches, names, report) else {
            continue;
        };
        let clash = filters.iter().any(|other| clashes(other, &filter));
        if clash {
            let help = "a rule has at most one FaultInjection, StrictTransportSecurity and GrpcWeb, one of RequestRedirect, \
                        URLRewrite and DirectResponse, and RequestMirror and GrpcWeb only where it forwards";
            report.error_help(
                &raw.meta.place,
                "this filter contradicts one before it",
                help,
            );
        }
        filters.push(filter);
    }
    filters
}

fn clashes(a: &Filter, b: &Filter) -> bool {
    let alone = |f: &Filter| answers(f) || matches!(f, Filter::Rewrite(_));
    let copies = |f: &Filter| matches!(f, Filter::Mirror(_));
    let both_faults = matches!((a, b), (Filter::Fault(_), Filter::Fault(_)));
    let unsent = answers(a) && copies(b) || copies(a) && answers(b);
    let twice = matches!(
        (a, b),
        (Filter::Hsts(_), Filter::Hsts(_)) | (Filter::GrpcWeb, Filter::GrpcWeb)
    );
    let unasked = answers(a) && *b == Filter::GrpcWeb || *a == Filter::GrpcWeb && answers(b);
    alone(a) && alone(b) || both_faults || unsent || twice || unasked
}

fn compile_one(
    raw: &raw::Filter,
    matches: &[Match],
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Filter> {
    let kind = report.required(&raw.kind, &raw.meta, "the type of the filter")?;
    foreign(raw, kind.value, report);
    match kind.value {
        FilterKind::RequestHeaderModifier => {
            let raw = report.required(
                &raw.request_header_modifier,
                &raw.meta,
                "requestHeaderModifier",
            )?;
            Some(Filter::RequestHeaders(header::edits(raw, report)))
        }
        FilterKind::ResponseHeaderModifier => {
            let raw = report.required(
                &raw.response_header_modifier,
                &raw.meta,
                "responseHeaderModifier",
            )?;
            Some(Filter::ResponseHeaders(header::edits(raw, report)))
        }
        FilterKind::RequestRedirect => redirect(
            report.required(&raw.request_redirect, &raw.meta, "requestRedirect")?,
            matches,
            report,
        ),
        FilterKind::UrlRewrite => rewrite(
            report.required(&raw.url_rewrite, &raw.meta, "urlRewrite")?,
            matches,
            report,
        ),
        FilterKind::DirectResponse => direct_response(
            report.required(&raw.direct_response, &raw.meta, "directResponse")?,
            report,
        ),
        FilterKind::RequestMirror => {
            let raw = report.required(&raw.request_mirror, &raw.meta, "requestMirror")?;
            traffic::mirror(raw, names, report)
        }
        FilterKind::RateLimit => {
            let raw = report.required(&raw.rate_limit, &raw.meta, "rateLimit")?;
            traffic::rate_limit(raw, report).map(Filter::RateLimit)
        }
        FilterKind::FaultInjection => {
            let raw = report.required(&raw.fault_injection, &raw.meta, "faultInjection")?;
            traffic::fault(raw, report)
        }
        FilterKind::StrictTransportSecurity => {
            let default = raw::StrictTransportSecurity::default();
            let raw = raw.strict_transport_security.as_ref().unwrap_or(&default);
            Some(hsts(raw, report))
        }
        FilterKind::GrpcWeb => Some(Filter::GrpcWeb),
    }
}

/// Settings of another type than the one named would be ignored in silence otherwise.
fn foreign(raw: &raw::Filter, kind: FilterKind, report: &mut Report) {
    let fields: [(FilterKind, &str, Option<&Place>); 9] = [
        (
            FilterKind::RequestHeaderModifier,
            "requestHeaderModifier",
            raw.request_header_modifier.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::ResponseHeaderModifier,
            "responseHeaderModifier",
            raw.response_header_modifier.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::RequestRedirect,
            "requestRedirect",
            raw.request_redirect.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::UrlRewrite,
            "urlRewrite",
            raw.url_rewrite.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::DirectResponse,
            "directResponse",
            raw.direct_response.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::RequestMirror,
            "requestMirror",
            raw.request_mirror.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::RateLimit,
            "rateLimit",
            raw.rate_limit.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::FaultInjection,
            "faultInjection",
            raw.fault_injection.as_ref().map(|m| &m.meta.place),
        ),
        (
            FilterKind::StrictTransportSecurity,
            "strictTransportSecurity",
            raw.strict_transport_security
                .as_ref()
                .map(|m| &m.meta.place),
        ),
    ];
    for (of, field, place) in fields {
        if let Some(place) = place.filter(|_| of != kind) {
            report.error_help(
                place,
                format!("{field} is not for a filter of this type"),
                "write it as a filter of its own",
            );
        }
    }
}

/// What a browser must have heard to be put on the lists that browsers ship with (hstspreload.org).
const PRELOAD: u64 = 365 * 24 * 3600;

/// RFC 6797, section 6.1. Default a year.
fn hsts(raw: &raw::StrictTransportSecurity, report: &mut Report) -> Filter {
    let age = raw
        .max_age
        .as_ref()
        .map_or(PRELOAD, |at| at.value.0.as_secs());
    let set = |at: &Option<At<bool>>| at.as_ref().is_some_and(|at| at.value);
    let (below, preload) = (set(&raw.include_sub_domains), set(&raw.preload));
    if let Some(at) = raw
        .preload
        .as_ref()
        .filter(|_| preload && (age < PRELOAD || !below))
    {
        let help = "set includeSubDomains: true and a maxAge of 365d or more, or remove preload";
        report.warn(&at.place, "preload is not taken without both of them", help);
    }
    let mut value = format!("max-age={age}");
    if below {
        value.push_str("; includeSubDomains");
    }
    if preload {
        value.push_str("; preload");
    }
    Filter::Hsts(Arc::from(value))
}

fn redirect(raw: &raw::RequestRedirect, matches: &[Match], report: &mut Report) -> Option<Filter> {
    let scheme = match &raw.scheme {
        Some(at) if matches!(at.value.as_str(), "http" | "https") => {
            Some(Arc::from(at.value.as_str()))
        }
        Some(at) => {
            report.error(
                &at.place,
                format!("{:?} is neither http nor https", at.value),
            );
            None
        }
        None => None,
    };
    let port = match &raw.port {
        Some(at) => report.bounded(at, |port| port > 0, "a port is from 1 to 65535"),
        None => None,
    };
    let status = match &raw.status_code {
        Some(at) => report.bounded(
            at,
            |s| matches!(s, 301 | 302 | 303 | 307 | 308),
            "a redirect has 301, 302, 303, 307 or 308",
        )?,
        None => 302,
    };
    let path = raw
        .path
        .as_ref()
        .and_then(|raw| modifier(raw, matches, report));
    let hostname = raw.hostname.as_ref().and_then(|at| hostname(at, report));
    if !raw.meta.broken
        && raw.scheme.is_none()
        && raw.hostname.is_none()
        && raw.path.is_none()
        && raw.port.is_none()
    {
        let help = "give it a scheme, hostname, path or port";
        report.error_help(
            &raw.meta.place,
            "this redirect leads to where it comes from",
            help,
        );
    }
    Some(Filter::Redirect(Redirect {
        scheme,
        hostname,
        path,
        port,
        status,
    }))
}

fn rewrite(raw: &raw::UrlRewrite, matches: &[Match], report: &mut Report) -> Option<Filter> {
    if !raw.meta.broken && raw.hostname.is_none() && raw.path.is_none() {
        report.error(
            &raw.meta.place,
            "this rewrite changes nothing; give it a hostname or a path",
        );
        return None;
    }
    let path = raw
        .path
        .as_ref()
        .and_then(|raw| modifier(raw, matches, report));
    let hostname = raw.hostname.as_ref().and_then(|at| hostname(at, report));
    Some(Filter::Rewrite(Rewrite { hostname, path }))
}

fn hostname(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    match report.valid(HostPattern::parse(&at.value), &at.place)? {
        Some(HostPattern::Exact(name)) => Some(name),
        _ => {
            report.error(&at.place, "a star cannot be written into a request");
            None
        }
    }
}

fn modifier(
    raw: &raw::PathRewrite,
    matches: &[Match],
    report: &mut Report,
) -> Option<PathModifier> {
    let kind = report.required(&raw.kind, &raw.meta, "the type of the path rewrite")?;
    let (full, prefix) = (&raw.replace_full_path, &raw.replace_prefix_match);
    match kind.value {
        RewriteKind::ReplaceFullPath => {
            if let Some(at) = prefix {
                report.error(&at.place, "replacePrefixMatch is not for ReplaceFullPath");
            }
            let at = report.required(full, &raw.meta, "replaceFullPath")?;
            path::replacement(at, false, report).map(PathModifier::Full)
        }
        RewriteKind::ReplacePrefixMatch => {
            if let Some(at) = full {
                report.error(&at.place, "replaceFullPath is not for ReplacePrefixMatch");
            }
            if !matches
                .iter()
                .all(|m| matches!(m.path, PathMatch::Prefix(_)))
            {
                let help = "every match of the rule needs a path of type PathPrefix";
                report.error_help(&kind.place, "there is no matched prefix to replace", help);
            }
            let at = report.required(prefix, &raw.meta, "replacePrefixMatch")?;
            path::replacement(at, true, report).map(PathModifier::Prefix)
        }
    }
}

fn direct_response(raw: &raw::DirectResponse, report: &mut Report) -> Option<Filter> {
    let status = match &raw.status {
        Some(at) => report.bounded(
            at,
            |s| (200..=599).contains(&s),
            "a direct response has a status from 200 to 599",
        )?,
        None => 200,
    };
    let body: Arc<str> = raw
        .body
        .as_ref()
        .map_or_else(|| Arc::from(""), |at| Arc::from(at.value.as_str()));
    if let Some(at) = raw.body.as_ref().filter(|at| at.value.len() > MAX_BODY) {
        report.error(
            &at.place,
            format!("the body of a direct response has at most {MAX_BODY} bytes"),
        );
    }
    if let Some(at) = raw
        .body
        .as_ref()
        .filter(|at| !at.value.is_empty() && matches!(status, 204 | 205 | 304))
    {
        report.error(
            &at.place,
            format!("an answer with status {status} has no body (RFC 9110)"),
        );
    }
    let content_type = match &raw.content_type {
        Some(at) => header::value(at, report)?,
        None => Arc::from("text/plain; charset=utf-8"),
    };
    Some(Filter::DirectResponse {
        status,
        body,
        content_type,
    })
}
