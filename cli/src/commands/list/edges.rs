//! Edges: one line for each pair of services, the unsecured in colour.

use weir_control::api::types::{Edge, Edges, Security};

use crate::output::{Cell, Printer, Table, Tone};

/// One line per edge.
pub(super) fn render(edges: &Edges, printer: Printer) -> String {
    let mut headings = vec!["CLIENT", "SERVER", "SECURED", "RPS", "SUCCESS", "P99"];
    if printer.is_wide() {
        headings.extend(["REQUESTS", "CLIENT IDENTITY", "SERVER IDENTITY"]);
    }
    let mut table = Table::new(&headings);
    for edge in &edges.edges {
        let mut row: Vec<Cell> = vec![
            edge.client.as_str().into(),
            edge.server.as_str().into(),
            security(edge.security),
            format!("{:.1}", edge.requests_per_second).into(),
            success(edge),
            edge.p99_ms
                .map_or("-".into(), |ms| format!("<={ms}ms"))
                .into(),
        ];
        if printer.is_wide() {
            row.extend([
                Cell::from(edge.requests.to_string()),
                dash(edge.client_identity.as_deref()).into(),
                dash(edge.server_identity.as_deref()).into(),
            ]);
        }
        table.row(row);
    }
    table.or_none(
        printer.color,
        "nothing reported yet: proxies and sidecars that follow report every ten seconds what they sent",
    )
}

fn security(security: Security) -> Cell {
    let tone = match security {
        Security::Mtls => Tone::Good,
        Security::Mixed => Tone::Warn,
        Security::Plain => Tone::Bad,
    };
    Cell::toned(security.text(), tone)
}

fn success(edge: &Edge) -> Cell {
    match edge.success_percent {
        None => "-".into(),
        Some(percent) if percent < 99.0 => Cell::toned(format!("{percent}%"), Tone::Bad),
        Some(percent) => format!("{percent}%").into(),
    }
}

fn dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}
