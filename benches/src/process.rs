//! Other processes: starting them on a CPU, finding their children, reading what they used.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context as _;

/// Where the proxies run, and where everything else does.
pub(crate) const PROXY_CPU: &str = "0";
pub(crate) const LOAD_CPU: &str = "1";

/// Ticks of `utime` and `stime` in a second; fixed for user space (proc(5)).
const TICKS: f64 = 100.0;

/// A child that is killed with its value.
pub(crate) struct Owned(pub(crate) Child);

impl Drop for Owned {
    fn drop(&mut self) {
        // A shim may have started the real process: its children first.
        for pid in tree(self.0.id()).unwrap_or_default().into_iter().rev() {
            if pid != self.0.id() {
                // One that is gone already is what is wanted.
                let _ = Command::new("kill")
                    .args(["-KILL", &pid.to_string()])
                    .status();
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a command can be found.
pub(crate) fn on_path(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// A command bound to one CPU, where there is more than one and `taskset` to bind with.
pub(crate) fn on_cpu(cpu: &str, program: impl AsRef<OsStr>) -> Command {
    let several = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    if several && on_path("taskset") {
        let mut command = Command::new("taskset");
        command.args(["-c", cpu]).arg(program);
        return command;
    }
    Command::new(program)
}

/// A process and all that it started, parents first.
pub(crate) fn tree(root: u32) -> anyhow::Result<Vec<u32>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        if let Some(parent) = after_name(&stat).nth(1).and_then(|word| word.parse().ok()) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut all = vec![root];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children.get(&pid).into_iter().flatten());
        next += 1;
    }
    Ok(all)
}

/// The words of `/proc/PID/stat` after the name, which may hold anything: state, parent, …
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')')
        .map_or("", |(_, rest)| rest)
        .split_whitespace()
}

/// CPU time that processes have used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cpu {
    /// Of all threads, exact.
    pub(crate) total: Duration,
    /// Shares of it, counted in ticks: good for a ratio over a second or more.
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
}

/// What these processes have used so far, together.
pub(crate) fn cpu(pids: &[u32]) -> anyhow::Result<Cpu> {
    let mut sum = Cpu::default();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid} is gone"))?;
        let ticks = |index: usize| {
            after_name(&stat)
                .nth(index)
                .and_then(|word| word.parse::<f64>().ok())
                .unwrap_or(0.0)
        };
        // utime and stime are the 14th and 15th word of all, the 12th and 13th after the name.
        sum.user_s += ticks(11) / TICKS;
        sum.system_s += ticks(12) / TICKS;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // The first word of schedstat: nanoseconds on a CPU.
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let nanos = text
                .split_whitespace()
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0);
            sum.total += Duration::from_nanos(nanos);
        }
    }
    Ok(sum)
}

/// Resident memory of these processes, together; pages that they share are counted for each.
pub(crate) fn rss_kib(pids: &[u32]) -> u64 {
    let of = |pid: &u32| -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
    };
    pids.iter().filter_map(of).sum()
}
