//! Splits as text: a table of all, a tree of one.

use std::fmt::Write;

use weir_control::api::types::{Rollout, VersionSplit};
use weir_proxy::admin::types::Endpoint;

use crate::commands::endpoint_tone;
use crate::output::{Cell, Printer, Table, Tone};

/// One line per version of each split.
pub(super) fn list(rollouts: &[Rollout], printer: Printer) -> String {
    let mut table = match printer.is_wide() {
        true => Table::new(&[
            "SERVICE",
            "VERSION",
            "EFFECTIVE",
            "CONFIGURED",
            "OVERRIDE",
            "OBSERVED",
            "ENDPOINTS",
            "CONFIGURED BY",
            "SET BY",
            "SINCE",
        ]),
        false => Table::new(&[
            "SERVICE",
            "VERSION",
            "EFFECTIVE",
            "CONFIGURED",
            "OVERRIDE",
            "OBSERVED",
            "ENDPOINTS",
        ]),
    };
    for rollout in rollouts {
        for split in &rollout.versions {
            table.row(row(rollout, split, printer.is_wide()));
        }
    }
    match table.is_empty() {
        true => "no service is known yet; see `weir discovery`\n".into(),
        false => table.render(printer.color),
    }
}

fn row(rollout: &Rollout, split: &VersionSplit, wide: bool) -> Vec<Cell> {
    let told = split.told.map(percent).unwrap_or_default();
    let mut cells = vec![
        rollout.service.as_str().into(),
        split.version.as_str().into(),
        Cell::toned(percent(split.effective), Tone::Bold),
        percent(split.configured).into(),
        Cell::toned(told, Tone::Warn),
        split.observed.map(percent).unwrap_or_default().into(),
        Cell::toned(
            format!("{}/{}", split.admitted, split.endpoints),
            admitted_tone(split),
        ),
    ];
    if wide {
        let info = rollout.overridden.as_ref();
        cells.push(rollout.origin.as_str().into());
        cells.push(info.map(|i| i.by.clone()).unwrap_or_default().into());
        cells.push(info.map(|i| i.since.clone()).unwrap_or_default().into());
    }
    cells
}

fn admitted_tone(split: &VersionSplit) -> Tone {
    match (split.admitted, split.endpoints) {
        (0, _) if split.effective > 0.0 => Tone::Bad,
        (admitted, all) if admitted < all => Tone::Warn,
        _ => Tone::Plain,
    }
}

/// One split with its versions and their endpoints.
pub(super) fn tree(rollout: &Rollout, endpoints: &[Endpoint], printer: Printer) -> String {
    let mut out = format!("{}\n", printer.paint(Tone::Bold, &rollout.service));
    let _ = writeln!(out, "  configured by {}", rollout.origin);
    match &rollout.overridden {
        Some(info) => {
            let text = format!("set by hand: by {} since {}", info.by, info.since);
            let _ = writeln!(
                out,
                "  {}; `weir canary clear {}` undoes it",
                printer.paint(Tone::Warn, &text),
                rollout.service
            );
        }
        None => out.push_str("  not set by hand\n"),
    }
    let (count, since) = (rollout.observed_requests, &rollout.observed_since);
    let _ = writeln!(out, "  observed over {count} requests since {since}\n");
    let width = rollout
        .versions
        .iter()
        .map(|v| v.version.len())
        .max()
        .unwrap_or(0);
    let last = rollout.versions.len().saturating_sub(1);
    for (i, split) in rollout.versions.iter().enumerate() {
        let (branch, stem) = if i == last {
            ("└─", "   ")
        } else {
            ("├─", "│  ")
        };
        let _ = writeln!(out, "{branch} {}", version(split, width, printer));
        let mine: Vec<&Endpoint> = endpoints
            .iter()
            .filter(|e| e.version == split.version)
            .collect();
        for (j, endpoint) in mine.iter().enumerate() {
            let twig = if j + 1 == mine.len() {
                "└─"
            } else {
                "├─"
            };
            let _ = writeln!(out, "{stem}{twig} {}", leaf(endpoint, printer));
        }
    }
    out
}

fn leaf(endpoint: &Endpoint, printer: Printer) -> String {
    let tone = endpoint_tone(&endpoint.state, endpoint.available);
    let state = printer.paint(tone, &endpoint.state);
    let mut line = format!("{}  {}  {state}", endpoint.id, endpoint.address);
    if !endpoint.available && !endpoint.reason.is_empty() {
        let _ = write!(line, " ({})", endpoint.reason);
    }
    line + &format!(
        "  {} in flight, {} requests, {} errors",
        endpoint.in_flight, endpoint.requests, endpoint.errors
    )
}

fn version(split: &VersionSplit, width: usize, printer: Printer) -> String {
    let effective = printer.paint(Tone::Bold, &format!("{:>6}", percent(split.effective)));
    let mut line = format!("{:<width$} {effective}", split.version);
    let _ = write!(line, "   configured {}", percent(split.configured));
    if let Some(told) = split.told {
        let _ = write!(line, ", set to {}", percent(told));
    }
    match split.observed {
        Some(observed) => line + &format!(", observed {}", percent(observed)),
        None => line + ", nothing observed yet",
    }
}

/// `25%`, `0.5%`
pub(crate) fn percent(value: f64) -> String {
    let rounded = (value * 10.0).round() / 10.0;
    format!("{rounded}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_control::api::types::OverrideInfo;

    fn rollout() -> Rollout {
        let version = |name: &str, configured, told, effective| VersionSplit {
            version: name.into(),
            configured,
            told,
            effective,
            observed: Some(24.96),
            endpoints: 1,
            admitted: 1,
        };
        Rollout {
            service: "shop".into(),
            origin: "service shop".into(),
            overridden: Some(OverrideInfo {
                by: "cli".into(),
                since: "2026-11-22T02:00:00Z".into(),
            }),
            versions: vec![
                version("canary", 5.0, Some(25.0), 25.0),
                version("stable", 95.0, None, 75.0),
            ],
            observed_requests: 1000,
            observed_since: "2026-11-22T02:00:00Z".into(),
        }
    }

    const PLAIN: Printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };

    #[test]
    fn the_tree_shows_each_version_with_its_weights_and_endpoints() {
        let endpoint = Endpoint {
            service: "shop".into(),
            id: "shop@127.0.0.1:9002".into(),
            address: "127.0.0.1:9002".into(),
            version: "canary".into(),
            weight: 1.0,
            state: "failing".into(),
            reason: "connection refused".into(),
            since: "2026-11-22T02:00:00Z".into(),
            until: None,
            ejections: 0,
            available: false,
            in_flight: 2,
            requests: 7,
            errors: 1,
            source: "weir.yaml:5:9".into(),
        };
        let text = tree(&rollout(), &[endpoint], PLAIN);
        assert!(text.contains("set by hand: by cli since"), "{text}");
        assert!(
            text.contains("├─ canary    25%   configured 5%, set to 25%, observed 25%"),
            "{text}"
        );
        assert!(
            text.contains("│  └─ shop@127.0.0.1:9002  127.0.0.1:9002  failing (connection refused)  2 in flight"),
            "{text}"
        );
        assert!(
            text.contains("└─ stable    75%   configured 95%, observed 25%"),
            "{text}"
        );
    }

    #[test]
    fn the_list_has_a_line_per_version() {
        let text = list(&[rollout()], PLAIN);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(list(&[], PLAIN).contains("weir discovery"));
    }

    #[test]
    fn percents_have_at_most_one_decimal() {
        for (value, text) in [
            (25.0, "25%"),
            (0.5, "0.5%"),
            (33.333, "33.3%"),
            (0.0, "0%"),
            (99.96, "100%"),
        ] {
            assert_eq!(percent(value), text);
        }
    }
}
