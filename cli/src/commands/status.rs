//! `weir status`: is it well, and does it run what is written?

use std::fmt::Write;

use clap::Args;
use serde_json::Value;
use weir_control::api::types::{
    ConfigState, ConfigStatus, Provider, ProviderState, ProxyCounts, Reply, Status,
};

use crate::client::{Client, read};
use crate::commands::check::plural;
use crate::exit::Outcome;
use crate::output::{Printer, Tone};
use crate::units::age;
use crate::watch::{self, WatchArgs};

const HELP: &str = "\
Examples:
  weir status
  weir status --watch
  weir status -o json | jq .config.state  # ok, partial or rejected
  weir --admin unix:///run/weir/admin.sock status";

/// Health, generation, sources, and loudly: what of the configuration is not in force
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    watch: WatchArgs,
}

/// Shows the status.
pub(crate) fn run(args: &StatusArgs, client: &Client, printer: Printer) -> Outcome {
    watch::show(&args.watch, printer, async || {
        let value: Value = client.get("/api/v1/status").await?;
        if printer.is_data() {
            return printer.render_data(&value);
        }
        let reply: Reply<Status> = read(value)?;
        Ok(render(&reply.body, printer))
    })
}

fn render(status: &Status, printer: Printer) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| {
        let _ = writeln!(
            out,
            "{} {text}",
            printer.paint(Tone::Dim, &format!("{name:<12}"))
        );
    };
    line(
        "weir",
        format!("{}, up {}", status.version, age(status.uptime_seconds)),
    );
    let ready = match status.ready {
        true => printer.paint(Tone::Good, "yes"),
        false => printer.paint(Tone::Bad, &format!("NO: {}", status.ready_reason)),
    };
    line("ready", ready);
    line("generation", generation(status, printer));
    line("config", config(&status.config, printer));
    for provider in &status.providers {
        line(&provider.name, describe(provider, printer));
    }
    if status.proxies.total() > 0 {
        line("proxies", proxies(status.proxies, printer));
    }
    if status.overrides > 0 {
        let text = format!(
            "{} set by hand; see `weir canary list`",
            plural(status.overrides, "split")
        );
        line("overrides", printer.paint(Tone::Warn, &text));
    }
    if status.documents > 0 {
        let text = format!(
            "{} applied; see `weir apply --list`",
            plural(status.documents, "document")
        );
        line("documents", text);
    }
    if let Some(pinned) = &status.pinned {
        let text = format!(
            "PINNED to generation {} by {} since {}: files and labels change no service and no route until \
             `weir rollback --clear`",
            pinned.generation, pinned.by, pinned.since
        );
        line("rollback", printer.paint(Tone::Warn, &text));
    }
    let nowhere = || printer.paint(Tone::Warn, "nowhere: changes by hand last until a restart");
    line("state", status.state_dir.clone().unwrap_or_else(nowhere));
    if let Some(problem) = &status.state_problem {
        line("", printer.paint(Tone::Bad, problem));
    }
    out.push_str(&alarms(status, printer));
    out
}

/// `3 synced, 1 STALE; see weir proxies`
fn proxies(counts: ProxyCounts, printer: Printer) -> String {
    let part = |count: usize, tone, word: &str| {
        (count > 0).then(|| printer.paint(tone, &format!("{count} {word}")))
    };
    let parts = [
        part(counts.synced, Tone::Good, "synced"),
        part(counts.syncing, Tone::Warn, "syncing"),
        part(counts.stale, Tone::Bad, "STALE"),
        part(counts.refused, Tone::Bad, "REFUSED"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("{}; see `weir proxies`", parts.join(", "))
}

fn generation(status: &Status, printer: Printer) -> String {
    let (newest, applied) = (status.generation, status.applied_generation);
    match newest == applied {
        true => format!("{newest}, in force"),
        false => printer.paint(
            Tone::Warn,
            &format!("{newest}, while {applied} is in force"),
        ),
    }
}

fn config(config: &ConfigStatus, printer: Printer) -> String {
    let found = match (config.errors, config.warnings) {
        (0, 0) => String::new(),
        (errors, warnings) => {
            format!(
                ", {}, {}",
                plural(errors, "error"),
                plural(warnings, "warning")
            )
        }
    };
    let (tone, text) = match config.state {
        ConfigState::Ok => (Tone::Good, "ok"),
        ConfigState::Partial => (Tone::Bad, "PARTLY IN FORCE"),
        ConfigState::Rejected => (Tone::Bad, "REJECTED"),
    };
    format!(
        "{} since {}{found}",
        printer.paint(tone, text),
        config.since
    )
}

fn describe(provider: &Provider, printer: Printer) -> String {
    let (tone, text) = match provider.state {
        ProviderState::Connecting => (Tone::Warn, "connecting"),
        ProviderState::Up => (Tone::Good, "up"),
        ProviderState::Holding => (Tone::Warn, "holding what is known"),
        ProviderState::Down => (Tone::Bad, "DOWN"),
    };
    let mut line = format!("{} since {}", printer.paint(tone, text), provider.since);
    if !provider.detail.is_empty() {
        let _ = write!(line, ", {}", provider.detail);
    }
    if let Some(error) = &provider.error {
        let _ = write!(line, ": {}", printer.paint(tone, error));
    }
    line
}

/// What must not be overlooked, below the rest and in full.
fn alarms(status: &Status, printer: Printer) -> String {
    let mut out = String::new();
    let headline = match status.config.state {
        ConfigState::Ok => None,
        ConfigState::Partial => {
            Some("THE CONFIGURATION IS ONLY PARTLY IN FORCE: what is reported below is left out")
        }
        ConfigState::Rejected => {
            Some("THE LAST CONFIGURATION WAS REJECTED: what ran before goes on unchanged")
        }
    };
    if let Some(headline) = headline {
        let _ = writeln!(out, "\n{}", printer.paint(Tone::Bad, headline));
    }
    if !status.config.rendered.is_empty() {
        let _ = writeln!(out, "{}", status.config.rendered.trim_end());
    }
    for problem in &status.config.diagnostics {
        // The file's own are in `rendered`, with their snippets.
        if problem.container.is_some() {
            let help = problem
                .help
                .as_ref()
                .map(|h| format!(" ({h})"))
                .unwrap_or_default();
            let (severity, source) = (&problem.severity, &problem.source);
            let _ = writeln!(out, "{severity}: {source}: {}{help}", problem.message);
        }
    }
    let left_out = status.pinned.iter().flat_map(|pinned| &pinned.left_out);
    for left_out in left_out {
        let text = format!("left out of the generation that was gone back to: {left_out}");
        let _ = writeln!(out, "{}", printer.paint(Tone::Bad, &text));
    }
    if !status.apply_errors.is_empty() {
        let text = format!(
            "GENERATION {} IS NOT FULLY APPLIED:",
            status.applied_generation
        );
        let _ = writeln!(out, "\n{}", printer.paint(Tone::Bad, &text));
        status.apply_errors.iter().for_each(|error| {
            let _ = writeln!(out, "  {error}");
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_control::api::types::PinInfo;

    fn status(state: ConfigState) -> Status {
        Status {
            version: "0.1.0".into(),
            started: "2026-11-22T02:00:00Z".into(),
            uptime_seconds: 62,
            generation: 4,
            applied_generation: 3,
            apply_errors: vec!["listener web: 0.0.0.0:8080 is taken".into()],
            ready: true,
            ready_reason: String::new(),
            config: ConfigStatus {
                state,
                since: "2026-11-22T02:01:00Z".into(),
                errors: 1,
                warnings: 0,
                diagnostics: Vec::new(),
                rendered: "error: unknown key".into(),
            },
            providers: Vec::new(),
            proxies: ProxyCounts {
                synced: 2,
                stale: 1,
                ..ProxyCounts::default()
            },
            warnings: 0,
            overrides: 1,
            documents: 2,
            pinned: Some(PinInfo {
                generation: 2,
                by: "cli".into(),
                since: "2026-11-22T02:01:00Z".into(),
                left_out: vec!["service bank: no TLS".into()],
            }),
            state_dir: None,
            state_problem: Some("the disk is full".into()),
        }
    }

    #[test]
    fn a_rejected_configuration_is_said_loudly_with_its_reason() {
        let printer = Printer {
            format: Format::Table,
            color: false,
            terminal: false,
        };
        let text = render(&status(ConfigState::Rejected), printer);
        assert!(
            text.contains("THE LAST CONFIGURATION WAS REJECTED"),
            "{text}"
        );
        assert!(text.contains("error: unknown key"), "{text}");
        assert!(text.contains("4, while 3 is in force"), "{text}");
        assert!(text.contains("2 synced, 1 STALE"), "{text}");
        assert!(
            text.contains("listener web: 0.0.0.0:8080 is taken"),
            "{text}"
        );
        let text = render(&status(ConfigState::Partial), printer);
        assert!(text.contains("ONLY PARTLY IN FORCE"), "{text}");
        for part in [
            "2 documents applied",
            "PINNED to generation 2 by cli",
            "service bank: no TLS",
            "the disk is full",
        ] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
}
