//! What may be asked of an endpoint of the data plane while it runs, and what it answers.
//!
//! The control plane keeps nothing of it and changes no generation by it: it checks who asks, hands the wish to
//! whoever runs the data plane ([`crate::ControlOptions::operate`]), and records what came of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::api::types::EndpointAction;

/// Carries out a wish. Called on the admin server's runtime, so it must not block for long.
pub type EndpointOps =
    Arc<dyn Fn(&EndpointOperation) -> Result<EndpointOutcome, EndpointRefused> + Send + Sync>;

/// A wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointOperation {
    pub service: String,
    pub id: String,
    pub action: EndpointAction,
    /// When it ends by itself; `None`: when someone says so.
    pub time: Option<Duration>,
    /// Why, and who asks: `disk swap, by cli`.
    pub by: String,
    /// Ejects even the last one that takes requests.
    pub force: bool,
}

/// What came of it: how the endpoint stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointOutcome {
    /// `false`: there was nothing to end.
    pub changed: bool,
    pub state: String,
    pub reason: String,
    pub since: SystemTime,
    pub until: Option<SystemTime>,
    pub available: bool,
    pub in_flight: u32,
    /// Endpoints of the service that take requests now.
    pub left: usize,
    /// Too few are left, so that those that are ejected serve too.
    pub panic: bool,
}

/// Why nothing was done. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointRefused {
    /// There is no such service or endpoint.
    #[error("{0}")]
    Unknown(String),
    /// It would do harm.
    #[error("{0}")]
    Harmful(String),
    #[error("there is no data plane here to ask")]
    Unattached,
}
