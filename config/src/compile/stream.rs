//! Routes of streams: what such a route may say, and on which listeners.

use super::listener::Listeners;
use super::report::Report;
use crate::diagnostic::Place;
use crate::model::{ListenerName, Protocol, Route, StreamRoute};
use crate::raw;

/// What the listeners of a route speak; `None` if the route must be left out. Without listeners it is of HTTP.
pub(super) fn protocol(
    raw: &raw::Route,
    listeners: Option<&[ListenerName]>,
    all: &Listeners,
    report: &mut Report,
) -> Option<Protocol> {
    let spoken = |name: &str| {
        let known = all.valid.iter().find(|known| known.name.as_str() == name);
        known.map(|known| known.protocol)
    };
    let named = raw.listeners.as_deref().unwrap_or_default();
    let pairs: Vec<_> = named
        .iter()
        .filter_map(|at| Some((at, spoken(&at.value)?)))
        .collect();
    if raw.meta.place.is_label() {
        // A container says what it speaks: that it answers for a database's port must not depend on a file alone.
        let asked = raw.protocol.as_ref().map_or(Protocol::Http, |at| at.value);
        for (at, protocol) in pairs.iter().filter(|(_, spoken)| !alike(*spoken, asked)) {
            let message = format!(
                "the listener {} speaks {}, not {}",
                at.value,
                protocol.text(),
                asked.text()
            );
            let help = match protocol.is_stream() {
                true => format!("add weir.protocol={}", protocol.text()),
                false => format!("name a listener with protocol: {}", asked.text()),
            };
            report.error_help(&at.place, message, help);
        }
        return Some(asked);
    }
    let first = pairs
        .first()
        .map_or(Protocol::Http, |(_, protocol)| *protocol);
    for (at, protocol) in pairs.iter().filter(|(_, spoken)| !alike(*spoken, first)) {
        let message = format!(
            "the listener {} speaks {}, the one before it {}",
            at.value,
            protocol.text(),
            first.text()
        );
        let help = "a route is for listeners of one protocol; write a route for each";
        report.error_help(&at.place, message, help);
    }
    (named.is_empty() || listeners.is_some()).then_some(first)
}

/// Whether one route can be for listeners of both: requests are the same with TLS and without.
fn alike(one: Protocol, other: Protocol) -> bool {
    one == other || (one.is_http() && other.is_http())
}

/// Names everything that a stream has nothing to match by or to change. Of labels, which a container of HTTP may share
/// with others, that is no reason to leave the route out.
pub(super) fn check(raw: &raw::Route, protocol: Protocol, report: &mut Report) {
    if let Some(host) = raw.hostnames.iter().flatten().next()
        && protocol != Protocol::TlsPassthrough
    {
        let message = format!("{} carries no host name to match", protocol.text());
        let help = "hostnames are for http and tls-passthrough; remove them";
        report.error_help(&host.place, message, help);
    }
    let rules = raw.rules.as_deref().unwrap_or_default();
    if let Some(second) = rules.get(1) {
        let help = "write its backendRefs under the first rule, with weights";
        report.error_help(
            &second.meta.place,
            "a route of streams has one rule, since nothing tells streams apart",
            help,
        );
    }
    for rule in rules {
        refuse_http(rule, protocol, report);
        if !rule.meta.broken && rule.backend_refs.as_ref().is_none_or(Vec::is_empty) {
            let place = &rule.meta.place;
            report.error_help(place, "the rule has no destination", "give it backendRefs");
        }
    }
}

fn refuse_http(rule: &raw::Rule, protocol: Protocol, report: &mut Report) {
    let parts: [(&str, Option<&Place>); 6] = [
        (
            "matches",
            rule.matches.iter().flatten().next().map(|m| &m.meta.place),
        ),
        (
            "filters",
            rule.filters.iter().flatten().next().map(|f| &f.meta.place),
        ),
        ("sticky", rule.sticky.as_ref().map(|s| &s.meta.place)),
        ("timeouts", rule.timeouts.as_ref().map(|t| &t.meta.place)),
        ("retry", rule.retry.as_ref().map(|r| &r.meta.place)),
        (
            "sessionPersistence",
            rule.session_persistence.as_ref().map(|s| &s.place),
        ),
    ];
    for (name, place) in parts {
        let Some(place) = place else { continue };
        let message = format!("{name} is for http, this route is of {}", protocol.text());
        match place.is_label() {
            true => report.warn(place, message, "it has no effect; remove it"),
            false => report.error_help(place, message, "a stream's rule has backendRefs only"),
        }
    }
}

/// The model's route, of a draft whose hosts are settled.
pub(super) fn of(route: Route) -> StreamRoute {
    StreamRoute {
        name: route.name,
        listeners: route.listeners,
        hostnames: route.hostnames,
        backends: route
            .rules
            .into_iter()
            .flat_map(|rule| rule.backends)
            .collect(),
        age: route.age,
        source: route.source,
    }
}
