//! Services: one line each, or one line per version.

use weir_proxy::admin::types::{Services, Version};

use crate::commands::canary::percent;
use crate::output::{Cell, Printer, Table, Tone};

/// One line per service, its versions side by side; wide: one line per version.
pub(super) fn render(services: &Services, printer: Printer) -> String {
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
    table.or_none(
        printer.color,
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
