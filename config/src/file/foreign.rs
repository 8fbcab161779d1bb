//! Documents of Kubernetes kinds: which are read, and what is said of the others.

use crate::raw::read::Reader;
use crate::yaml::{Kind, Mark, Node};

/// What a document is.
pub(super) enum Recognised {
    /// Weir's own.
    Weir,
    DestinationRule,
    AuthorizationPolicy,
    PeerAuthentication,
    /// Of a kind that is not read, which was said.
    Refused,
}

/// A kind of Istio's that is read.
struct Kinds {
    name: &'static str,
    group: &'static str,
    /// The fields are the same in all of them.
    versions: &'static [&'static str],
    is: fn() -> Recognised,
}

const KINDS: [Kinds; 3] = [
    Kinds {
        name: "DestinationRule",
        group: "networking.istio.io",
        versions: &["v1alpha3", "v1beta1", "v1"],
        is: || Recognised::DestinationRule,
    },
    Kinds {
        name: "AuthorizationPolicy",
        group: "security.istio.io",
        versions: &["v1beta1", "v1"],
        is: || Recognised::AuthorizationPolicy,
    },
    Kinds {
        name: "PeerAuthentication",
        group: "security.istio.io",
        versions: &["v1beta1", "v1"],
        is: || Recognised::PeerAuthentication,
    },
];

/// Looks at `apiVersion` and `kind`. A document that names a kind Weir does not read is none of ours, and saying that
/// helps more than its unknown keys would.
pub(super) fn recognise(node: &Node, reader: &mut Reader<'_>) -> Recognised {
    let (version, kind) = (text(node, "apiVersion"), text(node, "kind"));
    let Some((_, mark)) = kind.or(version) else {
        return Recognised::Weir;
    };
    let named = |part: Option<(&str, _)>| part.map_or("?", |(text, _)| text).to_owned();
    let (kind, version) = (named(kind), named(version));
    let known = KINDS.iter().find(|known| known.name == kind);
    let of_group = known.and_then(|known| {
        let (group, version) = version.split_once('/')?;
        (group == known.group).then_some((known, version))
    });
    if let Some((known, version)) = of_group {
        if known.versions.contains(&version) {
            return (known.is)();
        }
        let message = format!("{kind} of the version {version:?} is not read");
        let help = format!("known here: {}", known.versions.join(", "));
        reader.error(mark, message, Some(help));
        return Recognised::Refused;
    }
    let message = format!("a document of kind {kind:?} ({version}) is not read by this version");
    let help = match known {
        Some(known) => format!("its apiVersion is {}/v1", known.group),
        None => "of Kubernetes kinds, DestinationRule, AuthorizationPolicy and PeerAuthentication are read; write listeners, services and routes as Weir's own document, where the fields of a route have the same names as in HTTPRoute".to_owned(),
    };
    reader.error(mark, message, Some(help));
    Recognised::Refused
}

fn text<'n>(node: &'n Node, key: &str) -> Option<(&'n str, Mark)> {
    let value = node.get(key)?;
    match &value.kind {
        Kind::Scalar(text) => Some((text.as_str(), value.mark)),
        _ => None,
    }
}
