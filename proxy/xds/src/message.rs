//! Responses and requests, whichever of the protocol's two variants they are spoken in.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as pb;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc;
use prost::Message;
use weir_wire::Kind;

/// `INVALID_ARGUMENT` (google/rpc/code.proto).
const INVALID_ARGUMENT: i32 = 3;

/// How a stream is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Only what changed is sent.
    Delta,
    /// Every response holds all resources of its type.
    StateOfTheWorld,
}

/// One resource as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Given {
    pub name: String,
    /// Empty in the state of the world: then it is a digest of the bytes.
    pub version: String,
    /// `None`: nothing new, the server only says that it lives.
    pub body: Option<Any>,
}

/// A response of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub type_url: String,
    pub version: String,
    pub nonce: String,
    pub given: Vec<Given>,
    pub removed: Vec<String>,
    /// Who says so, if it says.
    pub control_plane: String,
    pub variant: Variant,
}

/// What every resource type that we take has as its first field.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// The name that a resource gives itself.
pub(crate) fn name_inside(body: &Any) -> Option<String> {
    Named::decode(body.value.as_slice()).ok().map(|n| n.name)
}

impl From<pb::DeltaDiscoveryResponse> for Response {
    fn from(response: pb::DeltaDiscoveryResponse) -> Self {
        let given = response.resources.into_iter().map(|resource| Given {
            name: resource.name,
            version: resource.version,
            body: resource.resource,
        });
        Self {
            type_url: response.type_url,
            version: response.system_version_info,
            nonce: response.nonce,
            given: given.collect(),
            removed: response.removed_resources,
            control_plane: response
                .control_plane
                .map(|it| it.identifier)
                .unwrap_or_default(),
            variant: Variant::Delta,
        }
    }
}

impl From<pb::DiscoveryResponse> for Response {
    fn from(response: pb::DiscoveryResponse) -> Self {
        Self {
            given: response.resources.into_iter().map(unwrap).collect(),
            type_url: response.type_url,
            version: response.version_info,
            nonce: response.nonce,
            removed: Vec::new(),
            control_plane: response
                .control_plane
                .map(|it| it.identifier)
                .unwrap_or_default(),
            variant: Variant::StateOfTheWorld,
        }
    }
}

/// A resource of the state of the world stands as it is, or in a wrapper that names it.
fn unwrap(any: Any) -> Given {
    const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";
    if any.type_url == WRAPPER
        && let Ok(wrapped) = pb::Resource::decode(any.value.as_slice())
    {
        return Given {
            name: wrapped.name,
            version: wrapped.version,
            body: wrapped.resource,
        };
    }
    Given {
        name: name_inside(&any).unwrap_or_default(),
        version: String::new(),
        body: Some(any),
    }
}

/// What is said to a server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// In the first one of a stream.
    pub node: Option<Node>,
    pub type_url: &'static str,
    /// State of the world: the version that is accepted, and all names that are asked for.
    pub version: String,
    pub names: Vec<String>,
    /// Delta: names that are asked for from now on, and no more.
    pub subscribe: Vec<String>,
    pub unsubscribe: Vec<String>,
    /// Delta: what is there from an earlier stream.
    pub known: HashMap<String, String>,
    /// Of the response that this answers; empty where it answers none.
    pub nonce: String,
    /// Why the response is not accepted.
    pub refused: Option<String>,
}

impl Request {
    pub(crate) fn of(kind: Kind) -> Self {
        Self {
            type_url: kind.type_url(),
            ..Self::default()
        }
    }
}

fn detail(reason: Option<String>) -> Option<rpc::Status> {
    reason.map(|message| rpc::Status {
        code: INVALID_ARGUMENT,
        message,
        details: Vec::new(),
    })
}

impl From<Request> for pb::DeltaDiscoveryRequest {
    fn from(request: Request) -> Self {
        Self {
            node: request.node,
            type_url: request.type_url.to_owned(),
            resource_names_subscribe: request.subscribe,
            resource_names_unsubscribe: request.unsubscribe,
            initial_resource_versions: request.known,
            response_nonce: request.nonce,
            error_detail: detail(request.refused),
            ..Self::default()
        }
    }
}

impl From<Request> for pb::DiscoveryRequest {
    fn from(request: Request) -> Self {
        Self {
            node: request.node,
            type_url: request.type_url.to_owned(),
            version_info: request.version,
            resource_names: request.names,
            response_nonce: request.nonce,
            error_detail: detail(request.refused),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_of_the_state_of_the_world_is_named_by_itself_or_by_its_wrapper() {
        let body = Any {
            type_url: Kind::Cluster.type_url().into(),
            value: Named {
                name: "shop".into(),
            }
            .encode_to_vec(),
        };
        assert_eq!(unwrap(body.clone()).name, "shop");
        let wrapper = pb::Resource {
            name: "outer".into(),
            version: "3".into(),
            resource: Some(body.clone()),
            ..pb::Resource::default()
        };
        let wrapped = unwrap(Any {
            type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
            value: wrapper.encode_to_vec(),
        });
        assert_eq!((&*wrapped.name, &*wrapped.version), ("outer", "3"));
        assert_eq!(wrapped.body, Some(body));
    }

    #[test]
    fn a_refusal_says_invalid_argument_in_both_variants() {
        let request = Request {
            nonce: "7".into(),
            refused: Some("Cluster shop: lb_policy".into()),
            ..Request::of(Kind::Cluster)
        };
        let delta = pb::DeltaDiscoveryRequest::from(request.clone());
        let sotw = pb::DiscoveryRequest::from(request);
        for detail in [delta.error_detail, sotw.error_detail] {
            let detail = detail.unwrap();
            assert_eq!(detail.code, 3);
            assert!(detail.message.contains("lb_policy"));
        }
        assert_eq!((&*delta.response_nonce, &*sotw.response_nonce), ("7", "7"));
    }
}
