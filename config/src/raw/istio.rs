//! Istio's documents about who may call: `AuthorizationPolicy` and `PeerAuthentication`, as they are written for
//! Kubernetes.
//!
//! Every field that Istio's reference has is known here. Those that Weir does not act on are [`Later`]: whatever they
//! hold is read, and the compiler refuses what a policy would mean without them.

use super::object::object;
use super::read::{Read, Reader};
use super::{AccessRule, At, Later, SubsetLabels};
use crate::yaml::Node;

object! {
    /// A document of kind AuthorizationPolicy.
    AuthorizationPolicy = "the AuthorizationPolicy" {
        api_version: At<String> = "apiVersion",
        kind: At<String> = "kind",
        metadata: PolicyMetadata = "metadata",
        spec: AuthorizationSpec = "spec",
        /// What a cluster says of it; nothing that anybody asks for.
        status: Later = "status",
    }
}

object! {
    /// What a policy says.
    AuthorizationSpec = "the spec of an AuthorizationPolicy" {
        selector: Selector = "selector",
        target_ref: Later = "targetRef",
        target_refs: Later = "targetRefs",
        rules: Vec<AccessRule> = "rules",
        action: At<String> = "action",
        provider: Later = "provider",
    }
}

object! {
    /// A document of kind PeerAuthentication.
    PeerAuthentication = "the PeerAuthentication" {
        api_version: At<String> = "apiVersion",
        kind: At<String> = "kind",
        metadata: PolicyMetadata = "metadata",
        spec: PeerSpec = "spec",
        status: Later = "status",
    }
}

object! {
    /// What is asked of peers.
    PeerSpec = "the spec of a PeerAuthentication" {
        selector: Selector = "selector",
        mtls: MutualTls = "mtls",
        port_level_mtls: PortModes = "portLevelMtls",
    }
}

object! {
    /// Whether peers prove who they are.
    MutualTls = "mtls" {
        mode: At<String> = "mode",
    }
}

object! {
    /// Which workloads are meant.
    Selector = "selector" {
        match_labels: SubsetLabels = "matchLabels",
    }
}

/// What is asked on each port.
#[derive(Debug, Clone, PartialEq, Default, schemars::JsonSchema)]
pub struct PortModes(pub Vec<(At<String>, MutualTls)>);

impl Read for PortModes {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut modes = Vec::new();
        for (key, value) in reader.mapping(node, "portLevelMtls")? {
            let port = At::new(key.text.clone(), reader.place(key.mark));
            modes.extend(MutualTls::read(value, reader).map(|mode| (port, mode)));
        }
        Some(Self(modes))
    }
}

/// Of all that is known about a document, its name and whether it is to be tried out: the rest is the cluster's
/// book-keeping.
#[derive(Debug, Clone, PartialEq, Default, schemars::JsonSchema)]
pub struct PolicyMetadata {
    pub name: Option<At<String>>,
    /// `istio.io/dry-run`.
    pub dry_run: Option<At<bool>>,
}

impl Read for PolicyMetadata {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.mapping(node, "metadata")?;
        let name = node.get("name").and_then(|name| At::read(name, reader));
        let annotations = node.get("annotations");
        let dry_run = annotations.and_then(|all| all.get("istio.io/dry-run"));
        Some(Self {
            name,
            dry_run: dry_run.and_then(|value| At::read(value, reader)),
        })
    }
}
