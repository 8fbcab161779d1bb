//! An explanation in words, from the verdict down to what was tried.

use std::fmt::Write;

use weir_proxy::admin::types::{
    Candidate, Destination, Explanation, Group, Key, Leaf, Limit, Limits, Matched, Request, Tried,
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
    for limits in &destination.limits {
        section.line("limits", &limits_of(limits));
    }
    let mut text = section.text;
    for (i, leaf) in destination.leaves.iter().enumerate() {
        text.push_str(&leaf_of(leaf, pick.leaf == Some(i), printer));
    }
    text
}

/// `shop: 3 of 1024 connections, 0 of 1024 pending, 2 of 1024 requests, 0 of 3 retries (7 refused)`
fn limits_of(limits: &Limits) -> String {
    let one = |limit: &Limit| {
        let refused = match limit.refused {
            0 => String::new(),
            count => format!(" ({count} refused)"),
        };
        let full = match limit.taken >= limit.allowed {
            true => " (full)",
            false => "",
        };
        format!(
            "{} of {} {}{full}{refused}",
            limit.taken, limit.allowed, limit.limit
        )
    };
    let all: Vec<_> = limits.limits.iter().map(one).collect();
    format!("{}: {}", limits.service, all.join(", "))
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
    if let Some(key) = &leaf.key {
        let _ = writeln!(out, "       {}", key_of(key, leaf.endpoint.as_deref()));
    }
    for (group, number) in leaf.groups.iter().zip(0..) {
        // One group in order is the common case, and says nothing.
        if leaf.groups.len() > 1 || group.panic {
            let _ = writeln!(out, "       {}", group_of(group, number, printer));
        }
    }
    for candidate in &leaf.candidates {
        let certain = leaf.endpoint.as_ref() == Some(&candidate.id);
        let arrow = if certain { "->" } else { "  " };
        let grouped = leaf.groups.len() > 1;
        let line = candidate_of(candidate, grouped, printer);
        let _ = writeln!(out, "    {arrow} {line}");
        if let Some(refused) = &candidate.not_ejected {
            let _ = writeln!(out, "         {}", printer.paint(Tone::Warn, refused));
        }
    }
    out
}

fn key_of(key: &Key, endpoint: Option<&str>) -> String {
    match (&key.value, endpoint) {
        (None, _) => format!("key {}: absent in this request, so any may get it", key.by),
        (Some(value), None) => format!("key {}: {value}", key.by),
        (Some(value), Some(to)) => format!("key {}: {value} leads to {to}", key.by),
    }
}

fn group_of(group: &Group, number: usize, printer: Printer) -> String {
    let mut line = format!(
        "group {number}, level {}: {} of requests, {} of {} available",
        group.level,
        percent(group.share),
        group.available,
        group.endpoints
    );
    if group.panic {
        let panic = "panic: those that fail or are ejected are used too";
        let _ = write!(line, "; {}", printer.paint(Tone::Bad, panic));
    }
    line
}

fn candidate_of(candidate: &Candidate, grouped: bool, printer: Printer) -> String {
    let tone = endpoint_tone(&candidate.state, candidate.available);
    let state = printer.paint(tone, &candidate.state);
    let mut line = format!("{}  {}  {state}", candidate.id, candidate.address);
    if !candidate.available && !candidate.reason.is_empty() {
        let _ = write!(line, " ({})", candidate.reason);
    }
    if let Some(until) = &candidate.until {
        let _ = write!(line, " until {until}");
    }
    if let Some(group) = candidate.group.filter(|_| grouped) {
        let _ = write!(line, "  group {group}");
    }
    let _ = write!(line, "  {} in flight", candidate.in_flight);
    if let Some(latency) = candidate.latency_ms {
        let _ = write!(line, "  {latency:.1} ms");
    }
    let weight = candidate.weight;
    if (weight - 1.0).abs() > f64::EPSILON {
        let _ = write!(line, "  weight {weight}");
    }
    if !candidate.judged.is_empty() {
        let _ = write!(line, "  {}", printer.paint(Tone::Dim, &candidate.judged));
    }
    line
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
                    key: Some(Key {
                        by: "header x-user".into(),
                        value: Some("ann".into()),
                    }),
                    endpoint: Some("shop@127.0.0.1:9001".into()),
                    groups: vec![Group {
                        level: 0,
                        share: 100.0,
                        panic: true,
                        endpoints: 1,
                        available: 0,
                    }],
                    candidates: vec![Candidate {
                        id: "shop@127.0.0.1:9001".into(),
                        address: "127.0.0.1:9001".into(),
                        weight: 1.0,
                        available: false,
                        state: "failing".into(),
                        reason: "connection refused".into(),
                        since: "2026-11-22T02:00:00.000Z".into(),
                        until: Some("2026-11-22T02:10:00.000Z".into()),
                        in_flight: 0,
                        penalty: 0,
                        latency_ms: None,
                        group: Some(0),
                        judged: "choice 1 of the key; in only because of panic".into(),
                        ejections: 2,
                        not_ejected: Some("5 answers with a 5xx in a row, not ejected: why".into()),
                    }],
                    problem: None,
                }],
                sticky: None,
                limits: vec![Limits {
                    service: "shop".into(),
                    limits: vec![
                        Limit {
                            limit: "requests".into(),
                            taken: 3,
                            allowed: 1024,
                            refused: 0,
                        },
                        Limit {
                            limit: "retries".into(),
                            taken: 3,
                            allowed: 3,
                            refused: 7,
                        },
                    ],
                }],
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
        for part in [
            "failing (connection refused) until 2026-11-22T02:10:00.000Z",
            "limits     shop: 3 of 1024 requests, 3 of 3 retries (full) (7 refused)",
            "key header x-user: ann leads to shop@127.0.0.1:9001",
            "group 0, level 0: 100% of requests, 0 of 1 available; panic",
            "-> shop@127.0.0.1:9001  127.0.0.1:9001",
            "choice 1 of the key; in only because of panic",
            "5 answers with a 5xx in a row, not ejected: why",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
