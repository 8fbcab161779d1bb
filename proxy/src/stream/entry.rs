//! What is known of a stream so far, for the record at its end.

use crate::moment::Moment;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use weir_config::model::{ListenerName, PolicyName, RouteName, ServiceName, VersionName};

use crate::http::h1::head::Method;
use crate::snapshot::{LabelId, SeriesIds};
use crate::telemetry::{Flag, Record, Sample, Spoken};
use crate::upstream::local::{LocalEndpoint, LocalService};
use crate::worker::Worker;

/// A stream as it goes on. Holds names and no generation, for it may outlive many.
pub(crate) struct Entry {
    pub(crate) started: Moment,
    pub(crate) protocol: Spoken,
    series: SeriesIds,
    listener: ListenerName,
    route: Option<RouteName>,
    service: Option<(ServiceName, VersionName)>,
    pub(crate) endpoint: Option<Rc<LocalEndpoint>>,
    pub(crate) server_name: Option<String>,
    pub(crate) attempts: u8,
    /// Refuses it, or would.
    pub(crate) policy: Option<PolicyName>,
    /// Until the endpoint took the connection.
    pub(crate) upstream: Option<Duration>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) flag: Flag,
}

impl Entry {
    pub(crate) fn new(protocol: Spoken, listener: ListenerName, label: LabelId) -> Self {
        Self {
            started: Moment::now(),
            protocol,
            series: SeriesIds {
                listener: label,
                ..SeriesIds::default()
            },
            listener,
            route: None,
            service: None,
            endpoint: None,
            server_name: None,
            attempts: 0,
            policy: None,
            upstream: None,
            bytes_in: 0,
            bytes_out: 0,
            flag: Flag::None,
        }
    }

    /// Who calls, where that is known.
    pub(crate) fn called_by(&mut self, source: LabelId) {
        self.series.source = source;
    }

    pub(crate) fn routed(&mut self, name: RouteName, label: LabelId) {
        self.route = Some(name);
        self.series.route = label;
    }

    pub(crate) fn chosen(&mut self, service: &LocalService, version: usize) {
        let table = &service.table;
        self.service = Some((
            table.service.name.clone(),
            table.service.versions[version].name.clone(),
        ));
        self.series.service = table.label;
        self.series.version = table.versions[version].label;
    }

    /// Counts and logs the stream.
    pub(crate) fn finish(&self, worker: &Worker, client: SocketAddr) {
        let sample = Sample {
            series: self.series,
            method: Method::Other,
            protocol: self.protocol,
            status: 0,
            flag: self.flag,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            duration: self.started.elapsed(),
            upstream: self.upstream,
        };
        worker.metrics.record(&sample);
        let service = self.service.as_ref();
        worker.log.log(|| Record {
            time: SystemTime::now(),
            sample,
            listener: self.listener.as_str(),
            route: self.route.as_ref().map_or("", RouteName::as_str),
            service: service.map_or("", |(service, _)| service.as_str()),
            version: service.map_or("", |(_, version)| version.as_str()),
            endpoint: self.endpoint.as_ref().map(|e| e.id().as_str()),
            method: b"",
            host: self.server_name.as_deref().unwrap_or_default().as_bytes(),
            path: b"",
            grpc_status: None,
            attempts: self.attempts,
            policy: self.policy.as_ref().map_or("", PolicyName::as_str),
            client: client.ip().to_canonical(),
            peer: client,
            request_id: b"",
            trace_id: None,
            span_id: None,
            tls: None,
        });
    }
}
