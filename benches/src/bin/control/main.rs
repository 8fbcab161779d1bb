//! What a control plane of many proxies takes: a change to all of them, all of them at once, a large compilation.
//!
//! `weir control` is a process of its own, release build; the proxies are simulated in this one, a connection and a stream
//! of the incremental protocol each, and ask as Weir's own proxies do: clusters and listeners as a whole, endpoints and
//! routes by name. Endpoints come from files, so that a change takes the whole way: the file, the model, the views, the wire.
#![allow(clippy::print_stdout)]

mod client;
mod plane;
mod scene;

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use tokio::sync::mpsc;

use client::{Arrival, Crowd};
use plane::Plane;
use scene::Scene;

/// Measures `weir control` with many simulated proxies
#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Of each service
    #[arg(long, default_value_t = 10)]
    endpoints: usize,
    /// Changes of one endpoint, one after the other
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// Endpoints of the compilation that is timed
    #[arg(long, default_value_t = 100_000)]
    compile: usize,
}

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two changes, so that each is the first after a quiet time.
const QUIET: Duration = Duration::from_millis(1_200);

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(measure(&args))?;
    let took = plane::check(&scene::one_file(args.compile))?;
    println!(
        "compile {} endpoints (weir check): {took:.2?}",
        args.compile
    );
    Ok(())
}

async fn measure(args: &Args) -> anyhow::Result<()> {
    let scene = Scene::new(args.services, args.endpoints)?;
    let mut plane = Plane::start(&scene)?;
    plane.wait_ready().await?;
    plane.print("no clients")?;

    let (arrivals, mut arrived) = mpsc::unbounded_channel();
    let crowd = Crowd::new(scene.xds, args.clients, arrivals);
    let start = Instant::now();
    crowd.start();
    plane.wait_synced(args.clients).await?;
    println!(
        "first connection of {} clients: {:.2?}",
        args.clients,
        start.elapsed()
    );
    plane.print("all connected")?;

    let before = plane.cpu()?;
    let mut latencies = Vec::new();
    // In round 0 they are as they were written first.
    for round in 1..=args.changes {
        tokio::time::sleep(QUIET).await;
        while arrived.try_recv().is_ok() {}
        let service = scene.service(round * 37 % args.services);
        let changed = Instant::now();
        scene.change(&service, round)?;
        latencies.extend(collect(&mut arrived, &service, changed, args.clients).await?);
    }
    let cpu = plane.cpu()? - before;
    report(&mut latencies, args.changes, cpu);
    plane.print("after the changes")?;

    plane.restart(&scene)?;
    let start = Instant::now();
    plane.wait_ready().await?;
    plane.wait_synced(args.clients).await?;
    println!(
        "{} clients back after a restart: {:.2?}",
        args.clients,
        start.elapsed()
    );
    println!("  resources sent again: {}", plane.sent().await?);
    plane.print("all back")
}

/// When each client had the endpoints of that service.
async fn collect(
    arrived: &mut mpsc::UnboundedReceiver<Arrival>,
    service: &str,
    since: Instant,
    clients: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut out = Vec::with_capacity(clients);
    while out.len() < clients {
        let next = tokio::time::timeout(PATIENCE, arrived.recv()).await;
        let arrival = next
            .context("a change did not arrive")?
            .context("the clients ended")?;
        if *arrival.name == *service {
            out.push(arrival.at.saturating_duration_since(since));
        }
    }
    Ok(out)
}

fn report(latencies: &mut [Duration], changes: usize, cpu: Duration) {
    latencies.sort();
    let at = |share: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index from a share"
        )]
        let index = (latencies.len() as f64 * share) as usize;
        latencies
            .get(index.min(latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    };
    println!(
        "one endpoint changed, file to client: p50 {:.0?}, p99 {:.0?}, longest {:.0?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let each = cpu
        .checked_div(u32::try_from(changes).unwrap_or(1))
        .unwrap_or_default();
    println!("  CPU of the control plane for each change: {each:.0?}");
}

/// Asks until the answer is yes.
async fn until(what: &str, mut probe: impl AsyncFnMut() -> Option<()>) -> anyhow::Result<()> {
    let start = Instant::now();
    while probe().await.is_none() {
        ensure!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
