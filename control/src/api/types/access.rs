//! Who may call whom, as it is shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `GET /api/v1/access`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Whose identities names of services mean.
    pub trust_domain: String,
    pub policies: Vec<AccessPolicy>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessPolicy {
    pub name: String,
    /// The service that is called; `*` for each. `None`: it is a listener's.
    pub service: Option<String>,
    pub listener: Option<String>,
    /// `allow`, `deny` or `audit`.
    pub action: String,
    /// `enforce` or `log`.
    pub mode: String,
    /// As a configuration writes them.
    pub rules: Vec<Value>,
    pub source: String,
    /// The applied document that it is from.
    pub document: Option<String>,
}

/// `GET /api/v1/access/check`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessCheck {
    pub admitted: bool,
    /// The policy that settles it; `None` where none fits.
    pub by: Option<String>,
    /// In words.
    pub reason: String,
    /// What it would be if policies that are for the log were enforced, where there are any.
    pub logged: Option<bool>,
    /// The identity that is asked about; `None`: a caller without one.
    pub identity: Option<String>,
    /// The path in its canonical form.
    pub path: Option<String>,
    /// Every policy, with what came of it.
    pub tried: Vec<AccessTried>,
}

/// One policy, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessTried {
    pub policy: String,
    pub action: String,
    pub mode: String,
    pub source: String,
    pub fits: bool,
    /// For each rule why it does not fit; `None`: it does.
    pub rules: Vec<Option<String>>,
}
