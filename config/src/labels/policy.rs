//! Settings of a service that labels state, each group of them checked as a whole.

mod balance;
mod health;
mod limit;
mod protect;

use std::time::Duration;

use super::keys::{Labels, list};
use super::protocol::Spoken;
use crate::compile::report::Report;
use crate::compile::{self, rule};
use crate::diagnostic::Diagnostic;
use crate::raw::{
    AppProtocol, At, ConnectionPool, HealthCheck, LoadBalancer, MeshProtocol, Meta,
    OutlierDetection, RateLimit, Retry, RetryCondition, Scalar, ServiceMesh, Sticky, Timeouts,
};

/// The name of the cookie of `weir.sticky=true`.
pub(super) const COOKIE: &str = "weir-bucket";

/// What one container says; a group that is wrong in any part is left out whole, but for the mesh.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) balancer: Option<LoadBalancer>,
    pub(super) health_check: Option<HealthCheck>,
    pub(super) pool: Option<ConnectionPool>,
    pub(super) outlier: Option<OutlierDetection>,
    pub(super) drain: Option<At<Duration>>,
    /// What it speaks where it is sent requests.
    pub(super) protocol: Option<At<AppProtocol>>,
    pub(super) sticky: Option<Sticky>,
    pub(super) timeouts: Option<Timeouts>,
    pub(super) retry: Option<Retry>,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) mesh: Option<ServiceMesh>,
}

pub(super) fn read(labels: &Labels<'_>, found: &mut Vec<Diagnostic>) -> Policy {
    let meta = |label: &str| Meta {
        place: labels.container.place(label),
        broken: false,
    };
    Policy {
        balancer: group(
            labels,
            "weir.balancer",
            found,
            balance::read,
            |raw, report| {
                compile::balance::load_balancer(raw, report);
            },
        ),
        health_check: group(
            labels,
            "weir.healthcheck.",
            found,
            health::health_check,
            |raw, report| {
                compile::health::health_check(raw, report);
            },
        ),
        pool: group(labels, "weir.pool.", found, protect::pool, |raw, report| {
            compile::protect::connection_pool(raw, report);
        }),
        outlier: group(
            labels,
            "weir.outlier.",
            found,
            protect::outlier,
            |raw, report| {
                compile::protect::outlier_detection(raw, report);
            },
        ),
        drain: labels.get("weir.drain", found),
        protocol: app_protocol(labels),
        sticky: group(labels, "weir.sticky", found, sticky, |raw, report| {
            rule::sticky(raw, report);
        })
        .filter(|sticky| {
            sticky.cookie.is_some() || sticky.header.is_some() || sticky.client_ip.is_some()
        }),
        timeouts: labels.get("weir.timeout", found).map(|request| Timeouts {
            meta: meta("weir.timeout"),
            request: Some(request),
            backend_request: None,
        }),
        retry: group(labels, "weir.retry.", found, retry, |raw, report| {
            rule::retry(raw, report);
        }),
        mesh: mesh(labels, found),
        rate_limit: group(
            labels,
            "weir.ratelimit.",
            found,
            limit::read,
            |raw, report| {
                compile::traffic::rate_limit(raw, report);
            },
        ),
    }
}

/// Reads a group of labels if any of it is there, and checks it with the compiler's own rules, so that what
/// one container gets wrong never reaches the service that it shares with others.
fn group<T>(
    labels: &Labels<'_>,
    prefix: &str,
    found: &mut Vec<Diagnostic>,
    read: impl Fn(&Labels<'_>, Meta, &mut Vec<Diagnostic>) -> T,
    check: impl Fn(&T, &mut Report),
) -> Option<T> {
    if !labels.has_any(prefix) {
        return None;
    }
    let mut here = Vec::new();
    let label = match prefix.ends_with('.') {
        true => format!("{prefix}*"),
        false => prefix.to_owned(),
    };
    let meta = Meta {
        place: labels.container.place(&label),
        broken: false,
    };
    let raw = read(labels, meta, &mut here);
    let mut report = Report::default();
    if here.is_empty() {
        check(&raw, &mut report);
    }
    // Warnings come again when the service is compiled.
    here.extend(report.found.into_iter().filter(Diagnostic::is_error));
    let valid = here.is_empty();
    found.append(&mut here);
    valid.then_some(raw)
}

/// `weir.mesh` is the mode; with another of them and without it the service is in the mesh strictly. Labels that are wrong leave it
/// there, with what of them can be read: to be left out would open it.
fn mesh(labels: &Labels<'_>, found: &mut Vec<Diagnostic>) -> Option<ServiceMesh> {
    let whole = group(labels, "weir.mesh", found, read_mesh, |raw, report| {
        compile::mesh::of_service(raw, report);
    });
    if whole.is_some() || !labels.has_any("weir.mesh") {
        return whole;
    }
    let place = labels.first_place("weir.mesh");
    let meta = Meta {
        place: place.clone(),
        broken: false,
    };
    let mut raw = read_mesh(labels, meta, &mut Vec::new());
    let is_port = |at: &At<u16>| at.value > 0;
    let takes_connections = |at: &At<MeshProtocol>| at.value == MeshProtocol::Tcp;
    raw.port = raw.port.filter(is_port);
    raw.listen = raw
        .listen
        .filter(is_port)
        .filter(|_| raw.protocol.as_ref().is_some_and(takes_connections));
    if raw.mode.is_none() {
        let message = "until that is mended, the service is in the mesh strictly";
        let help = "plain text that was not meant to be taken would come from anybody";
        found.push(Diagnostic::warning(&place, message).help(help));
    }
    Some(raw)
}

fn read_mesh(labels: &Labels<'_>, meta: Meta, found: &mut Vec<Diagnostic>) -> ServiceMesh {
    ServiceMesh {
        meta,
        mode: labels.get("weir.mesh", found),
        port: labels.get("weir.mesh.port", found),
        protocol: labels.get("weir.mesh.protocol", found),
        listen: labels.get("weir.mesh.listen", found),
    }
}

/// What is wrong with the label is said where the container's claim is read.
fn app_protocol(labels: &Labels<'_>) -> Option<At<AppProtocol>> {
    match labels.get("weir.protocol", &mut Vec::new()) {
        Some(At {
            value: Spoken::Requests(protocol),
            place,
        }) => Some(At::new(protocol, place)),
        _ => None,
    }
}

/// `true`, `cookie`, `cookie:NAME`, `header:NAME`, `client-ip`; `false` is none.
fn sticky(labels: &Labels<'_>, meta: Meta, found: &mut Vec<Diagnostic>) -> Sticky {
    let mut sticky = Sticky {
        meta,
        ..Sticky::default()
    };
    let Some(At { value, place }) = labels.text("weir.sticky") else {
        return sticky;
    };
    let named = |name: &str| Some(At::new(name.trim().to_owned(), place.clone()));
    match value.split_once(':') {
        Some(("cookie", name)) => sticky.cookie = named(name),
        Some(("header", name)) => sticky.header = named(name),
        None if matches!(value.as_str(), "true" | "cookie") => sticky.cookie = named(COOKIE),
        None if value == "client-ip" => sticky.client_ip = Some(At::new(true, place.clone())),
        None if value == "false" => {}
        _ => {
            let help = "write true, cookie:NAME, header:NAME, client-ip or false";
            found.push(
                Diagnostic::error(&place, format!("{value:?} is not a way to be sticky"))
                    .help(help),
            );
        }
    }
    sticky
}

fn retry(labels: &Labels<'_>, meta: Meta, found: &mut Vec<Diagnostic>) -> Retry {
    let mut on = Vec::new();
    for part in labels.text("weir.retry.on").iter().flat_map(list) {
        match RetryCondition::parse(&part.value) {
            Ok(condition) => on.push(At::new(condition, part.place)),
            Err(refused) => {
                let mut diagnostic = Diagnostic::error(&part.place, refused.message);
                diagnostic.help = refused.help;
                found.push(diagnostic);
            }
        }
    }
    Retry {
        meta,
        attempts: labels.get("weir.retry.attempts", found),
        on: labels.text("weir.retry.on").map(|_| on),
        backoff: None,
        hedge: None,
    }
}
