//! The mesh's authority and its tokens.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/mesh`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshInfo {
    pub trust_domain: String,
    /// The services that are in it, by name.
    pub services: Vec<MeshService>,
}

/// A service that is in the mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshService {
    pub name: String,
    /// `strict` or `permissive`, as it is in force; `off` where a policy takes it out of the mesh.
    pub mode: String,
    /// `http` or `tcp`.
    pub protocol: String,
    /// Where its sidecars take connections.
    pub port: u16,
    pub endpoints: usize,
    /// Those of its sidecars that follow this control plane now.
    pub sidecars: usize,
    /// Policies that say who may call it, those for every service included.
    pub policies: usize,
    /// Those of them by which somebody may be refused: neither for the log nor an audit.
    pub enforced: usize,
    /// Nobody who is in the mesh is refused: no policy that is enforced is for it.
    pub open: bool,
}

/// `GET /api/v1/mesh/authority`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityInfo {
    pub trust_domain: String,
    /// Whether it is given as files rather than made in the state directory.
    pub given: bool,
    /// Why files that changed are not in force.
    pub problem: Option<String>,
    /// When the certificate that signs ends.
    pub not_after: String,
    /// Those that workloads trust.
    pub roots: Vec<AuthorityRoot>,
    /// Certificates of workloads that hold now.
    pub certificates: usize,
    /// How many of those are not written down, because the disk takes nothing.
    pub unwritten: usize,
    /// Until when others may hold that are not known, as records were lost: a rotation waits for those, too.
    pub unknown_until: Option<String>,
    pub rotation: RotationInfo,
}

/// A root that workloads trust.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityRoot {
    /// SHA-256 in hexadecimal.
    pub fingerprint: String,
    /// Whether certificates are signed by it, or below it.
    pub signs: bool,
    pub not_before: String,
    pub not_after: String,
    /// The certificate.
    pub pem: String,
}

/// How the replacing of a root stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RotationInfo {
    /// `steady`, `spreading` (the new root is trusted, the old one signs) or `retiring` (the new one signs, the old one is
    /// trusted).
    pub phase: String,
    pub since: Option<String>,
    /// How the fingerprint of the root begins that comes or goes.
    pub other: Option<String>,
    /// When the step under way is over at the latest.
    pub due: Option<String>,
    /// Certificates that it waits for.
    pub awaited: usize,
    /// Whose they are.
    pub services: Vec<String>,
}

/// `POST /api/v1/mesh/rotation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotationRequest {
    pub step: RotationStep,
    /// Take the step although somebody is not ready for it.
    #[serde(default)]
    pub force: bool,
    #[serde(default)]
    pub by: Option<String>,
}

/// Which way a rotation is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RotationStep {
    /// A new root is made and trusted.
    Start,
    /// The next step, now.
    Next,
    /// Back to the root before.
    Abort,
}

/// `GET /api/v1/mesh/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshTokens {
    pub tokens: Vec<MeshToken>,
}

/// A token without what makes it good for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshToken {
    pub id: String,
    pub service: String,
    /// `ready`, `used` or `expired`.
    pub state: String,
    pub by: String,
    pub created: String,
    pub expires: String,
    pub used: Option<String>,
    /// The address that used it.
    pub used_from: Option<String>,
}

/// `POST /api/v1/mesh/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TokenRequest {
    pub service: String,
    /// How long it is good, as in `1h`. Default 1h.
    #[serde(default)]
    pub ttl: Option<String>,
    #[serde(default)]
    pub by: Option<String>,
}

/// What that answers. The text is told this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewToken {
    pub text: String,
    #[serde(flatten)]
    pub token: MeshToken,
}
