//! Istio's `DestinationRule` documents, as they are written for Kubernetes.
//!
//! Every field that Istio's reference has is known here. Those that Weir does not act on are [`Later`]: whatever they
//! hold is read, and the compiler names them.

use std::path::PathBuf;

use super::object::object;
use super::read::{Read, Reader};
use super::{At, ConnectionPool, Later, LoadBalancer, OutlierDetection, RetryBudget};
use crate::yaml::Node;

object! {
    /// A document of kind DestinationRule.
    DestinationRule = "the DestinationRule" {
        api_version: At<String> = "apiVersion",
        kind: At<String> = "kind",
        metadata: Metadata = "metadata",
        spec: Spec = "spec",
        /// What a cluster says of it; nothing that anybody asks for.
        status: Later = "status",
    }
}

/// Of all that is known about a document, its name: the rest is the cluster's book-keeping.
#[derive(Debug, Clone, PartialEq, Default, schemars::JsonSchema)]
pub struct Metadata {
    pub name: Option<At<String>>,
}

impl Read for Metadata {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        reader.mapping(node, "metadata")?;
        let name = node.get("name").and_then(|name| At::read(name, reader));
        Some(Self { name })
    }
}

object! {
    /// What a rule says.
    Spec = "the spec of a DestinationRule" {
        host: At<String> = "host",
        traffic_policy: TrafficPolicy = "trafficPolicy",
        subsets: Vec<Subset> = "subsets",
        export_to: Later = "exportTo",
        workload_selector: Later = "workloadSelector",
    }
}

object! {
    /// How a host is called.
    TrafficPolicy = "trafficPolicy" {
        load_balancer: LoadBalancer = "loadBalancer",
        connection_pool: ConnectionPool = "connectionPool",
        outlier_detection: OutlierDetection = "outlierDetection",
        retry_budget: RetryBudget = "retryBudget",
        tls: ClientTls = "tls",
        port_level_settings: Vec<PortPolicy> = "portLevelSettings",
        tunnel: Later = "tunnel",
        proxy_protocol: Later = "proxyProtocol",
    }
}

object! {
    /// How one port of a host is called.
    PortPolicy = "portLevelSettings" {
        port: PortSelector = "port",
        load_balancer: LoadBalancer = "loadBalancer",
        connection_pool: ConnectionPool = "connectionPool",
        outlier_detection: OutlierDetection = "outlierDetection",
        tls: ClientTls = "tls",
    }
}

object! {
    /// A port by its number.
    PortSelector = "port" {
        number: At<u16> = "number",
    }
}

object! {
    /// TLS towards the host.
    ClientTls = "tls" {
        mode: At<String> = "mode",
        client_certificate: At<PathBuf> = "clientCertificate",
        private_key: At<PathBuf> = "privateKey",
        ca_certificates: At<PathBuf> = "caCertificates",
        ca_crl: Later = "caCrl",
        credential_name: Later = "credentialName",
        subject_alt_names: Vec<At<String>> = "subjectAltNames",
        sni: At<String> = "sni",
        insecure_skip_verify: At<bool> = "insecureSkipVerify",
    }
}

object! {
    /// Some of a host's endpoints.
    Subset = "a subset" {
        name: At<String> = "name",
        labels: SubsetLabels = "labels",
        traffic_policy: Later = "trafficPolicy",
    }
}

/// The labels that the endpoints of a subset have, each with the place of its key.
#[derive(Debug, Clone, PartialEq, Default, schemars::JsonSchema)]
pub struct SubsetLabels(pub Vec<(At<String>, At<String>)>);

impl Read for SubsetLabels {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut labels = Vec::new();
        for (key, value) in reader.mapping(node, "the labels of a subset")? {
            let name = At::new(key.text.clone(), reader.place(key.mark));
            labels.extend(At::read(value, reader).map(|value| (name, value)));
        }
        Some(Self(labels))
    }
}
