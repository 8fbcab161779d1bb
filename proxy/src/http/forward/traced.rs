//! Where tracing meets the request path: at its start, at each try, with the answer, and at its end.
//!
//! While tracing is not configured, each of these is a look at a `None`.

use std::borrow::Cow;
use std::time::SystemTime;

use weir_config::model::{Listener, Propagation, Tracing};

use super::super::error::ProxyError;
use super::super::h1::head::{Known, Method};
use super::super::h1::serve::{Connection, Scratch};
use super::super::h1::write::line;
use super::entry::Entry;
use crate::snapshot::Snapshot;
use crate::telemetry::trace::context::{Reader, Role};
use crate::telemetry::trace::span::{self, Ended, Try};
use crate::telemetry::trace::{SpanId, TraceId, Traced, w3c};
use crate::telemetry::{Flag, Sample};
use crate::upstream::local::LocalEndpoint;

/// Reads what the caller says and settles which trace the request is part of. The fields that ours take the place of are
/// marked as dropped.
pub(super) fn begin(
    conn: &Connection,
    scratch: &mut Scratch,
    snapshot: &Snapshot,
) -> Option<Traced> {
    let tracing = snapshot.tracing.as_deref()?;
    Some(start(conn, scratch, tracing))
}

#[inline(never)]
fn start(conn: &Connection, scratch: &mut Scratch, tracing: &Tracing) -> Traced {
    let bytes = conn.buffer.filled();
    let fields = &mut scratch.head.fields;
    let mut reader = Reader::default();
    for field in fields.iter().filter(|field| !field.drop) {
        reader.take(field.name.get(bytes), field.value.get(bytes));
    }
    let received = reader.read();
    let mut traced = Traced::begin(tracing, &received, &mut *conn.worker.random.borrow_mut());
    let keeps_state =
        received.keeps_state && tracing.propagation.contains(&Propagation::TraceContext);
    let mut state = String::new();
    for field in fields.iter_mut().filter(|field| !field.drop) {
        match Role::of(field.name.get(bytes)) {
            None => {}
            Some(Role::State) if keeps_state && traced.is_recorded() => {
                if !state.is_empty() {
                    state.push(',');
                }
                // Sound, and so ASCII.
                state.push_str(field.value.text(bytes));
            }
            Some(role) => field.drop = !(role == Role::State && keeps_state),
        }
    }
    if let Some(recording) = &mut traced.recording {
        recording.state = state.into();
    }
    traced
}

/// A try goes out to an endpoint.
pub(super) fn try_begins(entry: &mut Entry<'_>) {
    if let Some(traced) = &mut entry.traced {
        traced.try_begins();
    }
}

/// The try was answered with a status, and that of its call where it has ended, or failed.
pub(super) fn try_ended(
    entry: &mut Entry<'_>,
    endpoint: &LocalEndpoint,
    outcome: Result<(u16, Option<u8>), &ProxyError>,
) {
    if let Some(traced) = &mut entry.traced {
        let place = (endpoint.id(), endpoint.state.address);
        traced.try_ended(|span, began| match outcome {
            Ok((status, grpc_status)) => Try {
                grpc_status,
                ..Try::answered(span, began, place, status)
            },
            Err(error) => Try::failed(span, began, place, error.flag(), error),
        });
    }
}

/// A try that had been too slow, and went on beside others, has answered after all.
pub(super) fn answered_late(entry: &mut Entry<'_>, endpoint: &LocalEndpoint, status: u16) {
    if let Some(traced) = &mut entry.traced {
        traced.answered_late(endpoint.id(), status);
    }
}

/// There will be another try; `true` if the head has to be written anew for it.
pub(super) fn again(conn: &Connection, entry: &mut Entry<'_>) -> bool {
    let Some(traced) = &mut entry.traced else {
        return false;
    };
    traced.again(&mut *conn.worker.random.borrow_mut());
    traced.is_recorded()
}

/// The field that tells the client its trace's id: name and value.
pub(super) fn told<'s>(entry: &Entry<'_>, snapshot: &'s Snapshot) -> Option<(&'s str, [u8; 32])> {
    let traced = entry.traced.as_ref()?;
    let name = snapshot.tracing.as_ref()?.response_header.as_deref()?;
    Some((name, traced.trace.hex()))
}

/// The lines of an answer of our own, with the one that tells the trace's id where that is wanted.
pub(super) fn lines<'l>(conn: &Connection, entry: &Entry<'_>, lines: &'l [u8]) -> Cow<'l, [u8]> {
    if entry.traced.is_none() {
        return lines.into();
    }
    match told(entry, &conn.worker.local().snapshot) {
        None => lines.into(),
        Some((name, id)) => {
            let mut lines = lines.to_vec();
            line(&mut lines, name.as_bytes(), &id);
            lines.into()
        }
    }
}

/// What the log says: the ids of the trace, or of the caller's where we take no part in it.
pub(super) fn ids(
    conn: &Connection,
    scratch: &Scratch,
    entry: &Entry<'_>,
) -> Option<(TraceId, SpanId)> {
    if let Some(traced) = &entry.traced {
        return Some((traced.trace, traced.span));
    }
    let mut fields = scratch.head.fields.iter();
    let field = fields.find(|field| field.known == Known::TraceParent)?;
    let parent = w3c::parse(field.value.get(conn.buffer.filled()))?;
    Some((parent.trace, parent.span))
}

/// Hands on what was recorded of a request that has ended.
pub(super) fn finish(
    conn: &Connection,
    scratch: &Scratch,
    entry: &mut Entry<'_>,
    sample: &Sample,
    listener: Option<&Listener>,
) {
    if let Some(traced) = entry.traced.take_if(|traced| traced.is_recorded()) {
        let ended = ended(conn, scratch, entry, traced, sample, listener);
        conn.worker.traces.push(Box::new(ended));
    }
}

#[inline(never)]
fn ended(
    conn: &Connection,
    scratch: &Scratch,
    entry: &Entry<'_>,
    traced: Traced,
    sample: &Sample,
    listener: Option<&Listener>,
) -> Ended {
    let (head, bytes) = (&scratch.head, conn.buffer.filled());
    let is_agent = |name: &[u8]| name.eq_ignore_ascii_case(b"user-agent");
    let agent = head.fields.iter().find(|f| is_agent(f.name.get(bytes)));
    let service = entry.service.as_ref().map(|s| &*s.table.service);
    let version = service.map(|service| &service.versions[entry.version]);
    let other = head.kind == Method::Other;
    let flags = traced.flags();
    let mut recording = traced.recording.unwrap_or_default();
    // Whose answer was passed on whole has told by now how its call ended.
    if let Some(last) = recording.tries.last_mut()
        && matches!(sample.flag, Flag::None | Flag::FI)
    {
        last.grpc_status = entry.grpc_status;
    }
    Ended {
        trace: traced.trace,
        span: traced.span,
        parent: traced.parent,
        flags,
        state: recording.state,
        tries: recording.tries,
        began: entry.started,
        at: SystemTime::now(),
        took: sample.duration,
        method: if other { "_OTHER" } else { head.kind.label() },
        other_method: other.then(|| span::text(head.method.get(bytes))),
        scheme: conn.client.scheme(),
        endpoint_scheme: match service.is_some_and(|service| service.tls.is_some()) {
            true => "https",
            false => "http",
        },
        host: span::text(head.host.span().get(bytes)),
        path: span::path(match scratch.path.is_empty() {
            true => head.target.path.get(bytes),
            false => scratch.path.as_bytes(),
        }),
        user_agent: agent.map_or_else(Box::default, |f| span::text(f.value.get(bytes))),
        protocol: sample.protocol,
        client: entry.client,
        peer: conn.client.peer,
        status: sample.status,
        flag: sample.flag,
        grpc_status: entry.grpc_status,
        request_id: span::text(entry.request_id(conn, scratch)),
        listener: listener.map(|listener| listener.name.shared()),
        route: entry.rule.map(|rule| rule.route.name.shared()),
        service: service.map(|service| service.name.shared()),
        version: version.map(|version| version.name.shared()),
    }
}
