//! Load: wrk and h2load for rates and latencies, and an exact number of requests for callgrind.

mod h2load;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::peer::Running;
use crate::process::{LOAD_CPU, on_cpu};
use crate::workload::{Over, Workload};

/// What wrk saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

/// What the load offers over TLS, whatever the proxy would choose: one version, one cipher, one group. OpenSSL, on which
/// wrk and h2load stand, reads it from the file that `OPENSSL_CONF` names.
const OFFER: &str = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n\
    MinProtocol = TLSv1.3\nCiphersuites = TLS_AES_128_GCM_SHA256\nGroups = X25519\n";

/// Drives a workload through a proxy.
pub(crate) fn drive(workload: &Workload, proxy: &Running, time: Duration) -> anyhow::Result<Load> {
    let offer = offer(proxy)?;
    match workload.over {
        Over::Clear | Over::Tls => wrk(workload, proxy, time, &offer),
        Over::H2Tls { streams } | Over::Grpc { streams } => {
            h2load::run(workload, proxy, streams, time, &offer)
        }
    }
}

fn offer(proxy: &Running) -> anyhow::Result<PathBuf> {
    let path = proxy.dir.path().join("openssl.cnf");
    std::fs::write(&path, OFFER)?;
    Ok(path)
}

/// Drives a workload of HTTP/1.1 through a proxy with wrk.
fn wrk(workload: &Workload, proxy: &Running, time: Duration, offer: &Path) -> anyhow::Result<Load> {
    let script = proxy.dir.path().join("load.lua");
    let close = if workload.close {
        "wrk.headers['Connection'] = 'close'\n"
    } else {
        ""
    };
    // Strides through the hosts, so that no cache line of the last one helps the next.
    let lua = format!(
        "{close}local n = 0\nrequest = function()\n  n = (n + 7919) % {}\n  wrk.headers['Host'] = 'h' .. n .. '.example'\n  return wrk.format('GET', '{}')\nend\n",
        workload.setup.hosts(),
        workload.path
    );
    std::fs::write(&script, lua)?;
    let output = on_cpu(LOAD_CPU, "wrk")
        .args(["-t1", "--latency", "--timeout", "10s", "-c"])
        .arg(workload.connections.to_string())
        .arg(format!("-d{}s", time.as_secs().max(1)))
        .arg("-s")
        .arg(&script)
        .arg(match workload.over {
            Over::Tls => format!("https://{}{}", proxy.tls, workload.path),
            _ => format!("http://{}{}", proxy.addr, workload.path),
        })
        .env("OPENSSL_CONF", offer)
        .output()
        .context("run wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "wrk: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    ensure!(
        !text.contains("Non-2xx"),
        "not every answer was good: {text}"
    );
    parse(&text).with_context(|| format!("wrk printed {text}"))
}

fn parse(text: &str) -> Option<Load> {
    let quantile = |mark: &str| {
        text.lines()
            .find_map(|line| duration(line.trim().strip_prefix(mark)?.trim()))
    };
    Some(Load {
        requests: text
            .lines()
            .find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())?,
        per_second: text.lines().find_map(|line| {
            line.trim()
                .strip_prefix("Requests/sec:")?
                .trim()
                .parse()
                .ok()
        })?,
        p50: quantile("50%")?,
        p99: quantile("99%")?,
    })
}

/// Reads `512.00us`, `1.23ms`, `4.56s`.
fn duration(text: &str) -> Option<Duration> {
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    number
        .parse::<f64>()
        .ok()
        .map(|number| Duration::from_secs_f64(number * unit))
}

/// Connections over which [`exactly`] sends.
const CONNECTIONS: usize = 8;

/// Sends exactly that many requests of a workload: those of HTTP/2 as the workload has them, others over eight connections in
/// turn, so many at once.
pub(crate) fn exactly(
    workload: &Workload,
    proxy: &Running,
    count: usize,
    at_once: usize,
) -> anyhow::Result<()> {
    if let Over::H2Tls { streams } | Over::Grpc { streams } = workload.over {
        let offer = offer(proxy)?;
        return h2load::exactly(workload, proxy, streams, count, &offer);
    }
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let stream = TcpStream::connect(proxy.addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        streams.push(stream);
    }
    let all: Vec<usize> = (0..count).collect();
    for together in all.chunks(at_once.clamp(1, CONNECTIONS)) {
        for n in together {
            let host = n * 7919 % proxy.setup.hosts();
            let request = format!("GET / HTTP/1.1\r\nHost: h{host}.example\r\n\r\n");
            streams[n % CONNECTIONS].write_all(request.as_bytes())?;
        }
        for n in together {
            read_answer(&mut streams[n % CONNECTIONS])?;
        }
    }
    Ok(())
}

fn read_answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut buffer = [0; 4096];
    let mut seen = 0;
    // Every body ends in the origin's 38 letters.
    while !buffer[..seen].ends_with(&[b's'; 38]) {
        let read = stream.read(&mut buffer[seen..])?;
        ensure!(
            read > 0,
            "the proxy closed a connection: {}",
            String::from_utf8_lossy(&buffer[..seen])
        );
        seen += read;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_prints_is_understood() {
        let text = "Running 1s test @ http://127.0.0.1:1/\n  1 threads and 64 connections\n  Latency Distribution\n     50%    1.50ms\n     75%    2.00ms\n     90%    3.00ms\n     99%  512.00us\n  12345 requests in 1.00s, 1.90MB read\nRequests/sec:  12340.50\nTransfer/sec:      1.90MB\n";
        let load = parse(text).unwrap();
        assert_eq!(
            load,
            Load {
                requests: 12345,
                per_second: 12340.5,
                p50: Duration::from_micros(1500),
                p99: Duration::from_micros(512)
            }
        );
        assert_eq!(duration("4.5s"), Some(Duration::from_millis(4500)));
        assert_eq!(duration("4.5"), None);
    }
}
