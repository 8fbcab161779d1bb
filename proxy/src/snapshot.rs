//! The snapshot: the model compiled for serving, immutable, swapped in whole.

mod build;
mod intern;
mod leaf;
mod limits;

pub use intern::{Interner, LabelId, SeriesIds};
pub use leaf::Leaf;

use std::net::SocketAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use weir_config::model::{AppProtocol, Listener, Model, Percent, Route, Rule, Service, Tracing};
use weir_decide::balance::{Candidates, Groups, Spread};
use weir_decide::levels::Levels;
use weir_decide::route::RouteTable;
use weir_decide::split::Split;

use crate::authorize::Guard;
use crate::http::filter::Filters;
use crate::http::filter::limit::Limiter;
use crate::tls::{ClientTls, ServerTls};
use crate::upstream::endpoint::EndpointState;
use crate::upstream::service::ServiceState;

/// Numbers a listener for the life of the process; a listener that changes its address is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub(crate) u32);

/// One generation, ready to serve.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub generation: u64,
    pub model: Arc<Model>,
    /// By [`ListenerId`].
    pub(crate) listeners: Vec<Option<Arc<ListenerTable>>>,
    pub(crate) services: Vec<Arc<ServiceTable>>,
    /// Of connections that were redirected: whose they are, by where they were going.
    captured: FxHashMap<SocketAddr, ListenerId>,
    /// `None` where no tracing is asked for: then nothing of it is done.
    pub(crate) tracing: Option<Arc<Tracing>>,
}

impl Snapshot {
    pub(crate) fn listener(&self, id: ListenerId) -> Option<&Arc<ListenerTable>> {
        self.listeners.get(id.0 as usize)?.as_ref()
    }

    /// The listener that has what was going to an address.
    pub(crate) fn captured(&self, destination: SocketAddr) -> Option<ListenerId> {
        self.captured.get(&destination).copied()
    }

    /// Whether requests may still be counted under these labels.
    pub(crate) fn knows(&self, series: &SeriesIds) -> bool {
        let listener = self
            .listeners
            .iter()
            .flatten()
            .find(|table| table.label == series.listener);
        let route =
            |table: &Arc<ListenerTable>| table.rules.iter().any(|rule| rule.label == series.route);
        let service = self
            .services
            .iter()
            .find(|table| table.label == series.service);
        let version =
            |table: &Arc<ServiceTable>| table.versions.iter().any(|v| v.label == series.version);
        let none = LabelId::default();
        listener.is_some_and(|table| series.route == none || route(table))
            && (series.service == none
                || service.is_some_and(|table| series.version == none || version(table)))
    }
}

/// A listener with its compiled routes.
#[derive(Debug)]
pub(crate) struct ListenerTable {
    pub(crate) listener: Arc<Listener>,
    pub(crate) label: LabelId,
    /// Where it speaks TLS.
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// The URI in its certificate, where endpoints are told who says what of a client's.
    pub(crate) own_uri: Option<String>,
    /// `None` where everybody may call.
    pub(crate) guard: Option<Guard>,
    pub(crate) table: RouteTable,
    /// By the table's dense rule number.
    pub(crate) rules: Vec<RuleTable>,
}

/// A rule with its destinations spread out.
#[derive(Debug)]
pub(crate) struct RuleTable {
    pub(crate) route: Arc<Route>,
    pub(crate) rule: usize,
    pub(crate) label: LabelId,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) split: Split,
    pub(crate) filters: Filters,
    pub(crate) limits: Vec<Arc<Limiter>>,
    pub(crate) mirrors: Vec<MirrorTable>,
}

/// Where copies of a rule's requests go.
#[derive(Debug)]
pub(crate) struct MirrorTable {
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) percent: Percent,
}

impl RuleTable {
    pub(crate) fn rule(&self) -> &Rule {
        &self.route.rules[self.rule]
    }

    /// Whether a request may be refused or held before it goes anywhere.
    pub(crate) fn holds_back(&self) -> bool {
        !self.limits.is_empty() || self.filters.fault.is_some()
    }
}

/// A service with the live state of its endpoints.
#[derive(Debug)]
pub(crate) struct ServiceTable {
    pub(crate) service: Arc<Service>,
    pub(crate) label: LabelId,
    /// How its endpoints are called, where that is over TLS.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// Its limits and its judgement of outliers.
    pub(crate) state: Arc<ServiceState>,
    /// In the order of `service.endpoints`.
    pub(crate) endpoints: Vec<Arc<EndpointState>>,
    /// In the order of `service.versions`.
    pub(crate) versions: Vec<VersionTable>,
}

impl ServiceTable {
    /// Whether a connection to an endpoint may be one of HTTP/2, which requests share.
    pub(crate) fn may_share(&self) -> bool {
        match self.service.protocol {
            AppProtocol::H2c => true,
            AppProtocol::Http => self.service.tls.is_some(),
            AppProtocol::Http1 => false,
        }
    }

    /// How the requests of a version are shared out now among its groups; for those who ask, as workers keep their own.
    pub(crate) fn levels(&self, version: usize) -> Levels {
        let members = Standing {
            table: self,
            version: &self.versions[version],
        };
        let percent = self.service.outlier.min_health_percent;
        self.versions[version].groups.levels(&members, percent)
    }
}

/// The members of a version as configuration and probes have them, without a worker's view.
struct Standing<'a> {
    table: &'a ServiceTable,
    version: &'a VersionTable,
}

impl Candidates for Standing<'_> {
    fn len(&self) -> usize {
        self.version.members.len()
    }

    fn spread(&self) -> Spread {
        Spread::of((0..self.len()).map(|at| self.weight(at)))
    }

    fn weight(&self, at: usize) -> u32 {
        let at = self.version.members[at];
        self.table.service.endpoints[at].weight.tenths()
    }

    fn load(&self, at: usize) -> u32 {
        self.table.endpoints[self.version.members[at]].in_flight()
    }

    fn available(&self, at: usize) -> bool {
        self.table.endpoints[self.version.members[at]].is_available()
    }

    fn usable_in_panic(&self, at: usize) -> bool {
        self.table.endpoints[self.version.members[at]].is_usable_in_panic()
    }

    fn tried(&self, _: usize) -> bool {
        false
    }
}

/// A version and which of the endpoints belong to it.
#[derive(Debug)]
pub(crate) struct VersionTable {
    pub(crate) label: LabelId,
    pub(crate) members: Vec<usize>,
    /// The members by priority and place, with the tables of a balancer by key.
    pub(crate) groups: Arc<Groups>,
}
