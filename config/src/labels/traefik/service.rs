//! A service of Traefik as the labels of Weir that say the same.

use super::sort::{Settings, duration, flag};
use crate::diagnostic::Diagnostic;
use crate::raw::At;

/// A label of Weir's, and the one of Traefik's that it comes from.
pub(super) type Said = Vec<(&'static str, At<String>)>;

/// The cookie of a service that names none. Traefik's own has a name that says nothing.
const COOKIE: &str = "weir-sticky";

/// Settings that Weir has no use for, and why that is no harm.
const NOT_NEEDED: [(&str, &str); 6] = [
    (
        "loadbalancer.responseforwarding",
        "answers are passed on as they come",
    ),
    (
        "loadbalancer.healthcheck.followredirects",
        "a check does not follow redirects; a redirect fails it",
    ),
    (
        "loadbalancer.serverstransport",
        "how endpoints are called is said in a file, under connectionPool and tls",
    ),
    (
        "loadbalancer.sticky.cookie.",
        "the cookie has no such attribute",
    ),
    (
        "loadbalancer.server.weight",
        "weights belong to versions: weir.weight",
    ),
    (
        "loadbalancer.server.preservepath",
        "an endpoint has no path of its own",
    ),
];

/// Reads it.
///
/// # Errors
/// Why the container cannot serve it.
pub(super) fn read(
    name: &str,
    settings: &Settings,
    found: &mut Vec<Diagnostic>,
) -> Result<Said, Box<Diagnostic>> {
    let place = settings.values().next().map(|at| at.place.clone());
    let name = At::new(name.to_owned(), place.unwrap_or_default());
    let mut said: Said = vec![("weir.service", name)];
    for (key, at) in settings {
        if let Some(label) = same(key, at) {
            said.push(label);
            continue;
        }
        match (key.as_str(), at.value.as_str()) {
            ("loadbalancer.server.scheme" | "loadbalancer.healthcheck.scheme", "http")
            | ("loadbalancer.healthcheck.mode", "http") => {}
            ("loadbalancer.passhostheader", text) if flag(text) == Some(true) => {}
            ("loadbalancer.sticky" | "loadbalancer.sticky.cookie", _) => {}
            ("loadbalancer.server.scheme", "h2c") => {
                said.push(("weir.protocol", at.clone()));
            }
            ("loadbalancer.server.scheme", "https") => {
                let message =
                    "labels do not say whom to believe, so endpoints over TLS are not called";
                let help =
                    "give a service tls in the configuration file, and the container weir labels";
                return Err(Diagnostic::error(&at.place, message).help(help).into());
            }
            ("loadbalancer.server.url", _) => {
                let message = "an endpoint is the container itself, not a URL";
                let help = "write loadbalancer.server.port, or the service into a file";
                return Err(Diagnostic::error(&at.place, message).help(help).into());
            }
            ("loadbalancer.strategy", text) => match strategy(text) {
                Some(balancer) => {
                    said.push((
                        "weir.balancer",
                        At::new(balancer.to_owned(), at.place.clone()),
                    ));
                }
                None => found.push(unread(at, "this strategy is not known; wrr and p2c are")),
            },
            ("loadbalancer.healthcheck.mode", "grpc") => {
                let on = At::new("true".to_owned(), at.place.clone());
                said.push(("weir.healthcheck.grpc", on));
            }
            (other, _) => found.push(without_use(other, at)),
        }
    }
    sticky(settings, &mut said);
    if said
        .iter()
        .any(|(label, _)| *label == "weir.healthcheck.grpc")
    {
        // Of a check by gRPC Traefik reads no path either.
        let by_http = [
            "weir.healthcheck.path",
            "weir.healthcheck.method",
            "weir.healthcheck.status",
        ];
        said.retain(|(label, _)| !by_http.contains(label));
    }
    Ok(said)
}

/// Settings that have the same meaning under another name.
fn same(key: &str, at: &At<String>) -> Option<(&'static str, At<String>)> {
    let label = match key {
        "loadbalancer.server.port" => "weir.port",
        "loadbalancer.healthcheck.path" => "weir.healthcheck.path",
        "loadbalancer.healthcheck.hostname" => "weir.healthcheck.host",
        "loadbalancer.healthcheck.method" => "weir.healthcheck.method",
        "loadbalancer.healthcheck.status" => "weir.healthcheck.status",
        "loadbalancer.healthcheck.port" => "weir.healthcheck.port",
        "loadbalancer.healthcheck.interval" => "weir.healthcheck.interval",
        "loadbalancer.healthcheck.timeout" => "weir.healthcheck.timeout",
        "loadbalancer.sticky.cookie.name" => "weir.balancer.hashCookie",
        "loadbalancer.sticky.cookie.path" => "weir.balancer.hashCookiePath",
        "loadbalancer.sticky.cookie.maxage" => "weir.balancer.hashCookieTtl",
        _ => return None,
    };
    let timed = matches!(
        label,
        "weir.healthcheck.interval" | "weir.healthcheck.timeout" | "weir.balancer.hashCookieTtl"
    );
    let value = match timed {
        true => duration(&at.value),
        false => at.value.clone(),
    };
    Some((label, At::new(value, at.place.clone())))
}

fn strategy(text: &str) -> Option<&'static str> {
    match text {
        "wrr" => Some("ROUND_ROBIN"),
        "p2c" => Some("LEAST_REQUEST"),
        _ => None,
    }
}

/// A cookie that is asked for has a name and lives as long as the browser, unless something else is said.
fn sticky(settings: &Settings, said: &mut Said) {
    let asked = |key: &str| {
        settings
            .get(key)
            .is_some_and(|at| flag(&at.value) == Some(true))
    };
    let mut parts = settings
        .iter()
        .filter(|(key, _)| key.starts_with("loadbalancer.sticky.cookie."));
    let part = parts.next().map(|(_, at)| at);
    let on = asked("loadbalancer.sticky") || asked("loadbalancer.sticky.cookie") || part.is_some();
    let switch = ["loadbalancer.sticky.cookie", "loadbalancer.sticky"]
        .iter()
        .find_map(|key| settings.get(*key));
    let Some(at) = part.or(switch).filter(|_| on) else {
        return;
    };
    for (label, default) in [
        ("weir.balancer.hashCookie", COOKIE),
        ("weir.balancer.hashCookieTtl", "0s"),
    ] {
        if !said.iter().any(|(known, _)| *known == label) {
            said.push((label, At::new(default.to_owned(), at.place.clone())));
        }
    }
}

fn without_use(key: &str, at: &At<String>) -> Diagnostic {
    let known = NOT_NEEDED.iter().find(|(start, _)| key.starts_with(start));
    match (known, key) {
        (Some((_, why)), _) => unread(at, why),
        (None, "loadbalancer.passhostheader") => {
            unread(at, "endpoints are always told the host that was asked for")
        }
        (None, "loadbalancer.healthcheck.scheme") => {
            unread(at, "a check asks as endpoints are called, in plain text")
        }
        (None, key) if key.starts_with("loadbalancer.healthcheck.headers.") => unread(
            at,
            "fields of a check are said in a file, under healthCheck.http.headers",
        ),
        (None, key)
            if key.starts_with("weighted.")
                || key.starts_with("mirroring.")
                || key.starts_with("failover.") =>
        {
            unread(
                at,
                "services of services are written in a file: backendRefs with weights, RequestMirror, priorities",
            )
        }
        _ => unread(at, "this setting of a service is not known"),
    }
}

fn unread(at: &At<String>, why: &str) -> Diagnostic {
    Diagnostic::warning(&at.place, format!("not read: {why}"))
}
