//! What a file says of the mesh.

use std::path::PathBuf;
use std::time::Duration;

use super::object::object;
use super::{At, Authorization};

object! {
    /// The mesh: who its workloads are, and what certifies it.
    Mesh = "mesh" {
        /// Whose identities these are, as in spiffe://TRUST-DOMAIN/svc/shop. Default weir.local.
        trust_domain: At<String> = "trustDomain",
        /// The authority's certificate and key as files. Default: one is made in the state directory.
        ca: MeshCa = "ca",
        /// How long a workload's certificate lives, 1m to 2160h (90 days). Default 24h.
        leaf_lifetime: At<Duration> = "leafLifetime",
        /// DNS names and IP addresses in the control plane's own certificate. Default: this machine's name, localhost, 127.0.0.1, ::1.
        names: Vec<At<String>> = "names",
        /// The service that the proxy of `weir run` is in the mesh: who calls, where it passes requests on. Default ingress.
        edge: At<String> = "edge",
        /// Who may call which service, or may not.
        authorization: Vec<Authorization> = "authorization",
    }
}

object! {
    /// An authority given as files.
    MeshCa = "mesh.ca" {
        /// Its certificate in PEM, with those between it and the root after it.
        #[schemars(required)]
        cert: At<PathBuf> = "cert",
        /// Its key in PEM.
        #[schemars(required)]
        key: At<PathBuf> = "key",
        /// What workloads trust, in PEM: the root above an intermediate, or several while one replaces another. Default: the
        /// certificate itself, which is a root then.
        root: At<PathBuf> = "root",
    }
}

impl Mesh {
    /// Whether it says who may call, and nothing else: any file may.
    #[must_use]
    pub fn is_authorization_alone(&self) -> bool {
        let Self {
            meta,
            trust_domain,
            ca,
            leaf_lifetime,
            names,
            edge,
            authorization,
        } = self;
        let alone = trust_domain.is_none()
            && ca.is_none()
            && leaf_lifetime.is_none()
            && names.is_none()
            && edge.is_none();
        alone && !meta.broken && authorization.is_some()
    }
}
