//! What `weir apply` and `weir rollback` have in common: asking, showing what changes, waiting for the proxies.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use weir_control::api::types::{ConfigChange, ConfigOutcome, FollowerInfo, Following};

use crate::client::{Client, block_on, read};
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, Tone, print};
use crate::units;

/// Followers that a message names.
const NAMED: usize = 5;
/// The longest that one request waits; the time of all of them together is the user's.
const STEP: Duration = Duration::from_secs(5);

/// How a change is made.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// Only show what it would change
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// With --dry-run: exit with 4 if it would change something
    #[arg(long, requires = "dry_run")]
    exit_code: bool,
    /// Wait until every proxy has it in force [default time: 30s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, value_parser = units::duration)]
    wait: Option<Option<Duration>>,
}

/// How long is waited where no time is given.
const PATIENCE: Duration = Duration::from_secs(30);

impl How {
    pub(crate) fn dry_run(&self) -> bool {
        self.dry_run
    }

    fn patience(&self) -> Option<Duration> {
        self.wait.map(|time| time.unwrap_or(PATIENCE))
    }
}

/// Asks for a change and tells what came of it.
pub(crate) fn run(
    client: &Client,
    printer: Printer,
    path: &str,
    body: &Value,
    how: &How,
) -> Outcome {
    let mut value: Value = block_on(client.post(path, body))?;
    let outcome: ConfigOutcome = read(value.clone())?;
    if !printer.is_data() {
        print(&told(&outcome, printer))?;
        for warning in &outcome.warnings {
            eprintln!("{}: {warning}", printer.paint(Tone::Warn, "warning"));
        }
        if let (Some(late), None) = (&outcome.late, how.wait) {
            let text = format!(
                "generation {} is not in force everywhere yet; {late}",
                outcome.generation
            );
            eprintln!("{}: {text}", printer.paint(Tone::Warn, "warning"));
        }
    }
    let mut exit = match how.exit_code && !outcome.changes.is_empty() {
        true => Exit::Notable,
        false => Exit::Ok,
    };
    if let Some(patience) = how.patience() {
        let following = block_on(wait(client, outcome.generation, patience))?;
        exit = judge(&following);
        value["following"] = json!(following);
        if !printer.is_data() {
            tell_followers(&following, outcome.generation, printer)?;
        }
    }
    if printer.is_data() {
        printer.data(&value)?;
    }
    Ok(exit)
}

fn told(outcome: &ConfigOutcome, printer: Printer) -> String {
    let mut out = match outcome.dry_run {
        true => "dry run, nothing is changed; it would be:\n".to_owned(),
        false => format!("{} (generation {})\n", outcome.message, outcome.generation),
    };
    out.push_str(&changes(&outcome.changes, printer));
    out
}

/// One line for each change, or that there is none.
pub(super) fn changes(changes: &[ConfigChange], printer: Printer) -> String {
    if changes.is_empty() {
        return "no difference\n".into();
    }
    let mut out = String::new();
    for change in changes {
        let tone = match change.kind.as_str() {
            "added" => Tone::Good,
            "removed" => Tone::Bad,
            _ => Tone::Warn,
        };
        let _ = writeln!(out, "{}", printer.paint(tone, &change.to_string()));
    }
    out
}

/// Asks until everyone has it, nobody is left to wait for, or the time is over.
async fn wait(client: &Client, generation: u64, patience: Duration) -> Result<Following, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let step = left.min(STEP).as_secs_f64().ceil();
        let path = format!("/api/v1/generations/{generation}/followers?wait={step}");
        let following: Following = client.get(&path).await?;
        if following.in_force || following.behind.is_empty() || Instant::now() >= deadline {
            return Ok(following);
        }
    }
}

fn judge(following: &Following) -> Exit {
    match (following.in_force, following.refused.is_empty()) {
        (true, _) => Exit::Ok,
        (false, false) => Exit::Refused,
        (false, true) => Exit::TimedOut,
    }
}

fn tell_followers(following: &Following, generation: u64, printer: Printer) -> Result<(), Failure> {
    if following.in_force {
        return print(&match following.followers {
            0 => "no proxy follows yet\n".to_owned(),
            1 => "in force in 1 proxy\n".to_owned(),
            many => format!("in force in {many} proxies\n"),
        });
    }
    for follower in &following.refused {
        let reason = follower.reason.as_deref().unwrap_or("no reason given");
        let text = format!(
            "{} refused generation {generation}: {reason}",
            follower.name
        );
        eprintln!("{}", printer.paint(Tone::Bad, &text));
    }
    if !following.behind.is_empty() {
        let text = format!(
            "generation {generation} is not in force everywhere in time; behind: {}",
            names(&following.behind)
        );
        eprintln!("{}", printer.paint(Tone::Bad, &text));
    }
    Ok(())
}

/// `edge-1 (at 6), edge-2 (stale, at none yet), 3 more`
fn names(followers: &[FollowerInfo]) -> String {
    let one = |follower: &FollowerInfo| {
        let at = match follower.acked {
            Some(acked) => format!("at {acked}"),
            None => "at none yet".into(),
        };
        match follower.state.as_str() {
            "stale" => format!("{} (stale, {at})", follower.name),
            _ => format!("{} ({at})", follower.name),
        }
    };
    let mut names: Vec<String> = followers.iter().take(NAMED).map(one).collect();
    if followers.len() > NAMED {
        names.push(format!("{} more", followers.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(name: &str, state: &str) -> FollowerInfo {
        FollowerInfo {
            name: name.into(),
            acked: Some(6),
            state: state.into(),
            reason: None,
        }
    }

    fn following(behind: &[&str], refused: &[&str]) -> Following {
        let all = |names: &[&str], state| names.iter().map(|n| follower(n, state)).collect();
        Following {
            in_force: behind.is_empty() && refused.is_empty(),
            followers: 1,
            behind: all(behind, "synced"),
            refused: all(refused, "refused"),
        }
    }

    #[test]
    fn a_refusal_weighs_more_than_one_who_is_late() {
        for (behind, refused, exit) in [
            (&[][..], &[][..], Exit::Ok),
            (&["a"], &[], Exit::TimedOut),
            (&["a"], &["b"], Exit::Refused),
            (&[], &["b"], Exit::Refused),
        ] {
            assert_eq!(judge(&following(behind, refused)), exit);
        }
    }

    #[test]
    fn those_that_are_behind_are_named_with_where_they_are() {
        let mut all = vec![follower("a", "synced"), follower("b", "stale")];
        assert_eq!(names(&all), "a (at 6), b (stale, at 6)");
        all.extend((0..5).map(|n| follower(&format!("c{n}"), "synced")));
        assert!(
            names(&all).ends_with("c2 (at 6), 2 more"),
            "{}",
            names(&all)
        );
    }
}
