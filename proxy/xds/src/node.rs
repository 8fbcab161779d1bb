//! Who we are.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::config::core::v3::{Locality as WireLocality, Node};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use weir_config::model::Locality;

/// What we call ourselves: a control plane of Weir tells one of its own by it.
const USER_AGENT: &str = "weir";

/// The node as the sidecar of a service: what a control plane of Weir tells it is what such sidecars need. `calls`: the services
/// that its workload calls; `None`: any.
#[must_use]
pub fn beside(node: Node, service: &str, calls: Option<&[String]>) -> Node {
    let text = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    let mut fields: HashMap<String, Value> = HashMap::new();
    fields.insert("weir.sidecar".to_owned(), text(service));
    if let Some(calls) = calls {
        let values = calls.iter().map(|name| text(name)).collect();
        let list = Kind::ListValue(ListValue { values });
        fields.insert("weir.calls".to_owned(), Value { kind: Some(list) });
    }
    Node {
        metadata: Some(Struct { fields }),
        ..node
    }
}

/// The node of that name and place, and of this version of Weir.
#[must_use]
pub fn node(name: &str, locality: Option<&Locality>, version: &str) -> Node {
    // A part that is not known is written as `*`, and on the wire as nothing.
    let text = |part: &str| part.trim_start_matches('*').to_owned();
    Node {
        id: name.to_owned(),
        locality: locality.map(|at| WireLocality {
            region: text(&at.region),
            zone: text(&at.zone),
            sub_zone: text(&at.subzone),
        }),
        user_agent_name: USER_AGENT.to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(version.to_owned())),
        ..Node::default()
    }
}
