//! `weir history`: what changed, by whom and when.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;
use weir_control::api::types::{Generation, GenerationDetail, Generations};

use crate::client::{Client, read};
use crate::commands::check::plural;
use crate::commands::decide;
use crate::exit::{Failure, Outcome};
use crate::output::{Cell, Printer, Table, Tone};
use crate::watch::{self, WatchArgs};

const HELP: &str = "\
Each change of the configuration is an entry. Changes of endpoints alone, which discovery makes all the time, are counted
under the entry before them; --endpoints shows the last of them.

Examples:
  weir history
  weir history --limit 5 --endpoints
  weir history get 9                      # everything that generation 9 changed
  weir history get 9 -o yaml              # and what was in force then
  weir diff 7 9                           # what changed between two generations";

/// Generations of the configuration: who changed what, and when
#[derive(Debug, Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct HistoryArgs {
    #[command(subcommand)]
    command: Option<HistoryCommand>,
    /// Show changes of endpoints too
    #[arg(long)]
    endpoints: bool,
    /// Show that many entries
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    watch: WatchArgs,
}

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// One generation: all that it changed; as JSON or YAML also what was in force
    #[command(after_help = "Example:\n  weir history get 9")]
    Get {
        /// Its number
        #[arg(value_name = "N")]
        generation: u64,
    },
}

/// Shows the list, or one entry.
pub(crate) fn run(args: &HistoryArgs, client: &Client, printer: Printer) -> Outcome {
    watch::show(&args.watch, printer, async || match &args.command {
        Some(HistoryCommand::Get { generation }) => get(client, printer, *generation).await,
        None => list(args, client, printer).await,
    })
}

async fn list(args: &HistoryArgs, client: &Client, printer: Printer) -> Result<String, Failure> {
    let path = format!("/api/v1/generations?limit={}", args.limit);
    let value: Value = client.get(&path).await?;
    if printer.is_data() {
        return printer.render_data(&value);
    }
    let history: Generations = read(value)?;
    let mut out = table(&history.generations, args.endpoints, printer)
        .or_none(printer.color, "no generation is recorded yet");
    if let Some(problem) = &history.problem {
        let _ = writeln!(out, "\n{}", printer.paint(Tone::Bad, problem));
    }
    Ok(out)
}

fn table(generations: &[Generation], endpoints: bool, printer: Printer) -> Table {
    let mut table = Table::new(&["GENERATION", "TIME", "BY", "CHANGES", "ENDPOINTS"]);
    for entry in generations {
        if endpoints {
            notes(entry, &mut table);
        }
        let count = entry.endpoints.count;
        let tone = if entry.kept { Tone::Bold } else { Tone::Dim };
        table.row(vec![
            Cell::toned(entry.generation.to_string(), tone),
            entry.time.as_str().into(),
            entry.by().into(),
            changes(entry, printer).into(),
            match count {
                0 => Cell::from("-"),
                count => format!("{count} later").into(),
            },
        ]);
    }
    table
}

/// Changes of endpoints after an entry, the newest first.
fn notes(entry: &Generation, table: &mut Table) {
    for note in entry.endpoints.recent.iter().rev() {
        table.row(vec![
            Cell::toned(note.generation.to_string(), Tone::Dim),
            note.time.as_str().into(),
            note.source.as_str().into(),
            note.text.as_str().into(),
            Cell::from("-"),
        ]);
    }
    let listed = u64::try_from(entry.endpoints.recent.len()).unwrap_or(u64::MAX);
    let earlier = entry.endpoints.count.saturating_sub(listed);
    if earlier > 0 {
        let text = format!("{earlier} earlier changes of endpoints");
        let cells = ["-", "-", "-"].map(Cell::from).into_iter();
        table.row(cells.chain([text.into(), Cell::from("-")]).collect());
    }
}

/// The first changes, or with `-o wide` all that are listed.
fn changes(entry: &Generation, printer: Printer) -> String {
    let all = entry.changes.len() + entry.more_changes;
    let shown = if printer.is_wide() { all } else { 2 };
    let mut parts: Vec<String> = entry
        .changes
        .iter()
        .take(shown)
        .map(|change| match printer.is_wide() {
            true => change.to_string(),
            false => {
                let first = change.details.first().map(|first| format!(" ({first})"));
                let verb = change.kind.as_str();
                format!(
                    "{} {} {verb}{}",
                    change.what,
                    change.name,
                    first.unwrap_or_default()
                )
            }
        })
        .collect();
    if all > parts.len() {
        parts.push(format!("{} more", all - parts.len()));
    }
    match parts.is_empty() {
        true => "nothing for requests".into(),
        false => parts.join("; "),
    }
}

async fn get(client: &Client, printer: Printer, number: u64) -> Result<String, Failure> {
    let value: Value = client.get(&format!("/api/v1/generations/{number}")).await?;
    if printer.is_data() {
        return printer.render_data(&value);
    }
    let detail: GenerationDetail = read(value)?;
    Ok(entry(&detail.generation, printer))
}

fn entry(entry: &Generation, printer: Printer) -> String {
    let mut out = format!(
        "{}\n  {}\n  by {}\n",
        printer.paint(Tone::Bold, &format!("generation {}", entry.generation)),
        entry.time,
        entry.by()
    );
    if !entry.kept {
        let text = "its configuration is not kept: it can be neither compared nor gone back to";
        let _ = writeln!(out, "  {}", printer.paint(Tone::Warn, text));
    }
    if entry.endpoints.count > 0 {
        let count = usize::try_from(entry.endpoints.count).unwrap_or(usize::MAX);
        let _ = writeln!(out, "  then {} of endpoints", plural(count, "change"));
    }
    out.push('\n');
    out.push_str(&decide::changes(&entry.changes, printer));
    if entry.more_changes > 0 {
        let _ = writeln!(out, "and {}", plural(entry.more_changes, "further change"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_control::api::types::{ConfigChange, EndpointNote, EndpointNotes};

    const PLAIN: Printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };

    fn generation() -> Generation {
        let change = |name: &str| ConfigChange {
            kind: "changed".into(),
            what: "version weight".into(),
            name: name.into(),
            details: vec!["weight: 5 -> 25".into()],
        };
        Generation {
            generation: 9,
            time: "2026-11-22T02:00:00Z".into(),
            source: "canary set".into(),
            author: Some("cli".into()),
            changes: vec![change("shop/canary"), change("shop/stable"), change("x/y")],
            more_changes: 4,
            kept: true,
            endpoints: EndpointNotes {
                count: 30,
                recent: vec![EndpointNote {
                    generation: 39,
                    time: "2026-11-22T02:01:00Z".into(),
                    source: "docker".into(),
                    text: "endpoint shop/a:80 added".into(),
                }],
            },
        }
    }

    #[test]
    fn the_list_says_who_changed_what_and_counts_the_rest() {
        let text = table(&[generation()], false, PLAIN).render(false);
        assert_eq!(text.lines().count(), 2, "{text}");
        for part in [
            "canary set by cli",
            "version weight shop/canary changed (weight: 5 -> 25); version weight shop/stable",
            "5 more",
            "30 later",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    #[test]
    fn endpoints_come_above_the_entry_they_came_after() {
        let text = table(&[generation()], true, PLAIN).render(false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].contains("endpoint shop/a:80 added"), "{text}");
        assert!(
            lines[2].contains("29 earlier changes of endpoints"),
            "{text}"
        );
        assert!(lines[3].contains("canary set by cli"), "{text}");
    }

    #[test]
    fn one_entry_shows_each_change() {
        let text = entry(&generation(), PLAIN);
        assert!(
            text.contains("~ version weight shop/canary (weight: 5 -> 25)\n"),
            "{text}"
        );
        assert!(text.contains("and 4 further changes"), "{text}");
    }
}
