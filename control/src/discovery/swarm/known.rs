//! What is known of a Swarm; it outlives the connection to its manager.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use weir_config::labels::{self, Container, ContainerReport, ContainerState, LabelOptions};
use weir_config::settings::{SwarmAddresses, SwarmSettings};
use weir_plan::{Hold, Seen};

use super::convert::{self, Fate, Nodes};
use super::overview::Overview;
use crate::api::types;
use crate::discovery::engine::cluster::{Network, Node, Service, Stage, Task};
use crate::discovery::engine::marks::{Effect, Marks};
use crate::watcher::Found;

/// The provider's name.
pub(super) const SWARM: &str = "swarm";

/// All answers of one round.
pub(super) struct Listed {
    pub(super) services: Vec<Service>,
    pub(super) tasks: Vec<Task>,
    pub(super) nodes: Vec<Node>,
    pub(super) networks: Vec<Network>,
    /// The networks that Weir's own container is on.
    pub(super) own: Vec<String>,
    /// [`Marks::now`] when it was asked for.
    pub(super) moment: u64,
}

/// What a list meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Tasks that are missing and kept nevertheless.
    pub(super) held: usize,
    /// Tasks that were held and are let go.
    pub(super) released: usize,
    /// The list was empty and is not believed.
    pub(super) empty: bool,
    /// When the next one is let go.
    pub(super) until: Option<Duration>,
}

/// A task, or a service as one endpoint.
#[derive(Debug, Clone)]
struct Candidate {
    container: Container,
    service: String,
    /// The container it runs in, if it runs.
    runs_in: String,
    /// Said beside its state.
    remark: String,
}

pub(super) struct Known {
    pub(super) settings: SwarmSettings,
    /// The beginning of this process's own container's id, when it runs in one.
    pub(super) own_id: Option<String>,
    pub(super) marks: Marks,
    hold: Hold,
    /// Listed last or held, by the task's id.
    candidates: BTreeMap<String, Candidate>,
    held: BTreeSet<String>,
    /// Services of which an event said that they were removed, as long as something of them is known.
    removed: BTreeSet<String>,
    /// Services, and tasks that wait for something.
    rows: Vec<types::Container>,
    /// How far each task was.
    stages: Stages,
    /// Until when something that is under way is followed closely; what is stuck is not.
    close_until: Duration,
    moving: bool,
}

/// Desired and observed state by the task's id.
type Stages = BTreeMap<String, (String, String)>;

/// How long tasks are followed closely after one of them went a step further.
const CLOSE: Duration = Duration::from_secs(30);

impl Known {
    pub(super) fn new(settings: SwarmSettings, own_id: Option<String>) -> Self {
        Self {
            settings,
            own_id,
            marks: Marks::default(),
            hold: Hold::default(),
            candidates: BTreeMap::new(),
            held: BTreeSet::new(),
            removed: BTreeSet::new(),
            rows: Vec::new(),
            stages: Stages::new(),
            close_until: Duration::ZERO,
            moving: false,
        }
    }

    /// Takes an event.
    pub(super) fn on_event(&mut self, event: &EventMessage) -> Effect {
        let removes = event.typ == Some(EventMessageTypeEnum::SERVICE)
            && event.action.as_deref() == Some("remove");
        if let Some(id) =
            (event.actor.as_ref().and_then(|actor| actor.id.as_ref())).filter(|_| removes)
        {
            let known = self.candidates.values().any(|c| c.service == *id);
            let news = known && self.removed.insert(id.clone());
            return if news { Effect::Drain } else { Effect::Relist };
        }
        let effect = self.marks.on_event(event, |_| None);
        match effect {
            // Containers that are nobody's task come and go, too.
            Effect::Drain if !self.is_ours(event) => Effect::Relist,
            other => other,
        }
    }

    fn is_ours(&self, event: &EventMessage) -> bool {
        let id = event.actor.as_ref().and_then(|actor| actor.id.as_deref());
        let mut all = self.candidates.values();
        id.is_some_and(|id| all.any(|c| c.runs_in == id))
    }

    /// Takes a list; `now` counts from any fixed moment.
    pub(super) fn take(&mut self, now: Duration, listed: &Listed) -> Taken {
        let nodes = Nodes::of(listed);
        let mut fresh = BTreeMap::new();
        let mut explained: BTreeSet<String> = BTreeSet::new();
        self.rows.clear();
        self.moving = false;
        for service in &listed.services {
            let overview = Overview::of(service, listed, self.settings.traefik_labels);
            self.moving |= overview.is_moving();
            self.rows.push(overview.report());
            if overview.opted_in && !overview.is_job() {
                self.rows.extend(overview.waiting(&nodes));
                fresh.extend(self.candidates_of(&overview, listed, &nodes));
            } else {
                // It is there and no longer opts in, as its labels may have it: its tasks are not missing.
                explained.extend(self.known_of(&service.id));
            }
        }
        for task in &listed.tasks {
            if matches!(Fate::of(task), Fate::Leaves | Fate::Ended) {
                explained.insert(task.id.clone());
            }
        }
        for service in &self.removed {
            explained.extend(self.known_of(service));
        }
        self.keep_leaving(listed, &mut fresh);
        self.follow(now, listed);
        self.settle(now, listed, fresh, explained)
    }

    fn follow(&mut self, now: Duration, listed: &Listed) {
        let states = |task: &Task| (task.desired.clone(), task.status.state.clone());
        let tasks = listed.tasks.iter();
        let stages: Stages = tasks.map(|task| (task.id.clone(), states(task))).collect();
        if self.stages != stages {
            self.close_until = now + CLOSE;
            self.stages = stages;
        }
        self.moving &= now < self.close_until;
    }

    /// What is still running of a service that is not listed any more.
    fn keep_leaving(&mut self, listed: &Listed, fresh: &mut BTreeMap<String, Candidate>) {
        for task in listed.tasks.iter().filter(|t| Fate::of(t) == Fate::Leaves) {
            if let Some(mut known) = self.candidates.get(&task.id).cloned() {
                known.container.state = ContainerState::Stopping;
                fresh.entry(task.id.clone()).or_insert(known);
            }
        }
    }

    fn settle(
        &mut self,
        now: Duration,
        listed: &Listed,
        mut fresh: BTreeMap<String, Candidate>,
        explained: BTreeSet<String>,
    ) -> Taken {
        let staying = fresh
            .values()
            .filter(|c| !explained.contains(&c.container.id));
        let present: Vec<Seen> = staying.map(Candidate::seen).collect();
        let wanted = listed.services.iter().any(|service| {
            let replicated = &service.spec.mode.replicated;
            replicated.as_ref().is_none_or(|mode| mode.replicas > 0)
        });
        let blank = listed.tasks.is_empty() && (listed.services.is_empty() || wanted);
        let decision = self
            .hold
            .observe(now, self.settings.hold, &present, blank, &explained);
        for id in &decision.keep {
            if let Some(candidate) = self.candidates.remove(id) {
                fresh.entry(id.clone()).or_insert(candidate);
            }
        }
        self.candidates = fresh;
        let kept: BTreeSet<String> = self
            .candidates
            .values()
            .map(|c| c.runs_in.clone())
            .collect();
        self.marks.retain(&kept, listed.moment);
        let services: BTreeSet<String> = self
            .candidates
            .values()
            .map(|c| c.service.clone())
            .collect();
        self.removed.retain(|id| services.contains(id));
        let taken = Taken {
            held: decision.keep.len(),
            released: decision.released.len(),
            empty: decision.empty_answer,
            until: decision.until,
        };
        self.held = decision.keep;
        taken
    }

    fn known_of(&self, service: &str) -> impl Iterator<Item = String> {
        let of = self
            .candidates
            .iter()
            .filter(move |(_, c)| c.service == service);
        let ids: Vec<String> = of.map(|(id, _)| id.clone()).collect();
        ids.into_iter()
    }

    fn candidates_of(
        &self,
        overview: &Overview<'_>,
        listed: &Listed,
        nodes: &Nodes,
    ) -> Vec<(String, Candidate)> {
        let service = overview.service;
        let by_vip = self.settings.addresses == SwarmAddresses::Vip;
        let addresses = match by_vip {
            true => convert::virtual_addresses(service, listed),
            false => BTreeMap::new(),
        };
        if !addresses.is_empty() {
            let running = overview.running();
            let network = self.network_for(addresses.keys(), &listed.own);
            let candidate = Candidate {
                container: convert::virtual_ip(service, running, addresses, network),
                service: service.id.clone(),
                runs_in: String::new(),
                remark: format!("the virtual IP of {running} running tasks"),
            };
            return vec![(service.id.clone(), candidate)];
        }
        let staying = |task: &&&Task| matches!(Fate::of(task), Fate::Stays(_));
        let mut all = overview.tasks.iter().filter(staying);
        // Where every node is down the manager may be the one that is cut off: then a probe decides.
        let all_down = all.all(|task| nodes.is_down(&task.node));
        let tasks = overview.tasks.iter().filter_map(|task| {
            let mut candidate = self.task(service, task, listed, nodes)?;
            let container = &mut candidate.container;
            if nodes.is_down(&task.node)
                && !all_down
                && container.state != ContainerState::Stopping
            {
                container.state = ContainerState::NodeDown;
            }
            if by_vip {
                candidate.remark.push_str(
                    "; the service has no virtual IP (endpoint_mode: dnsrr), so its tasks are called",
                );
            }
            Some((task.id.clone(), candidate))
        });
        tasks.collect()
    }

    /// A task as it could be an endpoint; `None` for one that ended, or is nowhere yet.
    fn task(
        &self,
        service: &Service,
        task: &Task,
        listed: &Listed,
        nodes: &Nodes,
    ) -> Option<Candidate> {
        let (stage, leaves) = match Fate::of(task) {
            Fate::Ended => return None,
            Fate::Stays(stage) => (stage, false),
            Fate::Leaves => (Stage::Running, true),
        };
        let mut container = convert::container(service, task, stage, nodes);
        if container.addresses.is_empty() && stage == Stage::Before {
            return None;
        }
        if leaves {
            container.state = ContainerState::Stopping;
        }
        container.default_network = self.network_for(container.addresses.keys(), &listed.own);
        Some(Candidate {
            container,
            service: service.id.clone(),
            runs_in: task.status.container.id.clone(),
            remark: format!("on node {}", nodes.name(&task.node)),
        })
    }

    /// The configured network, or else one that Weir shares with the task.
    fn network_for<'a>(
        &self,
        mut theirs: impl Iterator<Item = &'a String>,
        own: &[String],
    ) -> Option<String> {
        let shared = || theirs.find(|name| own.contains(name)).cloned();
        self.settings.network.clone().or_else(shared)
    }

    /// What the labels of all known tasks say, with those on their way out as draining.
    pub(super) fn found(&self) -> Found {
        let containers: Vec<Container> = self
            .candidates
            .values()
            .map(|candidate| {
                let mut container = candidate.container.clone();
                if self.is_stopping(candidate) {
                    container.state = ContainerState::Stopping;
                }
                container
            })
            .collect();
        let options = LabelOptions {
            allow_loopback_endpoints: false,
            traefik: self.settings.traefik_labels,
            section: SWARM,
        };
        let (fragment, diagnostics, reports) = labels::read_with(&containers, options);
        let mut rows = self.rows.clone();
        rows.extend(reports.into_iter().map(|report| self.report(report)));
        rows.sort_by(|a, b| (&a.container, &a.id).cmp(&(&b.container, &b.id)));
        Found {
            provider: SWARM.into(),
            fragment,
            diagnostics,
            containers: rows,
        }
    }

    fn is_stopping(&self, candidate: &Candidate) -> bool {
        self.removed.contains(&candidate.service) || self.marks.is_stopping(&candidate.runs_in)
    }

    /// Tasks known, for messages.
    pub(super) fn count(&self) -> usize {
        self.candidates.len()
    }

    /// Whether the next list is likely to differ.
    pub(super) fn is_moving(&self) -> bool {
        self.moving || !self.held.is_empty()
    }

    fn report(&self, report: ContainerReport) -> types::Container {
        let mut all = self.candidates.iter();
        let known = all.find(|(id, _)| id.starts_with(&report.id));
        let mut reason = report.reason;
        if let Some((id, candidate)) = known {
            if !candidate.remark.is_empty() {
                reason = format!("{reason}; {}", candidate.remark);
            }
            if self.held.contains(id) {
                reason.push_str(
                    "; missing from the manager's answer without being told to stop, kept for now",
                );
            }
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
}

impl Candidate {
    /// What may be held, with the service it counts for.
    fn seen(&self) -> Seen {
        let labels = &self.container.labels;
        let group = labels
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("weir.service"))
            .map_or(&self.service, |(_, value)| value);
        Seen {
            id: self.container.id.clone(),
            group: group.clone(),
        }
    }
}
