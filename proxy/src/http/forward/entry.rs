//! What is known of a request so far, for the record at its end.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use weir_config::model::Listener;

use crate::http::h1::flow::Flow;
use crate::http::h1::head::Known;
use crate::http::h1::serve::{Connection, Scratch};
use crate::runtime::overload::Place;
use crate::snapshot::{RuleTable, SeriesIds};
use crate::telemetry::{Flag, Record, Sample, Spoken};
use crate::upstream::local::{Local, LocalEndpoint, LocalService};

/// A request as it goes on.
pub(super) struct Entry<'a> {
    pub(super) started: Instant,
    /// The same on the worker's clock.
    pub(super) started_ms: u64,
    pub(super) request_id: [u8; 32],
    pub(super) client: IpAddr,
    pub(super) rule: Option<&'a RuleTable>,
    pub(super) service: Option<Rc<LocalService>>,
    pub(super) version: usize,
    pub(super) endpoint: Option<Rc<LocalEndpoint>>,
    /// 0 until a head is written to the client.
    pub(super) status: u16,
    pub(super) flag: Flag,
    /// A byte of a final answer may have reached the client.
    pub(super) responded: bool,
    pub(super) attempts: u8,
    pub(super) done: Done,
    /// Among the requests of the process, where they are counted.
    pub(super) place: Option<Place>,
    pub(super) upstream: Option<Duration>,
    pub(super) bytes_out: u64,
    /// Carried up by a tunnel.
    pub(super) tunneled_in: u64,
}

/// What is done once for a request, however often it is routed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    /// Limits and faults let it pass.
    pub(super) admitted: bool,
    pub(super) mirrored: bool,
}

impl Entry<'_> {
    pub(super) fn new(
        started: Instant,
        started_ms: u64,
        client: IpAddr,
        request_id: [u8; 32],
    ) -> Self {
        Self {
            started,
            started_ms,
            request_id,
            client,
            rule: None,
            service: None,
            version: 0,
            endpoint: None,
            status: 0,
            flag: Flag::None,
            responded: false,
            attempts: 0,
            done: Done::default(),
            place: None,
            upstream: None,
            bytes_out: 0,
            tunneled_in: 0,
        }
    }

    /// Counts and logs the request.
    pub(super) fn finish(
        &self,
        conn: &Connection,
        local: &Local,
        scratch: &Scratch,
        upload: &Flow,
    ) {
        let worker = &conn.worker;
        worker.metrics.request_ended();
        let head = &scratch.head;
        let table = local.snapshot.listener(conn.listener);
        let version = self
            .service
            .as_ref()
            .map(|service| (service, &service.table.versions[self.version]));
        let sample = Sample {
            series: SeriesIds {
                listener: table.map(|table| table.label).unwrap_or_default(),
                route: self.rule.map(|rule| rule.label).unwrap_or_default(),
                service: version
                    .map(|(service, _)| service.table.label)
                    .unwrap_or_default(),
                version: version
                    .map(|(_, version)| version.label)
                    .unwrap_or_default(),
            },
            method: head.kind,
            protocol: Spoken::http(head.minor),
            status: self.status,
            flag: self.flag,
            bytes_in: head.len as u64 + upload.moved + self.tunneled_in,
            bytes_out: self.bytes_out,
            duration: self.started.elapsed(),
            upstream: self.upstream,
        };
        worker.metrics.record(&sample);
        worker
            .log
            .log(|| self.record(conn, scratch, table.map(|t| &*t.listener), sample));
    }

    fn record<'r>(
        &'r self,
        conn: &'r Connection,
        scratch: &'r Scratch,
        listener: Option<&'r Listener>,
        sample: Sample,
    ) -> Record<'r> {
        let (head, bytes) = (&scratch.head, conn.buffer.filled());
        let own_id = head
            .fields
            .iter()
            .find(|f| f.known == Known::RequestId && !f.drop)
            .filter(|_| conn.trusted);
        let trace = head.fields.iter().find(|f| f.known == Known::TraceParent);
        let service = self.service.as_ref().map(|s| &*s.table.service);
        Record {
            time: SystemTime::now(),
            sample,
            listener: listener.map_or("", |listener| listener.name.as_str()),
            route: self.rule.map_or("", |rule| rule.route.name.as_str()),
            service: service.map_or("", |service| service.name.as_str()),
            version: service.map_or("", |s| s.versions[self.version].name.as_str()),
            endpoint: self
                .endpoint
                .as_ref()
                .map(|endpoint| endpoint.id().as_str()),
            method: head.method.get(bytes),
            host: head.host.span().get(bytes),
            path: if scratch.path.is_empty() {
                head.target.path.get(bytes)
            } else {
                scratch.path.as_bytes()
            },
            attempts: self.attempts,
            client: self.client,
            peer: conn.peer,
            request_id: own_id.map_or(&self.request_id[..], |f| f.value.get(bytes)),
            trace_id: trace.and_then(|field| field.value.get(bytes).get(3..35)),
        }
    }
}
