//! What a manager tells of its Swarm, as far as it is read. The library's own types leave out the addresses of tasks.
//!
//! Everything may be missing or null, and words that are unknown stay what they are: an engine of another version must not
//! make a whole answer useless.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub(crate) type Labels = BTreeMap<String, String>;

/// Go writes an empty map or list as `null`.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

macro_rules! told {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty = $key:literal),* $(,)? })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $($(#[$fmeta])* #[serde(rename = $key, deserialize_with = "nullable")] pub(crate) $field: $ty,)*
        }
    )* };
}

told! {
    Service {
        id: String = "ID",
        /// As RFC 3339 says.
        created_at: String = "CreatedAt",
        spec: ServiceSpec = "Spec",
        endpoint: ServiceEndpoint = "Endpoint",
        update: UpdateStatus = "UpdateStatus",
    }
    ServiceSpec {
        name: String = "Name",
        labels: Labels = "Labels",
        template: TaskSpec = "TaskTemplate",
        mode: Mode = "Mode",
        endpoint: EndpointSpec = "EndpointSpec",
    }
    TaskSpec { container: ContainerSpec = "ContainerSpec" }
    ContainerSpec {
        labels: Labels = "Labels",
        healthcheck: HealthCheck = "Healthcheck",
        stop_signal: String = "StopSignal",
    }
    HealthCheck { test: Vec<String> = "Test" }
    /// Exactly one of them is there.
    Mode {
        replicated: Option<Replicated> = "Replicated",
        global: Option<Anything> = "Global",
        replicated_job: Option<Anything> = "ReplicatedJob",
        global_job: Option<Anything> = "GlobalJob",
    }
    Replicated { replicas: u64 = "Replicas" }
    Anything {}
    /// `vip` or `dnsrr`.
    EndpointSpec { mode: String = "Mode" }
    ServiceEndpoint {
        ports: Vec<Port> = "Ports",
        virtual_ips: Vec<VirtualIp> = "VirtualIPs",
    }
    Port {
        protocol: String = "Protocol",
        target: u16 = "TargetPort",
    }
    /// The address is written with the length of its prefix: `10.0.1.2/24`.
    VirtualIp {
        network: String = "NetworkID",
        address: String = "Addr",
    }
    UpdateStatus { state: String = "State" }
    Task {
        id: String = "ID",
        created_at: String = "CreatedAt",
        spec: TaskSpec = "Spec",
        service: String = "ServiceID",
        slot: u64 = "Slot",
        node: String = "NodeID",
        status: TaskStatus = "Status",
        desired: String = "DesiredState",
        attachments: Vec<Attachment> = "NetworksAttachments",
    }
    TaskStatus {
        timestamp: String = "Timestamp",
        state: String = "State",
        error: String = "Err",
        container: ContainerStatus = "ContainerStatus",
    }
    ContainerStatus { id: String = "ContainerID" }
    Attachment {
        network: AttachedNetwork = "Network",
        addresses: Vec<String> = "Addresses",
    }
    AttachedNetwork {
        id: String = "ID",
        spec: NetworkSpec = "Spec",
    }
    NetworkSpec {
        name: String = "Name",
        ingress: bool = "Ingress",
    }
    Node {
        id: String = "ID",
        spec: NodeSpec = "Spec",
        description: NodeDescription = "Description",
        status: NodeStatus = "Status",
    }
    NodeSpec { availability: String = "Availability" }
    NodeDescription { hostname: String = "Hostname" }
    NodeStatus { state: String = "State" }
    Network {
        id: String = "Id",
        name: String = "Name",
        ingress: bool = "Ingress",
    }
}

/// How far a task is, in the order in which it goes on (the documentation of Swarm: tasks and scheduling).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Up to `ready`: its container does not run.
    Before,
    Starting,
    Running,
    /// It ended, in whatever way, or is to end.
    After,
}

impl Stage {
    /// A word that is unknown is no reason to send requests.
    pub(crate) fn of(state: &str) -> Self {
        match state {
            "starting" => Self::Starting,
            "running" => Self::Running,
            "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned" => Self::After,
            _ => Self::Before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_missing_and_unknown_parts_spoil_nothing() {
        let text = r#"[{"ID":"a","Spec":{"Name":"web","Labels":null,"Mode":{"Global":{}}},"Endpoint":{"Spec":{}},
            "UpdateStatus":null,"Novelty":[1]},{}]"#;
        let services: Vec<Service> = serde_json::from_str(text).unwrap();
        assert_eq!(services[0].spec.name, "web");
        assert!(services[0].spec.mode.global.is_some());
        assert_eq!(services[1], Service::default());
        let text = r#"[{"ID":"t","DesiredState":"pondering","NetworksAttachments":[{"Network":{"Spec":{"Name":"edge"}},
            "Addresses":["10.0.1.2/24"]}],"Status":{"State":"running","ContainerStatus":{"ContainerID":"c"}}}]"#;
        let tasks: Vec<Task> = serde_json::from_str(text).unwrap();
        assert_eq!(Stage::of(&tasks[0].desired), Stage::Before);
        assert_eq!(tasks[0].attachments[0].addresses, ["10.0.1.2/24"]);
        assert_eq!(tasks[0].status.container.id, "c");
    }

    #[test]
    fn a_task_runs_only_in_one_state() {
        for (state, stage) in [
            ("new", Stage::Before),
            ("ready", Stage::Before),
            ("starting", Stage::Starting),
            ("running", Stage::Running),
            ("complete", Stage::After),
            ("remove", Stage::After),
            ("orphaned", Stage::After),
        ] {
            assert_eq!(Stage::of(state), stage, "{state}");
        }
    }
}
