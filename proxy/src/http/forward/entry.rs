//! What is known of a request so far, for the record at its end.

use crate::moment::Moment;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use weir_config::model::{Listener, PolicyName};

use super::traced;
use crate::http::grpc::{self, Kind};
use crate::http::h1::flow::Flow;
use crate::http::h1::head::Known;
use crate::http::h1::serve::{Connection, Scratch};
use crate::runtime::overload::Place;
use crate::snapshot::{RuleTable, SeriesIds};
use crate::telemetry::trace::Traced;
use crate::telemetry::{Flag, Record, Sample, Spoken};
use crate::upstream::local::{Local, LocalEndpoint, LocalService};

/// A request as it goes on.
pub(super) struct Entry<'a> {
    pub(super) started: Moment,
    /// The same on the worker's clock.
    pub(super) started_ms: u64,
    /// When the last try began, the first of them with the request.
    pub(super) try_began: Moment,
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
    /// Those of them that do not count against the policy's tries.
    pub(super) spared: u8,
    pub(super) call: Kind,
    /// How a call of gRPC ended.
    pub(super) grpc_status: Option<u8>,
    /// On the worker's clock: when the caller stops waiting, where it says so.
    pub(super) caller_waits_ms: u64,
    pub(super) done: Done,
    /// Refuses it, or would.
    pub(super) policy: Option<PolicyName>,
    /// Where tracing is configured: which trace it is part of.
    pub(super) traced: Option<Traced>,
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
    /// Whether the caller may ask was counted.
    pub(super) judged: bool,
}

impl Entry<'_> {
    pub(super) fn new(
        started: Moment,
        started_ms: u64,
        client: IpAddr,
        request_id: [u8; 32],
    ) -> Self {
        Self {
            started,
            started_ms,
            try_began: started,
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
            spared: 0,
            call: Kind::Plain,
            grpc_status: None,
            caller_waits_ms: u64::MAX,
            done: Done::default(),
            policy: None,
            traced: None,
            place: None,
            upstream: None,
            bytes_out: 0,
            tunneled_in: 0,
        }
    }

    /// Whether the caller says how long it waits.
    pub(super) fn has_deadline(&self) -> bool {
        self.caller_waits_ms != u64::MAX
    }

    /// Counts and logs the request.
    pub(super) fn finish(
        &mut self,
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
                source: conn.client.source,
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
        let listener = table.map(|table| &*table.listener);
        if self.call.is_call() {
            let by_http = grpc::status_of_http(self.status);
            let status = *self.grpc_status.get_or_insert(by_http);
            worker.metrics.called(sample.series.service, status);
        }
        worker
            .log
            .log(|| self.record(conn, scratch, listener, sample));
        traced::finish(conn, scratch, self, &sample, listener);
    }

    fn record<'r>(
        &'r self,
        conn: &'r Connection,
        scratch: &'r Scratch,
        listener: Option<&'r Listener>,
        sample: Sample,
    ) -> Record<'r> {
        let (head, bytes) = (&scratch.head, conn.buffer.filled());
        let ids = traced::ids(conn, scratch, self);
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
            grpc_status: self.grpc_status,
            attempts: self.attempts,
            policy: self.policy.as_ref().map_or("", PolicyName::as_str),
            client: self.client,
            peer: conn.client.peer,
            request_id: self.request_id(conn, scratch),
            trace_id: ids.map(|(trace, _)| trace.hex()),
            span_id: ids.map(|(_, span)| span.hex()),
            tls: conn.client.tls(),
        }
    }

    /// The caller's where it is trusted to give one, else ours.
    pub(super) fn request_id<'r>(&'r self, conn: &'r Connection, scratch: &Scratch) -> &'r [u8] {
        let mut fields = scratch.head.fields.iter();
        let given = fields.find(|f| f.known == Known::RequestId && !f.drop);
        let given = given.filter(|_| conn.trusted);
        given.map_or(&self.request_id, |f| f.value.get(conn.buffer.filled()))
    }
}
