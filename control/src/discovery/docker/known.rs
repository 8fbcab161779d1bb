//! What is known of an engine's containers; it outlives the connection to the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::models::{ContainerSummary, EventMessage};
use weir_config::labels::{self, Container, ContainerReport, ContainerState, LabelOptions};
use weir_config::settings::DockerSettings;
use weir_plan::{Hold, Seen};

use super::convert;
use super::services::{self, Services};
use crate::api::types;
use crate::discovery::engine::Detail;
use crate::discovery::engine::marks::{Effect, Marks};
use crate::watcher::Found;

/// The provider's name.
pub(super) const DOCKER: &str = "docker";

pub(super) struct Known {
    settings: DockerSettings,
    /// The beginning of this process's own container's id, when it runs in one.
    own_id: Option<String>,
    /// Containers of Swarm services are left to the Swarm provider.
    pub(super) beside_swarm: bool,
    pub(super) marks: Marks,
    hold: Hold,
    details: BTreeMap<String, Detail>,
    pub(super) services: Services,
    /// Listed last or held, by id.
    containers: BTreeMap<String, Container>,
    held: BTreeSet<String>,
}

/// A list, and what was asked along with it.
pub(super) struct Listed {
    /// With the labels of their services.
    pub(super) summaries: Vec<ContainerSummary>,
    pub(super) services: Services,
    pub(super) details: Vec<(String, Detail)>,
    /// [`Marks::now`] when it was asked for.
    pub(super) moment: u64,
}

/// The containers of which enough is known.
pub(super) struct Inspected {
    ids: BTreeSet<String>,
    traefik: bool,
}

impl Inspected {
    /// Those of a list that are opted in and have to be inspected.
    pub(super) fn missing(&self, listed: &[ContainerSummary]) -> Vec<String> {
        let enabled = |summary: &&ContainerSummary| {
            summary
                .labels
                .as_ref()
                .is_some_and(|all| all.keys().any(|name| labels::is_enable(name, self.traefik)))
        };
        let ids = listed
            .iter()
            .filter(enabled)
            .filter_map(|summary| summary.id.clone());
        ids.filter(|id| !self.ids.contains(id)).collect()
    }
}

/// What a list meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Containers that are missing and kept nevertheless.
    pub(super) held: usize,
    /// Containers that were held and are let go.
    pub(super) released: usize,
    /// The list was empty and is not believed.
    pub(super) empty: bool,
    /// When the next one is let go.
    pub(super) until: Option<Duration>,
}

impl Known {
    pub(super) fn new(
        settings: DockerSettings,
        own_id: Option<String>,
        beside_swarm: bool,
    ) -> Self {
        Self {
            settings,
            own_id,
            beside_swarm,
            marks: Marks::default(),
            hold: Hold::default(),
            details: BTreeMap::new(),
            services: Services::default(),
            containers: BTreeMap::new(),
            held: BTreeSet::new(),
        }
    }

    /// Takes an event.
    pub(super) fn on_event(&mut self, event: &EventMessage) -> Effect {
        let details = &self.details;
        self.marks.on_event(event, |id| {
            details
                .get(id)
                .and_then(|detail| detail.stop_signal.clone())
        })
    }

    /// What need not be inspected, for a question that is asked while this goes on. `doubtful_too` asks again for
    /// those marked as stopping: when they are listed nevertheless, their start may have been missed.
    pub(super) fn inspected(&self, doubtful_too: bool) -> Inspected {
        let sure = |id: &&String| !(doubtful_too && self.marks.is_stopping(id));
        Inspected {
            ids: self.details.keys().filter(sure).cloned().collect(),
            traefik: self.settings.traefik_labels,
        }
    }

    /// Takes a list; `now` counts from any fixed moment.
    pub(super) fn take(&mut self, now: Duration, listed: Listed) -> Taken {
        for (id, detail) in listed.details {
            if let Some(started) = detail.started_nanos {
                self.marks.saw_started(&id, started);
            }
            self.details.insert(id, detail);
        }
        self.services = listed.services;
        let own_networks = self.own_networks(&listed.summaries);
        let mut fresh = BTreeMap::new();
        let tasks_too = !self.beside_swarm;
        for summary in (listed.summaries.iter()).filter(|s| tasks_too || !services::is_task(s)) {
            let detail = summary.id.as_ref().and_then(|id| self.details.get(id));
            let network = self.network_for(summary, &own_networks);
            let allow_loopback = self.settings.allow_loopback_endpoints;
            let Some(container) = convert::container(summary, detail, network, allow_loopback)
            else {
                continue;
            };
            if self.marks.died_since(&container.id, listed.moment) {
                continue;
            }
            fresh.insert(container.id.clone(), container);
        }
        let traefik = self.settings.traefik_labels;
        let present: Vec<Seen> = fresh.values().filter_map(|c| seen(c, traefik)).collect();
        // One that is there and no longer opts in, as its service's labels may have it, is not missing.
        let left = fresh
            .values()
            .filter(|container| !opts_in(container, traefik));
        let mut explained = self.marks.stopping();
        explained.extend(left.map(|container| container.id.clone()));
        let blank = listed.summaries.is_empty();
        let decision = self
            .hold
            .observe(now, self.settings.hold, &present, blank, &explained);
        for id in &decision.keep {
            if let Some(container) = self.containers.remove(id) {
                fresh.insert(id.clone(), container);
            }
        }
        self.containers = fresh;
        let kept: BTreeSet<String> = self.containers.keys().cloned().collect();
        self.marks.retain(&kept, listed.moment);
        self.details.retain(|id, _| kept.contains(id));
        let taken = Taken {
            held: decision.keep.len(),
            released: decision.released.len(),
            empty: decision.empty_answer,
            until: decision.until,
        };
        self.held = decision.keep;
        taken
    }

    /// What the labels of all known containers say, with those on their way out as draining.
    pub(super) fn found(&self) -> Found {
        let containers: Vec<Container> = self
            .containers
            .values()
            .map(|container| {
                let mut container = container.clone();
                if self.marks.is_stopping(&container.id) {
                    container.state = ContainerState::Stopping;
                }
                container
            })
            .collect();
        let options = LabelOptions {
            allow_loopback_endpoints: self.settings.allow_loopback_endpoints,
            traefik: self.settings.traefik_labels,
            section: DOCKER,
        };
        let (fragment, diagnostics, reports) = labels::read_with(&containers, options);
        let containers = reports
            .into_iter()
            .map(|report| self.report(report))
            .collect();
        Found {
            provider: DOCKER.into(),
            fragment,
            diagnostics,
            containers,
        }
    }

    /// Containers known, for messages.
    pub(super) fn count(&self) -> usize {
        self.containers
            .values()
            .filter(|container| opts_in(container, self.settings.traefik_labels))
            .count()
    }

    fn report(&self, report: ContainerReport) -> types::Container {
        let mut reason = report.reason;
        if self.held.iter().any(|full| full.starts_with(&report.id)) {
            reason
                .push_str("; missing from the engine's answer without a stop event, kept for now");
        }
        if let Some(why) = self.services.unread().filter(|_| !report.included)
            && self.is_task(&report.id)
        {
            reason.push_str("; the labels of its service (deploy.labels) are not known: ");
            reason.push_str(why);
        }
        types::Container {
            container: report.container,
            id: report.id,
            service: report.service,
            version: report.version,
            address: report.address.map(|address| address.to_string()),
            included: report.included,
            reason,
        }
    }

    fn is_task(&self, short_id: &str) -> bool {
        self.containers.iter().any(|(id, container)| {
            id.starts_with(short_id) && container.labels.contains_key(services::SERVICE_ID)
        })
    }

    /// The networks that this process's own container is on: from there it can reach others.
    fn own_networks(&self, listed: &[ContainerSummary]) -> Vec<String> {
        let Some(own_id) = &self.own_id else {
            return Vec::new();
        };
        let own = listed
            .iter()
            .find(|summary| summary.id.as_ref().is_some_and(|id| id.starts_with(own_id)));
        let mut names: Vec<String> = own.into_iter().flat_map(networks).cloned().collect();
        names.sort();
        names
    }

    /// The configured network, or else one that Weir shares with the container.
    fn network_for<'a>(&'a self, summary: &ContainerSummary, own: &'a [String]) -> Option<&'a str> {
        let shared = || {
            own.iter()
                .find(|name| networks(summary).any(|theirs| theirs == *name))
        };
        self.settings
            .network
            .as_deref()
            .or_else(|| shared().map(String::as_str))
    }
}

fn networks(summary: &ContainerSummary) -> impl Iterator<Item = &String> {
    let all = summary
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    all.into_iter().flat_map(|networks| networks.keys())
}

/// Whether a label opts it in. Reading it properly is the label reader's affair; this decides only what is worth an
/// inspection and what may be held.
fn opts_in(container: &Container, traefik: bool) -> bool {
    let mut names = container.labels.keys();
    names.any(|name| labels::is_enable(name, traefik))
}

/// A container that may be held, with the service it counts for.
fn seen(container: &Container, traefik: bool) -> Option<Seen> {
    let label = |name: &str| container.labels.get(name);
    if !opts_in(container, traefik) {
        return None;
    }
    let group = label("weir.service")
        .or_else(|| label("com.docker.compose.service"))
        .or_else(|| label("com.docker.swarm.service.name"))
        .unwrap_or(&container.name);
    Some(Seen {
        id: container.id.clone(),
        group: group.clone(),
    })
}

#[cfg(test)]
mod tests;
