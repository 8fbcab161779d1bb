//! Endpoints: one line each.

use weir_proxy::admin::types::{Endpoint, Endpoints};

use crate::commands::endpoint_tone;
use crate::output::{Cell, Printer, Table, Tone};

/// One line per endpoint.
pub(super) fn render(endpoints: &Endpoints, printer: Printer) -> String {
    let mut headings = vec![
        "SERVICE",
        "VERSION",
        "ENDPOINT",
        "ADDRESS",
        "STATE",
        "IN FLIGHT",
        "REQUESTS",
        "ERRORS",
    ];
    headings.push("WHY");
    if printer.is_wide() {
        headings.extend(["SINCE", "UNTIL", "EJECTIONS", "WEIGHT", "SOURCE"]);
    }
    let mut table = Table::new(&headings);
    for endpoint in &endpoints.endpoints {
        let mut row = row_of(endpoint);
        if printer.is_wide() {
            row.extend([
                endpoint.since.as_str().into(),
                endpoint.until.as_deref().unwrap_or("-").into(),
                endpoint.ejections.to_string().into(),
                endpoint.weight.to_string().into(),
                endpoint.source.as_str().into(),
            ]);
        }
        table.row(row);
    }
    table.or_none(
        printer.color,
        "no endpoints: `weir discovery` shows what was left out and why",
    )
}

fn row_of(endpoint: &Endpoint) -> Vec<Cell> {
    let errors = Cell::toned(
        endpoint.errors.to_string(),
        if endpoint.errors > 0 {
            Tone::Warn
        } else {
            Tone::Plain
        },
    );
    vec![
        endpoint.service.as_str().into(),
        endpoint.version.as_str().into(),
        endpoint.id.as_str().into(),
        endpoint.address.as_str().into(),
        Cell::toned(
            endpoint.state.as_str(),
            endpoint_tone(&endpoint.state, endpoint.available),
        ),
        endpoint.in_flight.to_string().into(),
        endpoint.requests.to_string().into(),
        errors,
        endpoint.reason.as_str().into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    const PLAIN: Printer = Printer {
        format: Format::Table,
        color: false,
        terminal: false,
    };

    fn endpoint() -> Endpoint {
        Endpoint {
            service: "shop".into(),
            id: "3f2a9c01d2e4:8080".into(),
            address: "172.17.0.2:8080".into(),
            version: "canary".into(),
            weight: 1.0,
            state: "not-ready".into(),
            reason: "unhealthy".into(),
            since: "2026-11-22T02:00:00Z".into(),
            until: None,
            available: false,
            in_flight: 0,
            requests: 12,
            errors: 1,
            ejections: 3,
            source: "container shop-1".into(),
        }
    }

    fn rendered(endpoint: Endpoint, printer: Printer) -> String {
        let endpoints = Endpoints {
            endpoints: vec![endpoint],
        };
        render(&endpoints, printer)
    }

    #[test]
    fn only_wide_shows_until_when_and_how_often() {
        let ejected = Endpoint {
            state: "ejected".into(),
            reason: "5 answers with a 5xx in a row".into(),
            until: Some("2026-11-22T02:00:30Z".into()),
            ..endpoint()
        };
        let wide = Printer {
            format: Format::Wide,
            ..PLAIN
        };
        let narrow = rendered(ejected.clone(), PLAIN);
        let wide = rendered(ejected, wide);
        for part in ["UNTIL", "02:00:30Z", "EJECTIONS", "02:00:00Z"] {
            assert!(wide.contains(part), "{wide}");
            assert!(!narrow.contains(part), "{narrow}");
        }
        assert!(narrow.contains("5 answers with a 5xx in a row"), "{narrow}");
    }

    #[test]
    fn an_endpoint_that_takes_nothing_says_why() {
        let text = rendered(endpoint(), PLAIN);
        for part in ["3f2a9c01d2e4:8080", "not-ready", "unhealthy"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
