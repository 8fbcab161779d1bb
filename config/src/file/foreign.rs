//! Documents of Kubernetes kinds: which are read, and what is said of the others.

use crate::raw::read::Reader;
use crate::yaml::{Kind, Mark, Node};

/// What a document is.
pub(super) enum Recognised {
    /// Weir's own.
    Weir,
    DestinationRule,
    /// Of a kind that is not read, which was said.
    Refused,
}

/// The group of Istio's traffic policies.
const ISTIO: &str = "networking.istio.io";
/// Its versions; the fields are the same in all of them.
const ISTIO_VERSIONS: [&str; 3] = ["v1alpha3", "v1beta1", "v1"];

/// Looks at `apiVersion` and `kind`. A document that names a kind Weir does not read is none of ours, and saying that
/// helps more than its unknown keys would.
pub(super) fn recognise(node: &Node, reader: &mut Reader<'_>) -> Recognised {
    let (version, kind) = (text(node, "apiVersion"), text(node, "kind"));
    let Some((_, mark)) = kind.or(version) else {
        return Recognised::Weir;
    };
    let named = |part: Option<(&str, _)>| part.map_or("?", |(text, _)| text).to_owned();
    let (kind, version) = (named(kind), named(version));
    let istio = version
        .split_once('/')
        .filter(|(group, _)| *group == ISTIO)
        .map(|(_, version)| version);
    if kind == "DestinationRule"
        && let Some(version) = istio
    {
        if ISTIO_VERSIONS.contains(&version) {
            return Recognised::DestinationRule;
        }
        let message = format!("DestinationRule of the version {version:?} is not read");
        let help = format!("known here: {}", ISTIO_VERSIONS.join(", "));
        reader.error(mark, message, Some(help));
        return Recognised::Refused;
    }
    let message = format!("a document of kind {kind:?} ({version}) is not read by this version");
    let help = match kind.as_str() {
        "DestinationRule" => format!("its apiVersion is {ISTIO}/v1"),
        _ => "of Kubernetes kinds, DestinationRule is read; write listeners, services and routes as Weir's own document, where the fields of a route have the same names as in HTTPRoute".to_owned(),
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
