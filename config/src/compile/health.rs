//! Active checks: what a file or labels ask for, checked and with defaults filled in.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::{header, path, values};
use crate::diagnostic::Place;
use crate::model::{
    BodyMatch, GrpcProbe, HealthCheck, HealthProbe, HttpProbe, ProbeMethod, StatusRange, TcpProbe,
};
use crate::raw::{self, At, Escaped, Header, millis_or_more};

/// Longest text to send or to look for, in bytes.
const MAX_TEXT: usize = 4096;

/// Longest name of a host or of a gRPC service, in bytes.
const MAX_NAME: usize = 255;

pub(crate) fn health_check(raw: &raw::HealthCheck, report: &mut Report) -> Option<HealthCheck> {
    one_kind(raw, report);
    let probe = match (&raw.http, &raw.grpc, &raw.tcp) {
        (Some(http), ..) => HealthProbe::Http(http_probe(http, report)?),
        (None, Some(grpc), _) => HealthProbe::Grpc(grpc_probe(grpc, report)?),
        (None, None, Some(tcp)) => HealthProbe::Tcp(tcp_probe(tcp, report)),
        (None, None, None) => HealthProbe::default(),
    };
    let default = HealthCheck::default();
    let mut time = |at: &Option<At<Duration>>, default: Duration| {
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, millis_or_more, "this time is at least 1ms"));
        value.unwrap_or(default)
    };
    let interval = time(&raw.interval, default.interval);
    let timeout = time(&raw.timeout, default.timeout);
    let mut count = |at: &Option<At<u32>>, default: u32| {
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, |n| n > 0, "a threshold is at least 1"));
        value.unwrap_or(default)
    };
    let unhealthy_threshold = count(&raw.unhealthy_threshold, default.unhealthy_threshold);
    let healthy_threshold = count(&raw.healthy_threshold, default.healthy_threshold);
    let port = raw.port.as_ref().and_then(|at| {
        let port = report.bounded(at, |port| port > 0, "a port is from 1 to 65535");
        port.and_then(NonZeroU16::new)
    });
    Some(HealthCheck {
        probe,
        port,
        interval,
        timeout,
        unhealthy_threshold,
        healthy_threshold,
    })
}

/// Two kinds in one check would leave open which of them decides.
fn one_kind(raw: &raw::HealthCheck, report: &mut Report) {
    let places = [
        raw.http.as_ref().map(|probe| &probe.meta.place),
        raw.grpc.as_ref().map(|probe| &probe.meta.place),
        raw.tcp.as_ref().map(|probe| &probe.meta.place),
    ];
    for place in places.into_iter().flatten().skip(1) {
        report.error(place, "a health check is one of http, grpc and tcp");
    }
}

fn http_probe(raw: &raw::HttpProbe, report: &mut Report) -> Option<HttpProbe> {
    let at = report.required(&raw.path, &raw.meta, "the path of the health check")?;
    let method = match raw.method.as_ref().map(|at| at.value) {
        Some(raw::ProbeMethod::Head) => ProbeMethod::Head,
        Some(raw::ProbeMethod::Get) | None => ProbeMethod::Get,
    };
    let path = path::target(at, report);
    let host = raw.host.as_ref().and_then(|at| authority(at, report));
    let body = raw.body.as_ref().and_then(|raw| body(raw, report));
    if let (Some(raw), ProbeMethod::Head) = (&raw.body, method) {
        let help = "ask with GET, or leave the body out";
        report.error_help(&raw.meta.place, "the answer to a HEAD has no body", help);
    }
    Some(HttpProbe {
        method,
        path: path?,
        host,
        headers: headers(raw.headers.as_deref().unwrap_or_default(), report),
        expected: expected(raw, report),
        body,
    })
}

/// The statuses that pass.
fn expected(raw: &raw::HttpProbe, report: &mut Report) -> Vec<StatusRange> {
    match &raw.expected_statuses {
        None => vec![StatusRange::SUCCESS],
        Some(all) => {
            // One that could not be read was reported, and is not in the list.
            if all.is_empty() && !raw.meta.broken {
                let help = "leave it out for 200-299";
                report.error_help(&raw.meta.place, "expectedStatuses names no status", help);
            }
            all.iter().map(|at| at.value.0).collect()
        }
    }
}

fn headers(raw: &[Header], report: &mut Report) -> Vec<(Arc<str>, Arc<str>)> {
    let is_host = |header: &&Header| {
        let name = header.name.as_ref();
        name.is_some_and(|at| at.value.eq_ignore_ascii_case("host"))
    };
    for header in raw.iter().filter(is_host) {
        let place = &header.meta.place;
        report.error_help(
            place,
            "host is a field of its own",
            "write host: beside path:",
        );
    }
    header::pairs(raw.iter().filter(|header| !is_host(header)), report)
}

fn body(raw: &raw::BodyMatch, report: &mut Report) -> Option<BodyMatch> {
    match (&raw.contains, &raw.regex) {
        (Some(_), Some(regex)) => {
            report.error(
                &regex.place,
                "a body is matched by contains or by regex, not both",
            );
            None
        }
        (Some(text), None) => {
            bounded_text(text.value.as_bytes(), &text.place, report)?;
            Some(BodyMatch::Contains(Arc::from(text.value.as_str())))
        }
        (None, Some(regex)) => values::anywhere(regex, report).map(BodyMatch::Regex),
        (None, None) => {
            if !raw.meta.broken {
                report.error(&raw.meta.place, "a body match is contains or regex");
            }
            None
        }
    }
}

fn grpc_probe(raw: &raw::GrpcProbe, report: &mut Report) -> Option<GrpcProbe> {
    let service = match &raw.service {
        None => Some(Arc::default()),
        Some(at) => grpc_service(at, report),
    };
    let authority = raw.authority.as_ref().and_then(|at| authority(at, report));
    Some(GrpcProbe {
        service: service?,
        authority,
    })
}

fn grpc_service(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    if at.value.len() > MAX_NAME || at.value.contains(char::is_control) {
        let help = "it is written as package.Service; leave it out for the server as a whole";
        let message = format!("{:?} is not the name of a gRPC service", at.value);
        report.error_help(&at.place, message, help);
        return None;
    }
    Some(Arc::from(at.value.as_str()))
}

fn tcp_probe(raw: &raw::TcpProbe, report: &mut Report) -> TcpProbe {
    let mut text = |at: &Option<At<Escaped>>| {
        let at = at.as_ref()?;
        let bytes = &at.value.0;
        bounded_text(bytes, &at.place, report).map(|()| Arc::from(bytes.as_slice()))
    };
    TcpProbe {
        send: text(&raw.send),
        expect: text(&raw.expect),
    }
}

fn bounded_text(bytes: &[u8], place: &Place, report: &mut Report) -> Option<()> {
    if bytes.is_empty() || bytes.len() > MAX_TEXT {
        report.error(place, format!("this text has 1 to {MAX_TEXT} bytes"));
        return None;
    }
    Some(())
}

/// A host and perhaps a port, of characters that a request may hold there (RFC 3986, section 3.2.2).
fn authority(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b);
    if at.value.is_empty() || at.value.len() > MAX_NAME || !at.value.bytes().all(fits) {
        let help = "write a host name or an address, and a port if need be: shop.internal:8080";
        report.error_help(&at.place, format!("{:?} is not a host", at.value), help);
        return None;
    }
    Some(Arc::from(at.value.as_str()))
}
