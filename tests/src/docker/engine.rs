//! An engine of a test's own, which it may stop, kill and start again.
//!
//! A second `dockerd` beside the machine's: with directories, socket and `containerd` of its own, on a bridge that the
//! machine's engine made, and with its hands off iptables. `--bridge none` would do without a bridge, but removes the
//! `docker0` of the machine's engine. Only root can start one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{Network, Spec, available, docker, image, unique};
use crate::ports;
use crate::wait::within;

/// How long an engine may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(40);

/// Held by the one engine that manages a Swarm: the bridge of all Swarms of a machine has the same name, so a second one
/// would take the first one's away.
static ONE_SWARM: Mutex<()> = Mutex::new(());

/// What an engine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Its containers run on while it does not (`--live-restore`).
    LiveRestore,
    /// It can manage a Swarm, which live restore rules out.
    Swarm,
}

/// A running engine. When dropped it goes, with all that it runs.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    daemon: Option<Child>,
    device: String,
    // Dropped after the daemon's end, in this order.
    dir: tempfile::TempDir,
    _bridge: Network,
    _swarm: Option<MutexGuard<'static, ()>>,
}

impl Engine {
    /// A new one, with the image under test; `None` where there cannot be one. One for a Swarm waits for the end of the
    /// one before it.
    ///
    /// # Panics
    /// When it does not start, and when there cannot be one in continuous integration.
    #[must_use]
    pub fn start(kind: Kind) -> Option<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        if !available() {
            return None;
        }
        let root = rustix::process::geteuid().is_root();
        assert!(root || !crate::in_ci(), "only root can start an engine");
        if !root {
            crate::say("LEFT OUT: only root can start an engine of its own");
            return None;
        }
        let swarm =
            (kind == Kind::Swarm).then(|| ONE_SWARM.lock().unwrap_or_else(PoisonError::into_inner));
        let count = NEXT.fetch_add(1, Ordering::Relaxed);
        let device = format!("wt{}x{count}", std::process::id());
        let bridge = Network::on_bridge(&device);
        let dir = tempfile::tempdir().expect("a directory for the engine");
        std::fs::write(dir.path().join("daemon.json"), "{}").expect("write the settings");
        let mut engine = Self {
            kind,
            daemon: None,
            device,
            dir,
            _bridge: bridge,
            _swarm: swarm,
        };
        engine.up();
        engine.load(image());
        Some(engine)
    }

    /// The network of its containers.
    pub const NETWORK: &str = "bridge";

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("docker.sock")
    }

    /// Starts it, and waits until it answers.
    ///
    /// # Panics
    /// When it does not; with the end of what it said.
    pub fn up(&mut self) {
        let path = |name: &str| self.dir.path().join(name);
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("log"))
            .expect("a file for what the engine says");
        let mut dockerd = Command::new("dockerd");
        dockerd
            // The settings of the machine's engine are not for this one.
            .arg("--config-file")
            .arg(path("daemon.json"))
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(["--group", "root", "--bridge", &self.device])
            .args(["--iptables=false", "--ip-masq=false"])
            .args(["--default-address-pool", "base=10.212.0.0/16,size=24"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the same file"))
            .stderr(log);
        if self.kind == Kind::LiveRestore {
            dockerd.arg("--live-restore");
        }
        let mut daemon = dockerd.spawn().expect("start dockerd");
        let said = || std::fs::read_to_string(path("log")).unwrap_or_default();
        within(PATIENCE, "an answer of the own engine", || {
            if let Some(status) = daemon.try_wait().expect("ask for the exit status") {
                panic!("dockerd ended with {status}: {}", last(&said(), 3000));
            }
            self.try_docker(&["info"]).status.success().then_some(())
        });
        self.daemon = Some(daemon);
    }

    /// Ends the daemon, not what it runs, and waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self, signal: Signal) {
        let mut daemon = self.daemon.take().expect("an engine that runs");
        send(daemon.id(), signal);
        let ended = |daemon: &mut Child| daemon.try_wait().expect("ask for the exit status");
        within(PATIENCE, "the end of the own engine", || ended(&mut daemon));
        // Its containerd follows by itself. A new engine that found it, were it as a zombie that nobody has taken note
        // of yet, would count on it and wait in vain.
        within(PATIENCE, "the end of its containerd", || {
            let runtimes = |pid: &u32| words(*pid).starts_with("containerd ");
            let left = processes_of(self.dir.path());
            (!left.iter().any(runtimes)).then_some(())
        });
        // It may have removed this one itself.
        let _ = std::fs::remove_file(self.dir.path().join("exec/containerd/containerd.pid"));
    }

    /// Runs a docker command on it that must succeed, and gives what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub fn docker(&self, args: &[&str]) -> String {
        let output = self.try_docker(args);
        assert!(
            output.status.success(),
            "docker {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a docker command on it.
    #[must_use]
    pub fn try_docker(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("run docker")
    }

    /// A docker command for it, not yet run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("--host")
            .arg(format!("unix://{}", self.socket().display()))
            .args(args);
        command
    }

    /// Starts a container, which goes with the engine; gives its name.
    #[must_use]
    pub fn run(&self, spec: &Spec) -> String {
        let name = unique("own");
        self.docker(&spec.arguments(&name));
        name
    }

    /// Makes it the only node of a Swarm, which nobody outside of this machine can reach; `false` where there is one
    /// already, whose devices have the same names.
    ///
    /// # Panics
    /// When there is one in continuous integration, or the engine refuses.
    #[must_use]
    pub fn swarm(&self) -> bool {
        let bridge = Path::new("/sys/class/net/docker_gwbridge");
        if bridge.exists() && crate::in_ci() && !machine_is_in_a_swarm() {
            // Left behind by a run that was killed.
            let _ = Command::new("ip")
                .args(["link", "delete", "docker_gwbridge"])
                .output();
        }
        let taken = bridge.exists();
        assert!(!taken || !crate::in_ci(), "this machine is in a Swarm");
        if taken {
            crate::say("LEFT OUT: this machine is in a Swarm already");
            return false;
        }
        // The engine takes ports up to this one for VXLAN, and the system may hand out higher ones.
        let data = std::iter::repeat_with(|| ports::free().port()).find(|port| *port <= 49_151);
        self.docker(&[
            "swarm",
            "init",
            "--advertise-addr=127.0.0.1",
            &format!("--listen-addr={}", ports::free()),
            &format!("--data-path-port={}", data.unwrap_or(4789)),
            "--default-addr-pool=10.211.0.0/16",
        ]);
        true
    }

    fn load(&self, image: &str) {
        let archive = self.dir.path().join("image.tar");
        let archive = archive.to_string_lossy();
        docker(&["save", "--output", &archive, image]);
        self.docker(&["load", "--input", &archive]);
        std::fs::remove_file(&*archive).expect("remove the archive");
    }

    /// Removes all that it runs. Nothing here may fail the test a second time.
    fn clear(&self) {
        let list = |args: &[&str]| {
            let output = self.try_docker(args);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        if self.kind == Kind::Swarm {
            let _ = self.try_docker(&["swarm", "leave", "--force"]);
        }
        for id in list(&["ps", "--all", "--quiet"]) {
            let _ = self.try_docker(&["rm", "--force", "--volumes", &id]);
        }
        for id in list(&["network", "ls", "--quiet", "--filter", "driver=bridge"]) {
            // Its bridge devices are this machine's. The default network cannot be removed, nor has to be.
            let _ = self.try_docker(&["network", "rm", &id]);
        }
    }

    /// Ends what is left of the daemon's family, and undoes its mounts.
    fn sweep(&self) {
        for pid in processes_of(self.dir.path()) {
            send(pid, Signal::KILL);
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts
            .lines()
            .rev()
            .filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.dir.path())) {
            let _ = Command::new("umount").args(["--lazy", point]).output();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            crate::say(&format!("what the engine said last:\n{}", last(&log, 5000)));
        }
        if self.daemon.is_none() {
            // Only an engine can remove what runs on without it; a panic in a panic would end the whole process.
            let again = std::panic::AssertUnwindSafe(|| self.up());
            let _ = std::panic::catch_unwind(again);
        }
        self.clear();
        if self.daemon.is_some() {
            let stop = std::panic::AssertUnwindSafe(|| self.stop(Signal::TERM));
            let _ = std::panic::catch_unwind(stop);
        }
        self.sweep();
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// The processes that name this directory on their command line.
fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.to_string_lossy().into_owned();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| words(*pid).contains(&dir))
        .collect()
}

/// A process's command line.
fn words(pid: u32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

fn last(text: &str, length: usize) -> &str {
    let from = text.len().saturating_sub(length);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at));
    &text[from.unwrap_or(text.len())..]
}

/// Whether the machine's own engine is a node of a Swarm.
fn machine_is_in_a_swarm() -> bool {
    let info = Command::new("docker")
        .args(["info", "--format", "{{.Swarm.LocalNodeState}}"])
        .output();
    info.is_ok_and(|info| info.stdout.trim_ascii() != b"inactive")
}
