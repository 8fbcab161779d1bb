//! A push as a message of either protocol.

use envoy_types::pb::envoy::config::core::v3::ControlPlane;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, Resource as WireResource,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;
use weir_wire::Kind;

use super::Push;

/// What the control plane calls itself, before a slash and the name of this run of it.
const IDENTIFIER: &str = "weir";

impl Push {
    /// As a message of the incremental protocol, from the run of the control plane that has this name: generations are numbers
    /// of that run.
    #[must_use]
    pub fn into_delta(self, instance: &str) -> DeltaDiscoveryResponse {
        let mut resources = Vec::with_capacity(self.moves.len());
        let mut removed = Vec::new();
        for step in self.moves {
            match step.to {
                Some(to) => resources.push(WireResource {
                    name: step.name,
                    version: to.version.clone(),
                    resource: Some(to.body.clone()),
                    ..WireResource::default()
                }),
                None => removed.push(step.name),
            }
        }
        DeltaDiscoveryResponse {
            system_version_info: self.generation.to_string(),
            resources,
            type_url: self.kind.type_url().to_owned(),
            removed_resources: removed,
            nonce: self.nonce.to_string(),
            control_plane: control_plane(instance),
            ..DeltaDiscoveryResponse::default()
        }
    }

    /// As a message of the state-of-the-world protocol, likewise.
    #[must_use]
    pub fn into_sotw(self, instance: &str) -> DiscoveryResponse {
        let resources = match self.list {
            Some(list) => list.iter().map(|resource| resource.body.clone()).collect(),
            None => self.moves.iter().map(alone).collect(),
        };
        DiscoveryResponse {
            version_info: self.generation.to_string(),
            resources,
            type_url: self.kind.type_url().to_owned(),
            nonce: self.nonce.to_string(),
            control_plane: control_plane(instance),
            ..DiscoveryResponse::default()
        }
    }
}

/// A resource of a type whose responses need not hold everything. Only of endpoints it can be said that there are none:
/// a cluster that waits for them would keep Envoy from starting.
fn alone(step: &super::Move) -> Any {
    let none = || {
        let empty = ClusterLoadAssignment {
            cluster_name: step.name.clone(),
            ..ClusterLoadAssignment::default()
        };
        Any {
            type_url: Kind::Endpoint.type_url().to_owned(),
            value: empty.encode_to_vec(),
        }
    };
    step.to.as_ref().map_or_else(none, |to| to.body.clone())
}

fn control_plane(instance: &str) -> Option<ControlPlane> {
    Some(ControlPlane {
        identifier: format!("{IDENTIFIER}/{instance}"),
    })
}
