//! Rules: matches, destinations, stickiness, times and retries.

use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::route::Names;
use super::{filter, grpc, header, path, values};
use crate::diagnostic::{Diagnostic, Severity, suggest};
use crate::model::{
    BackendRef, Match, PathMatch, Protocol, Retry, Rule, ServiceName, Sticky, StickyKey, Timeouts,
    ValueMatch, VersionName, Weight,
};
use crate::raw::{self, At, PathKind, ValueKind};

/// Most destinations of a rule.
const MAX_BACKENDS: usize = 64;
/// Most matches of a rule.
const MAX_MATCHES: usize = 256;

/// Compiles one rule; `None` if the route must be left out. Of a stream's only the destinations count
/// ([`super::stream::check`]).
pub(super) fn compile(
    raw: &raw::Rule,
    protocol: Protocol,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<Rule> {
    if protocol.is_stream() {
        return Some(Rule::every(backends(raw, protocol, names, report)));
    }
    let place = &raw.meta.place;
    let written = raw.matches.as_deref().unwrap_or_default();
    if written.len() > MAX_MATCHES {
        report.error(
            place,
            format!(
                "a rule has at most {MAX_MATCHES} matches, this one has {}",
                written.len()
            ),
        );
    }
    let mut matches: Vec<Match> = written
        .iter()
        .filter_map(|raw| compile_match(raw, report))
        .collect();
    if written.is_empty() {
        matches.push(Match::every());
    }
    let filters = filter::compile(
        raw.filters.as_deref().unwrap_or_default(),
        &matches,
        names,
        report,
    );
    let backends = backends(raw, protocol, names, report);
    let answers = filters.iter().any(filter::answers);
    if !answers && !raw.meta.broken && raw.backend_refs.as_ref().is_none_or(Vec::is_empty) {
        let help = "give it backendRefs, or a RequestRedirect or DirectResponse filter";
        report.error_help(place, "the rule has no destination", help);
    }
    if answers && !backends.is_empty() {
        let help = "a redirect or direct response answers by itself; remove one of the two";
        report.error_help(place, "the rule has backendRefs that are never asked", help);
    }
    if let Some(later) = &raw.session_persistence {
        report.not_enforced(&later.place, "sessionPersistence");
    }
    let hedge = raw.retry.as_ref().and_then(|retry| retry.hedge.as_ref());
    let bound = raw
        .timeouts
        .as_ref()
        .and_then(|t| t.backend_request.as_ref());
    if let Some(hedge) = hedge
        && hedge.value
        && bound.is_none()
    {
        let help = "set timeouts.backendRequest to the time after which the next try begins";
        report.warn(
            &hedge.place,
            "hedge has no effect without a time for each try",
            help,
        );
    }
    Some(Rule {
        matches,
        filters,
        backends,
        sticky: raw.sticky.as_ref().and_then(|raw| sticky(raw, report)),
        timeouts: raw
            .timeouts
            .as_ref()
            .map_or_else(Timeouts::default, |raw| timeouts(raw, report)),
        retry: raw
            .retry
            .as_ref()
            .map_or_else(Retry::default, |raw| retry(raw, report)),
    })
}

fn every_path() -> PathMatch {
    PathMatch::Prefix(Arc::from("/"))
}

fn compile_match(raw: &raw::RouteMatch, report: &mut Report) -> Option<Match> {
    let path = match (&raw.path, &raw.grpc) {
        (None, None) => Some(every_path()),
        (Some(raw), None) => path_match(raw, report),
        (None, Some(raw)) => grpc::path(raw, report),
        (Some(path), Some(_)) => {
            let help = "a call of gRPC is a path: write path or grpc";
            report.error_help(&path.meta.place, "path and grpc are both given", help);
            None
        }
    };
    let mut headers = Vec::new();
    for raw in raw.headers.iter().flatten() {
        if let Some(pair) = value_match(raw, header::name, report) {
            headers.push(pair);
        }
    }
    let mut query = Vec::new();
    for raw in raw.query_params.iter().flatten() {
        if let Some(pair) = value_match(raw, query_name, report) {
            query.push(pair);
        }
    }
    let method = raw
        .method
        .as_ref()
        .and_then(|at| values::method(at, report));
    Some(Match {
        path: path?,
        headers,
        query,
        method,
    })
}

fn path_match(raw: &raw::PathMatch, report: &mut Report) -> Option<PathMatch> {
    if raw.meta.broken {
        return None;
    }
    let Some(value) = &raw.value else {
        if let Some(kind) = raw
            .kind
            .as_ref()
            .filter(|kind| kind.value != PathKind::PathPrefix)
        {
            report.error(&kind.place, "the value of the path is missing");
            return None;
        }
        return Some(every_path());
    };
    match raw
        .kind
        .as_ref()
        .map_or(PathKind::PathPrefix, |kind| kind.value)
    {
        PathKind::Exact => path::canonical(value, report).map(PathMatch::Exact),
        PathKind::PathPrefix => path::prefix(value, report).map(PathMatch::Prefix),
        PathKind::RegularExpression => values::anchored(value, report).map(PathMatch::Regex),
    }
}

type NameOf = fn(&At<String>, &mut Report) -> Option<Arc<str>>;

fn value_match(
    raw: &raw::ValueMatch,
    name_of: NameOf,
    report: &mut Report,
) -> Option<(Arc<str>, ValueMatch)> {
    let name = report
        .required(&raw.name, &raw.meta, "the name to match")
        .and_then(|at| name_of(at, report));
    let value = report.required(&raw.value, &raw.meta, "the value to match")?;
    let value = match raw
        .kind
        .as_ref()
        .map_or(ValueKind::Exact, |kind| kind.value)
    {
        ValueKind::Exact => ValueMatch::Exact(Arc::from(value.value.as_str())),
        ValueKind::RegularExpression => ValueMatch::Regex(values::anchored(value, report)?),
    };
    Some((name?, value))
}

fn query_name(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    if at.value.is_empty() || at.value.len() > 256 || at.value.chars().any(char::is_control) {
        report.error(
            &at.place,
            format!("{:?} is not the name of a query parameter", at.value),
        );
        return None;
    }
    Some(Arc::from(at.value.as_str()))
}

fn backends(
    raw: &raw::Rule,
    protocol: Protocol,
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<BackendRef> {
    let lost = Lost::of(protocol);
    let written = raw.backend_refs.as_deref().unwrap_or_default();
    if written.len() > MAX_BACKENDS {
        let message = format!(
            "a rule has at most {MAX_BACKENDS} backendRefs, this one has {}",
            written.len()
        );
        report.error(&raw.meta.place, message);
    }
    let backends: Vec<BackendRef> = written
        .iter()
        .filter_map(|raw| backend(raw, lost, names, report))
        .collect();
    if !backends.is_empty()
        && backends
            .iter()
            .all(|backend| backend.weight == Weight::ZERO)
    {
        let help = format!("{}; give one of them a weight", lost.no_weight);
        report.warn(&raw.meta.place, "all weights of this rule are 0", help);
    }
    backends
}

fn backend(
    raw: &raw::BackendRef,
    lost: &Lost,
    names: &Names<'_>,
    report: &mut Report,
) -> Option<BackendRef> {
    let (service, version) = destination(raw, names, lost, report)?;
    Some(BackendRef {
        service,
        version,
        weight: raw.weight.as_ref().map_or(Weight::ONE, |at| at.value),
    })
}

/// What is sent, and what becomes of it where its destination is not there, in words.
pub(super) struct Lost {
    sent: Protocol,
    no_service: &'static str,
    no_version: &'static str,
    no_weight: &'static str,
}

impl Lost {
    /// Gateway API: a reference without a valid backend keeps its share and answers it with 500.
    const SHARE: Self = Self {
        sent: Protocol::Http,
        no_service: "its share of requests gets 500",
        no_version: "its share gets 503",
        no_weight: "every request of this rule gets 500",
    };
    const STREAMS: Self = Self {
        sent: Protocol::Tcp,
        no_service: "its share of connections is closed",
        no_version: "its share is closed",
        no_weight: "every connection is closed",
    };
    const DATAGRAMS: Self = Self {
        sent: Protocol::Udp,
        no_service: "its share of datagrams is dropped",
        no_version: "its share is dropped",
        no_weight: "every datagram is dropped",
    };
    pub(super) const COPIES: Self = Self {
        sent: Protocol::Http,
        no_service: "nothing is mirrored",
        no_version: "nothing is mirrored",
        no_weight: "nothing is mirrored",
    };

    fn of(protocol: Protocol) -> &'static Self {
        match protocol {
            Protocol::Http | Protocol::Https => &Self::SHARE,
            Protocol::Tcp | Protocol::TlsPassthrough => &Self::STREAMS,
            Protocol::Udp => &Self::DATAGRAMS,
        }
    }
}

/// The service that a reference names, and its version. One that is not there may still come.
pub(super) fn destination(
    raw: &raw::BackendRef,
    names: &Names<'_>,
    lost: &Lost,
    report: &mut Report,
) -> Option<(ServiceName, Option<VersionName>)> {
    let at = report.required(&raw.name, &raw.meta, "the service of the backend reference")?;
    let service = report.valid(ServiceName::new(&at.value), &at.place)?;
    let version = match &raw.version {
        Some(at) => Some((report.valid(VersionName::new(&at.value), &at.place)?, at)),
        None => None,
    };
    let known = names.services.get(&service);
    if known.is_some_and(|known| known.proxy_protocol.is_some()) && lost.sent != Protocol::Tcp {
        let message = format!(
            "the service {service} is sent PROXY headers, which are for TCP streams, not for {}",
            lost.sent.text()
        );
        let help = "remove proxyProtocol from the service, or reach it through a tcp or tls-passthrough listener";
        report.error_help(&at.place, message, help);
    }
    if known.is_some_and(|known| known.tls.is_some()) && !lost.sent.is_http() {
        let message = format!(
            "the service {service} is called over TLS, which is for requests, not for {}",
            lost.sent.text()
        );
        let help = "streams are passed on as they are; remove tls from the service, or reach it through an http or https listener";
        report.error_help(&at.place, message, help);
    }
    match (known, &version) {
        (Some(known), Some((version, at)))
            if !known.versions.iter().any(|v| v.name == *version) =>
        {
            let versions: Vec<&str> = known.versions.iter().map(|v| v.name.as_str()).collect();
            let message = format!(
                "the service {service} has no version {version} now; {}",
                lost.no_version
            );
            report.warn(&at.place, message, suggest(version.as_str(), &versions));
        }
        (None, _) => unknown_service(at, names, lost, report),
        _ => {}
    }
    Some((service, version.map(|(version, _)| version)))
}

fn unknown_service(at: &At<String>, names: &Names<'_>, lost: &Lost, report: &mut Report) {
    if names.services.known.contains(&at.value) {
        let message = format!(
            "the service {} is left out, so {}",
            at.value, lost.no_service
        );
        report.warn(&at.place, message, "mend the service first");
        return;
    }
    let known: Vec<&str> = names
        .services
        .valid
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    let message = format!(
        "there is no service named {:?}; {}",
        at.value, lost.no_service
    );
    let help = match known.is_empty() {
        true => "no service is known; write it under services, or start a container that is one"
            .to_owned(),
        false => suggest(&at.value, &known),
    };
    let diagnostic = match names.unknown_service {
        Severity::Error => Diagnostic::error(&at.place, message),
        Severity::Warning => Diagnostic::warning(&at.place, message),
    };
    // Not counted as an error of the route: it stays, and the reference answers as said.
    report.found.push(diagnostic.help(help));
}

pub(crate) fn sticky(raw: &raw::Sticky, report: &mut Report) -> Option<Sticky> {
    let place = &raw.meta.place;
    let by_address = raw.client_ip.as_ref().filter(|at| at.value);
    let given = usize::from(raw.cookie.is_some())
        + usize::from(raw.header.is_some())
        + usize::from(by_address.is_some());
    if raw.meta.broken {
        return None;
    }
    if given != 1 {
        report.error_help(
            place,
            "sticky has one of cookie, header and clientIp",
            "as in sticky: { cookie: weir-bucket }",
        );
        return None;
    }
    if let (Some(max_age), None) = (&raw.max_age, &raw.cookie) {
        report.error(&max_age.place, "maxAge is for a cookie only");
    }
    let key = if let Some(cookie) = &raw.cookie {
        let name = header::cookie_name(cookie, report)?;
        StickyKey::Cookie {
            name,
            max_age: raw.max_age.as_ref().map(|at| at.value),
        }
    } else if let Some(name) = &raw.header {
        StickyKey::Header(header::name(name, report)?)
    } else {
        StickyKey::ClientIp
    };
    Some(Sticky { key })
}

/// `0s` is no bound (Gateway API, `HTTPRouteTimeouts`).
fn bound(at: &At<Duration>) -> Option<Duration> {
    (!at.value.is_zero()).then_some(at.value)
}

fn timeouts(raw: &raw::Timeouts, report: &mut Report) -> Timeouts {
    let default = Timeouts::default();
    let request = raw.request.as_ref().map_or(default.request, bound);
    let backend_request = raw
        .backend_request
        .as_ref()
        .map_or(default.backend_request, bound);
    if let (Some(all), Some(one), Some(at)) = (request, backend_request, &raw.backend_request)
        && one > all
    {
        let message = "backendRequest is longer than request, which bounds all tries together";
        report.error_help(&at.place, message, "make backendRequest the shorter one");
    }
    Timeouts {
        request,
        backend_request,
    }
}

pub(crate) fn retry(raw: &raw::Retry, report: &mut Report) -> Retry {
    let mut retry = Retry::default();
    if let Some(at) = &raw.attempts {
        let attempts = report.bounded(at, |n| n <= 10, "at most 10 further tries are made");
        retry.attempts = attempts.unwrap_or(retry.attempts);
    }
    if let Some(on) = &raw.on {
        retry.on.clear();
        for at in on {
            if !retry.on.contains(&at.value.0) {
                retry.on.push(at.value.0);
            }
        }
    }
    retry.hedge = raw.hedge.as_ref().is_some_and(|at| at.value);
    if let Some(backoff) = &raw.backoff {
        retry.backoff_base = backoff
            .base
            .as_ref()
            .map_or(retry.backoff_base, |at| at.value);
        retry.backoff_max = match &backoff.max {
            Some(at) => at.value,
            None => retry.backoff_max.max(retry.backoff_base),
        };
        if retry.backoff_base > retry.backoff_max {
            report.error(
                &backoff.meta.place,
                "backoff.base is longer than backoff.max",
            );
        }
    }
    retry
}
