//! Resources as the protocol moves them: a type, a name, a version and bytes.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use envoy_types::pb::google::protobuf::Any;
use sha2::{Digest, Sha256};

/// The types of resource that Weir serves and takes.
///
/// In the order in which additions are sent, so that nothing is named before it is there (make before break: clusters,
/// their endpoints, secrets, listeners, routes; the xDS protocol document, "Eventual consistency considerations").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Cluster,
    Endpoint,
    Secret,
    Listener,
    Route,
}

impl Kind {
    /// All of them, in the order of additions.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Secret,
        Self::Listener,
        Self::Route,
    ];

    /// What the protocol calls it.
    #[must_use]
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        }
    }

    /// The type of that URL, if it is one of these.
    #[must_use]
    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.type_url() == type_url)
    }
}

/// One resource. Its version is a digest of its bytes, so that equal content has an equal version on every control plane and
/// after every restart.
#[derive(Clone, PartialEq)]
pub struct Resource {
    pub kind: Kind,
    pub name: String,
    pub version: String,
    pub body: Any,
}

impl fmt::Debug for Resource {
    /// Without the body: it may hold a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("bytes", &self.body.value.len())
            .finish_non_exhaustive()
    }
}

impl Resource {
    /// A resource of these encoded bytes.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>, bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes);
        let version = digest.iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        Self {
            kind,
            name: name.into(),
            version,
            body: Any {
                type_url: kind.type_url().to_owned(),
                value: bytes,
            },
        }
    }
}

/// All that one node is to know, or does know: by type, then by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    by_kind: BTreeMap<Kind, BTreeMap<String, Arc<Resource>>>,
}

impl Resources {
    /// Puts one in, in the place of another of its type and name.
    pub fn insert(&mut self, resource: Arc<Resource>) {
        self.by_kind
            .entry(resource.kind)
            .or_default()
            .insert(resource.name.clone(), resource);
    }

    /// Takes one out.
    pub fn remove(&mut self, kind: Kind, name: &str) -> Option<Arc<Resource>> {
        self.by_kind.get_mut(&kind)?.remove(name)
    }

    /// The one of that type and name.
    #[must_use]
    pub fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Resource>> {
        self.by_kind.get(&kind)?.get(name)
    }

    /// Those of one type, in the order of their names.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_kind
            .get(&kind)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// All, in the order of additions.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_kind.values().flat_map(BTreeMap::values)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_kind.values().all(BTreeMap::is_empty)
    }
}
