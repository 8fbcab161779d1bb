//! The manager of a Swarm.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use weir_config::settings::SwarmSettings;
use weir_control::ControlOptions;

use super::gate::Engined;
use super::{Source, address};
use crate::HOLD;
use crate::fake_engine::Engine;

pub(crate) struct Swarm {
    engine: Engine,
    running: Mutex<BTreeSet<u8>>,
    dir: tempfile::TempDir,
}

fn id(host: u8) -> String {
    format!("web-{host}")
}

impl Swarm {
    fn vanish(&self, stays: impl Fn(u8) -> bool) {
        let mut running = self.running.lock().unwrap();
        for host in running.iter().filter(|host| !stays(**host)) {
            self.engine
                .cluster(|cluster| cluster.forget_task(&id(*host)));
        }
        running.retain(|host| stays(*host));
    }
}

impl Engined for Swarm {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn options_at(&self, endpoint: String) -> ControlOptions {
        ControlOptions {
            swarm: Some(SwarmSettings {
                endpoint,
                interval: Duration::from_millis(200),
                hold: HOLD,
                ..SwarmSettings::default()
            }),
            ..ControlOptions::default()
        }
    }
}

impl Source for Swarm {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::start(&dir.path().join("docker.sock"));
        engine.manage();
        engine.service("web", &[("weir.service", "web")]);
        Self {
            engine,
            running: Mutex::default(),
            dir,
        }
    }

    fn name() -> String {
        "swarm".into()
    }

    fn options(&self) -> ControlOptions {
        let socket = self.dir.path().join("docker.sock");
        self.options_at(format!("unix://{}", socket.display()))
    }

    fn set(&self, hosts: &[u8]) {
        let mut running = self.running.lock().unwrap();
        let wanted: BTreeSet<u8> = hosts.iter().copied().collect();
        self.engine.service("web", &[("weir.service", "web")]);
        for host in running.difference(&wanted) {
            self.engine.end_task(&id(*host));
        }
        for host in &wanted {
            self.engine
                .task(&id(*host), "web", u64::from(*host), &address(*host));
        }
        self.engine.cluster_event("service", "update", "web");
        *running = wanted;
    }

    fn lose_all(&self) {
        self.vanish(|_| false);
        self.engine.cluster(|cluster| cluster.forget_services());
    }

    fn lose_but(&self, host: u8) {
        self.vanish(|other| other == host);
    }

    fn down(&self) {
        self.engine.down();
    }

    fn up(&self) {
        self.engine.up();
    }

    fn spoil(&self) -> &'static str {
        self.engine
            .service("spoiled", &[("weir.service", "web"), ("weir.port", "http")]);
        self.engine.task("spoiled-1", "spoiled", 1, "10.9.0.200");
        "container spoiled.1 label weir.port"
    }
}
