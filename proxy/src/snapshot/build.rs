//! Building a snapshot, off the data path.

use std::sync::Arc;

use weir_config::model::{
    BackendRef, Capture, Filter, ForwardClientCert, Listener, Locality, Model, Route, Rule,
    Service, StreamRoute, Tracing, Weight,
};
use weir_decide::balance::{Groups, Member};
use weir_decide::route::RouteTable;
use weir_decide::split::Split;

use super::leaf::{Leaf, leaves};
use super::limits::Limiters;
use super::{
    Interner, ListenerId, ListenerTable, MirrorTable, RuleTable, ServiceTable, Snapshot,
    VersionTable,
};
use crate::authorize::Guard;
use crate::http::filter::Filters;
use crate::tls::{ClientTls, ServerTls, certificate};
use crate::upstream::registry::Registry;

impl Snapshot {
    /// Compiles a model. The registry must have been reconciled with it; `ids` names the listeners that are
    /// bound, `own` where this proxy runs. What `previous` holds unchanged is taken over, so that workers keep what hangs on it.
    pub(crate) fn build(
        model: Arc<Model>,
        generation: u64,
        ids: &[(ListenerId, Arc<Listener>)],
        own: Option<&Locality>,
        registry: &Registry,
        labels: &Interner,
        previous: &Snapshot,
    ) -> Self {
        let services = model
            .services
            .iter()
            .filter_map(|service| service_table(service, own, registry, labels, previous))
            .collect();
        let size = ids
            .iter()
            .map(|(id, _)| id.0 as usize + 1)
            .max()
            .unwrap_or(0);
        let mut listeners = vec![None; size];
        let mut limiters = Limiters::of(previous);
        let same_targets = has_same_targets(&model, &previous.model);
        for (id, listener) in ids {
            let before = previous.listener(*id);
            let unchanged = before
                .filter(|before| same_targets && is_unchanged(before, listener, &model, previous));
            let table = unchanged.cloned().unwrap_or_else(|| {
                let table = listener_table(&model, listener, labels, &mut limiters, before);
                Arc::new(table)
            });
            listeners[id.0 as usize] = Some(table);
        }
        let captured = ids.iter().flat_map(|(id, listener)| {
            let whose = match &listener.capture {
                Some(Capture::For(addresses)) => addresses.as_slice(),
                _ => &[],
            };
            whose.iter().map(|address| (*address, *id))
        });
        let captured = captured.collect();
        let asked = *model.tracing != Tracing::default();
        Self {
            generation,
            tracing: asked.then(|| Arc::clone(&model.tracing)),
            model,
            listeners,
            services,
            captured,
        }
    }
}

/// Whether the rules of two models, where they are the same, lead to the same places: services have the same numbers, and
/// their versions the same numbers and shares.
fn has_same_targets(model: &Model, previous: &Model) -> bool {
    let same = |(a, b): (&Arc<Service>, &Arc<Service>)| {
        Arc::ptr_eq(a, b) || (a.name == b.name && a.versions == b.versions)
    };
    model.services.len() == previous.services.len()
        && model.services.iter().zip(&previous.services).all(same)
}

/// Whether a listener and its routes are the very ones that it was compiled from.
fn is_unchanged(
    before: &ListenerTable,
    listener: &Arc<Listener>,
    model: &Model,
    previous: &Snapshot,
) -> bool {
    if !Arc::ptr_eq(&before.listener, listener) {
        return false;
    }
    let very_same = |(a, b): (&Arc<StreamRoute>, &Arc<StreamRoute>)| Arc::ptr_eq(a, b);
    if listener.protocol.is_stream() {
        let (new, old) = (&model.streams, &previous.model.streams);
        return new.len() == old.len() && new.iter().zip(old).all(very_same);
    }
    let mut routes = RouteTable::of_listener(model, listener);
    let mut known = before.table.routes().iter();
    known.all(|old| routes.next().is_some_and(|new| Arc::ptr_eq(new, old)))
        && routes.next().is_none()
}

fn listener_table(
    model: &Model,
    listener: &Arc<Listener>,
    labels: &Interner,
    limiters: &mut Limiters,
    before: Option<&Arc<ListenerTable>>,
) -> ListenerTable {
    let table = match listener.protocol.is_stream() {
        false => RouteTable::for_listener(model, listener),
        true => RouteTable::new(&stream_routes(model, listener)),
    };
    let rules = table
        .rules()
        .map(|(_, route, rule)| {
            let leaves = leaves(model, &rule.backends);
            let weights: Vec<_> = leaves.iter().map(|leaf| leaf.weight).collect();
            let base = base(model, &leaves);
            let number = route
                .rules
                .iter()
                .position(|r| std::ptr::eq(r, rule))
                .unwrap_or_default();
            RuleTable {
                label: labels.id(route.name.as_str()),
                split: Split::with_base(&weights, base),
                filters: Filters::compile(&rule.filters),
                limits: limiters.rule(route, number),
                mirrors: mirrors(model, rule),
                route: Arc::clone(route),
                rule: number,
                leaves,
            }
        })
        .collect();
    ListenerTable {
        listener: Arc::clone(listener),
        label: labels.id(listener.name.as_str()),
        own_uri: own_uri(listener),
        guard: Guard::build(listener, labels),
        tls: listener.tls.as_ref().map(|tls| {
            let before = before.and_then(|before| before.tls.as_ref());
            ServerTls::build(tls, before)
        }),
        table,
        rules,
    }
}

fn own_uri(listener: &Listener) -> Option<String> {
    let tls = listener.tls.as_ref();
    let tls = tls.filter(|_| listener.client_cert != ForwardClientCert::Sanitize)?;
    certificate::own_uri(tls.certificates.first()?.chain.first()?)
}

fn mirrors(model: &Model, rule: &Rule) -> Vec<MirrorTable> {
    let mirrors = rule.filters.iter().filter_map(|filter| match filter {
        Filter::Mirror(mirror) => Some(mirror),
        _ => None,
    });
    mirrors
        .map(|mirror| {
            let backend = BackendRef {
                service: mirror.service.clone(),
                version: mirror.version.clone(),
                weight: Weight::ONE,
            };
            MirrorTable {
                leaves: leaves(model, &[backend]),
                percent: mirror.percent,
            }
        })
        .collect()
}

/// The routes of streams on this listener, as routes of HTTP whose one rule takes everything: hosts, splits and
/// what is shown of them are the same for both.
fn stream_routes(model: &Model, listener: &Listener) -> Vec<Arc<Route>> {
    let here = model
        .streams
        .iter()
        .filter(|stream| stream.listeners.contains(&listener.name));
    let route = |stream: &Arc<StreamRoute>| {
        Arc::new(Route {
            name: stream.name.clone(),
            listeners: stream.listeners.clone(),
            hostnames: stream.hostnames.clone(),
            rules: vec![Rule::every(stream.backends.clone())],
            age: stream.age,
            source: stream.source.clone(),
        })
    };
    here.map(route).collect()
}

/// The version that sticky buckets leave the most room to: `stable`, else the last.
fn base(model: &Model, leaves: &[Leaf]) -> usize {
    let is_stable = |leaf: &Leaf| {
        let service = leaf.service.map(|at| &model.services[at]);
        let version = service
            .zip(leaf.version)
            .map(|(service, at)| &service.versions[at].name);
        version.is_some_and(|name| name.as_str() == "stable")
    };
    leaves
        .iter()
        .position(is_stable)
        .unwrap_or(leaves.len().saturating_sub(1))
}

fn service_table(
    service: &Arc<Service>,
    own: Option<&Locality>,
    registry: &Registry,
    labels: &Interner,
    previous: &Snapshot,
) -> Option<Arc<ServiceTable>> {
    let before = previous
        .services
        .binary_search_by(|t| t.service.name.cmp(&service.name));
    let before = before.ok().map(|at| &previous.services[at]);
    if let Some(before) = before
        && Arc::ptr_eq(&before.service, service)
    {
        // The registry had nothing to do with it either.
        return Some(Arc::clone(before));
    }
    let (state, endpoints) = registry.states(service)?;
    if let Some(before) = before {
        let same_states = before.endpoints.len() == endpoints.len()
            && before
                .endpoints
                .iter()
                .zip(&endpoints)
                .all(|(a, b)| Arc::ptr_eq(a, b));
        if same_states && before.service == *service {
            return Some(Arc::clone(before));
        }
    }
    let versions = service
        .versions
        .iter()
        .map(|version| {
            let members: Vec<usize> = (0..service.endpoints.len())
                .filter(|i| service.endpoints[*i].version == version.name)
                .collect();
            VersionTable {
                label: labels.id(version.name.as_str()),
                groups: groups(service, own, &members),
                members,
            }
        })
        .collect();
    Some(Arc::new(ServiceTable {
        service: Arc::clone(service),
        label: labels.id(service.name.as_str()),
        tls: service.tls.as_ref().map(|tls| {
            let before = before.and_then(|before| before.tls.as_ref());
            ClientTls::build(tls, service.protocol, before)
        }),
        state,
        endpoints,
        versions,
    }))
}

fn groups(service: &Service, own: Option<&Locality>, members: &[usize]) -> Arc<Groups> {
    let members: Vec<Member<'_>> = members
        .iter()
        .map(|at| &service.endpoints[*at])
        .map(|endpoint| Member {
            id: endpoint.id.as_str(),
            weight: endpoint.weight.tenths(),
            priority: endpoint.priority,
            locality: endpoint.locality.as_ref(),
        })
        .collect();
    Arc::new(Groups::new(&service.load_balancer, own, &members))
}
