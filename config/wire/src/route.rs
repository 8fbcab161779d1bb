//! Routes as a route configuration, and back.
//!
//! For a Weir each route is a virtual host of its own, rule by rule and match by match: it sorts by itself, and what the route
//! is comes back exactly. For others hosts and matches are merged and put in the order in which Weir would try them
//! ([`order`]).

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::route::v3::{
    HedgePolicy, RetryPolicy, Route as WireRoute, RouteConfiguration, VirtualHost, route,
};
use serde_json::{Value, json};
use weir_config::model::{
    BackendRef, Balancer, Filter, HashKey, HeaderEdits, HostPattern, Match, Model, PathMatch,
    Retry, Route, Rule, ServiceName, Source, Timeouts,
};

use crate::basic::u32_value;
use crate::headers;
use crate::metadata;
use crate::names;
use crate::noted::Noted as _;
use crate::refusal::{Refusal, Within as _, take};

mod action;
pub(crate) mod extra;
mod hash;
mod host;
mod matching;
pub(crate) mod order;
mod retry;
mod rewrite;
mod share;

pub(crate) use share::{rounded, scale, split};

/// Most virtual hosts of a configuration, and most routes of a virtual host.
pub(crate) const MAX_ROUTES: usize = 100_000;

/// Largest body of a direct response, in bytes.
const MAX_BODY: u32 = 64 * 1024;

/// For whom routes are written, and where.
pub(crate) struct Context<'a> {
    /// For a Weir: with notes, and with the services as they are named.
    pub(crate) notes: bool,
    pub(crate) model: &'a Model,
    /// Whether the listener speaks TLS, for what is said over TLS alone.
    pub(crate) over_tls: bool,
}

impl Context<'_> {
    /// The clusters of these destinations, each with its weight.
    fn clusters(&self, backends: &[BackendRef]) -> Vec<(String, u32)> {
        match self.notes {
            true => share::rounded(backends),
            false => share::split(backends, self.model),
        }
    }

    /// By what the balancers of these destinations go; the first that has a key, for a route has one alone.
    fn hash_key(&self, backends: &[BackendRef]) -> Option<&HashKey> {
        let key = |backend: &BackendRef| {
            let service = self.model.service(backend.service.as_str())?;
            match &service.load_balancer.balancer {
                Balancer::ConsistentHash(hash) => Some(&hash.key),
                _ => None,
            }
        };
        (!self.notes)
            .then(|| backends.iter().find_map(key))
            .flatten()
    }
}

/// One match of a rule as a route.
pub(crate) fn encode_match(
    rule: &Rule,
    conditions: &Match,
    name: String,
    context: &Context<'_>,
    limits: bool,
) -> WireRoute {
    let mut request = HeaderEdits::default();
    let mut response = HeaderEdits::default();
    for filter in &rule.filters {
        match filter {
            Filter::RequestHeaders(edits) => request = composed(request, edits),
            Filter::ResponseHeaders(edits) => response = composed(response, edits),
            Filter::Hsts(value) if context.over_tls => {
                let edits = HeaderEdits {
                    set: vec![(Arc::from(HSTS), Arc::clone(value))],
                    ..HeaderEdits::default()
                };
                response = composed(response, &edits);
            }
            _ => {}
        }
    }
    let mut to_answer = headers::set(&response.set);
    let action = action(rule, &conditions.path, context, &mut to_answer);
    to_answer.extend(headers::add(&response.add));
    let mut to_request = headers::set(&request.set);
    to_request.extend(headers::add(&request.add));
    WireRoute {
        name,
        r#match: Some(matching::encode(conditions)),
        action: Some(action),
        request_headers_to_add: to_request,
        request_headers_to_remove: request.remove.iter().map(ToString::to_string).collect(),
        response_headers_to_add: to_answer,
        response_headers_to_remove: response.remove.iter().map(ToString::to_string).collect(),
        typed_per_filter_config: extra::encode(&rule.filters, limits),
        ..WireRoute::default()
    }
}

const HSTS: &str = "strict-transport-security";
const CONTENT_TYPE: &str = "content-type";
/// What Envoy says that the body of a direct response is.
const PLAIN_TEXT: &str = "text/plain";

fn action(
    rule: &Rule,
    matched: &PathMatch,
    context: &Context<'_>,
    to_answer: &mut Vec<HeaderValueOption>,
) -> route::Action {
    for filter in &rule.filters {
        match filter {
            Filter::Redirect(redirect) => {
                return route::Action::Redirect(action::redirect(redirect, matched));
            }
            Filter::DirectResponse {
                status,
                body,
                content_type,
            } => {
                let kind = (Arc::from(CONTENT_TYPE), Arc::clone(content_type));
                to_answer.splice(0..0, headers::set(&[kind]));
                return route::Action::DirectResponse(action::respond(*status, body));
            }
            _ => {}
        }
    }
    match action::forward(rule, matched, context) {
        Some(forward) => route::Action::Route(forward),
        // Nobody is there to ask (Gateway API, `HTTPRouteRule.backendRefs`).
        None => route::Action::DirectResponse(action::respond(500, "")),
    }
}

/// The edits that do in one go what these two do one after the other.
fn composed(mut first: HeaderEdits, then: &HeaderEdits) -> HeaderEdits {
    let gone =
        |name: &Arc<str>| then.remove.contains(name) || then.set.iter().any(|(set, _)| set == name);
    first.set.retain(|(name, _)| !gone(name));
    first.add.retain(|(name, _)| !gone(name));
    first.remove.extend(then.remove.iter().cloned());
    first.set.extend(then.set.iter().cloned());
    first.add.extend(then.add.iter().cloned());
    first
}

/// A route as a virtual host, for a Weir.
pub(crate) fn encode_route(own: &Route, context: &Context<'_>) -> VirtualHost {
    let mut routes = Vec::new();
    for (at, rule) in own.rules.iter().enumerate() {
        for (which, conditions) in rule.matches.iter().enumerate() {
            let name = format!("{}#{at}.{which}", own.name);
            routes.push(encode_match(rule, conditions, name, context, true));
        }
    }
    let domains = match own.hostnames.is_empty() {
        true => vec!["*".to_owned()],
        false => own.hostnames.iter().map(HostPattern::text).collect(),
    };
    let mut wire = VirtualHost {
        name: own.name.to_string(),
        domains,
        routes,
        ..VirtualHost::default()
    };
    let sizes: Vec<usize> = own.rules.iter().map(|rule| rule.matches.len()).collect();
    let note = plain(wire.clone(), Some(&sizes), &|_| false)
        .ok()
        .and_then(|plain| own.beyond(&plain.route));
    wire.metadata = metadata::of(&json!({ "matches": sizes, "route": note }));
    wire
}

/// What of a route a Weir alone is told.
pub(crate) fn beyond(own: &Route, context: &Context<'_>) -> Option<Value> {
    let wire = encode_route(own, context);
    let note = metadata::note(wire.metadata.as_ref()).ok().flatten()?;
    note.get("route").filter(|note| !note.is_null()).cloned()
}

/// A route configuration of these virtual hosts.
pub(crate) fn configuration(name: &str, virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts,
        ignore_port_in_host_matching: true,
        // Envoy takes none beyond 4 KiB unless it is told so.
        max_direct_response_body_size_bytes: u32_value(MAX_BODY),
        ..RouteConfiguration::default()
    }
}

/// A route that was read, and the keys by which the services that it names balance.
pub(crate) struct Found {
    pub(crate) route: Route,
    pub(crate) keys: Vec<(ServiceName, Option<HashKey>)>,
    /// Whether Weir wrote it: then its names and places are its own.
    pub(crate) noted: bool,
}

/// The routes of a configuration. `known` tells the clusters that are there under that very name.
pub(crate) fn decode(
    wire: RouteConfiguration,
    known: &dyn Fn(&str) -> bool,
) -> Result<Vec<Found>, Refusal> {
    // Clusters may come later, whatever is asked for; a port in a host is never looked at; of mutations of one field the order
    // is fixed here, which those who say them on one level alone do not notice.
    take!(wire => RouteConfiguration {
        name, virtual_hosts, validate_clusters, ignore_port_in_host_matching, max_direct_response_body_size_bytes, metadata,
    } refuse {
        vhds, internal_only_headers, response_headers_to_add, response_headers_to_remove, request_headers_to_add,
        request_headers_to_remove, most_specific_header_mutations_wins, cluster_specifier_plugins,
        request_mirror_policies, vhost_header, ignore_path_parameters_in_path_matching, typed_per_filter_config,
        route_specifiers,
    });
    let _ = (
        validate_clusters,
        ignore_port_in_host_matching,
        max_direct_response_body_size_bytes,
        metadata,
    );
    if virtual_hosts.len() > MAX_ROUTES {
        return Err(Refusal::new(format!("are more than {MAX_ROUTES}")).within("virtual_hosts"));
    }
    let mut found = Vec::new();
    for (index, host) in virtual_hosts.into_iter().enumerate() {
        found.push(one(host, known).at("virtual_hosts", index)?);
    }
    host::finish(&name, &mut found)?;
    Ok(found)
}

fn one(wire: VirtualHost, known: &dyn Fn(&str) -> bool) -> Result<Found, Refusal> {
    let Some(note) = metadata::note(wire.metadata.as_ref())? else {
        let found = plain(wire, None, known)?;
        order::as_written(&found.route)?;
        return Ok(found);
    };
    let broken = || Refusal::new("holds a note that does not fit").within("metadata.weir");
    let sizes = note
        .get("matches")
        .and_then(Value::as_array)
        .ok_or_else(broken)?;
    let size = |size: &Value| size.as_u64().and_then(|size| usize::try_from(size).ok());
    let sizes: Vec<usize> = sizes
        .iter()
        .map(size)
        .collect::<Option<_>>()
        .ok_or_else(broken)?;
    let mut found = plain(wire, Some(&sizes), known)?;
    let own = note.get("route").filter(|note| !note.is_null());
    metadata::amended(&mut found.route, own)?;
    found.noted = true;
    Ok(found)
}

/// A virtual host as one route. `sizes` tells how many matches each rule has; without, one.
fn plain(
    wire: VirtualHost,
    sizes: Option<&[usize]>,
    known: &dyn Fn(&str) -> bool,
) -> Result<Found, Refusal> {
    take!(wire => VirtualHost { name, domains, routes, retry_policy, hedge_policy, metadata } refuse {
        matcher, require_tls, virtual_clusters, rate_limits, request_headers_to_add, request_headers_to_remove,
        response_headers_to_add, response_headers_to_remove, cors, typed_per_filter_config,
        include_request_attempt_count, include_attempt_count_in_response, retry_policy_typed_config,
        include_is_timeout_retry_header, per_request_buffer_limit_bytes, request_body_buffer_limit,
        request_mirror_policies, route_specifiers,
    });
    let _ = metadata;
    if routes.len() > MAX_ROUTES {
        return Err(Refusal::new(format!("are more than {MAX_ROUTES}")).within("routes"));
    }
    let hostnames = host::patterns(&domains)?;
    let mut rules: Vec<Rule> = Vec::new();
    let mut keys = Vec::new();
    let mut sizes = sizes.map(|sizes| sizes.iter().copied());
    let mut left = 0usize;
    for (index, wire) in routes.into_iter().enumerate() {
        let (rule, key) =
            decode_route(wire, (retry_policy.clone(), hedge_policy), known).at("routes", index)?;
        keys.extend(
            rule.backends
                .iter()
                .map(|backend| (backend.service.clone(), key.clone())),
        );
        match (&mut sizes, rules.last_mut()) {
            (Some(_), Some(last)) if left > 0 => last.matches.extend(rule.matches),
            (Some(sizes), _) => {
                left = sizes.next().filter(|size| *size > 0).ok_or_else(|| {
                    Refusal::new("holds a note of fewer matches than there are routes")
                        .within("metadata.weir")
                })?;
                rules.push(rule);
            }
            (None, _) => rules.push(rule),
        }
        left = left.saturating_sub(1);
    }
    let route = Route {
        name: names::route(&name).within("name")?,
        listeners: Vec::new(),
        hostnames,
        rules,
        age: 0,
        source: Source::default(),
    };
    Ok(Found {
        route,
        keys,
        noted: false,
    })
}

type HostPolicies = (Option<RetryPolicy>, Option<HedgePolicy>);

/// A rule with one match, and the key that its action hashes.
fn decode_route(
    wire: WireRoute,
    host: HostPolicies,
    known: &dyn Fn(&str) -> bool,
) -> Result<(Rule, Option<HashKey>), Refusal> {
    // Names are for people and statistics.
    take!(wire => WireRoute {
        name, r#match, metadata, typed_per_filter_config, request_headers_to_add, request_headers_to_remove,
        response_headers_to_add, response_headers_to_remove, action, stat_prefix,
    } refuse { decorator, tracing, per_request_buffer_limit_bytes, request_body_buffer_limit, route_specifiers });
    let _ = (name, metadata, stat_prefix);
    let conditions = r#match.ok_or_else(|| Refusal::missing("match"))?;
    let conditions = matching::decode(conditions).within("match")?;
    let to_request = edits(
        request_headers_to_add,
        request_headers_to_remove,
        "request_headers_to_add",
    )?;
    let mut to_answer = edits(
        response_headers_to_add,
        response_headers_to_remove,
        "response_headers_to_add",
    )?;
    let mut rule = Rule {
        matches: Vec::new(),
        filters: Vec::new(),
        backends: Vec::new(),
        sticky: None,
        timeouts: Timeouts::default(),
        retry: Retry::default(),
    };
    let mut mirrors = Vec::new();
    let mut key = None;
    match action {
        Some(route::Action::Route(wire)) => {
            let forward =
                action::decode_forward(wire, &conditions.path, host, known).within("route")?;
            let is_mirror = |filter: &Filter| matches!(filter, Filter::Mirror(_));
            (mirrors, rule.filters) = forward.filters.into_iter().partition(is_mirror);
            rule.backends = forward.backends;
            rule.timeouts = forward.timeouts;
            rule.retry = forward.retry;
            rule.sticky = forward.keyed.sticky;
            key = forward.keyed.key;
        }
        Some(route::Action::Redirect(wire)) => {
            let redirect = action::decode_redirect(wire, &conditions.path).within("redirect")?;
            rule.filters.push(Filter::Redirect(redirect));
        }
        Some(route::Action::DirectResponse(wire)) => {
            let (status, body) = action::decode_respond(wire).within("direct_response")?;
            rule.filters.push(Filter::DirectResponse {
                status,
                body: Arc::from(body),
                content_type: content_type(&mut to_answer),
            });
        }
        Some(route::Action::FilterAction(_)) => return Err(Refusal::unsupported("filter_action")),
        Some(route::Action::NonForwardingAction(_)) => {
            return Err(Refusal::unsupported("non_forwarding_action"));
        }
        None => return Err(Refusal::missing("route")),
    }
    if to_request != HeaderEdits::default() {
        rule.filters.push(Filter::RequestHeaders(to_request));
    }
    if to_answer != HeaderEdits::default() {
        rule.filters.push(Filter::ResponseHeaders(to_answer));
    }
    rule.filters.extend(extra::decode(typed_per_filter_config)?);
    rule.filters.extend(mirrors);
    rule.matches.push(conditions);
    Ok((rule, key))
}

/// What the body is said to be, taken out of the edits.
fn content_type(edits: &mut HeaderEdits) -> Arc<str> {
    match edits
        .set
        .iter()
        .position(|(name, _)| &**name == CONTENT_TYPE)
    {
        Some(at) => edits.set.remove(at).1,
        None => Arc::from(PLAIN_TEXT),
    }
}

fn edits(
    added: Vec<HeaderValueOption>,
    removed: Vec<String>,
    field: &str,
) -> Result<HeaderEdits, Refusal> {
    let (set, add) = headers::apart(added, field)?;
    let remove = removed
        .into_iter()
        .map(|name| Arc::from(name.to_ascii_lowercase()))
        .collect();
    Ok(HeaderEdits { set, add, remove })
}

/// Leaves the destinations of a route, and no policies.
pub(crate) fn without_policies(wire: &mut WireRoute) {
    if let Some(route::Action::Route(action)) = &mut wire.action {
        action.retry_policy = None;
        action.hedge_policy = None;
        action.timeout = None;
    }
}
