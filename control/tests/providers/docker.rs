//! A Docker engine.

use std::collections::BTreeSet;
use std::sync::Mutex;

use weir_config::settings::DockerSettings;
use weir_control::ControlOptions;

use super::gate::Engined;
use super::{Source, address};
use crate::HOLD;
use crate::fake_engine::Engine;

pub(crate) struct Docker {
    engine: Engine,
    running: Mutex<BTreeSet<u8>>,
    dir: tempfile::TempDir,
}

const LABELS: &[(&str, &str)] = &[("weir.service", "web")];

fn id(host: u8) -> String {
    format!("web-{host}")
}

impl Docker {
    fn vanish(&self, stays: impl Fn(u8) -> bool) {
        let mut running = self.running.lock().unwrap();
        for host in running.iter().filter(|host| !stays(**host)) {
            self.engine.vanish(&id(*host));
        }
        running.retain(|host| stays(*host));
        // Something that has a list made, and nothing more.
        self.engine.event("rename", "x", &[]);
    }
}

impl Engined for Docker {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn options_at(&self, endpoint: String) -> ControlOptions {
        let settings = DockerSettings {
            endpoint,
            hold: HOLD,
            ..DockerSettings::default()
        };
        ControlOptions {
            docker: Some(settings),
            ..ControlOptions::default()
        }
    }
}

impl Source for Docker {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            engine: Engine::start(&dir.path().join("docker.sock")),
            running: Mutex::default(),
            dir,
        }
    }

    fn name() -> String {
        "docker".into()
    }

    fn options(&self) -> ControlOptions {
        let socket = self.dir.path().join("docker.sock");
        self.options_at(format!("unix://{}", socket.display()))
    }

    fn set(&self, hosts: &[u8]) {
        let mut running = self.running.lock().unwrap();
        let wanted: BTreeSet<u8> = hosts.iter().copied().collect();
        for host in running.difference(&wanted) {
            self.engine.vanish(&id(*host));
            self.engine.event("die", &id(*host), &[]);
        }
        for host in &wanted {
            self.engine.run(&id(*host), &address(*host), LABELS);
        }
        *running = wanted;
    }

    fn lose_all(&self) {
        self.vanish(|_| false);
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
        let labels = [("weir.service", "web"), ("weir.port", "http")];
        self.engine.run("spoiled", "10.9.0.200", &labels);
        "container spoiled label weir.port"
    }
}
