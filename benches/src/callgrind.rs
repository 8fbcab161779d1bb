//! User instructions per request under valgrind: exact, whatever the machine, and slow.
//!
//! Each proxy is run twice, with N and with 2N requests; the difference of what they executed, divided by N,
//! leaves out starting and stopping.

use std::path::PathBuf;

use anyhow::{Context as _, bail};

use crate::args::Args;
use crate::load;
use crate::origin::Origins;
use crate::peer::{Peer, Running};
use crate::workload::{Over, Workload};
use crate::{facts, process, say};

const REQUESTS: usize = 3000;

/// Runs Weir, HAProxy and nginx, those that are installed, and prints a table.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if !process::on_path("valgrind") {
        bail!("valgrind is not installed; on Debian: apt-get install valgrind");
    }
    let weir = args.weir_binary("profiling")?;
    let origins = Origins::start(&weir)?;
    let count = if args.quick { REQUESTS / 10 } else { REQUESTS };
    let mut chosen: Vec<Workload> = Vec::new();
    for workload in Workload::chosen(&args.workload)? {
        // Of each kind the smallest question, for which the first workload stands.
        let is_other = |w: &Workload| w.setup != workload.setup || w.is_h2() != workload.is_h2();
        let is_sent = !matches!(workload.over, Over::Tls);
        if is_sent && !workload.setup.is_of_weir() && chosen.iter().all(is_other) {
            chosen.push(workload);
        }
    }
    let mut table = format!(
        "\n{}, {} at a time\n\n| proxy | user instructions per request |\n|---|---|\n",
        facts::machine(),
        args.at_once
    );
    let comparable = [Peer::Weir, Peer::Haproxy, Peer::Nginx];
    for workload in chosen {
        for peer in Peer::chosen(&args.peer) {
            let speaks = peer == Peer::Weir || !matches!(workload.over, Over::Grpc { .. });
            if !comparable.contains(&peer) || !speaks || peer != Peer::Weir && !peer.installed() {
                continue;
            }
            let executed = |requests: usize| -> anyhow::Result<u64> {
                let out = tempfile::Builder::new()
                    .prefix("callgrind")
                    .tempfile()?
                    .into_temp_path();
                let mut proxy =
                    Running::start_under_callgrind(peer, &weir, &origins, workload.setup, &out)?;
                load::exactly(&workload, &proxy, requests, args.at_once)
                    .with_context(|| format!("{requests} requests through {peer}"))?;
                proxy.stop()?;
                total(&out.to_path_buf())
            };
            let (once, twice) = (executed(count)?, executed(2 * count)?);
            let each = twice.saturating_sub(once) / count as u64;
            let name = match workload.name {
                "small" => peer.to_string(),
                other => format!("{peer} ({other})"),
            };
            say(&format!("{name}: {each} user instructions per request"));
            table += &format!("| {name} | {each} |\n");
        }
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
