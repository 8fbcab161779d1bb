//! A running `weir`, watched and ended with the value that holds it.

mod ask;
mod confine;
mod log;
mod user;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::{Client, Response};
use crate::config::{Ports, Setup};
use crate::tls::Connector;
use crate::wait::{PATIENCE, eventually};
use crate::{binary, h2, ports};

pub use confine::{MemoryGroup, under};
pub use log::Log;
use log::{drain, eventually_quiet};

/// A `weir` process of one configuration file.
pub struct Weir {
    child: Child,
    dir: TempDir,
    ports: Ports,
    out: Log,
    err: Log,
    /// `None` for a `weir` whose file the harness did not write.
    config: Option<PathBuf>,
}

impl Weir {
    /// `weir run -c FILE`, ready to serve.
    ///
    /// # Panics
    /// When it does not get ready; with all that it said.
    #[must_use]
    pub fn start(setup: &Setup) -> Self {
        Self::start_text(|ports| setup.render(ports))
    }

    /// As [`Weir::start`], with the YAML as text.
    #[must_use]
    pub fn start_text(yaml: impl Fn(Ports) -> String) -> Self {
        Self::start_with(yaml, |_| {})
    }

    /// As [`Weir::start_text`], with a last change to the command.
    ///
    /// # Panics
    /// When it does not get ready; with all that it said.
    #[must_use]
    pub fn start_with(yaml: impl Fn(Ports) -> String, command: impl Fn(&mut Command)) -> Self {
        for _ in 0..5 {
            let mut weir = Self::spawn(&yaml, &command);
            match weir.wait_ready() {
                Ok(()) => return weir,
                // Somebody else was faster: another pair of ports.
                Err(why) if why.contains("exited") && weir.logs().contains("in use") => {}
                Err(why) => panic!("weir {why}\n{}", weir.logs()),
            }
        }
        panic!("five pairs of ports in a row were taken");
    }

    /// Starts without waiting for anything.
    ///
    /// # Panics
    /// When the process cannot be started.
    #[must_use]
    pub fn spawn(yaml: impl Fn(Ports) -> String, command: impl Fn(&mut Command)) -> Self {
        let ports = Ports {
            listen: ports::free(),
            admin: ports::free(),
        };
        let dir = tempfile::tempdir().expect("a directory for the configuration");
        let config = dir.path().join("weir.yaml");
        std::fs::write(&config, yaml(ports)).expect("write the configuration");
        let mut run = Command::new(binary::weir());
        run.arg("run").arg("-c").arg(&config);
        Self::launch(run, dir, ports, Some(config), command)
    }

    /// Another command of the binary that serves (`forward`, `demo`), on ports of the harness's choice.
    #[must_use]
    pub fn command(args: impl Fn(Ports) -> Vec<String>) -> Self {
        Self::command_of(Command::new(binary::weir()), args)
    }

    /// The same by a command that ends in running the binary, such as one of a namespace.
    #[must_use]
    pub fn command_of(mut run: Command, args: impl Fn(Ports) -> Vec<String>) -> Self {
        let ports = Ports {
            listen: ports::free(),
            admin: ports::free(),
        };
        let dir = tempfile::tempdir().expect("a directory for the state");
        run.args(args(ports));
        Self::launch(run, dir, ports, None, |_| {})
    }

    fn launch(
        mut run: Command,
        dir: TempDir,
        ports: Ports,
        config: Option<PathBuf>,
        last: impl Fn(&mut Command),
    ) -> Self {
        run.env("WEIR_STATE_DIR", dir.path().join("state"))
            .env_remove("WEIR_TOKEN")
            .env("NO_COLOR", "1");
        run.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        last(&mut run);
        let mut child = run.spawn().unwrap_or_else(|e| panic!("start {run:?}: {e}"));
        let out = drain(child.stdout.take().expect("stdout is a pipe"));
        let err = drain(child.stderr.take().expect("stderr is a pipe"));
        Self {
            child,
            dir,
            ports,
            out,
            err,
            config,
        }
    }

    /// Waits for `GET /ready` to be 200.
    ///
    /// # Errors
    /// When the process exits before, or the time is up; the text continues "weir ...".
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("ask for the exit status") {
                // The rest of its words may still be in the pipe.
                let _ = eventually_quiet(&self.err);
                return Err(format!("exited with {status} before it was ready"));
            }
            if self
                .try_admin("/ready")
                .is_ok_and(|ready| ready.status() == 200)
            {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("is not ready after {PATIENCE:?}"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it takes requests.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.ports.listen
    }

    /// Where it listens, data and admin.
    #[must_use]
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// A connection to its listener.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.addr())
    }

    /// A connection over TLS to its listener.
    #[must_use]
    pub fn tls(&self, tls: &Connector) -> Client {
        Client::connect_tls(self.addr(), tls)
    }

    /// A connection of HTTP/2 in clear to its listener.
    #[must_use]
    pub fn h2c(&self) -> h2::Client {
        h2::Client::connect(self.addr())
    }

    /// A connection of HTTP/2 over TLS to its listener.
    #[must_use]
    pub fn h2(&self, tls: &Connector) -> h2::Client {
        h2::Client::connect_tls(self.addr(), tls)
    }

    /// One GET on a connection of its own.
    #[must_use]
    pub fn get(&self, host: &str, target: &str) -> Response {
        self.client().get(host, target)
    }

    /// The state directory it was given.
    #[must_use]
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The configuration file.
    ///
    /// # Panics
    /// When it runs without one.
    #[must_use]
    pub fn config(&self) -> &Path {
        self.config.as_deref().expect("a weir with a file")
    }

    /// Replaces the configuration file, atomically, as careful tools do.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn rewrite_text(&self, yaml: &str) {
        let new = self.dir.path().join(".weir.yaml.new");
        std::fs::write(&new, yaml).expect("write the new configuration");
        std::fs::rename(&new, self.config()).expect("put the new configuration in place");
    }

    /// Replaces the configuration file.
    pub fn rewrite(&self, setup: &Setup) {
        self.rewrite_text(&setup.render(self.ports));
    }

    /// Replaces the configuration file, and waits until the new one is in force.
    ///
    /// # Panics
    /// When it does not come into force.
    pub fn apply(&self, setup: &Setup) {
        let before = self.generation();
        self.rewrite(setup);
        eventually("the new configuration in force", || {
            (self.generation() > before).then_some(())
        });
    }

    /// All that it said: access log, then messages.
    #[must_use]
    pub fn logs(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout(),
            self.stderr()
        )
    }

    /// What it wrote to stdout: the access log.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.out
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it wrote to stderr: messages.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.err
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn rss_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .expect("the process lives");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("VmRSS in /proc");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse().ok())
            .expect("a number of KiB")
    }

    /// Resident memory of its own in KiB: not of files, so neither code nor what the loader has written into it, which in a
    /// build for tests is several times what it is in one for use.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn own_kib(&self) -> usize {
        let maps = std::fs::read_to_string(format!("/proc/{}/smaps", self.pid()))
            .expect("the process lives");
        let (mut own, mut of_file) = (0, false);
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            match (words.next(), words.next()) {
                (Some("Anonymous:"), Some(kib)) if !of_file => {
                    own += kib.parse::<usize>().expect("a number of KiB");
                }
                // The line that begins a mapping has no name of a value, and ends with its file.
                (Some(first), Some(_)) if !first.ends_with(':') => {
                    of_file = words.nth(3).is_some_and(|name| name.starts_with('/'));
                }
                _ => {}
            }
        }
        own
    }

    /// Time on a processor so far.
    ///
    /// # Panics
    /// When the process is gone.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))
            .expect("the process lives");
        // Behind the name, which may hold anything: utime and stime are the 12th and 13th.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|t| t.parse::<u64>().ok()).sum();
        // In hundredths of a second on every Linux (proc_pid_stat(5), USER_HZ).
        Duration::from_millis(ticks * 10)
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("send the signal");
    }

    /// Waits for the process to exit by itself.
    ///
    /// # Panics
    /// When it goes on running.
    pub fn wait_exit(&mut self) -> ExitStatus {
        let status = eventually("the end of weir", || {
            self.child.try_wait().expect("ask for the exit status")
        });
        let _ = eventually_quiet(&self.err);
        status
    }

    /// Whether it runs.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn running(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("ask for the exit status")
            .is_none()
    }

    /// Ends it at once, keeping its directory, and starts it again on the same ports and state.
    ///
    /// # Panics
    /// When it does not get ready.
    pub fn restart(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("the end of weir");
        let mut run = Command::new(binary::weir());
        run.arg("run").arg("-c").arg(self.config());
        run.env("WEIR_STATE_DIR", self.state_dir())
            .env_remove("WEIR_TOKEN")
            .env("NO_COLOR", "1");
        run.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.child = run.spawn().expect("start weir again");
        self.out = drain(self.child.stdout.take().expect("stdout is a pipe"));
        self.err = drain(self.child.stderr.take().expect("stderr is a pipe"));
        self.wait_ready()
            .unwrap_or_else(|why| panic!("weir, started again, {why}\n{}", self.logs()));
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let logs = self.logs();
            let tail = logs.len().saturating_sub(20_000);
            let tail = (tail..logs.len())
                .find(|&at| logs.is_char_boundary(at))
                .unwrap_or(tail);
            crate::say(&format!(
                "what weir said, at most the last 20 kB:\n{}",
                &logs[tail..]
            ));
        }
    }
}
