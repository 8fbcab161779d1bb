//! Running one attack, and what its report has to say within bounds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use weir_tests::binary::{self, workspace};

use crate::target::Target;

/// What a good client may feel at any rate: a worker that is in the middle of what an attacker has sent finishes that first. On two busy cores,
/// where quiet seconds had a 99th percentile of 6 to 10 ms, that was 9 to 13 ms beside the worst attacks, and 40 to 65 ms where
/// Weir is built without optimisation. It was no better with a CPU for Weir alone, which others may want, too.
const FLOOR: Duration = Duration::from_millis(15);
const FLOOR_UNOPTIMISED: Duration = Duration::from_millis(40);

fn floor() -> Duration {
    let is_optimised = binary::weir()
        .components()
        .any(|part| part.as_os_str() == "release");
    match is_optimised {
        true => FLOOR,
        false => FLOOR_UNOPTIMISED,
    }
}

/// An attack, repeated for a while, so many times or more, if only few good requests came through meanwhile.
pub(crate) struct Attack<'a> {
    pub(crate) name: &'a str,
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
}

/// What an attack may do.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    /// When each of its connections is over, by GOAWAY or a close; `None` where it may go on.
    pub(crate) ended_within: Option<Duration>,
    /// Resident memory beyond what the process had before; without the pages of its program, which a busy moment reads in.
    pub(crate) memory_kib: u64,
    /// Requests that reach the origin.
    pub(crate) upstream_per_connection: usize,
}

/// What the script reports, and what the origin saw.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    pub(crate) connections: usize,
    ended: usize,
    goaway: Option<String>,
    ended_after_s: Option<f64>,
    sent_per_connection: u64,
    statuses: HashMap<String, u64>,
    resets: HashMap<String, u64>,
    pub(crate) streams_left: u64,
    memory: Memory,
    good: Good,
    #[serde(skip)]
    upstream: usize,
    rounds: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    before_kib: u64,
    peak_kib: u64,
}

/// What the good client saw in windows without the attack, and in those with it between them.
#[derive(Debug, Clone, Deserialize)]
struct Good {
    quiet: u64,
    #[serde(rename = "quietP99Ms")]
    quiet_ms: Option<f64>,
    attacked: u64,
    #[serde(rename = "attackedP99Ms")]
    attacked_ms: Option<f64>,
    failed: u64,
}

impl Attack<'_> {
    /// Runs it, alone on the machine as far as this test binary goes: its good client is measured.
    pub(crate) fn run(&self, python: &Path, target: &Target) -> Outcome {
        static ALONE: Mutex<()> = Mutex::new(());
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = self.time.as_secs_f64().to_string();
        let rounds = self.rounds.to_string();
        let (addr, pid) = (target.addr().to_string(), target.pid().to_string());
        let output = script(python)
            .args([self.name, &addr, "--pid", &pid])
            .args(["--seconds", &seconds, "--rounds", &rounds, "--calm", "1"])
            .output()
            .expect("run the attack");
        let mut outcome: Outcome = parse(&output);
        outcome.upstream = target.attacks_seen();
        outcome
    }
}

impl Outcome {
    /// Every bound that does not hold, in words; all but what the good client feels.
    pub(crate) fn breaches(&self, bounds: &Bounds) -> Vec<String> {
        let mut all = Vec::new();
        let mut check = |holds: bool, why: String| {
            if !holds {
                all.push(why);
            }
        };
        check(self.connections > 0, "no connection was made".into());
        if let Some(within) = bounds.ended_within {
            let after = self.ended_after_s.unwrap_or(f64::INFINITY);
            let on_time = after <= within.as_secs_f64();
            check(on_time, format!("a connection went on for {after} s"));
            // The last one of a round may be cut by its end.
            let left = self.connections - self.ended;
            check(
                left <= self.rounds,
                format!("{left} connections were left open"),
            );
        }
        let grown = self.grown_kib();
        check(
            grown <= bounds.memory_kib,
            format!("memory grew by {grown} KiB"),
        );
        let most = bounds.upstream_per_connection * self.connections;
        check(
            self.upstream <= most,
            format!("{} requests at the origin, {most} allowed", self.upstream),
        );
        let failed = self.good.failed;
        check(failed == 0, format!("{failed} good requests failed"));
        all
    }

    /// Whether the good client was slower than twice its own time, in words.
    pub(crate) fn felt(&self) -> Option<String> {
        let quiet = self.good.quiet_ms.unwrap_or_default();
        let limit = (2.0 * quiet).max(floor().as_secs_f64() * 1000.0);
        let attacked = self.good.attacked_ms.unwrap_or(f64::INFINITY);
        let (few, many) = (self.good.quiet, self.good.attacked);
        let why = format!(
            "the good client's p99 was {attacked} ms of {many}, and {quiet} ms of {few} without the attack"
        );
        (attacked > limit).then_some(why)
    }

    fn grown_kib(&self) -> u64 {
        self.memory.peak_kib.saturating_sub(self.memory.before_kib)
    }

    /// For the table.
    pub(crate) fn line(&self, name: &str) -> String {
        let end = match (self.ended, &self.goaway) {
            (0, _) => "goes on".to_owned(),
            (_, Some(code)) => code.clone(),
            (_, None) => "closed".to_owned(),
        };
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |ms| format!("{ms:.1}"));
        let per = self.upstream as f64 / self.connections.max(1) as f64;
        format!(
            "{name:34} {end:20} after {:>7} s, {:>6} frames; {:>3} connections, {per:>7.1} upstream each; +{:>6} KiB; \
             p99 {:>6} -> {:>6} ms ({} good, {} failed); left {}; {:?} {:?}",
            self.ended_after_s.map_or("-".to_owned(), |s| s.to_string()),
            self.sent_per_connection,
            self.connections,
            self.grown_kib(),
            ms(self.good.quiet_ms),
            ms(self.good.attacked_ms),
            self.good.attacked,
            self.good.failed,
            self.streams_left,
            self.statuses,
            self.resets,
        )
    }
}

/// The runner, without its arguments.
pub(crate) fn script(python: &Path) -> Command {
    let mut command = Command::new(python);
    let script: PathBuf = workspace().join("tests/attacks/run.py");
    // The source folder stays as it is.
    command.arg("-B").arg(script);
    command
}

/// The JSON of a script that ended well.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(output: &Output) -> T {
    let said = || String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "the script failed: {}", said());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("its report: {e}; {}", said()))
}

/// All attacks that there are.
pub(crate) fn names(python: &Path) -> Vec<String> {
    let output = script(python).arg("--list").output().expect("list attacks");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    text.lines().filter_map(first).collect()
}
