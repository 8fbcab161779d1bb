//! What the data plane's part of the admin API says, as types that the server writes and a client reads.
//!
//! Every reply carries `apiVersion`; lists stand under their plural name. Weights are numbers with at most one
//! decimal, shares are percentages, times are RFC 3339 in UTC.

mod explain;

pub use explain::{
    Candidate, Destination, Explanation, Group, Key, Leaf, Limit, Limits, Matched, Pick, Request,
    Sticky, Tried,
};

use serde::{Deserialize, Serialize};

/// The value of `apiVersion`.
pub const API_VERSION: &str = "weir/v1";

/// A list or an object with `apiVersion` beside its fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
            api_version: API_VERSION.to_owned(),
            body,
        }
    }
}

/// `GET /api/v1/listeners`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listeners {
    pub listeners: Vec<Listener>,
}

/// A bound address, or one that could not be bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    pub name: String,
    /// As it is bound: a port of 0 is replaced by the one that was given.
    pub bind: String,
    /// `http`
    pub protocol: String,
    /// `bound` or `failed`
    pub state: String,
    /// Why it is not bound, and what to check.
    pub error: Option<String>,
    /// Rules that are served on it.
    pub rules: usize,
    /// Open connections from clients.
    pub connections: u64,
    pub source: String,
}

/// `GET /api/v1/routes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Routes {
    pub routes: Vec<Route>,
}

/// A route with its rules in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    pub name: String,
    /// Empty: every host.
    pub hostnames: Vec<String>,
    /// Empty: every listener.
    pub listeners: Vec<String>,
    pub rules: Vec<Rule>,
    pub source: String,
}

/// One rule in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// `PathPrefix /api, header x-canary = "always"`; any of them.
    pub matches: Vec<String>,
    pub filters: Vec<String>,
    pub backends: Vec<Backend>,
    /// What keeps a client with a version: `cookie weir-bucket`.
    pub sticky: Option<String>,
    /// For all tries together, such as `15s`; absent for none.
    pub timeout: Option<String>,
    /// For one try.
    pub backend_timeout: Option<String>,
    /// `2 more on connect-failure, refused-stream`; absent for none.
    pub retry: Option<String>,
}

/// A destination as the rule names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    pub service: String,
    /// Absent: all versions, by the service's weights.
    pub version: Option<String>,
    pub weight: f64,
    /// Of the rule's requests, in percent.
    pub share: f64,
    /// Why it cannot be used: there is no such service, or no such version.
    pub problem: Option<String>,
}

/// `GET /api/v1/services`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    pub services: Vec<Service>,
}

/// A service and how its versions fare.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    pub name: String,
    pub versions: Vec<Version>,
    pub endpoints: usize,
    /// Endpoints that take requests now.
    pub available: usize,
    /// `LEAST_REQUEST`, `ROUND_ROBIN`, `RANDOM`
    pub balancer: String,
    /// `GET /healthz every 2s`, `TCP connect every 5s`; absent without a check of its own.
    pub health_check: Option<String>,
    pub source: String,
}

/// A version of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub name: String,
    pub weight: f64,
    /// Of the service's requests, in percent, where a route names no version.
    pub share: f64,
    pub endpoints: usize,
    pub available: usize,
    /// Counted since the process started.
    pub requests: u64,
}

/// `GET /api/v1/endpoints`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    pub endpoints: Vec<Endpoint>,
}

/// An endpoint and why it does or does not take requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    pub service: String,
    /// `3f2a9c01d2e4:8080` for a container, `shop@127.0.0.1:9001` for one from a file.
    pub id: String,
    pub address: String,
    pub version: String,
    /// Among the endpoints of its version.
    pub weight: f64,
    /// `ready`, `probing`, `failing`, `ejected`, `not-ready`, `draining`, `maintenance`
    pub state: String,
    /// What the last probe or the container engine said, or who took it out and why.
    pub reason: String,
    /// Since when it does or does not take requests.
    pub since: String,
    /// When it may come back by itself, for one that is ejected or taken out for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    pub available: bool,
    pub in_flight: u32,
    /// Requests sent to it since it was first seen.
    pub requests: u64,
    /// Those that ended with a 5xx or without an answer.
    pub errors: u64,
    /// How often it was ejected as an outlier since it was first seen.
    #[serde(default)]
    pub ejections: u64,
    pub source: String,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    pub error: ErrorBody,
}

/// What went wrong: `code` for programs, `message` for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    pub code: String,
    pub message: String,
}
