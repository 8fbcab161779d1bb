//! HTTP/2 with h2load, whose log has the latency of every request.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Load;
use crate::peer::Running;
use crate::process::{LOAD_CPU, on_cpu};
use crate::workload::{Over, Workload};

/// A gRPC message of ten bytes behind its prefix.
const MESSAGE: &[u8] = b"\0\0\0\0\x0a0123456789";

/// Drives a workload with that many streams on each connection.
pub(super) fn run(
    workload: &Workload,
    proxy: &Running,
    streams: usize,
    time: Duration,
    offer: &Path,
) -> anyhow::Result<Load> {
    // Not beside the proxy's files: Weir looks after the directory of its configuration, and a line is written for each request.
    let dir = tempfile::tempdir()?;
    let (log, message) = (dir.path().join("h2load.log"), dir.path().join("message"));
    // It appends.
    std::fs::write(&log, "")?;
    std::fs::write(&message, MESSAGE)?;
    let seconds = time.as_secs().max(1);
    let mut command = command(workload, proxy, streams, &message, offer);
    command.args(["-D", &seconds.to_string()]);
    command.arg(format!("--log-file={}", log.display()));
    let text = printed(command)?;
    let lines = std::fs::read_to_string(&log).context("read h2load's log")?;
    parse(&lines, Duration::from_secs(seconds)).with_context(|| format!("h2load printed {text}"))
}

/// Sends exactly that many requests.
pub(super) fn exactly(
    workload: &Workload,
    proxy: &Running,
    streams: usize,
    count: usize,
    offer: &Path,
) -> anyhow::Result<()> {
    let message = proxy.dir.path().join("message");
    std::fs::write(&message, MESSAGE)?;
    let mut command = command(workload, proxy, streams, &message, offer);
    command.args(["-n", &count.to_string()]);
    let text = printed(command)?;
    let good = format!("{count} succeeded");
    ensure!(text.contains(&good), "not every answer was good: {text}");
    Ok(())
}

/// What all loads of HTTP/2 have in common.
fn command(
    workload: &Workload,
    proxy: &Running,
    streams: usize,
    message: &Path,
    offer: &Path,
) -> Command {
    let mut command = on_cpu(LOAD_CPU, "h2load");
    command
        .args(["-t1", "-c", &workload.connections.to_string()])
        .args(["-m", &streams.to_string()]);
    let (scheme, addr) = match workload.over {
        Over::Grpc { .. } => {
            let heads = ["content-type: application/grpc", "te: trailers"];
            for head in heads {
                command.args(["-H", head]);
            }
            command.arg("-d").arg(message);
            ("http", proxy.addr)
        }
        _ => ("https", proxy.tls),
    };
    // A host that Weir has a route for; the others take any.
    command
        .arg(format!("--connect-to={addr}"))
        .arg(format!("{scheme}://h7.example{}", workload.path))
        .env("OPENSSL_CONF", offer);
    command
}

/// What it printed when it went well.
fn printed(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().context("run h2load")?;
    ensure!(
        output.status.success(),
        "h2load: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads lines of start, status and duration in microseconds.
#[allow(clippy::cast_precision_loss)]
fn parse(log: &str, time: Duration) -> anyhow::Result<Load> {
    let mut took: Vec<u64> = Vec::new();
    for line in log.lines() {
        let mut fields = line.split('\t').skip(1);
        let status = fields.next().context("a status")?;
        ensure!(status == "200", "not every answer was good: {line}");
        took.push(
            fields
                .next()
                .and_then(|us| us.parse().ok())
                .context("a duration")?,
        );
    }
    ensure!(!took.is_empty(), "no request was answered");
    took.sort_unstable();
    let quantile = |percent: usize| Duration::from_micros(took[(took.len() - 1) * percent / 100]);
    Ok(Load {
        requests: took.len() as u64,
        per_second: took.len() as f64 / time.as_secs_f64(),
        p50: quantile(50),
        p99: quantile(99),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_h2load_logs_is_understood() {
        let log: String = (1..=100)
            .map(|n| format!("17{n:04}\t200\t{n}00\n"))
            .collect();
        let load = parse(&log, Duration::from_secs(2)).unwrap();
        assert_eq!((load.requests, load.per_second), (100, 50.0));
        assert_eq!(load.p50, Duration::from_micros(5000));
        assert_eq!(load.p99, Duration::from_micros(9900));
        assert!(parse("1\t503\t5\n", Duration::from_secs(1)).is_err());
        assert!(parse("", Duration::from_secs(1)).is_err());
    }
}
