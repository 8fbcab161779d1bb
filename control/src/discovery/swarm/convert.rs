//! From what a manager says to what label reading takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_config::labels::{Container, ContainerState, Health};

use super::known::Listed;
use crate::clock;
use crate::discovery::docker::services::overrides;
use crate::discovery::engine::cluster::{Labels, Service, Stage, Task, VirtualIp};
use crate::discovery::engine::is_checked;

/// Set by an engine on the container of a task.
const SERVICE_NAME: &str = "com.docker.swarm.service.name";

/// What a task is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It serves, or will once it runs.
    Stays(Stage),
    /// It was told to stop and may still run.
    Leaves,
    /// It ended.
    Ended,
}

impl Fate {
    pub(super) fn of(task: &Task) -> Self {
        match (Stage::of(&task.desired), Stage::of(&task.status.state)) {
            (_, Stage::After) => Self::Ended,
            (Stage::After, Stage::Before) => Self::Ended,
            (Stage::After, _) => Self::Leaves,
            (_, stage) => Self::Stays(stage),
        }
    }
}

/// The nodes of a Swarm and how they are.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    names: BTreeMap<String, String>,
    down: BTreeSet<String>,
}

impl Nodes {
    pub(super) fn of(listed: &Listed) -> Self {
        let nodes = listed.nodes.iter();
        Self {
            names: nodes
                .clone()
                .map(|node| (node.id.clone(), node.description.hostname.clone()))
                .collect(),
            // `disconnected` and `unknown` say something of the manager, not of the node.
            down: nodes
                .filter(|node| node.status.state == "down")
                .map(|node| node.id.clone())
                .collect(),
        }
    }

    pub(super) fn is_down(&self, id: &str) -> bool {
        self.down.contains(id)
    }

    /// The host name, or the id of one that is not listed.
    pub(super) fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names
            .get(id)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .unwrap_or(id)
    }
}

/// `web.1` of a replicated service, `web.NODE` of a global one, as the engine names the containers.
pub(super) fn task_name(service: &Service, task: &Task, nodes: &Nodes) -> String {
    let name = &service.spec.name;
    match task.slot {
        0 => format!("{name}.{}", nodes.name(&task.node)),
        slot => format!("{name}.{slot}"),
    }
}

/// The labels of a service's tasks: those of the container (`labels`), with the service's own (`deploy.labels`) before
/// them.
pub(super) fn labels_of(service: &Service, of_container: &Labels) -> Labels {
    let declared = &service.spec.labels;
    let mut labels: Labels = of_container
        .iter()
        .filter(|(name, _)| !overrides(declared, name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    labels.extend(declared.clone());
    labels.insert(SERVICE_NAME.into(), service.spec.name.clone());
    labels
}

/// A task that could serve. Whether it is in rotation is the state's affair.
pub(super) fn container(service: &Service, task: &Task, stage: Stage, nodes: &Nodes) -> Container {
    Container {
        id: task.id.clone(),
        name: task_name(service, task, nodes),
        labels: labels_of(service, &task.spec.container.labels),
        created: seconds(&task.created_at),
        since: seconds(&service.created_at),
        state: ContainerState::Running {
            health: health(task, stage),
        },
        addresses: addresses(task),
        exposed: ports(service),
        default_network: None,
    }
}

/// A service as one endpoint: its virtual IP, behind which the Swarm balances.
pub(super) fn virtual_ip(
    service: &Service,
    running: usize,
    addresses: BTreeMap<String, IpAddr>,
    network: Option<String>,
) -> Container {
    let created = seconds(&service.created_at);
    Container {
        id: service.id.clone(),
        name: service.spec.name.clone(),
        labels: labels_of(service, &service.spec.template.container.labels),
        created,
        since: created,
        state: ContainerState::Running {
            health: Some(match running {
                0 => Health::Starting,
                _ => Health::Healthy,
            }),
        },
        addresses,
        exposed: ports(service),
        default_network: network,
    }
}

/// A task with a HEALTHCHECK is `running` only once that passed, and fails when it does not pass any more: the engine sees
/// to that. One that the service does not define may still be in the image, where a manager does not look; then a probe
/// decides, as it does for one without (semantics 16).
fn health(task: &Task, stage: Stage) -> Option<Health> {
    match stage {
        Stage::Running => {
            let checked = is_checked(&task.spec.container.healthcheck.test);
            checked.then_some(Health::Healthy)
        }
        _ => Some(Health::Starting),
    }
}

/// Of overlay networks by name. The routing mesh's own network carries no traffic between containers.
fn addresses(task: &Task) -> BTreeMap<String, IpAddr> {
    let usable = task
        .attachments
        .iter()
        .filter(|attachment| !attachment.network.spec.ingress);
    let with_address = usable.filter_map(|attachment| {
        let address = attachment.addresses.first()?;
        Some((attachment.network.spec.name.clone(), bare(address)?))
    });
    with_address.collect()
}

/// As [`addresses`], of the service's virtual IPs. Without any, as `endpoint_mode: dnsrr` has it, it is empty.
pub(super) fn virtual_addresses(service: &Service, listed: &Listed) -> BTreeMap<String, IpAddr> {
    let one = |ip: &VirtualIp| {
        let network = listed.networks.iter().find(|n| n.id == ip.network)?;
        let name = (!network.ingress).then(|| network.name.clone())?;
        Some((name, bare(&ip.address)?))
    };
    let all = &service.endpoint.virtual_ips;
    all.iter().filter_map(one).collect()
}

/// `10.0.1.2` of `10.0.1.2/24`.
fn bare(address: &str) -> Option<IpAddr> {
    address.split('/').next()?.parse().ok()
}

/// What the service publishes: a manager does not know what an image exposes.
fn ports(service: &Service) -> Vec<u16> {
    let tcp = service
        .endpoint
        .ports
        .iter()
        .filter(|port| port.protocol != "udp" && port.protocol != "sctp");
    let mut ports: Vec<u16> = tcp.map(|port| port.target).filter(|p| *p > 0).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn seconds(text: &str) -> u64 {
    let nanos = clock::parse_nanos(text).unwrap_or(0);
    u64::try_from(nanos / 1_000_000_000).unwrap_or(0)
}
