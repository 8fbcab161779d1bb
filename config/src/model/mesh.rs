//! The mesh: which services are in it, and how their sidecars are met.
//!
//! The model says *that* a service is in the mesh. Which certificates that takes is decided where a proxy has an identity
//! ([`crate::model::ListenerTls`], [`crate::model::BackendTls`]): a private key never leaves its workload.

use std::net::SocketAddr;

/// Where sidecars take connections from each other, unless told otherwise.
pub const INBOUND_PORT: u16 = 15006;

/// How a service is met in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ServiceMesh {
    pub mode: MeshMode,
    /// Where the sidecars beside its endpoints take connections. Never 0.
    pub port: u16,
    pub protocol: MeshProtocol,
    /// The port on which a caller's sidecar takes connections for it, on loopback. Never 0; with
    /// [`MeshProtocol::Tcp`] only: a request names its service, a connection does not.
    pub listen: Option<u16>,
}

impl Default for ServiceMesh {
    fn default() -> Self {
        Self {
            mode: MeshMode::default(),
            port: INBOUND_PORT,
            protocol: MeshProtocol::default(),
            listen: None,
        }
    }
}

/// Who may connect to a service's sidecars (Istio, PeerAuthentication).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum MeshMode {
    /// Those with an identity of the mesh.
    #[default]
    Strict,
    /// Those, and whoever speaks in plain text.
    Permissive,
}

impl MeshMode {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Permissive => "permissive",
        }
    }
}

/// What a service in the mesh is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MeshProtocol {
    /// Requests, each judged and routed by itself.
    #[default]
    Http,
    /// Connections.
    Tcp,
}

impl MeshProtocol {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
        }
    }
}

/// How a listener takes connections that were not made to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// It is bound, and connections redirected to it go to the listener that is [`Capture::For`] their destination.
    /// Those for nobody are passed on to where they were going: to these always, to others if `pass_unknown`.
    Redirected {
        pass: Vec<SocketAddr>,
        pass_unknown: bool,
    },
    /// It is bound, and the kernel may hand it connections to other ports as they are (nft, `tproxy`): they are its own.
    HandedOver,
    /// It is not bound: it has those connections of a redirected listener that were going to one of these.
    For(Vec<SocketAddr>),
}
