//! `GET /api/v1/edges`: who calls whom.

use serde::{Deserialize, Serialize};

/// By client, then server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edges {
    pub edges: Vec<Edge>,
}

/// What one service's proxies sent to another, as they report it every few seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// The service, or the proxy where it is beside none.
    pub client: String,
    pub server: String,
    /// Who the client proves to be; `None`: nobody.
    pub client_identity: Option<String>,
    /// Whom the server must prove to be; `None`: nobody in particular.
    pub server_identity: Option<String>,
    pub security: Security,
    /// Since the proxies connected.
    pub requests: u64,
    /// In the last report.
    pub requests_per_second: f64,
    /// Percent of the last report that did not fail; `None`: there was nothing in it.
    pub success_percent: Option<f64>,
    /// Upper bound of the 99th percentile of the last report, in milliseconds; `None`: not told, or over ten seconds.
    pub p99_ms: Option<f64>,
}

/// How requests go over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// All of them over mTLS between identities.
    Mtls,
    /// Some of them, as while a service joins the mesh.
    Mixed,
    /// None.
    Plain,
}

impl Security {
    /// As tables write it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Mtls => "mTLS",
            Self::Mixed => "mixed",
            Self::Plain => "plain",
        }
    }
}
