//! Routes: one line per rule.

use weir_proxy::admin::types::{Backend, Routes, Rule};

use crate::commands::canary::percent;
use crate::output::{Cell, Printer, Table, Tone};

/// One line per rule, in the order of the file: a route is its rules.
pub(super) fn render(routes: &Routes, printer: Printer) -> String {
    let mut headings = vec!["ROUTE", "RULE", "HOSTS", "MATCHES", "TO"];
    if printer.is_wide() {
        headings.extend([
            "LISTENERS",
            "FILTERS",
            "STICKY",
            "TIMEOUT",
            "RETRY",
            "SOURCE",
        ]);
    }
    let mut table = Table::new(&headings);
    for route in &routes.routes {
        for (i, rule) in route.rules.iter().enumerate() {
            let mut row: Vec<Cell> = vec![
                route.name.as_str().into(),
                (i + 1).to_string().into(),
                any(&route.hostnames).into(),
                rule.matches.join(" or ").into(),
                destination(rule),
            ];
            if printer.is_wide() {
                row.extend([
                    any(&route.listeners).into(),
                    rule.filters.join(", ").into(),
                    rule.sticky.clone().unwrap_or_default().into(),
                    rule.timeout.clone().unwrap_or_default().into(),
                    rule.retry.clone().unwrap_or_default().into(),
                    route.source.as_str().into(),
                ]);
            }
            table.row(row);
        }
    }
    table.or_none(
        printer.color,
        "no routes: `weir discovery` shows what was left out and why",
    )
}

fn any(names: &[String]) -> String {
    match names.is_empty() {
        true => "*".into(),
        false => names.join(", "),
    }
}

/// `shop/stable 95%, shop/canary 5%`; a destination that cannot be used says so.
fn destination(rule: &Rule) -> Cell {
    let one = |backend: &Backend| {
        let mut text = backend.service.clone();
        if let Some(version) = &backend.version {
            text = format!("{text}/{version}");
        }
        if rule.backends.len() > 1 {
            text = format!("{text} {}", percent(backend.share));
        }
        match &backend.problem {
            Some(problem) => format!("{text} ({problem})"),
            None => text,
        }
    };
    let text = rule.backends.iter().map(one).collect::<Vec<_>>().join(", ");
    let broken = rule
        .backends
        .iter()
        .any(|backend| backend.problem.is_some());
    Cell::toned(text, if broken { Tone::Bad } else { Tone::Plain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_proxy::admin::types::Route;

    const PLAIN: Printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };
    const WIDE: Printer = Printer {
        format: Format::Wide,
        color: false,
        terminal: false,
    };

    fn backend(version: &str, share: f64, problem: Option<&str>) -> Backend {
        Backend {
            service: "shop".into(),
            version: Some(version.into()),
            weight: share,
            share,
            problem: problem.map(Into::into),
        }
    }

    #[test]
    fn a_route_shows_a_line_for_each_rule_with_where_it_leads() {
        let rule = |matches: &str, backends| Rule {
            matches: vec![matches.into()],
            filters: Vec::new(),
            backends,
            sticky: None,
            timeout: Some("15s".into()),
            backend_timeout: None,
            retry: None,
        };
        let all = Routes {
            routes: vec![Route {
                name: "shop".into(),
                hostnames: vec!["shop.example.com".into(), "*.shop.example.com".into()],
                listeners: Vec::new(),
                rules: vec![
                    rule(
                        "header x-canary = \"always\"",
                        vec![backend("canary", 100.0, None)],
                    ),
                    rule(
                        "PathPrefix /",
                        vec![
                            backend("stable", 99.5, None),
                            backend("nope", 0.5, Some("no such version")),
                        ],
                    ),
                ],
                source: "weir.yaml:9:5".into(),
            }],
        };
        let text = render(&all, PLAIN);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(
            text.contains("shop/stable 99.5%, shop/nope 0.5% (no such version)"),
            "{text}"
        );
        assert!(
            text.contains("shop.example.com, *.shop.example.com"),
            "{text}"
        );
        assert!(
            !text.contains("weir.yaml:9:5") && render(&all, WIDE).contains("weir.yaml:9:5"),
            "{text}"
        );
        assert!(render(&Routes { routes: Vec::new() }, PLAIN).contains("weir discovery"));
    }
}
