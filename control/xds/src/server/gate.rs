//! Who may come in. The rules are the control plane's; here is what they are asked with, and how a refusal is told.

use std::collections::BTreeSet;

use tonic::Status;
use weir_config::model::SpiffeId;

/// What a client shows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// What it calls itself.
    pub node: &'a str,
    /// The names of its certificate, which was checked; `None`: it has none.
    pub certificate: Option<&'a [String]>,
    /// Who it is in the mesh, by its certificate; `None`: nobody, or there is no mesh.
    pub identity: Option<&'a SpiffeId>,
    /// The token that it sent.
    pub token: Option<&'a str>,
    /// The sidecar that it says it is.
    pub sidecar: Option<&'a Sidecar>,
}

/// A proxy beside one workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sidecar {
    /// The service of the workload.
    pub service: String,
    /// The services that the workload calls; `None`: any.
    pub calls: Option<BTreeSet<String>>,
}

/// A client that was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The name that it is known by from now on.
    pub name: String,
    /// The listeners that it may see; `None`: all.
    pub listeners: Option<BTreeSet<String>>,
    /// It is told what sidecars of a service are told, in place of listeners.
    pub sidecar: Option<Sidecar>,
    /// The service that it is a workload of, proved by an identity of the mesh.
    pub service: Option<String>,
}

/// Why a client was not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("no token was sent; send one as the metadata `authorization: Bearer TOKEN`")]
    NoToken,
    #[error(
        "the token is not that of node {0:?}; compare its SHA-256 with tokenSha256 under control.nodes"
    )]
    WrongToken(String),
    #[error("node {0:?} is not listed under control.nodes")]
    UnknownNode(String),
    #[error(
        "node {0:?} is not a name of its certificate; call it as the certificate's CN or a DNS name says"
    )]
    OtherName(String),
    #[error("the node has no name; set node.id")]
    NoName,
    #[error(
        "node {0:?} shows neither an identity of the mesh nor a token; get one with weir token create"
    )]
    NoIdentity(String),
    #[error("{0} is not the identity of a sidecar of {1}; start it with --service of its own")]
    OtherService(SpiffeId, String),
    #[error("{0} is no service's identity, so it names no node")]
    NoService(SpiffeId),
    #[error("its certificate has ended; connect again with the one that took its place")]
    Ended,
    #[error("the first request did not come in time")]
    Silent,
}

impl Refusal {
    /// The reason in one word, for counting.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken(_) => "wrong_token",
            Self::UnknownNode(_) => "unknown_node",
            Self::OtherName(_) => "other_name",
            Self::NoName => "no_name",
            Self::NoIdentity(_) => "no_identity",
            Self::NoService(_) => "no_service",
            Self::OtherService(..) => "other_service",
            Self::Ended => "ended_certificate",
            Self::Silent => "silent",
        }
    }

    pub(super) fn status(&self) -> Status {
        let text = self.to_string();
        match self {
            Self::NoToken | Self::WrongToken(_) | Self::NoIdentity(_) | Self::Ended => {
                Status::unauthenticated(text)
            }
            Self::UnknownNode(_)
            | Self::OtherName(_)
            | Self::OtherService(..)
            | Self::NoService(_) => Status::permission_denied(text),
            Self::NoName => Status::invalid_argument(text),
            Self::Silent => Status::deadline_exceeded(text),
        }
    }
}

/// The rules.
pub trait Gate: Send + Sync + 'static {
    /// Lets a client in, under its name.
    ///
    /// # Errors
    /// [`Refusal`].
    fn admit(&self, offered: &Offered<'_>) -> Result<Admitted, Refusal>;
}
