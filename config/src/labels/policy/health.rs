//! `weir.healthcheck.`: any of these labels turns active checks on.

use super::super::keys::{Labels, list};
use crate::diagnostic::Diagnostic;
use crate::raw::{
    At, BodyMatch, GrpcProbe, HealthCheck, HttpProbe, Meta, Scalar, StatusRange, TcpProbe,
};

/// Labels that mean something beside a path only.
const HTTP_ONLY: [&str; 4] = [
    "weir.healthcheck.method",
    "weir.healthcheck.status",
    "weir.healthcheck.body",
    "weir.healthcheck.bodyRegex",
];

pub(super) fn health_check(
    labels: &Labels<'_>,
    meta: Meta,
    found: &mut Vec<Diagnostic>,
) -> HealthCheck {
    let path = labels.text("weir.healthcheck.path");
    let grpc = labels.text("weir.healthcheck.grpc");
    let host = labels.text("weir.healthcheck.host");
    if path.is_none() {
        for label in HTTP_ONLY.iter().filter_map(|label| labels.text(label)) {
            let message = "this is for a check by HTTP";
            found.push(Diagnostic::error(&label.place, message).help("add weir.healthcheck.path"));
        }
        if let (None, Some(host)) = (&grpc, &host) {
            found.push(
                Diagnostic::error(&host.place, "a host is for a check by HTTP or gRPC")
                    .help("add weir.healthcheck.path or weir.healthcheck.grpc"),
            );
        }
    }
    HealthCheck {
        meta,
        http: path.map(|path| http(labels, path, host.clone(), found)),
        grpc: grpc.map(|service| grpc_probe(service, host, found)),
        tcp: tcp(labels, found),
        port: labels.get("weir.healthcheck.port", found),
        interval: labels.get("weir.healthcheck.interval", found),
        timeout: labels.get("weir.healthcheck.timeout", found),
        unhealthy_threshold: labels.get("weir.healthcheck.unhealthyThreshold", found),
        healthy_threshold: labels.get("weir.healthcheck.healthyThreshold", found),
    }
}

fn at(place: &crate::diagnostic::Place) -> Meta {
    Meta {
        place: place.clone(),
        broken: false,
    }
}

fn http(
    labels: &Labels<'_>,
    path: At<String>,
    host: Option<At<String>>,
    found: &mut Vec<Diagnostic>,
) -> HttpProbe {
    let contains = labels.text("weir.healthcheck.body");
    let regex = labels.text("weir.healthcheck.bodyRegex");
    let body = contains
        .as_ref()
        .or(regex.as_ref())
        .map(|one| at(&one.place));
    HttpProbe {
        meta: at(&path.place),
        path: Some(path),
        host,
        method: labels.get("weir.healthcheck.method", found),
        headers: None,
        expected_statuses: statuses(labels, found),
        body: body.map(|meta| BodyMatch {
            meta,
            contains,
            regex,
        }),
    }
}

/// `true` asks about the server as a whole, anything else names a service of it.
fn grpc_probe(
    service: At<String>,
    authority: Option<At<String>>,
    found: &mut Vec<Diagnostic>,
) -> GrpcProbe {
    let meta = at(&service.place);
    if service.value == "false" {
        found.push(
            Diagnostic::error(&service.place, "false is not a way to check")
                .help("write true or the name of a service, or remove the label"),
        );
    }
    GrpcProbe {
        meta,
        service: Some(service).filter(|service| service.value != "true"),
        authority,
    }
}

fn tcp(labels: &Labels<'_>, found: &mut Vec<Diagnostic>) -> Option<TcpProbe> {
    let plain: Option<At<bool>> = labels.get("weir.healthcheck.tcp", found);
    if let Some(At {
        value: false,
        place,
    }) = &plain
    {
        found.push(
            Diagnostic::error(place, "false is not a way to check")
                .help("write true, or remove the label"),
        );
    }
    let first = ["tcp", "send", "expect"]
        .iter()
        .find_map(|name| labels.text(&format!("weir.healthcheck.{name}")))?;
    Some(TcpProbe {
        meta: at(&first.place),
        send: labels.get("weir.healthcheck.send", found),
        expect: labels.get("weir.healthcheck.expect", found),
    })
}

/// A comma list.
fn statuses(labels: &Labels<'_>, found: &mut Vec<Diagnostic>) -> Option<Vec<At<StatusRange>>> {
    let text = labels.text("weir.healthcheck.status")?;
    let mut statuses = Vec::new();
    for one in list(&text) {
        match StatusRange::parse(&one.value) {
            Ok(range) => statuses.push(At::new(range, one.place)),
            Err(refused) => {
                let mut diagnostic = Diagnostic::error(&one.place, refused.message);
                diagnostic.help = refused.help;
                found.push(diagnostic);
            }
        }
    }
    if list(&text).next().is_none() {
        found.push(Diagnostic::error(&text.place, "this names no status"));
    }
    Some(statuses)
}
