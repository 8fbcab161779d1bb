//! The proxies: how each is configured for a fair comparison, started and watched.
//!
//! Fair means for all of them: one worker, keep-alive towards the origin, no access log, no compression, as
//! many connections as they like, the same P-256 certificate, TLS 1.2 and 1.3 with the ciphers that each has by
//! itself (the load offers but one). Weir carries a route for each host and its metrics; the others forward
//! everything, which is in their favour.

mod caddy;
mod envoy;
mod haproxy;
mod nginx;
mod weir;

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use tempfile::TempDir;

use crate::identity::Identity;
use crate::origin::{Origins, free_port, wait_for};
use crate::process::{self, Owned, PROXY_CPU, on_cpu};
use crate::workload::{HOSTS, Setup, Workload};

/// Where a proxy listens, and what stands behind it.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) listen: SocketAddr,
    /// The same over TLS.
    pub(crate) tls: SocketAddr,
    pub(crate) origin: SocketAddr,
    /// Where calls of gRPC go.
    pub(crate) grpc: SocketAddr,
    /// The certificate that all proxies show.
    pub(crate) identity: Identity,
}

/// A proxy that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Weir,
    Haproxy,
    Nginx,
    Envoy,
    Caddy,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl Peer {
    /// These; all for none.
    pub(crate) fn chosen(peers: &[Self]) -> Vec<Self> {
        match peers {
            [] => Self::value_variants().to_vec(),
            some => some.to_vec(),
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Weir => "weir",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Caddy => "caddy",
        }
    }

    pub(crate) fn installed(self) -> bool {
        process::on_path(self.program())
    }

    /// What to set it up for, once for each kind that a workload asks for.
    pub(crate) fn setups(self, workloads: &[Workload]) -> Vec<Setup> {
        let mut setups: Vec<Setup> = workloads
            .iter()
            .map(|w| w.setup)
            .filter(|setup| self.carries(*setup))
            .collect();
        setups.sort_unstable();
        setups.dedup();
        setups
    }

    fn carries(self, setup: Setup) -> bool {
        match self {
            Self::Weir => true,
            // As it is packaged, it passes on no plain TCP.
            Self::Caddy => !setup.is_of_weir() && setup != Setup::Tcp,
            Self::Haproxy | Self::Nginx | Self::Envoy => !setup.is_of_weir(),
        }
    }

    /// What it says of itself, in a few words.
    pub(crate) fn version(self, weir: &Path) -> String {
        let (program, flag) = match self {
            Self::Weir => (weir.to_owned(), "--version"),
            Self::Haproxy | Self::Nginx => (self.program().into(), "-v"),
            Self::Envoy => (self.program().into(), "--version"),
            Self::Caddy => (self.program().into(), "version"),
        };
        let Ok(output) = Command::new(program).arg(flag).output() else {
            return "unknown version".into();
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let line = text
            .lines()
            .find(|line| line.contains(|c: char| c.is_ascii_digit()))
            .unwrap_or_default();
        line.split_whitespace()
            .find(|word| word.contains('.') && word.contains(|c: char| c.is_ascii_digit()))
            .unwrap_or("unknown version")
            .to_owned()
    }

    /// The command that serves these places, its configuration written to `dir`.
    fn arguments(self, dir: &Path, places: &Places, setup: Setup) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Weir => weir::arguments(dir, places, setup),
            Self::Haproxy => haproxy::arguments(dir, places, setup),
            Self::Nginx => nginx::arguments(dir, places, setup),
            Self::Envoy => envoy::arguments(dir, places, setup),
            Self::Caddy => caddy::arguments(dir, places),
        }
    }
}

/// A proxy at work.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    pub(crate) addr: SocketAddr,
    /// The same over TLS; nobody listens there where TCP is carried.
    pub(crate) tls: SocketAddr,
    pub(crate) setup: Setup,
    /// Resident memory before the first request.
    pub(crate) idle_kib: u64,
    pub(crate) dir: TempDir,
    child: Owned,
}

impl Running {
    /// Starts it on its CPU, and waits until it listens.
    pub(crate) fn start(
        peer: Peer,
        weir: &Path,
        origins: &Origins,
        setup: Setup,
    ) -> anyhow::Result<Self> {
        Self::launch(peer, weir, origins, setup, |program| {
            on_cpu(PROXY_CPU, program)
        })
    }

    /// Starts it under callgrind, which writes to `out` when it ends.
    pub(crate) fn start_under_callgrind(
        peer: Peer,
        weir: &Path,
        origins: &Origins,
        setup: Setup,
        out: &Path,
    ) -> anyhow::Result<Self> {
        let file = format!("--callgrind-out-file={}", out.display());
        Self::launch(peer, weir, origins, setup, |program| {
            let mut command = Command::new("valgrind");
            command
                .args(["--tool=callgrind", "--quiet", &file])
                .arg(program);
            command
        })
    }

    fn launch(
        peer: Peer,
        weir: &Path,
        origins: &Origins,
        setup: Setup,
        command: impl Fn(&Path) -> Command,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let places = Places {
            listen: free_port()?,
            tls: free_port()?,
            origin: origins.http.addr,
            grpc: origins.grpc.addr,
            identity: origins.identity.clone(),
        };
        let addr = places.listen;
        let program = if peer == Peer::Weir {
            weir
        } else {
            Path::new(peer.program())
        };
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = command(program)
            .args(peer.arguments(dir.path(), &places, setup)?)
            .env("GOMAXPROCS", "1")
            .env("HOME", dir.path())
            .env("WEIR_STATE_DIR", dir.path().join("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("run {peer}"))?;
        let mut running = Self {
            peer,
            addr,
            tls: places.tls,
            setup,
            idle_kib: 0,
            dir,
            child: Owned(child),
        };
        let listens = || match setup {
            Setup::Http { .. } => wait_for(places.tls),
            Setup::Tcp => Ok(()),
        };
        if let Err(why) = wait_for(addr).and_then(|()| listens()) {
            bail!(
                "{why}; it said: {}",
                std::fs::read_to_string(running.dir.path().join("log")).unwrap_or_default()
            );
        }
        // What a start leaves to be done settles within moments.
        std::thread::sleep(Duration::from_millis(500));
        running.idle_kib = process::rss_kib(&running.pids()?);
        Ok(running)
    }

    /// Its name in the tables.
    pub(crate) fn label(&self) -> String {
        match self.setup {
            Setup::Http { hosts: HOSTS } => self.peer.to_string(),
            Setup::Http { hosts } => format!("{} ({hosts} hosts)", self.peer),
            Setup::Tcp => format!("{} (tcp)", self.peer),
        }
    }

    /// Its processes, wrappers and workers included.
    pub(crate) fn pids(&self) -> anyhow::Result<Vec<u32>> {
        process::tree(self.child.0.id())
    }

    /// Ends it in an orderly way, so that what watches it can write its result.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        // Twice, a moment apart: the second leaves without waiting for idle clients.
        for _ in 0..2 {
            Command::new("kill")
                .args(["-TERM", &self.child.0.id().to_string()])
                .status()
                .context("end the proxy")?;
            let start = Instant::now();
            while start.elapsed() < Duration::from_secs(20) {
                if self.child.0.try_wait()?.is_some() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        bail!("{} does not end", self.peer)
    }
}
