//! What the admin API says and takes, as types that the server writes and a client reads.
//!
//! Every reply carries `apiVersion`; lists stand under their plural name. Percentages are numbers with at
//! most one decimal; times are RFC 3339 in UTC.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod access;
mod edge;
mod history;
mod mesh;
mod proxy;

pub use access::{Access, AccessCheck, AccessPolicy, AccessTried};
pub use edge::{Edge, Edges, Security};
pub use history::{
    ApplyRequest, ConfigChange, ConfigOutcome, DocumentInfo, DocumentList, EndpointNote,
    EndpointNotes, FollowerInfo, Following, Generation, GenerationDetail, Generations, PinInfo,
    RollbackRequest, UndoRequest,
};
pub use mesh::{
    AuthorityInfo, AuthorityRoot, MeshInfo, MeshService, MeshToken, MeshTokens, NewToken,
    RotationInfo, RotationRequest, RotationStep, TokenRequest,
};
pub use proxy::{Proxies, Proxy, ProxyCounts, ProxyLoad, ProxyState};

/// The value of `apiVersion`.
pub const API_VERSION: &str = "weir/v1";

/// A list or an object with `apiVersion` beside its fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reply<T> {
    pub api_version: String,
    #[serde(flatten)]
    pub body: T,
}

impl<T> Reply<T> {
    /// Wraps a body.
    pub fn new(body: T) -> Self {
        Self {
            api_version: API_VERSION.into(),
            body,
        }
    }
}

/// `GET /api/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub version: String,
    pub started: String,
    pub uptime_seconds: u64,
    /// The newest published generation; 0 before the first.
    pub generation: u64,
    /// The generation that the data plane reported last.
    pub applied_generation: u64,
    /// What the data plane could not apply of it, such as a taken port.
    pub apply_errors: Vec<String>,
    pub ready: bool,
    pub ready_reason: String,
    pub config: ConfigStatus,
    pub providers: Vec<Provider>,
    /// Proxies of their own, by state.
    pub proxies: ProxyCounts,
    /// Warnings in all diagnostics.
    pub warnings: usize,
    /// Services whose weights are set by hand.
    pub overrides: usize,
    /// Documents that were applied through the API.
    #[serde(default)]
    pub documents: usize,
    /// The generation that is laid over the sources by a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<PinInfo>,
    /// Where history, overrides and events are kept; `None`: nowhere, they last until a restart.
    pub state_dir: Option<String>,
    /// Why what is decided or the history is not kept, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_problem: Option<String>,
}

/// Whether what is written is what runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    pub state: ConfigState,
    pub since: String,
    pub errors: usize,
    pub warnings: usize,
    pub diagnostics: Vec<Problem>,
    /// The file diagnostics as `weir check` prints them.
    pub rendered: String,
}

/// The state of the configuration as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConfigState {
    /// All of it runs.
    Ok,
    /// Something was reported and left out; the rest runs.
    Partial,
    /// A file was refused; what ran before goes on.
    Rejected,
}

/// One source of configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    /// `docker`, `file`.
    pub name: String,
    pub state: ProviderState,
    pub since: String,
    /// Why it is not up, and what to check next.
    pub error: Option<String>,
    /// `unix:///var/run/docker.sock, Engine 20.10.24, API 1.41`.
    pub detail: String,
}

/// How a source of configuration is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProviderState {
    /// Not heard from yet.
    Connecting,
    Up,
    /// It answers, and the answer is not believed: what is known is kept.
    Holding,
    /// Unreachable or refused; what is known is kept.
    Down,
}

/// `GET /api/v1/certs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certs {
    pub certs: Vec<Cert>,
}

/// A certificate in force. Its key is never told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cert {
    /// The file of the certificate, or `self-signed`.
    pub name: String,
    /// What it is for: DNS names and addresses.
    pub names: Vec<String>,
    /// Listeners that show it.
    pub listeners: Vec<String>,
    /// Services whose endpoints are shown it.
    pub services: Vec<String>,
    pub not_before: String,
    pub not_after: String,
    /// Whole days; negative once it has expired.
    pub days_left: i64,
    pub state: CertState,
    /// Why what its files hold now is not in force.
    pub problem: Option<String>,
    pub issuer: String,
    pub serial: String,
    /// SHA-256, hexadecimal.
    pub fingerprint: String,
    /// Whether an OCSP answer is stapled.
    pub ocsp: bool,
    /// Where the configuration names it.
    pub source: String,
}

/// Whether clients take a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CertState {
    Valid,
    /// Less than 14 days and less than a third of its life are left.
    Expiring,
    Expired,
    NotYetValid,
}

/// `GET /api/v1/discovery`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    pub providers: Vec<Provider>,
    pub containers: Vec<Container>,
    pub problems: Vec<Problem>,
}

/// A container that was seen, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    pub container: String,
    pub id: String,
    pub service: Option<String>,
    pub version: Option<String>,
    pub address: Option<String>,
    pub included: bool,
    /// Why not, or its state: `running`, `no label weir.enable=true`, `missing from the engine's answer, held`.
    pub reason: String,
}

/// Something wrong in what was written, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// `error` or `warning`.
    pub severity: String,
    pub message: String,
    pub source: String,
    pub help: Option<String>,
    /// The container's name, where a label is at fault.
    pub container: Option<String>,
    pub label: Option<String>,
}

/// `GET /api/v1/rollouts`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollouts {
    pub rollouts: Vec<Rollout>,
}

/// One service's split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    pub service: String,
    /// Where the configured weights were read: `service shop`, `route web, rule 2`.
    pub origin: String,
    #[serde(rename = "override")]
    pub overridden: Option<OverrideInfo>,
    pub versions: Vec<VersionSplit>,
    /// Requests counted for `observed`.
    pub observed_requests: u64,
    /// From when they are counted: the last change of this split, or the start.
    pub observed_since: String,
}

/// Who stepped in, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OverrideInfo {
    pub by: String,
    pub since: String,
}

/// One version's part of a split, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionSplit {
    pub version: String,
    /// By labels or file.
    pub configured: f64,
    /// By hand, as it was written.
    #[serde(rename = "override")]
    pub told: Option<f64>,
    /// In force.
    pub effective: f64,
    /// Of the requests since the last change; `None` before the first.
    pub observed: Option<f64>,
    pub endpoints: usize,
    /// Endpoints that their source lets take requests.
    pub admitted: usize,
}

/// `POST /api/v1/canary/{service}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Version to weight, as text: `25`, `0.5`, `25%`.
    pub weights: BTreeMap<String, String>,
    /// Who asks, for the record: `cli`. Default `api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `POST /api/v1/canary/{service}/clear`; the body may also be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The answer to both: 200 when the change is in force, 202 when the data plane has not confirmed it in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryChange {
    pub generation: u64,
    pub in_force: bool,
    /// `set shop: canary 5% -> 25%, stable 95% -> 75%`.
    pub message: String,
    pub warnings: Vec<String>,
    pub rollout: Option<Rollout>,
}

/// `POST /api/v1/endpoints/{service}/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointRequest {
    pub action: EndpointAction,
    /// When it ends by itself: `10m`. Default: when someone says so. Not with `ready` and `uneject`.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Why, for the record and for whoever looks at the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ejects even the last one that takes requests. Default `false`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Who asks, for the record: `cli`. Default `api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What can be asked of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointAction {
    /// No new requests; those in flight finish.
    Drain,
    /// As `drain`, and its health checks do not count meanwhile.
    Maint,
    /// Ends both.
    Ready,
    /// Out as an outlier: nothing but in panic.
    Eject,
    /// Ends an ejection, whoever made it.
    Uneject,
}

impl EndpointAction {
    /// Whether it takes back what another one did.
    #[must_use]
    pub fn ends_something(self) -> bool {
        matches!(self, Self::Ready | Self::Uneject)
    }
}

impl std::fmt::Display for EndpointAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Ready => "ready",
            Self::Eject => "eject",
            Self::Uneject => "uneject",
        })
    }
}

/// The answer: how the endpoint stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointChange {
    pub service: String,
    pub id: String,
    pub action: EndpointAction,
    /// `false`: there was nothing to end.
    pub changed: bool,
    /// `drain shop@127.0.0.1:9001 for 10m`
    pub message: String,
    pub warnings: Vec<String>,
    /// `ready`, `draining`, `maintenance`, `ejected`, …
    pub state: String,
    pub reason: String,
    pub since: String,
    /// When it ends by itself.
    pub until: Option<String>,
    pub available: bool,
    pub in_flight: u32,
}

/// `GET /api/v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Events {
    pub events: Vec<Event>,
}

/// Something that happened, in words with numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one; it starts again at 1 with the process.
    pub seq: u64,
    pub time: String,
    /// `canary`, `config`, `discovery`, `endpoint`, `generation`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `set shop: canary 5% -> 25%, stable 95% -> 75% by cli`
    pub text: String,
}

/// Any refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReply {
    pub error: ErrorBody,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// `unauthorized`, `forbidden`, `not_found`, `invalid`, `invalid_configuration`, `too_large`, `unavailable`, …
    pub code: String,
    pub message: String,
    /// With `invalid_configuration`: everything that is wrong with it, for a terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}
