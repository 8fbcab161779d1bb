//! Listeners: one line each.

use weir_proxy::admin::types::Listeners;

use crate::output::{Cell, Printer, Table, Tone};

/// One line per listener.
pub(super) fn render(listeners: &Listeners, printer: Printer) -> String {
    let mut headings = vec![
        "LISTENER",
        "ADDRESS",
        "PROTOCOL",
        "STATE",
        "RULES",
        "CONNECTIONS",
        "WHY",
    ];
    if printer.is_wide() {
        headings.push("SOURCE");
    }
    let mut table = Table::new(&headings);
    for listener in &listeners.listeners {
        let tone = if listener.error.is_some() {
            Tone::Bad
        } else {
            Tone::Good
        };
        let mut row: Vec<Cell> = vec![
            listener.name.as_str().into(),
            listener.bind.as_str().into(),
            listener.protocol.as_str().into(),
            Cell::toned(listener.state.as_str(), tone),
            listener.rules.to_string().into(),
            listener.connections.to_string().into(),
            listener.error.clone().unwrap_or_default().into(),
        ];
        if printer.is_wide() {
            row.push(listener.source.as_str().into());
        }
        table.row(row);
    }
    table.or_none(
        printer.color,
        "no listeners: name one under listeners, or start with --listen",
    )
}
