//! What the sidecars of one service are told.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use weir_config::model::{
    BackendRef, HostPattern, INBOUND_PORT, Listener, ListenerName, MeshMode, MeshProtocol, Model,
    PeerMode, Protocol, Route, RouteName, Rule, Service, ServiceName, StreamRoute, TrustedHops,
};

use super::way::{Way, whole};
use super::{INBOUND, OUTBOUND, checks, modes};

/// Where a sidecar's app sends its requests, unless the sidecar is told otherwise.
const OUTBOUND_PORT: u16 = 15001;

/// Whose sidecars are meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Meant {
    pub service: ServiceName,
    /// The services that it calls; `None`: all are told.
    pub calls: Option<BTreeSet<String>>,
}

impl Meant {
    fn is_told(&self, service: &Service) -> bool {
        let called = |calls: &BTreeSet<String>| calls.contains(service.name.as_str());
        // A key that the control plane holds for one service's endpoints is not for every workload.
        let holds_key = service.tls.as_ref().is_some_and(|tls| tls.client.is_some());
        let own = service.name == self.service;
        own || self.calls.as_ref().is_none_or(called) && !holds_key
    }
}

/// What the sidecars of a service are told of a model. `None`: there is no such service.
///
/// A service is called by its name, or by what stands before the first dot of nothing else: routes of edges are not theirs.
/// Splits, stickiness, timeouts and retries are those of the first rule of an edge that sends everything to the
/// service alone, and the service's own split where there is no such rule.
#[must_use]
pub fn view(model: &Model, meant: &Meant) -> Option<Model> {
    let own = model.service(meant.service.as_str())?;
    let told: Vec<Arc<Service>> = model
        .services
        .iter()
        .filter(|service| meant.is_told(service))
        .cloned()
        .collect();
    let mut view = Model {
        listeners: vec![Arc::new(inbound(model, own)), Arc::new(outbound())],
        routes: told
            .iter()
            .filter_map(|service| route(model, service))
            .map(Arc::new)
            .collect(),
        streams: Vec::new(),
        services: Vec::new(),
        tracing: Arc::clone(&model.tracing),
        access: Arc::default(),
    };
    // Its own port may be the app's, and what came there would come back to the app.
    for service in told.iter().filter(|it| it.name != meant.service) {
        if let Some((listener, stream)) = connections(service) {
            view.listeners.push(Arc::new(listener));
            view.streams.push(Arc::new(stream));
        }
    }
    view.services = told;
    view.sort();
    Some(view)
}

/// Where the sidecars of a service take connections, and whom they admit.
#[must_use]
pub fn inbound(model: &Model, own: &Service) -> Listener {
    let access = model.access.of(own.name.as_str());
    let authorization = access.authorization.as_ref().map(|authorization| {
        let mut authorization = (**authorization).clone();
        authorization.port = Some(modes::port_of(own));
        let policies = &mut authorization.policies;
        policies.extend(checks::admits_checks(model, own));
        policies.sort_by(|a, b| a.name.cmp(&b.name));
        Arc::new(authorization)
    });
    let mode = mode(model, own);
    let protocol = match is_tcp(own) {
        true => Protocol::Tcp,
        false => Protocol::Http,
    };
    let bind = SocketAddr::from((Ipv4Addr::UNSPECIFIED, INBOUND_PORT));
    Listener {
        mesh: Some(mode),
        // Peers are sidecars and edges with an identity; in plain text anybody could say that it speaks for a client.
        trusted_hops: match mode {
            MeshMode::Strict => TrustedHops::Count(1),
            MeshMode::Permissive => TrustedHops::None,
        },
        authorization,
        source: own.source.clone(),
        ..Listener::new(listener_name(INBOUND), bind, protocol)
    }
}

/// Policies stand before what the service says of itself, also of one that is not in the mesh: a sidecar that stands beside it
/// must not take what STRICT forbids.
fn mode(model: &Model, own: &Service) -> MeshMode {
    let access = model.access.of(own.name.as_str());
    match access.peer_mode(modes::port_of(own)) {
        Some(PeerMode::Strict) => MeshMode::Strict,
        Some(PeerMode::Permissive | PeerMode::Off) => MeshMode::Permissive,
        None => own.mesh.map_or(MeshMode::Permissive, |mesh| mesh.mode),
    }
}

fn outbound() -> Listener {
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, OUTBOUND_PORT));
    Listener {
        trusted_hops: TrustedHops::Count(1),
        ..Listener::new(listener_name(OUTBOUND), bind, Protocol::Http)
    }
}

/// To a service of HTTP, by its name. `None` for one of connections, and for a name that no host can have.
fn route(model: &Model, service: &Service) -> Option<Route> {
    if is_tcp(service) {
        return None;
    }
    let way = Way {
        name: RouteName::new(&format!("mesh/{}", service.name)).ok()?,
        listener: listener_name(OUTBOUND),
        source: service.source.clone(),
    };
    Some(Route {
        hostnames: vec![HostPattern::parse(service.name.as_str()).ok()??],
        ..way.of_requests(vec![rule(model, service)])
    })
}

/// Whether it is sent connections rather than requests.
pub(super) fn is_tcp(service: &Service) -> bool {
    service
        .mesh
        .is_some_and(|mesh| mesh.protocol == MeshProtocol::Tcp)
}

fn rule(model: &Model, service: &Service) -> Rule {
    let alone = |rule: &&Rule| {
        let to_it = |backend: &BackendRef| backend.service == service.name;
        !rule.backends.is_empty() && rule.backends.iter().all(to_it) && takes_everything(rule)
    };
    let mut rules = model.routes.iter().flat_map(|route| &route.rules);
    match rules.find(alone) {
        Some(rule) => Rule {
            filters: Vec::new(),
            ..rule.clone()
        },
        None => Rule::every(vec![whole(&service.name)]),
    }
}

fn takes_everything(rule: &Rule) -> bool {
    rule.matches == [weir_config::model::Match::every()]
}

/// Where connections for a service are taken, if it has a port for that.
fn connections(service: &Service) -> Option<(Listener, StreamRoute)> {
    let port = service.mesh?.listen.filter(|_| is_tcp(service))?;
    let name = ListenerName::new(&format!("{OUTBOUND}/{}", service.name)).ok()?;
    let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = Listener {
        source: service.source.clone(),
        ..Listener::new(name.clone(), bind, Protocol::Tcp)
    };
    let way = Way {
        name: RouteName::new(&format!("mesh/{}", service.name)).ok()?,
        listener: name,
        source: service.source.clone(),
    };
    Some((listener, way.of_connections(&service.name)))
}

pub(super) fn listener_name(text: &'static str) -> ListenerName {
    ListenerName::new(text).expect("a name that fits")
}
