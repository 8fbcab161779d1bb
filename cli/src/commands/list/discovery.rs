//! What discovery found: sources, what each has (containers, addresses of names, endpoints of files), and what is wrong.

use std::fmt::Write;

use weir_control::api::types::{Discovery, ProviderState};

use crate::output::{Cell, Printer, Table, Tone};

/// Providers first, then containers, then problems: each part only if there is something.
pub(super) fn render(discovery: &Discovery, printer: Printer) -> String {
    let mut out = String::new();
    for provider in &discovery.providers {
        let (tone, state) = match provider.state {
            ProviderState::Connecting => (Tone::Warn, "connecting"),
            ProviderState::Up => (Tone::Good, "up"),
            ProviderState::Holding => (Tone::Warn, "holding what is known"),
            ProviderState::Down => (Tone::Bad, "DOWN"),
        };
        let _ = write!(out, "{}: {}", provider.name, printer.paint(tone, state));
        if !provider.detail.is_empty() {
            let _ = write!(out, " ({})", provider.detail);
        }
        if let Some(error) = &provider.error {
            let _ = write!(out, ": {}", printer.paint(tone, error));
        }
        out.push('\n');
    }
    if discovery.providers.is_empty() {
        out.push_str("nothing is discovered: weir runs without --docker, --swarm and files\n");
    }
    if !discovery.containers.is_empty() {
        let _ = write!(out, "\n{}", containers(discovery, printer));
    }
    if !discovery.problems.is_empty() {
        let _ = writeln!(out, "\n{}", printer.paint(Tone::Bold, "Problems"));
    }
    for problem in &discovery.problems {
        let tone = if problem.severity == "error" {
            Tone::Bad
        } else {
            Tone::Warn
        };
        let severity = printer.paint(tone, &problem.severity);
        let _ = writeln!(out, "{severity}: {}: {}", problem.source, problem.message);
        if let Some(help) = &problem.help {
            let _ = writeln!(out, "  help: {help}");
        }
    }
    out
}

fn containers(discovery: &Discovery, printer: Printer) -> String {
    let mut headings = vec!["FOUND", "SERVICE", "VERSION", "ADDRESS", "IN", "WHY"];
    if printer.is_wide() {
        headings.push("ID");
    }
    let mut table = Table::new(&headings);
    for container in &discovery.containers {
        let included = match container.included {
            true => Cell::toned("yes", Tone::Good),
            false => Cell::toned("no", Tone::Warn),
        };
        let mut row = vec![
            container.container.as_str().into(),
            container.service.as_deref().unwrap_or_default().into(),
            container.version.as_deref().unwrap_or_default().into(),
            container.address.as_deref().unwrap_or_default().into(),
            included,
            container.reason.as_str().into(),
        ];
        if printer.is_wide() {
            row.push(container.id.as_str().into());
        }
        table.row(row);
    }
    table.render(printer.color)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_control::api::types::{Container, Problem, Provider};

    #[test]
    fn a_label_error_shows_with_its_container_below_the_table() {
        let discovery = Discovery {
            providers: vec![Provider {
                name: "docker".into(),
                state: ProviderState::Up,
                since: "2026-11-22T02:00:00Z".into(),
                error: None,
                detail: "Engine 20.10.24".into(),
            }],
            containers: vec![Container {
                container: "shop-1".into(),
                id: "3f2a9c01d2e4".into(),
                service: Some("shop".into()),
                version: None,
                address: None,
                included: false,
                reason: "it has errors".into(),
            }],
            problems: vec![Problem {
                severity: "error".into(),
                message: "\"x\" is not a port".into(),
                source: "container shop-1 label weir.port".into(),
                help: Some("write a number".into()),
                container: Some("shop-1".into()),
                label: Some("weir.port".into()),
            }],
        };
        let printer = Printer {
            format: Format::Table,
            color: false,
            terminal: false,
        };
        let text = render(&discovery, printer);
        assert!(text.starts_with("docker: up (Engine 20.10.24)\n"), "{text}");
        assert!(
            text.contains("error: container shop-1 label weir.port: \"x\" is not a port"),
            "{text}"
        );
        assert!(
            text.contains("no") && text.contains("it has errors"),
            "{text}"
        );
        assert!(
            !text.contains("3f2a9c01d2e4"),
            "the id is for the wide table"
        );
    }
}
