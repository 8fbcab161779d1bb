//! `weir diff`: what a file would change, in the terms of who runs it.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use weir_config::{ChangeKind, Diff};
use weir_control::api::types::{GenerationDetail, Generations, Rollouts, Status};

use crate::client::{Client, block_on, read as read_answer};
use crate::commands::check::Checked;
use crate::exit::{Exit, Failure, Outcome};
use crate::output::{Printer, Tone, print};

const HELP: &str = "\
Without --against, the file is compared with what the running Weir has from its files: what came from container
labels, applied documents or the command line is left out, since a file does not change it. Two numbers are generations
of the history, and one is compared with the newest.

Examples:
  weir diff weir.yaml                     # what would change if the running Weir read this
  weir diff new.yaml --against old.yaml   # no running Weir needed
  weir diff --exit-code weir.yaml         # for a script: 4 if there is a difference
  weir diff 7 9                           # what changed from generation 7 to generation 9

Exit codes: 0 fine, 3 errors in a file, 4 a difference under --exit-code, 5 no running Weir";

/// Show what a configuration changes, or what changed between generations: routes, services, endpoints, weights
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct DiffArgs {
    /// The new configuration: files or directories; or one or two generations
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Compare with this file instead of the running Weir
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Exit with 4 if there is a difference
    #[arg(long)]
    exit_code: bool,
}

/// Compares; the exit code says what was found.
pub(crate) fn run(args: &DiffArgs, client: &Client, printer: Printer, no_color: bool) -> Outcome {
    if let Some(numbers) = generations(args) {
        let diff = block_on(between(client, &numbers))?;
        return show(&diff, args.exit_code, printer);
    }
    let new = read(&args.files, no_color)?;
    let old = match args.against.is_empty() {
        true => block_on(async {
            note_overrides(client).await?;
            running(client).await
        })?,
        false => weir_config::dump(&read(&args.against, no_color)?.model),
    };
    let diff = weir_config::diff_dumps(&old, &weir_config::dump(&new.model));
    show(&diff, args.exit_code, printer)
}

fn show(diff: &Diff, exit_code: bool, printer: Printer) -> Outcome {
    if printer.is_data() {
        printer.data(&json!({ "apiVersion": "weir/v1", "changes": diff.changes }))?;
    } else {
        print(&render(diff, printer))?;
    }
    Ok(if exit_code && !diff.is_empty() {
        Exit::Notable
    } else {
        Exit::Ok
    })
}

/// One or two numbers that are no files.
fn generations(args: &DiffArgs) -> Option<Vec<u64>> {
    let number = |path: &PathBuf| {
        let number = path.to_str()?.parse().ok()?;
        (!path.exists()).then_some(number)
    };
    let plausible = args.files.len() <= 2 && args.against.is_empty();
    let numbers: Option<Vec<u64>> = args.files.iter().map(number).collect();
    numbers.filter(|_| plausible)
}

/// What changed from the first to the second, or to the newest.
async fn between(client: &Client, numbers: &[u64]) -> Result<Diff, Failure> {
    let newest = match numbers {
        [_] => {
            let history: Generations = client.get("/api/v1/generations?limit=1").await?;
            history.generations.first().map(|entry| entry.generation)
        }
        _ => None,
    };
    let mut configurations = Vec::new();
    for number in numbers.iter().copied().chain(newest) {
        let detail: GenerationDetail = client.get(&format!("/api/v1/generations/{number}")).await?;
        configurations.push(detail.config.ok_or_else(|| {
            Failure::runtime(format!(
                "the configuration of generation {number} is not kept"
            ))
            .help("`weir history` shows which generations there are")
        })?);
    }
    match &configurations[..] {
        [old, new] => Ok(weir_config::diff_dumps(old, new)),
        _ => Err(Failure::runtime("no generation is recorded yet")),
    }
}

fn read(files: &[PathBuf], no_color: bool) -> Result<Checked, Failure> {
    let checked = Checked::read(files)?;
    if !checked.has_errors() {
        return Ok(checked);
    }
    checked.report(no_color);
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    Err(Failure::new(
        Exit::Invalid,
        format!("{} has errors", names.join(", ")),
    ))
}

/// The running configuration as far as files made it.
async fn running(client: &Client) -> Result<Value, Failure> {
    let mut config: Value = client.get("/api/v1/config").await?;
    for list in ["listeners", "services", "routes"] {
        let Some(items) = config.get_mut(list).and_then(Value::as_array_mut) else {
            let message = format!("the running configuration has no {list}");
            return Err(Failure::runtime(message).help("is it of the same version as this `weir`?"));
        };
        items.retain(from_file);
        for item in items {
            if let Some(endpoints) = item.get_mut("endpoints").and_then(Value::as_array_mut) {
                endpoints.retain(from_file);
            }
        }
    }
    Ok(config)
}

/// Weights set by hand stay whatever a file says, so a difference in them is not what a reload would do.
async fn note_overrides(client: &Client) -> Result<(), Failure> {
    let rollouts: Rollouts = read_answer(client.get("/api/v1/rollouts").await?)?;
    let by_hand = rollouts.rollouts.iter().filter(|r| r.overridden.is_some());
    let names: Vec<&str> = by_hand.map(|r| r.service.as_str()).collect();
    let status: Status = client.get("/api/v1/status").await?;
    if let Some(pinned) = status.pinned {
        eprintln!(
            "note: generation {} is laid over the sources, so no file changes a service or a route; `weir rollback --clear` \
             gives them back",
            pinned.generation
        );
    }
    if !names.is_empty() {
        eprintln!(
            "note: the weights of {} are set by hand and stay so; `weir canary clear` gives them back to the file",
            names.join(", ")
        );
    }
    Ok(())
}

/// Whether an item's source is a place in a file: `PATH:LINE:COLUMN`. An applied document has places too, and is none.
fn from_file(item: &Value) -> bool {
    let source = item["source"].as_str().unwrap_or_default();
    if source.starts_with("document ") {
        return false;
    }
    let mut parts = source.rsplitn(3, ':');
    let number = |part: Option<&str>| part.is_some_and(|p| p.parse::<u32>().is_ok());
    number(parts.next())
        && number(parts.next())
        && parts.next().is_some_and(|path| !path.is_empty())
}

fn render(diff: &Diff, printer: Printer) -> String {
    if diff.is_empty() {
        return "no difference\n".into();
    }
    let tone = |kind| match kind {
        ChangeKind::Added => Tone::Good,
        ChangeKind::Removed => Tone::Bad,
        ChangeKind::Changed => Tone::Warn,
    };
    let text = diff.to_string();
    let lines = text.lines().zip(&diff.changes);
    lines
        .map(|(line, change)| printer.paint(tone(change.kind), line) + "\n")
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_file_wrote_is_compared_with_a_file() {
        for (source, is_file) in [
            ("weir.yaml:3:5", true),
            ("/etc/weir/a:b.yaml:30:1", true),
            ("container shop-1, label weir.host", false),
            ("document shop:3:5", false),
            ("generation 9", false),
            ("--listen 0.0.0.0:8080", false),
            ("--listen [::]:8080", false),
            ("", false),
        ] {
            assert_eq!(from_file(&json!({ "source": source })), is_file, "{source}");
        }
    }
}
