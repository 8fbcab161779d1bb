//! The control plane as a process, and what it says of itself.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::scene::Scene;
use super::until;

/// Ticks of a second in `/proc/PID/stat` (proc(5)).
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Plane {
    child: Child,
    admin: SocketAddr,
}

impl Drop for Plane {
    fn drop(&mut self) {
        // Either fails when it is gone already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Plane {
    pub(crate) fn start(scene: &Scene) -> anyhow::Result<Self> {
        Ok(Self {
            child: spawn(scene)?,
            admin: scene.admin,
        })
    }

    /// Ends it at once and starts another on the same addresses and state.
    pub(crate) fn restart(&mut self, scene: &Scene) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        self.child = spawn(scene)?;
        Ok(())
    }

    pub(crate) async fn wait_ready(&self) -> anyhow::Result<()> {
        let ready = async || {
            self.ask("/ready")
                .filter(|text| text.contains(" 200 "))
                .map(drop)
        };
        until("the control plane to be ready", ready).await
    }

    /// Waits until so many proxies have everything.
    pub(crate) async fn wait_synced(&self, count: usize) -> anyhow::Result<()> {
        let line = format!("weir_xds_proxies{{state=\"synced\"}} {count}\n");
        let synced = async || {
            self.ask("/metrics")
                .filter(|text| text.contains(&line))
                .map(drop)
        };
        until("all proxies to have everything", synced).await
    }

    /// Resources sent since it started.
    pub(crate) async fn sent(&self) -> anyhow::Result<u64> {
        let text = self.ask("/metrics").context("no metrics")?;
        let lines = text
            .lines()
            .filter(|line| line.starts_with("weir_xds_resources_total{"));
        Ok(lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum())
    }

    /// Processor time so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("a stat without a name")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u32 = ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
        Ok(TICK * ticks)
    }

    pub(crate) fn print(&self, when: &str) -> anyhow::Result<()> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        };
        println!(
            "  control plane, {when}: {} MiB resident (at most {}), {:.2?} of CPU so far",
            kib("VmRSS:").unwrap_or(0) / 1024,
            kib("VmHWM:").unwrap_or(0) / 1024,
            self.cpu()?
        );
        Ok(())
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.admin).ok()?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}

fn weir() -> PathBuf {
    let named = std::env::var_os("WEIR_BIN").map(PathBuf::from);
    named.unwrap_or_else(|| PathBuf::from("target/release/weir"))
}

fn spawn(scene: &Scene) -> anyhow::Result<Child> {
    let weir = weir();
    Command::new(&weir)
        .args(["control", "-c"])
        .arg(scene.config())
        .arg("--state-dir")
        .arg(scene.state())
        .env("WEIR_LOG", "error")
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| {
            format!(
                "{} (cargo build --release -p weir, or $WEIR_BIN)",
                weir.display()
            )
        })
}

/// How long `weir check` takes for a file.
pub(crate) fn check(yaml: &str) -> anyhow::Result<Duration> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("large.yaml");
    fs::write(&file, yaml)?;
    let start = Instant::now();
    let status = Command::new(weir())
        .arg("check")
        .arg(&file)
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "weir check: {status}");
    Ok(start.elapsed())
}
