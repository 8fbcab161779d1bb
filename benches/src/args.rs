//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::{Parser, Subcommand};

use crate::peer::Peer;

/// Measures Weir and the proxies that are installed, side by side
#[derive(Debug, Parser)]
#[command(name = "weir-benches")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Two short rounds instead of five: to see that it works, not to compare
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these workloads; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) workload: Vec<String>,
    /// Only these proxies; may be repeated
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) peer: Vec<Peer>,
    /// Rounds per workload and proxy [default: 5]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Length of one round [default: 4]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Count user instructions per request under valgrind instead (Weir, HAProxy, nginx)
    #[arg(long)]
    pub(crate) callgrind: bool,
    /// Under callgrind, requests of HTTP/1.1 that are on their way at a time, at most 8
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) at_once: usize,
    /// Measure what active checks of this many endpoints cost instead, each once a second
    #[arg(long, value_name = "N")]
    pub(crate) probes: Option<usize>,
    /// Measure this binary instead of building the workspace's
    #[arg(long, value_name = "PATH")]
    weir: Option<PathBuf>,
    /// Where the CSV files go [default: benches/results]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

/// What the runner starts of itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The origin that all proxies share
    #[command(hide = true)]
    Origin { listen: SocketAddr },
}

impl Args {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    pub(crate) fn seconds(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 1 } else { 4 }))
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.results
            .clone()
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("results"))
    }

    /// The binary to measure: `--weir`, else the workspace's own, built now with this profile.
    pub(crate) fn weir_binary(&self, profile: &str) -> anyhow::Result<PathBuf> {
        if let Some(path) = &self.weir {
            return Ok(path.clone());
        }
        let this = std::env::current_exe().context("the path of this runner")?;
        // target/<profile>/weir-benches
        let target = this
            .ancestors()
            .nth(2)
            .context("the runner lies in target/<profile>")?;
        crate::say(&format!("building weir with profile {profile}"));
        let status = Process::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args([
                "build",
                "--quiet",
                "-p",
                "weir",
                "--profile",
                profile,
                "--target-dir",
            ])
            .arg(target)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .status()
            .context("run cargo")?;
        ensure!(status.success(), "cargo could not build weir");
        Ok(target.join(profile).join("weir"))
    }
}
