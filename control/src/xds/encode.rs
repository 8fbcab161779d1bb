//! What a group of nodes is told of the model that is published.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::LbPolicy;
use prost::Message as _;
use weir_config::model::{Model, Service, ServiceName, same};
use weir_plan::{Allowed, mesh};
use weir_wire::{Audience, Kind, LeftOut, Resource, Resources};
use weir_xds::server::{Agent, Encode, Encoded, Encoding, Group};

use crate::control::Shared;

/// Things that could not be said to other clients, in one list; a model of thousands of routes repeats itself.
const MAX_LEFT_OUT: usize = 200;

pub(super) struct Encoder(pub(super) Arc<Shared>);

impl Encode for Encoder {
    fn begin(&self, group: &Group) -> Encoding {
        let shared = Arc::clone(&self.0);
        let group = group.clone();
        let mut writer = Writer::new(group.agent);
        Box::new(move || {
            let published = shared.models.borrow().clone();
            let model = view(&published.model, &group);
            let (resources, left_out) = writer.write(&model);
            Encoded {
                generation: published.generation,
                resources,
                left_out,
            }
        })
    }
}

/// What a group may see.
fn view(model: &Model, group: &Group) -> Model {
    let model = &mesh::with_modes(model);
    if let Some(sidecar) = &group.sidecar {
        let meant = ServiceName::new(&sidecar.service).map(|service| mesh::Meant {
            service,
            calls: sidecar.calls.clone(),
        });
        // One of a service that is not there yet has nothing to do.
        return meant
            .ok()
            .and_then(|meant| mesh::view(model, &meant))
            .unwrap_or_default();
    }
    let allowed = match &group.listeners {
        None => Allowed::All,
        Some(names) => Allowed::Only(names.clone()),
    };
    weir_plan::view(model, &allowed)
}

/// Writes one model after another for one kind of client, and keeps what it wrote of what stays.
struct Writer {
    agent: Agent,
    encoder: weir_wire::Encoder,
    grpc: ForGrpc,
}

impl Writer {
    fn new(agent: Agent) -> Self {
        let audience = match agent {
            Agent::Weir => Audience::Weir,
            Agent::Grpc | Agent::Other => Audience::Other,
        };
        Self {
            agent,
            encoder: weir_wire::Encoder::new(audience),
            grpc: ForGrpc::default(),
        }
    }

    /// The resources, and what could not be said in them.
    fn write(&mut self, model: &Model) -> (Resources, Vec<String>) {
        let encoded = self.encoder.encode(model);
        let mut left_out: Vec<String> = encoded.left_out.iter().map(in_words).collect();
        let resources = match self.agent {
            Agent::Grpc => {
                let (resources, changed) = self.grpc.write(model, &encoded.resources);
                left_out.extend(changed);
                resources
            }
            Agent::Weir | Agent::Other => encoded.resources,
        };
        left_out.truncate(MAX_LEFT_OUT);
        (resources, left_out)
    }
}

/// `listener web: limits.max_field_bytes: Envoy bounds heads as a whole`
fn in_words(left_out: &LeftOut) -> String {
    let kind = format!("{:?}", left_out.kind).to_lowercase();
    let parts = [left_out.resource.as_str(), &left_out.field, left_out.why];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{kind} {}", parts.join(": "))
}

/// What a client of gRPC is told in the place of listeners and of clusters that it would refuse.
#[derive(Default)]
struct ForGrpc {
    /// By service: what a client that asks for it needs.
    services: BTreeMap<ServiceName, (Arc<Service>, Resources)>,
    /// By cluster: as it is, and what is told in its place if it is not told as it is.
    clusters: BTreeMap<String, (Arc<Resource>, Option<Arc<Resource>>)>,
}

impl ForGrpc {
    /// A client of gRPC asks for a service by the name of a listener, which leads to its clusters. Returns also what had to be
    /// said otherwise.
    fn write(&mut self, model: &Model, all: &Resources) -> (Resources, Vec<String>) {
        let (mut out, mut changed) = (Resources::default(), Vec::new());
        for kind in [Kind::Cluster, Kind::Endpoint] {
            all.of(kind)
                .for_each(|resource| out.insert(Arc::clone(resource)));
        }
        let mut before = std::mem::take(&mut self.services);
        for service in &model.services {
            let known = before.remove(&service.name);
            let known = known.filter(|(of, _)| same(of, service));
            let (_, listener) = known.unwrap_or_else(|| {
                let listener = weir_wire::service_listener(model, service.name.as_str());
                (Arc::clone(service), listener.unwrap_or_default())
            });
            listener
                .iter()
                .for_each(|resource| out.insert(Arc::clone(resource)));
            let held = (Arc::clone(service), listener);
            self.services.insert(service.name.clone(), held);
        }
        let mut before = std::mem::take(&mut self.clusters);
        let clusters: Vec<Arc<Resource>> = out.of(Kind::Cluster).cloned().collect();
        for resource in clusters {
            let known = before.remove(&resource.name);
            let known = known.filter(|(of, _)| of.version == resource.version);
            let (_, other) = known.unwrap_or_else(|| {
                let other = round_robin(&resource).map(Arc::new);
                (Arc::clone(&resource), other)
            });
            if let Some(balanced) = &other {
                changed.push(format!(
                    "cluster {}: balancer: gRPC knows ROUND_ROBIN and RING_HASH only, and is told ROUND_ROBIN",
                    resource.name
                ));
                out.insert(Arc::clone(balanced));
            }
            let name = resource.name.clone();
            self.clusters.insert(name, (resource, other));
        }
        (out, changed)
    }
}

/// A cluster with the balancer that gRPC has in the place of one that it would refuse the cluster for (gRFC A27, A42).
fn round_robin(resource: &Resource) -> Option<Resource> {
    let mut cluster = Cluster::decode(resource.body.value.as_slice()).ok()?;
    let known = [LbPolicy::RoundRobin, LbPolicy::RingHash];
    if known.contains(&cluster.lb_policy()) {
        return None;
    }
    cluster.set_lb_policy(LbPolicy::RoundRobin);
    cluster.lb_config = None;
    let bytes = cluster.encode_to_vec();
    Some(Resource::new(Kind::Cluster, resource.name.clone(), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_of_a_balancer_that_it_knows() {
        let text = "services:
  - { name: fewest, endpoints: [{ address: 127.0.0.1:1 }] }
  - { name: turns, loadBalancer: { simple: ROUND_ROBIN }, endpoints: [{ address: 127.0.0.1:1 }] }
";
        let loaded = weir_config::file::parse("weir.yaml".as_ref(), text);
        let model = weir_config::compile(&[loaded.fragment]).model;
        let (resources, left_out) = Writer::new(Agent::Grpc).write(&model);
        for name in ["fewest", "turns"] {
            let cluster = resources.get(Kind::Cluster, name).unwrap();
            let cluster = Cluster::decode(cluster.body.value.as_slice()).unwrap();
            assert_eq!(cluster.lb_policy(), LbPolicy::RoundRobin, "{name}");
            assert!(resources.get(Kind::Listener, name).is_some(), "{name}");
        }
        let told = |name: &str| left_out.iter().any(|text| text.contains(name));
        assert!(told("cluster fewest: balancer") && !told("cluster turns: balancer"));
    }

    #[test]
    fn a_client_of_any_kind_is_told_after_a_change_what_it_would_be_told_at_first() {
        let compiled = |port: u16, simple: &str| {
            let text = format!("listeners: [{{ name: web, bind: 127.0.0.1:80 }}]
services:
  - {{ name: shop, loadBalancer: {{ simple: {simple} }}, endpoints: [{{ address: 127.0.0.1:{port} }}] }}
  - {{ name: cart, versions: [{{ name: a, weight: 1 }}, {{ name: b, weight: 2 }}], endpoints: [{{ address: 127.0.0.1:1, version: a }}] }}
routes: [{{ name: all, rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]
");
            let loaded = weir_config::file::parse("weir.yaml".as_ref(), &text);
            weir_config::compile(&[loaded.fragment]).model
        };
        let models = [
            compiled(1, "LEAST_REQUEST"),
            compiled(2, "LEAST_REQUEST"),
            compiled(2, "ROUND_ROBIN"),
            compiled(2, "LEAST_REQUEST"),
        ];
        for agent in [Agent::Weir, Agent::Other, Agent::Grpc] {
            let mut writer = Writer::new(agent);
            for model in &models {
                assert_eq!(
                    writer.write(model),
                    Writer::new(agent).write(model),
                    "{agent:?}"
                );
            }
        }
    }
}
