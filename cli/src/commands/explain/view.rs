//! An explanation in words, from the verdict down to what was tried.

use std::fmt::Write;

use weir_proxy::admin::types::{
    Candidate, Destination, Explanation, Leaf, Matched, Request, Tried,
};

use crate::commands::canary::percent;
use crate::commands::endpoint_tone;
use crate::output::{Cell, Printer, Table, Tone};

/// Everything about one explanation.
pub(super) fn render(explanation: &Explanation, printer: Printer) -> String {
    let tone = if explanation.status.is_some_and(|s| s >= 400) {
        Tone::Bad
    } else {
        Tone::Good
    };
    let mut out = format!("{}\n", printer.paint(tone, &explanation.verdict));
    if let Some(flag) = &explanation.flag {
        let _ = writeln!(out, "the access log will show flag {flag}");
    }
    out.push_str(&request(&explanation.request, printer));
    if let Some(matched) = &explanation.matched {
        out.push_str(&rule(matched, printer));
    }
    if let Some(destination) = &explanation.destination {
        out.push_str(&split(destination, printer));
    }
    out.push_str(&tried(&explanation.tried, printer));
    out
}

/// Lines of a name and a text under a heading.
struct Section {
    text: String,
    printer: Printer,
}

impl Section {
    fn new(heading: &str, printer: Printer) -> Self {
        Self {
            text: format!("\n{}\n", printer.paint(Tone::Bold, heading)),
            printer,
        }
    }

    fn line(&mut self, name: &str, value: &str) {
        let name = self.printer.paint(Tone::Dim, &format!("{name:<10}"));
        let _ = writeln!(self.text, "  {name} {value}");
    }

    fn maybe(&mut self, name: &str, value: Option<&String>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }
}

fn request(request: &Request, printer: Printer) -> String {
    let mut section = Section::new("Request", printer);
    let listener = request.listener.as_deref().unwrap_or("none");
    section.line(
        "listener",
        &format!("{listener} ({})", request.listener_reason),
    );
    section.line("host", &request.host);
    let path = match (&request.canonical_path, &request.path_error) {
        (_, Some(error)) => format!("{} ({error})", request.path),
        (Some(canonical), None) if *canonical != request.path => {
            format!("{canonical} (asked for as {})", request.path)
        }
        _ => request.path.clone(),
    };
    section.line("path", &path);
    section.maybe("query", request.query.as_ref());
    for (name, value) in &request.headers {
        section.line("header", &format!("{name}: {value}"));
    }
    section.text
}

fn rule(matched: &Matched, printer: Printer) -> String {
    let mut section = Section::new("Rule", printer);
    section.line(
        "route",
        &format!(
            "{}, rule {} ({})",
            matched.route, matched.rule, matched.source
        ),
    );
    section.line("matches", &matched.condition);
    for filter in &matched.filters {
        section.line("filter", filter);
    }
    section.maybe("timeout", matched.timeout.as_ref());
    section.maybe("per try", matched.backend_timeout.as_ref());
    section.maybe("retry", matched.retry.as_ref());
    section.text
}

fn split(destination: &Destination, printer: Printer) -> String {
    let mut section = Section::new("Destination", printer);
    if let Some(sticky) = &destination.sticky {
        let value = sticky.value.as_deref().unwrap_or("absent in this request");
        let bucket = sticky
            .bucket
            .map(|at| format!(", bucket at {}", percent(at)))
            .unwrap_or_default();
        section.line("sticky", &format!("{}: {value}{bucket}", sticky.key));
    }
    let pick = &destination.pick;
    section.line("version", &pick.version_by);
    section.maybe("balancer", pick.balancer.as_ref());
    section.maybe("endpoint", pick.endpoint.as_ref());
    let mut text = section.text;
    for (i, leaf) in destination.leaves.iter().enumerate() {
        text.push_str(&leaf_of(leaf, pick.leaf == Some(i), printer));
    }
    text
}

fn leaf_of(leaf: &Leaf, picked: bool, printer: Printer) -> String {
    let version = leaf
        .version
        .as_ref()
        .map(|v| format!("/{v}"))
        .unwrap_or_default();
    let name = format!("{}{version} {}", leaf.service, percent(leaf.share));
    let arrow = if picked { "->" } else { "  " };
    let mut out = format!("  {arrow} {}", printer.paint(Tone::Bold, &name));
    if let Some(problem) = &leaf.problem {
        let _ = write!(out, " {}", printer.paint(Tone::Bad, problem));
    }
    out.push('\n');
    for candidate in &leaf.candidates {
        let _ = writeln!(out, "       {}", candidate_of(candidate, printer));
    }
    out
}

fn candidate_of(candidate: &Candidate, printer: Printer) -> String {
    let tone = endpoint_tone(&candidate.state, candidate.available);
    let state = printer.paint(tone, &candidate.state);
    let mut line = format!("{}  {}  {state}", candidate.id, candidate.address);
    if !candidate.available && !candidate.reason.is_empty() {
        let _ = write!(line, " ({})", candidate.reason);
    }
    if let Some(why) = &candidate.not_ejected {
        let _ = write!(line, " ({why})");
    }
    line + &format!("  {} in flight", candidate.in_flight)
}

fn tried(tried: &[Tried], printer: Printer) -> String {
    let mut table = Table::new(&["", "ROUTE", "RULE", "MATCH", "OUTCOME"]);
    for one in tried {
        let tone = if one.matched { Tone::Good } else { Tone::Plain };
        table.row(vec![
            Cell::toned(if one.matched { "->" } else { " " }, tone),
            one.route.as_str().into(),
            one.rule.to_string().into(),
            one.condition.as_str().into(),
            Cell::toned(one.outcome.as_str(), tone),
        ]);
    }
    let heading = printer.paint(Tone::Bold, "Tried, in order of precedence");
    match table.is_empty() {
        true => format!("\n{heading}\n  there is no rule at all\n"),
        false => format!("\n{heading}\n{}", table.render(printer.color)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;
    use weir_proxy::admin::types::Pick;

    fn explanation() -> Explanation {
        let tried = |rule, matched, outcome: &str| Tried {
            route: "shop".into(),
            rule,
            condition: "PathPrefix /".into(),
            matched,
            outcome: outcome.into(),
        };
        Explanation {
            generation: 3,
            request: Request {
                method: "GET".into(),
                host: "shop.example.com".into(),
                path: "/a/../b".into(),
                canonical_path: Some("/b".into()),
                path_error: None,
                query: None,
                headers: vec![("x-a".into(), "1".into())],
                client: "127.0.0.1".into(),
                listener: Some("web".into()),
                listener_reason: "the only one".into(),
            },
            verdict: "forwarded to shop (stable) at 127.0.0.1:9001".into(),
            status: None,
            flag: None,
            matched: None,
            tried: vec![
                tried(1, false, "header x-canary is absent"),
                tried(2, true, "matched"),
            ],
            destination: Some(Destination {
                leaves: vec![Leaf {
                    service: "shop".into(),
                    version: Some("stable".into()),
                    weight: 90.0,
                    share: 90.0,
                    available: 0,
                    candidates: vec![Candidate {
                        id: "shop@127.0.0.1:9001".into(),
                        address: "127.0.0.1:9001".into(),
                        weight: 1.0,
                        available: false,
                        state: "failing".into(),
                        reason: "connection refused".into(),
                        not_ejected: None,
                        in_flight: 0,
                    }],
                    problem: None,
                }],
                sticky: None,
                pick: Pick {
                    leaf: Some(0),
                    version_by: "the only version with weight".into(),
                    balancer: None,
                    available: 0,
                    endpoint: None,
                },
            }),
        }
    }

    #[test]
    fn an_explanation_says_the_verdict_first_and_why_each_rule_did_not_fit() {
        let printer = Printer {
            format: Format::Table,
            color: false,
            terminal: false,
        };
        let text = render(&explanation(), printer);
        assert!(text.starts_with("forwarded to shop (stable)"), "{text}");
        assert!(text.contains("/b (asked for as /a/../b)"), "{text}");
        assert!(text.contains("header x-canary is absent"), "{text}");
        assert!(text.contains("-> shop/stable 90%"), "{text}");
        assert!(text.contains("failing (connection refused)"), "{text}");
    }
}
