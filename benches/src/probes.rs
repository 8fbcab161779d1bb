//! `--probes N`: what active checks of that many endpoints cost, each once a second.
//!
//! The endpoints are addresses of loopback with one origin behind them all. Weir serves no request meanwhile; what it
//! uses beside a run without checks is theirs. The kernel's part of a connection on loopback is nearly all of it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

use crate::args::Args;
use crate::origin::{self, free_port, wait_for};
use crate::process::{self, Cpu, Owned, PROXY_CPU, on_cpu};
use crate::say;

/// Every check once a second.
const RATE: &str = "interval: 1s";

/// What is measured: without checks first, for all others are held against it.
const KINDS: [(&str, Option<&str>); 4] = [
    ("no checks", None),
    ("tcp", Some("tcp: {}")),
    ("http", Some("http: { path: / }")),
    (
        "http, body",
        Some("http: { path: /, body: { contains: ssss } }"),
    ),
];

/// Measures each kind and prints a line for it.
pub(crate) fn run(args: &Args, count: usize) -> anyhow::Result<()> {
    ensure!(
        (1..=60_000).contains(&count),
        "from 1 to 60000 endpoints can be probed"
    );
    let weir = args.weir_binary("release")?;
    let origin = origin::start_everywhere()?;
    let time = args.seconds().max(Duration::from_secs(5));
    say(&format!(
        "{count} endpoints, {RATE}, {time:?} each\n{:12} {:>10} {:>8} {:>8} {:>16}",
        "check", "% of core", "user", "system", "us per check"
    ));
    let mut idle = None;
    for (kind, check) in KINDS {
        let mut started = Started::new(&weir, &config(count, origin.addr.port(), check)?)?;
        started.wait_available(count)?;
        // The checks that come together at the start are spread within one interval.
        std::thread::sleep(Duration::from_secs(3));
        let used = started.use_during(time)?;
        started.ensure_alive()?;
        let seconds = time.as_secs_f64();
        let total = used.total.as_secs_f64();
        let without = *idle.get_or_insert(total);
        let checks = f64::from(u32::try_from(count)?) * seconds;
        say(&format!(
            "{kind:12} {:>10.2} {:>8.2} {:>8.2} {:>16.1}",
            total / seconds * 100.0,
            used.user_s / seconds * 100.0,
            used.system_s / seconds * 100.0,
            (total - without) / checks * 1e6,
        ));
    }
    Ok(())
}

/// The configuration, all but its own addresses.
fn config(count: usize, port: u16, check: Option<&str>) -> anyhow::Result<String> {
    let mut yaml = String::from("services:\n  - name: app\n");
    if let Some(check) = check {
        writeln!(yaml, "    healthCheck: {{ {check}, {RATE} }}")?;
    }
    writeln!(yaml, "    endpoints:")?;
    for n in 0..count {
        let (high, low) = (n / 250, n % 250 + 1);
        writeln!(yaml, "      - {{ address: \"127.1.{high}.{low}:{port}\" }}")?;
    }
    yaml.push_str("routes:\n  - { name: app, rules: [{ backendRefs: [{ name: app }] }] }\n");
    Ok(yaml)
}

/// Weir at work.
struct Started {
    admin: SocketAddr,
    child: Owned,
    _dir: TempDir,
}

impl Started {
    fn new(weir: &Path, services: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (listen, admin) = (free_port()?, free_port()?);
        let path = dir.path().join("weir.yaml");
        let yaml = format!(
            "admin: {{ bind: \"{admin}\" }}\nworkers: 1\naccessLog: \"off\"\n\
             listeners:\n  - {{ name: web, bind: \"{listen}\", protocol: http }}\n{services}"
        );
        std::fs::write(&path, yaml)?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = on_cpu(PROXY_CPU, weir)
            .args(["run", "-c"])
            .arg(&path)
            .env("WEIR_STATE_DIR", dir.path().join("state"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("run weir")?;
        let started = Self {
            admin,
            child: Owned(child),
            _dir: dir,
        };
        wait_for(listen)?;
        Ok(started)
    }

    /// Checks that fail would be measured just as well, and mean nothing.
    fn wait_available(&self, count: usize) -> anyhow::Result<()> {
        let start = Instant::now();
        let wanted = format!("\"available\":{count},");
        while !self.services()?.contains(&wanted) {
            if start.elapsed() > Duration::from_secs(60) {
                bail!("not every endpoint passes its check");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn services(&self) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        let host = self.admin;
        write!(
            stream,
            "GET /api/v1/services HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn use_during(&self, time: Duration) -> anyhow::Result<Cpu> {
        let pids = process::tree(self.child.0.id())?;
        let before = process::cpu(&pids)?;
        std::thread::sleep(time);
        let after = process::cpu(&pids)?;
        Ok(Cpu {
            total: after.total.saturating_sub(before.total),
            user_s: after.user_s - before.user_s,
            system_s: after.system_s - before.system_s,
        })
    }

    fn ensure_alive(&mut self) -> anyhow::Result<()> {
        ensure!(self.child.0.try_wait()?.is_none(), "weir ended early");
        Ok(())
    }
}
