//! The tables of the data plane: routes, services, endpoints, listeners.

use weir_proxy::admin::types::{
    Backend, Endpoint, Endpoints, Listeners, Routes, Rule, Services, Version,
};

use crate::commands::canary::percent;
use crate::commands::endpoint_tone;
use crate::output::{Cell, Printer, Table, Tone};

/// One line per rule, in the order of the file: a route is its rules.
pub(super) fn routes(routes: &Routes, printer: Printer) -> String {
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
    or_none(
        &table,
        printer,
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

/// One line per service, its versions side by side; wide: one line per version.
pub(super) fn services(services: &Services, printer: Printer) -> String {
    let mut table = match printer.is_wide() {
        true => Table::new(&[
            "SERVICE",
            "VERSION",
            "AVAILABLE",
            "REQUESTS",
            "DEFAULT SHARE",
            "BALANCER",
            "HEALTH CHECK",
            "SOURCE",
        ]),
        false => Table::new(&[
            "SERVICE",
            "VERSIONS",
            "AVAILABLE",
            "BALANCER",
            "HEALTH CHECK",
        ]),
    };
    for service in &services.services {
        let check = service.health_check.clone().unwrap_or_default();
        if !printer.is_wide() {
            let versions: Vec<String> = service.versions.iter().map(summary).collect();
            table.row(vec![
                service.name.as_str().into(),
                versions.join(", ").into(),
                available(service.available, service.endpoints),
                service.balancer.as_str().into(),
                check.into(),
            ]);
            continue;
        }
        for version in &service.versions {
            table.row(vec![
                service.name.as_str().into(),
                version.name.as_str().into(),
                available(version.available, version.endpoints),
                version.requests.to_string().into(),
                percent(version.share).into(),
                service.balancer.as_str().into(),
                check.as_str().into(),
                service.source.as_str().into(),
            ]);
        }
    }
    or_none(
        &table,
        printer,
        "no services: `weir discovery` shows what was left out and why",
    )
}

/// `canary 1/1`. Not its share: a route that names versions splits by weights of its own.
fn summary(version: &Version) -> String {
    format!(
        "{} {}/{}",
        version.name, version.available, version.endpoints
    )
}

/// `2/3`, in the colour of how bad that is.
fn available(available: usize, all: usize) -> Cell {
    let tone = match available {
        0 => Tone::Bad,
        some if some < all => Tone::Warn,
        _ => Tone::Good,
    };
    Cell::toned(format!("{available}/{all}"), tone)
}

/// One line per endpoint.
pub(super) fn endpoints(endpoints: &Endpoints, printer: Printer) -> String {
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
        headings.extend(["WEIGHT", "SINCE", "SOURCE"]);
    }
    let mut table = Table::new(&headings);
    for endpoint in &endpoints.endpoints {
        let mut row = row_of(endpoint);
        if printer.is_wide() {
            row.extend([
                endpoint.weight.to_string().into(),
                endpoint.since.as_str().into(),
                endpoint.source.as_str().into(),
            ]);
        }
        table.row(row);
    }
    or_none(
        &table,
        printer,
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

/// One line per listener.
pub(super) fn listeners(listeners: &Listeners, printer: Printer) -> String {
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
    or_none(
        &table,
        printer,
        "no listeners: name one under listeners, or start with --listen",
    )
}

fn or_none(table: &Table, printer: Printer, none: &str) -> String {
    match table.is_empty() {
        true => format!("{none}\n"),
        false => table.render(printer.color),
    }
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
        let text = routes(&all, PLAIN);
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
            !text.contains("weir.yaml:9:5") && routes(&all, WIDE).contains("weir.yaml:9:5"),
            "{text}"
        );
        assert!(routes(&Routes { routes: Vec::new() }, PLAIN).contains("weir discovery"));
    }

    #[test]
    fn an_endpoint_that_takes_nothing_says_why() {
        let endpoint = Endpoint {
            service: "shop".into(),
            id: "3f2a9c01d2e4:8080".into(),
            address: "172.17.0.2:8080".into(),
            version: "canary".into(),
            weight: 1.0,
            state: "not-ready".into(),
            reason: "unhealthy".into(),
            since: "2026-11-22T02:00:00Z".into(),
            available: false,
            in_flight: 0,
            requests: 12,
            errors: 1,
            source: "container shop-1".into(),
        };
        let text = endpoints(
            &Endpoints {
                endpoints: vec![endpoint],
            },
            PLAIN,
        );
        for part in ["3f2a9c01d2e4:8080", "not-ready", "unhealthy"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
