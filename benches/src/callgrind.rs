//! User instructions per request under valgrind: exact, whatever the machine, and slow.
//!
//! Each proxy is run twice, with N and with 2N requests; the difference of what they executed, divided by N,
//! leaves out starting and stopping.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::args::Args;
use crate::load;
use crate::peer::{Peer, Running};
use crate::workload::HOSTS;
use crate::{facts, origin, process, say};

const REQUESTS: usize = 3000;

/// Runs Weir, HAProxy and nginx, those that are installed, and prints a table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !process::on_path("valgrind") {
        bail!("valgrind is not installed; on Debian: apt-get install valgrind");
    }
    let weir = args.weir_binary("profiling")?;
    let origin = origin::start()?;
    let count = if args.quick { REQUESTS / 10 } else { REQUESTS };
    let mut table = format!(
        "\n{}\n\n| proxy | user instructions per request |\n|---|---|\n",
        facts::machine()
    );
    let comparable = [Peer::Weir, Peer::Haproxy, Peer::Nginx];
    for peer in Peer::chosen(&args.peer)
        .into_iter()
        .filter(|peer| comparable.contains(peer))
    {
        if peer != Peer::Weir && !peer.installed() {
            continue;
        }
        let executed = |requests: usize| -> anyhow::Result<u64> {
            let out = tempfile::Builder::new()
                .prefix("callgrind")
                .tempfile()?
                .into_temp_path();
            let mut proxy = Running::start_under_callgrind(peer, &weir, origin.addr, HOSTS, &out)?;
            load::exactly(&proxy, requests)
                .with_context(|| format!("{requests} requests through {peer}"))?;
            proxy.stop()?;
            total(&out.to_path_buf())
        };
        let (once, twice) = (executed(count)?, executed(2 * count)?);
        let each = twice.saturating_sub(once) / count as u64;
        say(&format!("{peer}: {each} user instructions per request"));
        table += &format!("| {peer} | {each} |\n");
    }
    say(&table);
    Ok(())
}

/// The number of instructions that a callgrind file sums up; threads may write files of their own.
fn total(out: &PathBuf) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(out).with_context(|| format!("read {}", out.display()))?;
    let line = text.lines().find_map(|line| {
        line.strip_prefix("totals: ")
            .or_else(|| line.strip_prefix("summary: "))
    });
    line.and_then(|words| words.split_whitespace().next()?.parse().ok())
        .context("no total in callgrind's file")
}
