//! Resources as a model.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener as WireListener;
use serde_json::Value;
use weir_config::model::{Listener, Model, Service, StreamRoute};

use crate::cluster::Endpoints;
use crate::encode::SETTINGS;
use crate::keys::Keys;
use crate::listener::Routes;
use crate::noted::Noted as _;
use crate::refusal::{Refusal, Within as _};
use crate::{Kind, Rejected, Resource, Resources};
use crate::{basic, cluster, endpoint, listener, metadata, names, route, secret, valid};

mod memory;
mod whole;

use memory::{Assigned, Memory};
use whole::Reading;

/// The largest resource that is read, in bytes: some 100,000 endpoints of one service.
pub const MAX_RESOURCE_BYTES: usize = 16 * 1024 * 1024;

/// Looks at one resource alone, as it comes: whether all that it says is supported. What it refers to is not looked for.
///
/// # Errors
/// [`Rejected`] names the field that cannot be taken, by its path.
pub fn check(resource: &Resource) -> Result<(), Rejected> {
    alone(resource).map_err(|refusal| rejected(resource, &refusal))
}

fn alone(resource: &Resource) -> Result<(), Refusal> {
    let keys = Keys::anything();
    let nowhere = |_: &str| false;
    match resource.kind {
        Kind::Cluster => {
            let (service, endpoints) = service(open(resource)?, &keys)?;
            if let Endpoints::Here(wire) = endpoints {
                endpoint::decode(wire, &service.name).within("load_assignment")?;
            }
            valid::service(&service)
        }
        Kind::Endpoint => assignment(resource).map(drop),
        Kind::Secret => secret::decode(open(resource)?).map(drop),
        Kind::Listener => {
            let found = one_listener(open(resource)?, &keys, &nowhere)?;
            if let Some(Routes::Here(config)) = found.routes {
                route::decode(*config, &nowhere).within("route_config")?;
            }
            found.listener.iter().try_for_each(valid::listener)
        }
        Kind::Route => {
            let found = route::decode(open(resource)?, &nowhere)?;
            found
                .iter()
                .try_for_each(|found| valid::route(&found.route))
        }
    }
}

/// The endpoints of an assignment, as those of a service that is named like it.
fn assignment(resource: &Resource) -> Result<Assigned, Refusal> {
    let wire: ClusterLoadAssignment = open(resource)?;
    let name = names::service(&resource.name)?;
    let endpoints = endpoint::decode(wire, &name)?;
    Ok((name, endpoints))
}

fn open<M: prost::Message + prost::Name + Default>(resource: &Resource) -> Result<M, Refusal> {
    let size = resource.body.value.len();
    match size <= MAX_RESOURCE_BYTES {
        true => basic::unpack(&resource.body),
        false => Err(Refusal::new(format!(
            "has {size} bytes, and {MAX_RESOURCE_BYTES} are read at most"
        ))),
    }
}

fn rejected(resource: &Resource, refusal: &Refusal) -> Rejected {
    Rejected {
        kind: resource.kind,
        name: resource.name.clone(),
        reason: refusal.to_string(),
    }
}

fn service(wire: Cluster, keys: &Keys) -> Result<(Service, Endpoints), Refusal> {
    let note = metadata::note(wire.metadata.as_ref())?;
    let (mut service, endpoints) = cluster::decode(wire, keys)?;
    metadata::amended(&mut service, part(note.as_ref(), "service"))?;
    Ok((service, endpoints))
}

fn part<'a>(note: Option<&'a Value>, name: &str) -> Option<&'a Value> {
    note.and_then(|note| note.get(name))
        .filter(|part| !part.is_null())
}

/// What a listener resource brings; the settings of the whole bring none.
struct Brought {
    listener: Option<Listener>,
    routes: Option<Routes>,
    streams: Vec<StreamRoute>,
    tracing: Option<Value>,
}

fn one_listener(
    wire: WireListener,
    keys: &Keys,
    known: &dyn Fn(&str) -> bool,
) -> Result<Brought, Refusal> {
    let note = metadata::note(wire.metadata.as_ref())?;
    let broken = || Refusal::new("holds a note that does not fit").within("metadata.weir");
    let streams = match part(note.as_ref(), "streams") {
        Some(all) => Some(Vec::<StreamRoute>::read(all).ok_or_else(broken)?),
        None => None,
    };
    if let (SETTINGS, Some(note)) = (wire.name.as_str(), note.as_ref()) {
        let api = wire
            .api_listener
            .ok_or_else(|| Refusal::missing("api_listener"))?;
        return Ok(Brought {
            listener: None,
            routes: Some(Routes::Here(Box::new(
                listener::decode_api(api).within("api_listener")?,
            ))),
            streams: streams.unwrap_or_default(),
            tracing: part(Some(note), "tracing").cloned(),
        });
    }
    let mut found = listener::decode(wire, note.is_some(), keys, known)?;
    metadata::amended(&mut found.listener, part(note.as_ref(), "listener"))?;
    Ok(Brought {
        listener: Some(found.listener),
        routes: found.routes,
        streams: streams.unwrap_or(found.streams),
        tracing: None,
    })
}

/// All resources together as a model.
///
/// A resource that is referred to and not there is an error, but for two: a cluster without an assignment has no endpoints, and
/// a route to a cluster that is not there gets no answer, as with a service that discovery has not brought yet.
///
/// # Errors
/// Every resource that cannot be taken, with the field that is at fault; then nothing is taken.
pub fn decode(resources: &Resources) -> Result<Model, Vec<Rejected>> {
    Decoder::default().decode(resources)
}

/// Reads one set of resources after another, and only what is new in each: what it gives is what [`decode()`] gives. What it
/// has read of a resource it goes by for as long as the resource, and what that looked up in others, stay as they are.
#[derive(Debug, Default)]
pub struct Decoder {
    memory: Memory,
}

impl Decoder {
    /// Looks at one resource alone, as [`check()`] does, and remembers the endpoints that it read for when all are read together.
    ///
    /// # Errors
    /// As [`check()`].
    pub fn check(&mut self, resource: &Arc<Resource>) -> Result<(), Rejected> {
        if resource.kind != Kind::Endpoint {
            return check(resource);
        }
        let read = assignment(resource).map_err(|refusal| rejected(resource, &refusal))?;
        let read = (Arc::clone(resource), read);
        self.memory.checked.insert(resource.name.clone(), read);
        Ok(())
    }

    /// All resources together as a model.
    ///
    /// # Errors
    /// As [`decode()`].
    pub fn decode(&mut self, resources: &Resources) -> Result<Model, Vec<Rejected>> {
        let mut reading = Reading::new(resources, std::mem::take(&mut self.memory));
        reading.secrets();
        reading.clusters();
        reading.listeners();
        let (model, memory) = reading.finish();
        self.memory = memory;
        model
    }
}
