//! What a client would not take.

use std::sync::Arc;

use weir_wire::Kind;

use crate::limits::MAX_REASON;

/// A version that was refused. `None`: the removal was.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) version: Option<String>,
    pub(super) reason: Arc<str>,
}

/// A resource that a client would not take, with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub kind: Kind,
    pub name: String,
    pub reason: Arc<str>,
}

impl std::fmt::Display for Refused {
    /// `cluster shop: unknown balancer`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            Kind::Cluster => "cluster",
            Kind::Endpoint => "endpoints",
            Kind::Secret => "secret",
            Kind::Listener => "listener",
            Kind::Route => "routes",
        };
        write!(f, "{kind} {}: {}", self.name, self.reason)
    }
}

/// A client's reason in one line of bounded length: it comes from another process.
pub(super) fn bounded(text: &str) -> Arc<str> {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_REASON)
        .collect();
    match line.trim() {
        "" => Arc::from("no reason given"),
        line => Arc::from(line),
    }
}
