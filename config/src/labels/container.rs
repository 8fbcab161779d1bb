//! A container as discovery sees it, without any type of an engine's API.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;

use crate::diagnostic::Place;
use crate::model::Source;

/// One container, or one task of a Swarm service with the service's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The full id.
    pub id: String,
    /// Without a slash in front.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970.
    pub created: u64,
    /// Seconds since 1970: from when on it holds what its labels claim. A Swarm service's for all of its tasks, which come
    /// and go; else `created`.
    pub since: u64,
    pub state: ContainerState,
    /// By the network's name.
    pub addresses: BTreeMap<String, IpAddr>,
    /// TCP ports that the image or the container exposes.
    pub exposed: Vec<u16>,
    /// The operator's choice for containers in several networks.
    pub default_network: Option<String>,
}

/// What the engine says of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// `health` is `None` without a HEALTHCHECK.
    Running {
        health: Option<Health>,
    },
    Paused,
    /// The machine it runs on is not heard of any more.
    NodeDown,
    /// It was told to stop and may still answer.
    Stopping,
}

/// The state of a HEALTHCHECK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Starting,
    Healthy,
    Unhealthy,
}

impl Container {
    /// The Compose project, if any.
    #[must_use]
    pub fn compose_project(&self) -> Option<&str> {
        self.label("com.docker.compose.project")
    }

    /// The Compose service, if any.
    #[must_use]
    pub fn compose_service(&self) -> Option<&str> {
        self.label("com.docker.compose.service")
    }

    /// The Swarm service, if any.
    #[must_use]
    pub fn swarm_service(&self) -> Option<&str> {
        self.label("com.docker.swarm.service.name")
    }

    /// The Swarm stack, if any.
    #[must_use]
    pub fn stack(&self) -> Option<&str> {
        self.label("com.docker.stack.namespace")
    }

    /// The first 12 characters of the id, as the engine's own tools show it.
    #[must_use]
    pub fn short_id(&self) -> &str {
        self.id
            .char_indices()
            .nth(12)
            .map_or(&self.id, |(end, _)| &self.id[..end])
    }

    /// The container as a source; an empty label is the container as a whole.
    #[must_use]
    pub fn place(&self, label: &str) -> Place {
        Place::of(Source::Label {
            container: Arc::from(self.name.as_str()),
            id: Arc::from(self.short_id()),
            label: Arc::from(label),
        })
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// What became of a container, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerReport {
    pub container: String,
    /// The first 12 characters.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Whether it is an endpoint of its service, ready or not.
    pub included: bool,
    /// In words: what it waits for, or why it is left out.
    pub reason: String,
}
