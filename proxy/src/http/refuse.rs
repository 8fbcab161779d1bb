//! Refusing what could not even be read as a request.

use std::time::{Instant, SystemTime};

use super::error::ProxyError;
use super::forward::{After, send};
use super::h1::head::{Method, RequestHead};
use super::h1::serve::{Connection, Scratch};
use crate::snapshot::SeriesIds;
use crate::telemetry::{Record, Sample, Spoken};
use crate::upstream::local::Local;

/// Answers a head that was refused, counts and logs it. The connection cannot be used any further.
pub(crate) async fn head(
    conn: &mut Connection,
    local: &Local,
    scratch: &mut Scratch,
    error: &ProxyError,
) -> After {
    let started = Instant::now();
    conn.worker.metrics.malformed(error.status());
    scratch.head = RequestHead::default();
    let body = format!("{error}\n");
    let answer = super::answer::Answer {
        status: error.status(),
        lines: b"",
        content_type: "text/plain",
        body: body.as_bytes(),
    };
    super::answer::compose(
        &mut scratch.front,
        &answer,
        conn.buffer.starts_with(b"HEAD "),
        true,
    );
    let sent = send(conn, &scratch.front).await;
    let table = local.snapshot.listener(conn.listener);
    let label = table.map(|table| table.label).unwrap_or_default();
    let sample = Sample {
        series: SeriesIds {
            listener: label,
            ..SeriesIds::default()
        },
        method: Method::Other,
        protocol: Spoken::Http11,
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
        attempts: 0,
        client: conn.peer.ip(),
        peer: conn.peer,
        request_id: b"",
        trace_id: None,
    });
    if sent { After::Linger } else { After::Close }
}
