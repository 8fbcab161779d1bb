//! What an Envoy is not told, and why.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use weir_config::model::{
    AccessAction, Admission, Balancer, Filter, Listener, Model, ProxyProtocol, RateLimitKey, Route,
    Rule, Service, StreamRoute, TrustedHops,
};

use crate::route::{self, Context};
use crate::{Kind, LeftOut};

/// The fields that a note is about.
fn fields(note: &Value) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    collect(note, "", &mut out);
    out
}

fn collect(note: &Value, path: &str, out: &mut BTreeSet<String>) {
    match note.as_object() {
        Some(fields) if !fields.is_empty() => {
            for (name, inner) in fields {
                // Which of a list it is, is nothing to a reader who is told the field.
                let path = match (path, name.parse::<usize>().is_ok()) {
                    ("", _) => name.clone(),
                    (path, true) => path.to_owned(),
                    (path, false) => format!("{path}.{name}"),
                };
                collect(inner, &path, out);
            }
        }
        _ => {
            out.insert(path.to_owned());
        }
    }
}

const NO_FIELD: &str = "Envoy has no field for it";

fn why(field: &str) -> &'static str {
    match field {
        "path_policy" => {
            "Envoy makes paths canonical or leaves them; what is strict is made canonical there"
        }
        "http2.max_concurrent_streams" | "http2.stream_window" | "http2.connection_window" => {
            "Envoy takes it within bounds; the nearest is written"
        }
        "limits.max_header_bytes" => "Envoy counts in KiB; the next is written",
        "udp.max_sessions" => "Envoy bounds sessions by the connections of the cluster",
        "load_balancer.balancer" => "Envoy has no such balancer; LEAST_REQUEST is written",
        "load_balancer.warmup" => "Envoy ramps with ROUND_ROBIN and LEAST_REQUEST alone",
        "load_balancer.locality" => {
            "it depends on where a proxy runs; Envoy is told localities and no policy"
        }
        "health_check.probe" => "Envoy looks for text in a body, not for a pattern",
        "pool.max_concurrent_streams" => "HTTP/2 is not what the endpoints are spoken to in",
        "protocol" | "tls" => "Envoy needs a name to check, or says the protocol in another way",
        "outlier.observe_only" => "Envoy detects with a chance of nothing; nobody is ejected",
        _ => NO_FIELD,
    }
}

/// What every resource has of its own and an Envoy has no use for.
fn is_about(field: &str) -> bool {
    let last = field.rsplit('.').next().unwrap_or(field);
    matches!(last, "source" | "age" | "listeners" | "name")
}

pub(crate) fn service(own: &Service, note: Option<Value>, out: &mut Vec<LeftOut>) {
    let name = own.name.as_str();
    let unasked = own.health_check.is_some() && crate::cluster::askable(own).is_none();
    for field in note.iter().flat_map(fields) {
        let expressed = match field.as_str() {
            field if field.starts_with("health_check") && unasked => true,
            // Routes and clusters of versions say them.
            "versions" => true,
            "load_balancer.balancer" => {
                matches!(own.load_balancer.balancer, Balancer::ConsistentHash(_))
            }
            // Written as what it comes to with that many endpoints.
            "outlier.max_ejection_percent" => own.outlier.max_ejection_percent.is_none(),
            "outlier.consecutive_local_origin" => {
                own.outlier.consecutive_local_origin == 0 || !own.outlier.split_local_origin
            }
            "protocol" => own.tls.is_none(),
            field => is_about(field),
        };
        if !expressed {
            out.push(LeftOut::new(Kind::Cluster, name, &field, why(&field)));
        }
    }
    if unasked {
        let why = "Envoy checks by gRPC only those that are spoken to in HTTP/2";
        out.push(LeftOut::new(Kind::Cluster, name, "health_check", why));
    }
    if own.versions.len() > 1 {
        let why = "Envoy holds them for each version apart: the versions are clusters of their own";
        out.push(LeftOut::new(Kind::Cluster, name, "pool", why));
    }
    if own
        .endpoints
        .iter()
        .any(|endpoint| endpoint.admission == Admission::Probe)
        && own.health_check.is_none()
    {
        let why = "Envoy takes an endpoint without a check as it is; it is not tried first";
        out.push(LeftOut::new(Kind::Endpoint, name, "admission", why));
    }
}

/// Whether somebody is refused by rules.
pub(crate) fn is_guarded(own: &Listener) -> bool {
    let policies = own.authorization.iter().flat_map(|own| &own.policies);
    let mut enforced = policies.filter(|policy| !policy.log_only);
    enforced.any(|policy| policy.action != AccessAction::Audit)
}

pub(crate) fn listener(
    own: &Listener,
    note: Option<Value>,
    streams: &[&Arc<StreamRoute>],
    out: &mut Vec<LeftOut>,
) {
    let name = own.name.as_str();
    let http = own.protocol.is_http();
    for field in note.iter().flat_map(fields) {
        let of_http = ["limits.", "http2.", "path_policy", "via", "trusted_hops"]
            .iter()
            .any(|own| field.starts_with(own));
        let moot = !http && of_http || is_about(&field) || field == "protocol";
        let said_below = matches!(field.as_str(), "trusted_hops" | "proxy_protocol")
            || field.starts_with("proxy_protocol.");
        let elsewhere =
            field.starts_with("udp") && own.protocol != weir_config::model::Protocol::Udp;
        if !(moot || said_below || elsewhere) {
            out.push(LeftOut::new(Kind::Listener, name, &field, why(&field)));
        }
    }
    if http && matches!(own.trusted_hops, TrustedHops::Networks(_)) {
        let why = "Envoy would believe all that comes from these networks, the scheme included; it is told to believe nobody";
        out.push(LeftOut::new(Kind::Listener, name, "trusted_hops", why));
    }
    let narrow = |header: &ProxyProtocol| !crate::listener::believes_all(header);
    if own.proxy_protocol.as_ref().is_some_and(narrow) {
        let why = "Envoy believes the PROXY header of everybody or of nobody; it is told nobody's";
        out.push(LeftOut::new(Kind::Listener, name, "proxy_protocol", why));
    }
    if own.protocol == weir_config::model::Protocol::Udp
        && streams.iter().any(|stream| stream.backends.len() > 1)
    {
        let why =
            "Envoy sends datagrams to one cluster; the one with the greatest weight is written";
        out.push(LeftOut::new(Kind::Listener, name, "backends", why));
    }
}

/// Whether Envoy's limit does what this rule's is to do: one bucket for everything that the rule matches.
pub(crate) fn limit_holds(route: &Route, rule: &Rule, model: &Model) -> bool {
    let serves = |own: &&Arc<Listener>| {
        own.protocol.is_http()
            && (route.listeners.is_empty() || route.listeners.contains(&own.name))
    };
    let alone = rule.matches.len() == 1
        && route.hostnames.len() <= 1
        && model.listeners.iter().filter(serves).count() == 1
        // A route for many hosts is written for each host that others speak for.
        && model.routes.iter().all(|other| {
            other.name == route.name || other.hostnames == route.hostnames || is_exact(route)
        });
    let limits = rule
        .filters
        .iter()
        .filter(|filter| matches!(filter, Filter::RateLimit(_)))
        .count();
    alone && limits == 1
}

fn is_exact(route: &Route) -> bool {
    let exact = |host| matches!(host, &weir_config::model::HostPattern::Exact(_));
    !route.hostnames.is_empty() && route.hostnames.iter().all(exact)
}

pub(crate) fn route(own: &Route, listener: &str, context: &Context<'_>, out: &mut Vec<LeftOut>) {
    let name = format!("{listener}/{}", own.name);
    for field in route::beyond(own, context).iter().flat_map(fields) {
        // Filters are looked at below, and weights are only a matter of scale.
        let expressed = field.starts_with("rules.filters")
            || field.starts_with("rules.backends")
            || is_about(&field);
        let answered = field.starts_with("rules.timeouts")
            || field.starts_with("rules.retry")
            || field.starts_with("rules.sticky");
        if !(expressed || answered && answers(own)) {
            out.push(LeftOut::new(Kind::Route, &name, &field, why(&field)));
        }
    }
    for rule in &own.rules {
        for filter in &rule.filters {
            if let Filter::RateLimit(limit) = filter
                && (limit.key != RateLimitKey::Route || !limit_holds(own, rule, context.model))
            {
                let why = "Envoy has one bucket for each place that a limit is written at; this one is for several, or for each client";
                out.push(LeftOut::new(
                    Kind::Route,
                    &name,
                    "rules.filters.rate_limit",
                    why,
                ));
            }
        }
        let careful = rule.retry.on.iter().any(|on| {
            use weir_config::model::RetryOn;
            matches!(
                on,
                RetryOn::FiveXx | RetryOn::GatewayError | RetryOn::Status(_)
            )
        });
        if careful && rule.retry.attempts > 0 {
            let why = "for the sake of what may be done once only, Envoy is told to try POST and the like never again, \
                       not even where no connection could be made";
            out.push(LeftOut::new(Kind::Route, &name, "rules.retry.on", why));
        }
    }
    out.dedup();
}

/// Whether some rule is answered without asking anybody: its times and tries are moot.
fn answers(own: &Route) -> bool {
    let answers =
        |filter: &Filter| matches!(filter, Filter::Redirect(_) | Filter::DirectResponse { .. });
    own.rules
        .iter()
        .any(|rule| rule.filters.iter().any(answers) || rule.backends.is_empty())
}

pub(crate) fn tracing(set: bool, out: &mut Vec<LeftOut>) {
    if set {
        let why = "an Envoy is told by its own bootstrap where spans go";
        out.push(LeftOut::new(Kind::Listener, "", "tracing", why));
    }
}
