//! Routes: names, listeners and hosts; what their rules say is in `rule`.

use std::collections::BTreeMap;

use super::listener::Listeners;
use super::report::Report;
use super::rule;
use super::service::Services;
use super::stream;
use crate::diagnostic::{Diagnostic, Place, Severity, suggest};
use crate::model::{HostPattern, ListenerName, Protocol, Route, RouteName};
use crate::raw::{self, At};

/// What a route may refer to.
pub(super) struct Names<'a> {
    pub(super) listeners: &'a Listeners,
    pub(super) services: &'a Services,
    pub(super) unknown_service: Severity,
}

/// A route whose hosts may still be claimed by another.
pub(super) struct Draft {
    pub(super) route: Route,
    /// What its listeners speak. A route of streams is drafted as one of HTTP whose only rule takes everything, since
    /// hosts are claimed alike.
    pub(super) protocol: Protocol,
    /// In step with the hostnames; one entry for every host if there are none.
    pub(super) hosts: Vec<Host>,
    pub(super) label: bool,
}

/// One host of a draft: `None` is every host.
pub(super) struct Host {
    pub(super) pattern: Option<HostPattern>,
    pub(super) place: Place,
    /// Since when it is claimed: seconds since 1970, 0 in a file.
    pub(super) age: u64,
}

/// Compiles routes in the order given: files before labels.
pub(super) fn compile<'a>(
    all: impl Iterator<Item = &'a raw::Route>,
    names: &Names<'_>,
    report: &mut Report,
) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut taken: BTreeMap<RouteName, Place> = BTreeMap::new();
    for raw in all {
        let errors = report.errors();
        let draft = compile_one(raw, names, report);
        let holds = report.errors() == errors && !raw.meta.broken;
        let Some(mut draft) = draft.filter(|_| holds) else {
            continue;
        };
        if let Some(first) = taken.get(&draft.route.name) {
            match unclash(&draft, &taken) {
                Some(name) => draft.route.name = name,
                None => {
                    let message = format!(
                        "the route {} is given twice, first at {}",
                        draft.route.name, first.source
                    );
                    let place = raw
                        .name
                        .as_ref()
                        .map_or(&raw.meta.place, |name| &name.place);
                    report.error(place, message);
                    continue;
                }
            }
        }
        taken.insert(draft.route.name.clone(), raw.meta.place.clone());
        drafts.push(draft);
    }
    drafts
}

/// A container's route has its service's name; where a file's route has it too, it gets another, because the
/// author of the file cannot know all labels.
fn unclash(draft: &Draft, taken: &BTreeMap<RouteName, Place>) -> Option<RouteName> {
    if !draft.label {
        return None;
    }
    let name = RouteName::new(&format!("{}@labels", draft.route.name)).ok()?;
    (!taken.contains_key(&name)).then_some(name)
}

fn compile_one(raw: &raw::Route, names: &Names<'_>, report: &mut Report) -> Option<Draft> {
    let place = &raw.meta.place;
    let name = report.required(&raw.name, &raw.meta, "the name of the route")?;
    let name = report.valid(RouteName::new(&name.value), &name.place)?;
    let listeners = listeners(raw, names.listeners, report);
    let protocol = stream::protocol(raw, listeners.as_deref(), names.listeners, report)?;
    let hosts = hosts(raw, report);
    if protocol.is_stream() {
        stream::check(raw, protocol, report);
    }
    let rules: Vec<_> = match raw.rules.as_deref() {
        None | Some([]) => {
            if !raw.meta.broken {
                let help = "a rule needs at least backendRefs";
                report.error_help(place, "the route has no rules", help);
            }
            return None;
        }
        Some(rules) => rules
            .iter()
            .map(|rule| rule::compile(rule, protocol, names, report))
            .collect(),
    };
    let route = Route {
        name,
        listeners: listeners?,
        hostnames: Vec::new(),
        rules: rules.into_iter().collect::<Option<_>>()?,
        age: raw.age,
        source: place.source.clone(),
    };
    Some(Draft {
        route,
        protocol,
        hosts,
        label: place.is_label(),
    })
}

/// The listeners named; `None` if the route must be left out, because it would otherwise move to all of them.
///
/// A listener that a label gets wrong is reported and the others stay: the route is shared with containers that
/// got it right.
fn listeners(
    raw: &raw::Route,
    listeners: &Listeners,
    report: &mut Report,
) -> Option<Vec<ListenerName>> {
    let named = raw.listeners.as_deref().unwrap_or_default();
    let mut out: Vec<ListenerName> = Vec::new();
    for at in named {
        let valid = listeners
            .valid
            .iter()
            .find(|listener| listener.name.as_str() == at.value);
        match valid {
            Some(listener) if out.contains(&listener.name) => {
                report.warn(
                    &at.place,
                    format!("the listener {} is named twice", at.value),
                    "remove one of them",
                );
            }
            Some(listener) => out.push(listener.name.clone()),
            None if listeners.known.contains(&at.value) => {
                let message = format!(
                    "the listener {} is left out, so this route is not served there",
                    at.value
                );
                report.warn(&at.place, message, "mend the listener first");
            }
            None => {
                let known: Vec<&str> = listeners
                    .valid
                    .iter()
                    .map(|listener| listener.name.as_str())
                    .collect();
                let help = match known.is_empty() {
                    true => "no listener is configured".to_owned(),
                    false => suggest(&at.value, &known),
                };
                let diagnostic = Diagnostic::error(
                    &at.place,
                    format!("there is no listener named {:?}", at.value),
                )
                .help(help);
                match at.place.is_label() {
                    true => report.found.push(diagnostic),
                    false => report.push(diagnostic),
                }
            }
        }
    }
    if raw.every_listener {
        return Some(Vec::new());
    }
    out.sort();
    (named.is_empty() || !out.is_empty()).then_some(out)
}

fn hosts(raw: &raw::Route, report: &mut Report) -> Vec<Host> {
    let written: &[At<String>] = raw.hostnames.as_deref().unwrap_or_default();
    let mut hosts: Vec<Host> = Vec::new();
    for (at, index) in written.iter().zip(0..) {
        let Some(pattern) = report.valid(HostPattern::parse(&at.value), &at.place) else {
            continue;
        };
        if hosts.iter().any(|host| host.pattern == pattern) {
            report.warn(
                &at.place,
                format!("the hostname {} is given twice", at.value),
                "remove one of them",
            );
            continue;
        }
        let age = raw.host_ages.get(index).copied().unwrap_or(raw.age);
        hosts.push(Host {
            pattern,
            place: at.place.clone(),
            age,
        });
    }
    if written.is_empty() {
        hosts.push(Host {
            pattern: None,
            place: raw.meta.place.clone(),
            age: raw.age,
        });
    }
    hosts
}
