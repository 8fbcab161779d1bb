//! The Swarm that a fake engine manages, if it manages one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Engine, full};

/// What a manager lists, by id.
#[derive(Default)]
pub(crate) struct Cluster {
    pub(super) services: BTreeMap<String, Value>,
    pub(super) tasks: BTreeMap<String, Value>,
    pub(super) nodes: BTreeMap<String, Value>,
}

impl Cluster {
    /// Drops a task from the list.
    pub(crate) fn forget_task(&mut self, id: &str) {
        self.tasks.remove(id);
    }

    /// Drops every service.
    pub(crate) fn forget_services(&mut self) {
        self.services.clear();
    }

    /// Drops one service, its tasks stay.
    pub(crate) fn forget_service(&mut self, id: &str) {
        self.services.remove(id);
    }

    /// The body of a list, or that there is none of that path.
    pub(super) fn list(&self, path: &str) -> Option<Value> {
        let all = |map: &BTreeMap<String, Value>| map.values().cloned().collect::<Vec<_>>().into();
        match path {
            "/services" => Some(all(&self.services)),
            "/tasks" => Some(all(&self.tasks)),
            "/nodes" => Some(all(&self.nodes)),
            _ => None,
        }
    }
}

/// What an engine that is none says.
pub(super) const NO_MANAGER: &str = r#"{"message":"This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again."}"#;

impl Engine {
    /// Manages a Swarm of the nodes `n1` and `n2` from now on.
    pub(crate) fn manage(&self) {
        let mut cluster = Cluster::default();
        for id in ["n1", "n2"] {
            let node = json!({
                "ID": id, "Spec": {"Availability": "active", "Role": "manager", "Labels": {}},
                "Description": {"Hostname": format!("host-{id}")}, "Status": {"State": "ready", "Addr": "10.0.0.1"},
            });
            cluster.nodes.insert(id.into(), node);
        }
        *self.state.cluster.lock().unwrap() = Some(cluster);
    }

    /// Changes what it lists.
    pub(crate) fn cluster<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let mut cluster = self.state.cluster.lock().unwrap();
        change(cluster.as_mut().expect("it manages a Swarm"))
    }

    /// Makes a replicated service that opts in, on port 80. It wants one replica; nothing is told.
    pub(crate) fn service(&self, name: &str, labels: &[(&str, &str)]) {
        let mut all = BTreeMap::from([("weir.enable", "true"), ("weir.port", "80")]);
        all.extend(labels.iter().copied());
        let service = json!({
            "ID": name, "CreatedAt": "2026-01-01T00:00:00.5Z",
            "Spec": {
                "Name": name, "Labels": all, "Mode": {"Replicated": {"Replicas": 1}},
                "TaskTemplate": {"ContainerSpec": {"Image": "web:1", "Env": ["TOKEN=hush"], "Labels": null}},
                "EndpointSpec": {"Mode": "vip"},
            },
            "Endpoint": {"Spec": {"Mode": "vip"}, "VirtualIPs": [
                {"NetworkID": "net-ingress", "Addr": "10.255.0.9/16"}, {"NetworkID": "net-edge", "Addr": "10.9.1.1/24"},
            ]},
        });
        self.cluster(|cluster| cluster.services.insert(name.into(), service));
    }

    /// Runs a task of that service on `n1`: with this id, in the container of the same id. Nothing is told.
    pub(crate) fn task(&self, id: &str, service: &str, slot: u64, address: &str) {
        let attachment = |network: &str, ingress: bool, address: &str| {
            json!({"Network": {"ID": format!("net-{network}"), "Spec": {"Name": network, "Ingress": ingress}},
                   "Addresses": [format!("{address}/24")]})
        };
        let task = json!({
            "ID": id, "CreatedAt": "2026-01-01T00:00:01.5Z", "ServiceID": service, "Slot": slot, "NodeID": "n1",
            "Spec": {"ContainerSpec": {"Image": "web:1", "Env": ["TOKEN=hush"], "Args": ["--token=hush"]}},
            "Status": {"State": "running", "Timestamp": "2026-01-01T00:00:02Z",
                       "ContainerStatus": {"ContainerID": full(id)}},
            "DesiredState": "running",
            "NetworksAttachments": [attachment("ingress", true, "10.255.0.3"), attachment("edge", false, address)],
        });
        self.cluster(|cluster| cluster.tasks.insert(id.into(), task));
    }

    /// Changes one thing of a task, by its JSON pointer.
    pub(crate) fn change_task(&self, id: &str, pointer: &str, value: impl Into<Value>) {
        self.cluster(|cluster| set(cluster.tasks.get_mut(id).unwrap(), pointer, value.into()));
    }

    /// Changes one thing of a service.
    pub(crate) fn change_service(&self, id: &str, pointer: &str, value: impl Into<Value>) {
        self.cluster(|cluster| set(cluster.services.get_mut(id).unwrap(), pointer, value.into()));
    }

    /// Changes one thing of a node.
    pub(crate) fn change_node(&self, id: &str, pointer: &str, value: impl Into<Value>) {
        self.cluster(|cluster| set(cluster.nodes.get_mut(id).unwrap(), pointer, value.into()));
    }

    /// Ends a task as an orchestrator does: the list shows it for a while.
    pub(crate) fn end_task(&self, id: &str) {
        self.change_task(id, "/DesiredState", "shutdown");
        self.change_task(id, "/Status/State", "shutdown");
    }

    /// Tells what happened to a service or a node.
    pub(crate) fn cluster_event(&self, of: &str, action: &str, id: &str) {
        let event = json!({
            "Type": of, "Action": action, "scope": "swarm", "timeNano": 1_600_000_000_000_000_000_i64,
            "Actor": {"ID": id, "Attributes": {"name": id}},
        });
        self.raw_event(&format!("{event}\n"));
    }
}

fn set(value: &mut Value, pointer: &str, new: Value) {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    let parent = value.pointer_mut(parent).expect("what is changed is there");
    parent[name] = new;
}
