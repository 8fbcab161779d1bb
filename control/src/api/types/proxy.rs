//! `GET /api/v1/proxies`: who follows the published generations.

use serde::{Deserialize, Serialize};

/// Everyone that follows, the embedded proxy first, then by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxies {
    /// The newest published generation.
    pub generation: u64,
    pub proxies: Vec<Proxy>,
}

/// One proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    pub name: String,
    /// Whether it is the one in the control plane's own process.
    pub embedded: bool,
    /// Its program and version, as it says: `weir 0.1.0`, `envoy 1.36.2`. Empty where it is not connected.
    pub version: String,
    pub state: ProxyState,
    /// Why it refused, or why it is stale.
    pub reason: Option<String>,
    /// The newest generation that it has in force, of what it may see.
    pub generation: Option<u64>,
    /// Generations that it is behind.
    pub behind: u64,
    /// How long it has been behind, in milliseconds; 0 where it is not.
    pub lag_ms: u64,
    /// Since when it is connected; `None`: it is not, or is embedded.
    pub connected: Option<String>,
    /// Of one that is not connected: since when it is in this state.
    pub since: Option<String>,
    /// `delta` or `sotw`.
    pub protocol: Option<String>,
    pub peer: Option<String>,
    /// What it is not told because this kind of client has no words for it.
    pub left_out: Vec<String>,
    /// What it reported of its load, by service.
    pub load: Vec<ProxyLoad>,
}

/// How a proxy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProxyState {
    /// It has the newest generation.
    Synced,
    /// It is connected, and on its way to the newest generation.
    Syncing,
    /// It is not connected, and serves what it was last given.
    Stale,
    /// It would not take something; the rest is in force.
    Refused,
}

impl ProxyState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Synced, Self::Syncing, Self::Stale, Self::Refused];

    /// As tables and metrics write it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Syncing => "syncing",
            Self::Stale => "stale",
            Self::Refused => "refused",
        }
    }
}

/// Requests of one proxy to one service (or `service|version`), since it first reported them on this connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyLoad {
    pub service: String,
    pub requests: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Not sent to any endpoint.
    pub dropped: u64,
    pub in_flight: u64,
}

/// How many proxies are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProxyCounts {
    pub synced: usize,
    pub syncing: usize,
    pub stale: usize,
    pub refused: usize,
}

impl ProxyCounts {
    /// Counts them.
    #[must_use]
    pub fn of(proxies: &[Proxy]) -> Self {
        let count = |state| proxies.iter().filter(|proxy| proxy.state == state).count();
        Self {
            synced: count(ProxyState::Synced),
            syncing: count(ProxyState::Syncing),
            stale: count(ProxyState::Stale),
            refused: count(ProxyState::Refused),
        }
    }

    /// All of them together.
    #[must_use]
    pub fn total(self) -> usize {
        self.synced + self.syncing + self.stale + self.refused
    }
}
