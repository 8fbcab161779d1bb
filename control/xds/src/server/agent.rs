//! What kind of client it is, by what it says of itself.

use std::collections::BTreeSet;
use std::fmt;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::google::protobuf::Value;
use envoy_types::pb::google::protobuf::value::Kind;

use super::gate::Sidecar;

/// Characters kept of what a client says of itself.
const MAX_TEXT: usize = 100;

/// Kinds of clients, which are told the same in different words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Agent {
    /// A proxy of Weir.
    Weir,
    /// A client of gRPC without a proxy, which asks for a service by the name of a listener.
    Grpc,
    /// Envoy, or anything else.
    Other,
}

impl Agent {
    /// The kind of a node. What it says of itself decides only how it is told what it may see.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let name = node.user_agent_name.to_ascii_lowercase();
        match name.as_str() {
            "weir" => Self::Weir,
            name if name.starts_with("grpc") => Self::Grpc,
            _ => Self::Other,
        }
    }
}

/// The sidecar that a node says it is: `weir.sidecar` and `weir.calls` of its metadata. Whether it may say so is the gate's.
pub(super) fn sidecar(node: &Node) -> Option<Sidecar> {
    let fields = &node.metadata.as_ref()?.fields;
    let service = text(fields.get("weir.sidecar")?)?;
    let calls = fields.get("weir.calls").and_then(list);
    Some(Sidecar {
        service: service.to_owned(),
        calls,
    })
}

fn text(value: &Value) -> Option<&str> {
    match value.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

fn list(value: &Value) -> Option<BTreeSet<String>> {
    match value.kind.as_ref()? {
        Kind::ListValue(list) => {
            let texts = list.values.iter().filter_map(text);
            Some(texts.map(str::to_owned).collect())
        }
        _ => None,
    }
}

/// A client's program and version, for people.
pub(super) fn describe(node: &Node) -> String {
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(text)) => text.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            let version = build.version.unwrap_or_default();
            format!(
                "{}.{}.{}",
                version.major_number, version.minor_number, version.patch
            )
        }
        None => String::new(),
    };
    let name = match node.user_agent_name.as_str() {
        "" => "unknown",
        name => name,
    };
    let text = format!("{name} {version}");
    let plain = text.trim().chars().filter(|c| !c.is_control());
    plain.take(MAX_TEXT).collect()
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weir => "weir",
            Self::Grpc => "grpc",
            Self::Other => "other",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_what_it_calls_itself() {
        for (name, agent) in [
            ("weir", Agent::Weir),
            ("gRPC Python", Agent::Grpc),
            ("grpc-go", Agent::Grpc),
            ("envoy", Agent::Other),
            ("", Agent::Other),
        ] {
            let node = Node {
                user_agent_name: name.into(),
                ..Node::default()
            };
            assert_eq!(Agent::of(&node), agent, "{name}");
        }
    }
}
