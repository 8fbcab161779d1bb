//! Refusing what could not even be read as a request.

use crate::moment::Moment;
use std::time::SystemTime;

use super::error::ProxyError;
use super::forward::{After, send};
use super::h1::head::{Method, RequestHead};
use super::h1::serve::{Connection, Scratch};
use crate::snapshot::SeriesIds;
use crate::socket::Socket;
use crate::telemetry::{Record, Sample, Spoken};
use crate::upstream::local::Local;

/// Answers a head that was refused, counts and logs it. The connection cannot be used any further.
pub(crate) async fn head(
    conn: &mut Connection,
    local: &Local,
    scratch: &mut Scratch,
    error: &ProxyError,
) -> After {
    let started = Moment::now();
    conn.worker.metrics.malformed(error.status());
    scratch.head = RequestHead::default();
    let body = format!("{error}\n");
    let answer = super::answer::Answer {
        status: error.status(),
        lines: b"",
        content_type: "text/plain",
        body: body.as_bytes(),
    };
    let head_len = super::answer::compose(
        &mut scratch.front,
        &answer,
        conn.buffer.starts_with(b"HEAD "),
        true,
    );
    let sent = match &mut conn.stream {
        // What breaks the rules of a message is no request to be answered (RFC 9113, section 8.1.1).
        Socket::H2(exchange) if error.is_malformed() => {
            exchange.reset_with(h2::Reason::PROTOCOL_ERROR);
            if let Some(watch) = &conn.watch {
                watch.provoked();
            }
            true
        }
        _ => send(conn, &scratch.front, head_len).await,
    };
    let table = local.snapshot.listener(conn.listener);
    let label = table.map(|table| table.label).unwrap_or_default();
    let sample = Sample {
        series: SeriesIds {
            listener: label,
            ..SeriesIds::default()
        },
        method: Method::Other,
        protocol: Spoken::http(if conn.stream.is_h2() { 2 } else { 1 }),
        status: error.status(),
        flag: error.flag(),
        bytes_in: conn.buffer.len() as u64,
        bytes_out: scratch.front.len() as u64,
        duration: started.elapsed(),
        upstream: None,
    };
    conn.worker.metrics.record(&sample);
    conn.worker.log.log(|| Record {
        time: SystemTime::now(),
        sample,
        listener: table.map_or("", |table| table.listener.name.as_str()),
        route: "",
        service: "",
        version: "",
        endpoint: None,
        method: b"",
        host: b"",
        path: b"",
        grpc_status: None,
        attempts: 0,
        policy: "",
        client: conn.client.peer.ip(),
        peer: conn.client.peer,
        request_id: b"",
        trace_id: None,
        span_id: None,
        tls: conn.client.tls(),
    });
    if sent { After::Linger } else { After::Close }
}
