//! A running `weir control`, on ports that stay the same when it is started again.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use weir_tests::ports;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// What the parts of one test need: the control plane's address, and one for a listener of the proxies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    pub(crate) xds: SocketAddr,
    pub(crate) listen: SocketAddr,
}

/// A control plane with its file.
pub(crate) struct Plane {
    pub(crate) at: Addresses,
    weir: Option<Weir>,
    dir: TempDir,
}

/// The section of a control plane that believes everybody on this machine.
pub(crate) fn open(at: Addresses) -> String {
    format!("control: {{ bind: \"{}\", insecure: true }}\n", at.xds)
}

impl Plane {
    /// One that serves.
    pub(crate) fn start(yaml: impl Fn(Addresses) -> String) -> Self {
        let at = Addresses {
            xds: ports::free(),
            listen: ports::free(),
        };
        let dir = tempfile::tempdir().expect("a directory");
        let mut plane = Self {
            at,
            weir: None,
            dir,
        };
        plane.rewrite(&yaml(at));
        plane.resume();
        plane
    }

    /// Another file, put in place at once.
    pub(crate) fn rewrite(&self, yaml: &str) {
        let new = self.dir.path().join(".new");
        fs::write(&new, yaml).expect("write the configuration");
        fs::rename(&new, self.file()).expect("put the configuration in place");
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        self.weir = None;
    }

    /// Ends it by a signal.
    pub(crate) fn end(&mut self, signal: Signal) {
        if let Some(mut weir) = self.weir.take() {
            weir.signal(signal);
            weir.wait_exit();
        }
    }

    /// Takes away all that it kept; it must not run.
    pub(crate) fn wipe(&self) {
        assert!(self.weir.is_none(), "it runs");
        fs::remove_dir_all(self.dir.path().join("state")).expect("a state directory");
    }

    /// Starts it (again).
    pub(crate) fn resume(&mut self) {
        let (file, state) = (self.file(), self.dir.path().join("state"));
        let mut weir = Weir::command(|ports| {
            let admin = ports.admin.to_string();
            let (file, state) = (file.display().to_string(), state.display().to_string());
            let args = [
                "control",
                "-c",
                &file,
                "--admin-listen",
                &admin,
                "--state-dir",
                &state,
            ];
            args.map(str::to_owned).to_vec()
        });
        weir.wait_ready()
            .unwrap_or_else(|why| panic!("weir control {why}\n{}", weir.logs()));
        self.weir = Some(weir);
    }

    /// The process.
    pub(crate) fn weir(&self) -> &Weir {
        self.weir.as_ref().expect("it runs")
    }

    /// What is known of a proxy.
    pub(crate) fn proxy(&self, name: &str) -> Option<Value> {
        let answer = self.weir().json("/api/v1/proxies");
        let all = answer["proxies"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|proxy| proxy["name"] == name)
    }

    /// Waits until a proxy has the newest generation.
    pub(crate) fn synced(&self, name: &str) -> Value {
        eventually(&format!("{name} to have everything"), || {
            let generation = self.weir().json("/api/v1/status")["generation"].clone();
            let proxy = self.proxy(name)?;
            let there = proxy["state"] == "synced" && proxy["generation"] == generation;
            there.then_some(proxy)
        })
    }

    /// Waits until a newer generation than this one is published and a proxy has it.
    pub(crate) fn moved(&self, name: &str, yaml: &str) {
        let generation = || self.weir().json("/api/v1/status")["generation"].as_u64();
        let before = generation();
        self.rewrite(yaml);
        eventually("a new generation", || (generation() > before).then_some(()));
        self.synced(name);
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("weir.yaml")
    }
}
