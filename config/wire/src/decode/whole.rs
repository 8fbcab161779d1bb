//! All resources together: what they refer to, and what they must agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use serde_json::Value;
use weir_config::model::{
    Balancer, Endpoint, HashKey, ListenerName, Model, Route, RouteName, Service, ServiceName,
    StreamRoute, Tracing, same,
};

use super::memory::{Brings, Kept, Known, Memory, OneRoute, Taken, WithRoutes, is};
use super::{Brought, one_listener, open, rejected, service};
use crate::cluster::Endpoints;
use crate::keys::Keys;
use crate::listener::Routes;
use crate::refusal::{Refusal, Within as _};
use crate::{Kind, Rejected, Resource, Resources};
use crate::{endpoint, metadata, route, secret, valid};

/// What was made of the resources so far, and what of them cannot be taken.
pub(super) struct Reading<'a> {
    resources: &'a Resources,
    /// Of the set before.
    before: Memory,
    /// Of this one.
    memory: Memory,
    keys: Keys,
    model: Model,
    /// Services by the name of the cluster that they came from.
    services: BTreeMap<ServiceName, (String, Taken)>,
    hashed: BTreeMap<ServiceName, Vec<Option<HashKey>>>,
    routes: BTreeMap<RouteName, (String, Arc<Route>)>,
    streams: BTreeMap<RouteName, (String, Arc<StreamRoute>)>,
    rejected: Vec<Rejected>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(resources: &'a Resources, before: Memory) -> Self {
        Self {
            resources,
            before,
            memory: Memory::default(),
            keys: Keys::default(),
            model: Model::default(),
            services: BTreeMap::new(),
            hashed: BTreeMap::new(),
            routes: BTreeMap::new(),
            streams: BTreeMap::new(),
            rejected: Vec::new(),
        }
    }

    fn reject(&mut self, kind: Kind, name: &str, reason: &str) {
        self.rejected.push(Rejected {
            kind,
            name: name.to_owned(),
            reason: reason.to_owned(),
        });
    }

    pub(super) fn secrets(&mut self) {
        for resource in self.resources.of(Kind::Secret) {
            let known = self.before.secrets.remove(&resource.name);
            let held = match known.filter(|(of, _)| is(of, resource)) {
                Some((_, held)) => Ok(held),
                None => open::<Secret>(resource)
                    .and_then(secret::decode)
                    .map(|(_, held)| held),
            };
            match held {
                Ok(held) => {
                    self.keys.insert(resource.name.clone(), held.clone());
                    let kept = (Arc::clone(resource), held);
                    self.memory.secrets.insert(resource.name.clone(), kept);
                }
                Err(refusal) => self.rejected.push(rejected(resource, &refusal)),
            }
        }
    }

    pub(super) fn clusters(&mut self) {
        for resource in self.resources.of(Kind::Cluster) {
            let known = self.before.clusters.remove(&resource.name);
            let known = known.filter(|kept| kept.holds(resource, self.resources, &self.keys));
            match known.map_or_else(|| self.cluster(resource), Ok) {
                Ok(kept) => {
                    self.take_service(resource, kept.read.clone());
                    self.memory.clusters.insert(resource.name.clone(), kept);
                }
                Err(rejected) => self.rejected.push(rejected),
            }
        }
    }

    fn cluster(&mut self, resource: &Arc<Resource>) -> Result<Kept<Taken>, Rejected> {
        self.keys.forget_looks();
        let here = |refusal: Refusal| rejected(resource, &refusal);
        let wire: Cluster = open(resource).map_err(here)?;
        let noted = metadata::note(wire.metadata.as_ref())
            .map_err(here)?
            .is_some();
        let (mut service, endpoints) = service(wire, &self.keys).map_err(here)?;
        let mut beside = None;
        service.endpoints = match endpoints {
            Endpoints::Here(wire) => endpoint::decode(wire, &service.name)
                .within("load_assignment")
                .map_err(here)?,
            Endpoints::Named(name) => {
                let assignment = self.resources.get(Kind::Endpoint, &name);
                let endpoints = assignment.map(|it| self.endpoints(it, &service.name));
                beside = Some((name, assignment));
                endpoints.transpose()?.unwrap_or_default()
            }
        };
        if !noted {
            service.versions = observed(&service);
        }
        valid::service(&service).map_err(here)?;
        let taken = Taken {
            service: Arc::new(service),
            noted,
        };
        let kept = Kept::new(taken, resource, &mut self.keys, Known::of(self.resources));
        Ok(match beside {
            Some((name, assignment)) => kept.with(Kind::Endpoint, name, assignment),
            None => kept,
        })
    }

    /// The endpoints of an assignment: as they were read when it came, if that was by this service's name.
    fn endpoints(
        &mut self,
        assignment: &Arc<Resource>,
        service: &ServiceName,
    ) -> Result<Vec<Endpoint>, Rejected> {
        let checked = self.before.checked.remove(&assignment.name);
        if let Some((of, (name, endpoints))) = checked
            && Arc::ptr_eq(&of, assignment)
            && name == *service
        {
            return Ok(endpoints);
        }
        open::<ClusterLoadAssignment>(assignment)
            .and_then(|wire| endpoint::decode(wire, service))
            .map_err(|refusal| rejected(assignment, &refusal))
    }

    fn take_service(&mut self, resource: &Resource, taken: Taken) {
        let name = &taken.service.name;
        if let Some((other, _)) = self.services.get(name) {
            let reason = format!("is the service {name:?} here, and so is the cluster {other:?}");
            self.reject(Kind::Cluster, &resource.name, &reason);
            return;
        }
        self.services
            .insert(name.clone(), (resource.name.clone(), taken));
    }

    pub(super) fn listeners(&mut self) {
        for resource in self.resources.of(Kind::Listener) {
            let known = self.before.listeners.remove(&resource.name);
            let known = known.filter(|kept| kept.holds(resource, self.resources, &self.keys));
            match known {
                Some(kept) => {
                    let brings = Arc::clone(&kept.read);
                    self.memory.listeners.insert(resource.name.clone(), kept);
                    self.take_listener(resource, &brings);
                }
                None => self.read_listener(resource),
            }
        }
    }

    /// Reads a listener and takes it. What is wrong in it is told, and then nothing of it is kept for the next time.
    fn read_listener(&mut self, resource: &Arc<Resource>) {
        let faults = self.rejected.len();
        let known = Known::of(self.resources);
        self.keys.forget_looks();
        let found =
            open(resource).and_then(|wire| one_listener(wire, &self.keys, &|name| known.has(name)));
        let brought = match found {
            Ok(brought) => brought,
            Err(refusal) => return self.rejected.push(rejected(resource, &refusal)),
        };
        let brings = Arc::new(self.brings(resource, brought, &known));
        if self.rejected.len() == faults {
            let kept = Kept::new(Arc::clone(&brings), resource, &mut self.keys, known);
            self.memory.listeners.insert(resource.name.clone(), kept);
        }
        self.take_listener(resource, &brings);
    }

    /// What a listener brings, as far as that is valid by itself.
    fn brings(&mut self, resource: &Resource, brought: Brought, known: &Known<'_>) -> Brings {
        let tracing = brought.tracing.map(|note| tracing(&note)).transpose();
        let mut streams = Vec::with_capacity(brought.streams.len());
        for stream in brought.streams {
            match valid::stream(&stream) {
                Ok(()) => streams.push(Arc::new(stream)),
                Err(refusal) => self.rejected.push(rejected(resource, &refusal)),
            }
        }
        let routes = match brought.routes {
            None => WithRoutes::None,
            Some(Routes::Named(name)) => WithRoutes::Named(name),
            Some(Routes::Here(config)) => {
                let found = route::decode(*config, &|name| known.has(name)).within("route_config");
                WithRoutes::Here(self.valid(Kind::Listener, &resource.name, found))
            }
        };
        if let Some(own) = &brought.listener
            && let Err(refusal) = valid::listener(own)
        {
            self.rejected.push(rejected(resource, &refusal));
        }
        Brings {
            listener: brought.listener.map(Arc::new),
            routes,
            streams,
            tracing: tracing.unwrap_or_else(|refusal| {
                self.rejected.push(rejected(resource, &refusal));
                None
            }),
        }
    }

    fn take_listener(&mut self, resource: &Resource, brings: &Brings) {
        if let Some(tracing) = &brings.tracing {
            self.model.tracing = Arc::clone(tracing);
        }
        for stream in &brings.streams {
            self.take_stream(resource, stream);
        }
        let own = brings.listener.as_ref();
        let name = own.map(|own| &own.name);
        match &brings.routes {
            WithRoutes::None => {}
            WithRoutes::Here(routes) => {
                self.take_routes(Kind::Listener, &resource.name, name, routes);
            }
            WithRoutes::Named(config) => match self.routes_of(config) {
                None => {
                    let reason =
                        format!("names the route configuration {config:?}, which is not there");
                    self.reject(Kind::Listener, &resource.name, &reason);
                }
                Some(routes) => self.take_routes(Kind::Route, config, name, &routes),
            },
        }
        let Some(own) = own else {
            return;
        };
        let mut others = self.model.listeners.iter();
        if others.any(|other| other.name == own.name) {
            self.reject(
                Kind::Listener,
                &resource.name,
                "has the name of another listener",
            );
        }
        self.model.listeners.push(Arc::clone(own));
    }

    /// The routes of a configuration; `None` where there is no such one.
    fn routes_of(&mut self, name: &str) -> Option<Arc<Vec<OneRoute>>> {
        let resource = self.resources.get(Kind::Route, name)?;
        if let Some(kept) = self.memory.routes.get(name) {
            return Some(Arc::clone(&kept.read));
        }
        let known = self.before.routes.remove(name);
        let known = known.filter(|kept| kept.holds(resource, self.resources, &self.keys));
        let faults = self.rejected.len();
        let kept = known.unwrap_or_else(|| {
            let known = Known::of(self.resources);
            let found = open::<RouteConfiguration>(resource)
                .and_then(|wire| route::decode(wire, &|name| known.has(name)));
            let routes = Arc::new(self.valid(Kind::Route, name, found));
            self.keys.forget_looks();
            Kept::new(routes, resource, &mut self.keys, known)
        });
        let routes = Arc::clone(&kept.read);
        if self.rejected.len() == faults {
            self.memory.routes.insert(name.to_owned(), kept);
        }
        Some(routes)
    }

    /// Those routes that are valid by themselves.
    fn valid(
        &mut self,
        kind: Kind,
        name: &str,
        found: Result<Vec<route::Found>, Refusal>,
    ) -> Vec<OneRoute> {
        let found = match found {
            Ok(found) => found,
            Err(refusal) => {
                let mut told = self.rejected.iter();
                if !told.any(|other| other.kind == kind && other.name == name) {
                    self.reject(kind, name, &refusal.to_string());
                }
                return Vec::new();
            }
        };
        let mut routes = Vec::with_capacity(found.len());
        for route::Found { route, keys, noted } in found {
            match valid::route(&route) {
                Ok(()) => routes.push(OneRoute {
                    route: Arc::new(route),
                    keys,
                    noted,
                }),
                Err(refusal) => {
                    self.reject(kind, name, &format!("the route {:?} {refusal}", route.name));
                }
            }
        }
        routes
    }

    fn take_stream(&mut self, resource: &Resource, stream: &Arc<StreamRoute>) {
        let reason = match self.streams.get(&stream.name) {
            Some((_, other)) if same(other, stream) => return,
            Some((other, _)) => format!(
                "says of the stream {:?} what {other:?} does not",
                stream.name
            ),
            None => {
                let held = (resource.name.clone(), Arc::clone(stream));
                self.streams.insert(stream.name.clone(), held);
                return;
            }
        };
        self.reject(Kind::Listener, &resource.name, &reason);
    }

    fn take_routes(
        &mut self,
        kind: Kind,
        name: &str,
        listener: Option<&ListenerName>,
        routes: &[OneRoute],
    ) {
        for found in routes {
            for (service, key) in found.keys.iter().filter(|_| !found.noted) {
                let hashed = self.hashed.entry(service.clone()).or_default();
                hashed.push(key.clone());
            }
            self.take_route(kind, name, listener, found);
        }
    }

    fn take_route(
        &mut self,
        kind: Kind,
        name: &str,
        listener: Option<&ListenerName>,
        found: &OneRoute,
    ) {
        let mut route = Arc::clone(&found.route);
        if !found.noted {
            Arc::make_mut(&mut route).listeners = listener.into_iter().cloned().collect();
        }
        match self.routes.get_mut(&route.name) {
            None => {
                self.routes
                    .insert(route.name.clone(), (name.to_owned(), route));
            }
            Some((_, other)) if same(other, &route) => {}
            // A configuration that several listeners name.
            Some((from, other)) if !found.noted && from == name => {
                let more = route.listeners.iter().cloned();
                Arc::make_mut(other).listeners.extend(more);
            }
            Some((from, _)) => {
                let reason = format!("says of the route {:?} what {from:?} does not", route.name);
                self.reject(kind, name, &reason);
            }
        }
    }

    /// The model, or why there is none, and what was read.
    pub(super) fn finish(mut self) -> (Result<Model, Vec<Rejected>>, Memory) {
        let hashed = std::mem::take(&mut self.hashed);
        for (cluster, mut taken) in std::mem::take(&mut self.services).into_values() {
            if !taken.noted
                && let Err(reason) = take_key(&mut taken.service, &hashed)
            {
                self.reject(Kind::Cluster, &cluster, reason);
            }
            self.model.services.push(taken.service);
        }
        let twice = self
            .streams
            .keys()
            .filter(|name| self.routes.contains_key(*name));
        for name in twice.cloned().collect::<Vec<_>>() {
            self.reject(
                Kind::Listener,
                name.as_str(),
                "is the name of a stream and of a route",
            );
        }
        let routes = std::mem::take(&mut self.routes).into_values();
        self.model.routes = routes.map(|(_, route)| route).collect();
        let streams = std::mem::take(&mut self.streams).into_values();
        self.model.streams = streams.map(|(_, stream)| stream).collect();
        self.model.sort();
        let model = match self.rejected.is_empty() {
            true => Ok(self.model),
            false => Err(self.rejected),
        };
        (model, self.memory)
    }
}

fn tracing(note: &Value) -> Result<Arc<Tracing>, Refusal> {
    let mut tracing = Tracing::default();
    metadata::amended(&mut tracing, Some(note))?;
    valid::tracing(&tracing).within("tracing")?;
    Ok(Arc::new(tracing))
}

/// The versions that endpoints are of; where there are none, nobody is split.
fn observed(service: &Service) -> Vec<weir_config::model::Version> {
    let names: BTreeSet<_> = service
        .endpoints
        .iter()
        .map(|endpoint| &endpoint.version)
        .collect();
    let version = |name: &weir_config::model::VersionName| weir_config::model::Version {
        name: name.clone(),
        weight: weir_config::model::Weight::ONE,
    };
    names.into_iter().map(version).collect()
}

/// What a foreign service's balancer goes by: routes say it, and they must say one thing.
fn take_key(
    service: &mut Arc<Service>,
    hashed: &BTreeMap<ServiceName, Vec<Option<HashKey>>>,
) -> Result<(), &'static str> {
    let found = hashed.get(&service.name);
    if !matches!(service.load_balancer.balancer, Balancer::ConsistentHash(_)) {
        return Ok(());
    }
    let own = Arc::make_mut(service);
    let Balancer::ConsistentHash(hash) = &mut own.load_balancer.balancer else {
        return Ok(());
    };
    let mut found: Vec<&Option<HashKey>> = found.into_iter().flatten().collect();
    found.dedup();
    match found.as_slice() {
        [] | [None] => own.load_balancer.balancer = Balancer::Random,
        [Some(key)] => hash.key = key.clone(),
        _ => {
            return Err(
                "is balanced by a hash, and its routes hash different things (hash_policy), which is not supported",
            );
        }
    }
    Ok(())
}
