//! Spans in the words of OpenTelemetry: semantic conventions for HTTP spans, which are stable, those for gRPC about how a call
//! ended, and `weir.*` for what they have no name for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use rand::RngExt;

use super::super::span::{Ended, Outcome, Try};
use super::super::{SpanId, TraceId};
use crate::http::grpc;
use crate::telemetry::{Flag, Spoken};

/// The version of the conventions whose names are used.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.27.0";

/// In `Span.flags`: whether the parent is remote is known, and that it is.
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// What is said of this process beside the service's name.
#[derive(Debug)]
pub(super) struct Resource {
    instance: String,
    host: String,
}

impl Resource {
    pub(super) fn of_this_process() -> Self {
        let host = rustix::system::uname();
        Self {
            instance: format!("{:032x}", rand::rng().random::<u128>()),
            host: host.nodename().to_string_lossy().into_owned(),
        }
    }

    fn named(&self, service: &str) -> ProtoResource {
        ProtoResource {
            attributes: vec![
                text("service.name", service),
                text("service.version", env!("CARGO_PKG_VERSION")),
                text("service.instance.id", &self.instance),
                text("host.name", &self.host),
            ],
            ..ProtoResource::default()
        }
    }
}

/// One export.
pub(super) fn request(
    batch: &[Box<Ended>],
    resource: &Resource,
    service: &str,
) -> ExportTraceServiceRequest {
    let spans = batch.iter().flat_map(|ended| {
        let tries = ended.tries.iter().enumerate();
        std::iter::once(server(ended)).chain(tries.map(|(at, made)| client(ended, at, made)))
    });
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.named(service)),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "weir".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    ..InstrumentationScope::default()
                }),
                spans: spans.collect(),
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

/// The span of the request.
fn server(ended: &Ended) -> Span {
    let (host, port) = authority(&ended.host, ended.scheme);
    let mut attributes = method(ended);
    attributes.extend([
        text("url.scheme", ended.scheme),
        text("url.path", &ended.path),
        text("server.address", host),
        number("server.port", port.into()),
        text("client.address", &ended.client.to_string()),
        text(
            "network.peer.address",
            &ended.peer.ip().to_canonical().to_string(),
        ),
        number("network.peer.port", ended.peer.port().into()),
        text("network.protocol.version", version(ended.protocol)),
    ]);
    if ended.status > 0 {
        attributes.push(number("http.response.status_code", ended.status.into()));
    }
    attributes.extend(call(ended.grpc_status));
    let error = server_error(ended);
    for (key, value) in [
        (
            "user_agent.original",
            (!ended.user_agent.is_empty()).then_some(&*ended.user_agent),
        ),
        ("http.route", ended.route.as_deref()),
        ("error.type", error.as_deref()),
        ("weir.listener", ended.listener.as_deref()),
        ("weir.service", ended.service.as_deref()),
        ("weir.version", ended.version.as_deref()),
        (
            "weir.flag",
            (ended.flag != Flag::None).then(|| ended.flag.text()),
        ),
        (
            "weir.request_id",
            (!ended.request_id.is_empty()).then_some(&*ended.request_id),
        ),
    ] {
        attributes.extend(value.map(|value| text(key, value)));
    }
    // A client that went away is no error of ours.
    let failed = error.is_some() && ended.flag != Flag::DC;
    let name = match &ended.route {
        Some(route) => format!("{} {route}", word(ended)),
        None => word(ended).to_owned(),
    };
    let (start, end) = (since_epoch(ended, ended.began), nanos(ended.at));
    Span {
        parent_span_id: ended
            .parent
            .map(|id| id.bytes().to_vec())
            .unwrap_or_default(),
        flags: u32::from(ended.flags)
            | REMOTE_KNOWN
            | if ended.parent.is_some() { REMOTE } else { 0 },
        kind: SpanKind::Server.into(),
        status: Some(status(failed, "")),
        ..span(ended, ended.span, name, (start, end), attributes)
    }
}

/// The span of one try.
fn client(ended: &Ended, at: usize, made: &Try) -> Span {
    let address = made.address.ip().to_canonical().to_string();
    let mut attributes = method(ended);
    attributes.extend([
        text(
            "url.full",
            &format!("{}://{}{}", ended.endpoint_scheme, ended.host, ended.path),
        ),
        text("server.address", &address),
        number("server.port", made.address.port().into()),
        text("network.peer.address", &address),
        number("network.peer.port", made.address.port().into()),
        text("weir.endpoint", made.endpoint.as_str()),
    ]);
    if at > 0 {
        attributes.push(number("http.request.resend_count", at as i64));
    }
    for (key, value) in [
        ("weir.service", &ended.service),
        ("weir.version", &ended.version),
    ] {
        attributes.extend(value.as_deref().map(|value| text(key, value)));
    }
    if let Outcome::Status(code) = made.outcome {
        attributes.push(number("http.response.status_code", code.into()));
    }
    attributes.extend(call(made.grpc_status));
    // The answer of the last try is the one that was passed on, or cut short.
    let cut = at + 1 == ended.tries.len() && matches!(ended.flag, Flag::UC | Flag::UT);
    let (error, why) = match &made.outcome {
        Outcome::Failed { flag, why } => (Some(flag.text().to_owned()), &**why),
        // For a client, everything from 400 on is an error.
        Outcome::Status(code @ 400..) => (Some(code.to_string()), ""),
        Outcome::Status(_) if cut => (
            Some(ended.flag.text().to_owned()),
            "the answer was cut short",
        ),
        // Nor is anything but OK what a caller has hoped for.
        Outcome::Status(_) => {
            let bad = made.grpc_status.filter(|status| *status > 0);
            (bad.map(|status| grpc::name(status).to_owned()), "")
        }
    };
    let failed = error.is_some();
    attributes.extend(error.map(|error| text("error.type", &error)));
    let end = made
        .ended
        .map_or_else(|| nanos(ended.at), |at| since_epoch(ended, at));
    let times = (since_epoch(ended, made.began), end);
    Span {
        parent_span_id: ended.span.bytes().to_vec(),
        flags: u32::from(ended.flags) | REMOTE_KNOWN,
        kind: SpanKind::Client.into(),
        status: Some(status(failed, why)),
        ..span(ended, made.span, word(ended).to_owned(), times, attributes)
    }
}

fn span(
    ended: &Ended,
    id: SpanId,
    name: String,
    (start, end): (u64, u64),
    attributes: Vec<KeyValue>,
) -> Span {
    let trace: TraceId = ended.trace;
    Span {
        trace_id: trace.bytes().to_vec(),
        span_id: id.bytes().to_vec(),
        trace_state: ended.state.to_string(),
        name,
        start_time_unix_nano: start,
        end_time_unix_nano: end.max(start),
        attributes,
        ..Span::default()
    }
}

/// How a call of gRPC ended; nothing of what is none.
fn call(status: Option<u8>) -> impl Iterator<Item = KeyValue> {
    status.into_iter().flat_map(|status| {
        [
            text("rpc.system", "grpc"),
            number("rpc.grpc.status_code", status.into()),
        ]
    })
}

/// What went wrong, in one word of few: the status from 500 on; the flag, where the answer was cut short or never given; the name of
/// a call's status.
fn server_error(ended: &Ended) -> Option<String> {
    match ended.status {
        500.. => Some(ended.status.to_string()),
        0 => Some(ended.flag.text().to_owned()),
        _ if matches!(ended.flag, Flag::UC | Flag::UT | Flag::DC | Flag::SI) => {
            Some(ended.flag.text().to_owned())
        }
        _ => {
            let bad = ended.grpc_status.filter(|s| grpc::is_of_server(*s));
            bad.map(|status| grpc::name(status).to_owned())
        }
    }
}

fn method(ended: &Ended) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(20);
    attributes.push(text("http.request.method", ended.method));
    if let Some(other) = &ended.other_method {
        attributes.push(text("http.request.method_original", other));
    }
    attributes
}

/// The method as names of spans have it.
fn word(ended: &Ended) -> &'static str {
    match ended.method {
        "_OTHER" => "HTTP",
        method => method,
    }
}

/// Of HTTP, in the words of the conventions.
fn version(protocol: Spoken) -> &'static str {
    let text = protocol.text();
    text.strip_prefix("HTTP/").unwrap_or(text)
}

/// The host without brackets, and the port that was given or is the scheme's.
fn authority<'a>(host: &'a str, scheme: &str) -> (&'a str, u16) {
    let default = if scheme == "https" { 443 } else { 80 };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().unwrap_or(default)),
        _ => (host, default),
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    (bare.unwrap_or(name), port)
}

fn status(failed: bool, why: &str) -> Status {
    let code = if failed {
        StatusCode::Error
    } else {
        StatusCode::Unset
    };
    Status {
        message: why.to_owned(),
        code: code.into(),
    }
}

fn text(key: &'static str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.to_owned()))
}

fn number(key: &'static str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &'static str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The clock of the wall is read once for a request, at its end; all else is counted back from there.
fn since_epoch(ended: &Ended, moment: crate::moment::Moment) -> u64 {
    let into = moment
        .saturating_duration_since(ended.began)
        .min(ended.took);
    nanos(ended.at).saturating_sub(whole(ended.took - into))
}

fn nanos(time: SystemTime) -> u64 {
    whole(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn whole(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
