//! The whole-process bench: Weir beside the proxies that are installed, under the same load.
//!
//! `cargo run --release -p weir-benches -- [--quick] [--workload NAME]… [--peer NAME]… [--callgrind]`
//!
//! Each proxy runs on CPU 0 with one worker; its origin and the load (wrk, h2load) run on CPU 1. Rounds are
//! interleaved, proxy after proxy, so that a busy machine is unfair to all of them alike, and the
//! median of the rounds is reported. The unit is what one request costs the proxy's process:
//! instructions where `perf` can count them, CPU time everywhere.

mod args;
mod callgrind;
mod facts;
mod identity;
mod load;
mod origin;
mod peer;
mod perf;
mod probes;
mod process;
mod report;
mod workload;

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser as _;

use args::{Args, Command};
use origin::Origins;
use peer::{Peer, Running};
use report::{Report, Sample};
use workload::Workload;

/// Prints a line for the person who waits.
fn say(line: &str) {
    // A closed stdout only loses the progress.
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    match &args.command {
        Some(Command::Origin { listen }) => origin::serve(*listen),
        None => match args.probes {
            Some(count) => probes::run(&args, count),
            None if args.callgrind => callgrind::run(&args),
            None => measure(&args),
        },
    }
}

/// Starts everything, drives every workload through every proxy, and reports.
fn measure(args: &Args) -> anyhow::Result<()> {
    if !process::on_path("wrk") {
        bail!("wrk is not installed; on Debian: apt-get install wrk");
    }
    let weir = args.weir_binary("release")?;
    let origins = Origins::start(&weir)?;
    let workloads = Workload::chosen(&args.workload)?;
    if workloads.iter().any(Workload::is_h2) && !process::on_path("h2load") {
        bail!("h2load is not installed; on Debian: apt-get install nghttp2-client");
    }
    let counting = perf::can_count();
    say(&format!(
        "{}; perf {}",
        facts::machine(),
        if counting {
            "counts instructions"
        } else {
            "cannot count here: CPU time only"
        }
    ));

    let mut running: Vec<Running> = Vec::new();
    for peer in Peer::chosen(&args.peer) {
        if peer != Peer::Weir && !peer.installed() {
            say(&format!("{peer}: not installed, left out"));
            continue;
        }
        for setup in peer.setups(&workloads) {
            let started = Running::start(peer, &weir, &origins, setup)
                .with_context(|| format!("start {peer}"))?;
            say(&format!(
                "{}: {}, idle at {} KiB",
                started.label(),
                peer.version(&weir),
                started.idle_kib
            ));
            running.push(started);
        }
    }
    let mut report = Report::new(counting);
    for proxy in &running {
        report.idle(&proxy.label(), proxy.idle_kib);
    }
    for workload in &workloads {
        for round in 0..args.rounds() {
            for proxy in running.iter().filter(|proxy| workload.fits(proxy)) {
                let sample = one_round(workload, proxy, args.seconds(), counting)
                    .with_context(|| format!("{} through {}", workload.name, proxy.label()))?;
                say(&format!(
                    "{} round {}: {}: {sample}",
                    workload.name,
                    round + 1,
                    proxy.label()
                ));
                report.add(workload.name, &proxy.label(), sample);
            }
        }
    }
    say(&report.table());
    let path = report.write(&args.results())?;
    say(&format!("written to {}", path.display()));
    Ok(())
}

/// One measurement: a short warm-up, then the load between two readings of the process's counters.
fn one_round(
    workload: &Workload,
    proxy: &Running,
    time: Duration,
    counting: bool,
) -> anyhow::Result<Sample> {
    load::drive(workload, proxy, Duration::from_secs(1))?;
    let counter = if counting {
        Some(perf::Counter::start(&proxy.pids()?)?)
    } else {
        None
    };
    let before = process::cpu(&proxy.pids()?)?;
    let load = load::drive(workload, proxy, time)?;
    let after = process::cpu(&proxy.pids()?)?;
    let instructions = counter.map(perf::Counter::stop).transpose()?;
    Sample::new(load, before, after, instructions)
}
