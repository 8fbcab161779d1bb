//! Who holds a host: files before applied documents, those before labels, then the oldest claim.
//!
//! Labels are written by whoever may start a container, and documents by whoever has the admin token. They may add a
//! host, but they cannot take requests for a host and path that another owner already answers.

use std::collections::{BTreeMap, BTreeSet};

use super::listener::Listeners;
use super::report::Report;
use super::route::Draft;
use crate::diagnostic::Place;
use crate::file::is_document;
use crate::model::{HostPattern, PathMatch, Protocol, Route, Source};

/// A listener, a host and a path; `None` is every host.
type Spot = (String, Option<HostPattern>, String);

/// Who was first.
struct Holder {
    route: String,
    place: Place,
    label: bool,
}

/// Settles every claim, and gives each route the hosts it keeps. A route that keeps none is left out.
pub(super) fn settle(
    mut drafts: Vec<Draft>,
    listeners: &Listeners,
    report: &mut Report,
) -> Vec<(Protocol, Route)> {
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (d, draft) in drafts.iter().enumerate() {
        order.extend((0..draft.hosts.len()).map(|h| (d, h)));
    }
    // Files keep their order; among containers the oldest claim comes first, whatever the order they were listed in.
    order.sort_by_key(|&(d, h)| {
        let draft = &drafts[d];
        let name = if draft.label {
            draft.route.name.to_string()
        } else {
            String::new()
        };
        (draft.label, draft.hosts[h].age, name)
    });
    let mut held: BTreeMap<Spot, Holder> = BTreeMap::new();
    let mut lost: BTreeSet<(usize, usize)> = BTreeSet::new();
    for (d, h) in order {
        if !claim(&drafts[d], h, listeners, &mut held, report) {
            lost.insert((d, h));
        }
    }
    let mut routes = Vec::new();
    for (d, draft) in drafts.iter_mut().enumerate() {
        let mut kept = Vec::new();
        for (h, host) in draft.hosts.iter().enumerate() {
            if !lost.contains(&(d, h)) {
                kept.push(host.pattern.clone());
            }
        }
        if kept.is_empty() {
            continue;
        }
        // `*` among other names is every host.
        let every = kept.iter().any(Option::is_none);
        draft.route.hostnames = if every {
            Vec::new()
        } else {
            kept.into_iter().flatten().collect()
        };
        draft.route.hostnames.sort();
        routes.push((draft.protocol, draft.route.clone()));
    }
    routes
}

/// Takes all spots of one host, or none of them and says who holds the first that is taken.
fn claim(
    draft: &Draft,
    host: usize,
    listeners: &Listeners,
    held: &mut BTreeMap<Spot, Holder>,
    report: &mut Report,
) -> bool {
    let host = &draft.hosts[host];
    let spots = spots(draft, host.pattern.as_ref(), listeners);
    let name = draft.route.name.as_str();
    let taken = spots.iter().find_map(|spot| {
        held.get(spot)
            .filter(|h| h.route != name)
            .map(|holder| (spot, holder))
    });
    if let Some((spot, holder)) = taken {
        let what = described(draft, spot);
        if draft.label {
            let message = format!(
                "{what} already belongs to the route {} ({})",
                holder.route, holder.place.source
            );
            let help = match (holder.label, draft.protocol.is_stream()) {
                (true, false) => {
                    "the older keeps it; give one of them another weir.host or weir.path"
                }
                (true, true) => {
                    "the older keeps it; give one of them another weir.listener, or the same weir.service"
                }
                (false, false) => {
                    "a file's route comes before labels; change the file, weir.host or weir.path"
                }
                (false, true) => {
                    "a file's route comes before labels; change the file or weir.listener"
                }
            };
            report.error_help(&host.place, message, help);
            return false;
        }
        if is_document(&host.place.source) && !is_same_file(&host.place, &holder.place) {
            let message = format!(
                "{what} already belongs to the route {} ({})",
                holder.route, holder.place.source
            );
            let help = "who holds it keeps it, and a file comes before documents; give the document's route another hostname or path";
            report.error_help(&host.place, message, help);
            return false;
        }
        let message = format!(
            "{what} is also matched by the route {} ({})",
            holder.route, holder.place.source
        );
        let help = match draft.protocol.is_stream() {
            false => {
                "the route that comes first by name answers; give one of them another hostname or path"
            }
            true => "the route that comes first by name answers; remove one of them",
        };
        report.warn(&host.place, message, help);
    }
    for spot in spots {
        let holder = || Holder {
            route: name.to_owned(),
            place: host.place.clone(),
            label: draft.label,
        };
        held.entry(spot).or_insert_with(holder);
    }
    true
}

fn is_same_file(a: &Place, b: &Place) -> bool {
    match (&a.source, &b.source) {
        (Source::File { path: a, .. }, Source::File { path: b, .. }) => a == b,
        _ => false,
    }
}

/// `shop.example.com/api`, `everything on the listener db`
fn described(draft: &Draft, (listener, host, path): &Spot) -> String {
    let host = host.as_ref().map(HostPattern::text);
    match (draft.protocol.is_stream(), host) {
        (false, host) => format!("{}{path}", host.as_deref().unwrap_or("*")),
        (true, Some(host)) => format!("{host} on the listener {listener}"),
        (true, None) => format!("everything on the listener {listener}"),
    }
}

/// What this host takes whole: matches with further conditions leave room for others and claim nothing.
fn spots(draft: &Draft, host: Option<&HostPattern>, listeners: &Listeners) -> Vec<Spot> {
    let named = draft.route.listeners.iter().map(ToString::to_string);
    let mut on: Vec<String> = named.collect();
    if on.is_empty() {
        on = listeners
            .valid
            .iter()
            .filter(|listener| !listener.protocol.is_stream())
            .map(|listener| listener.name.to_string())
            .collect();
    }
    if on.is_empty() {
        on.push(String::new());
    }
    let matches = draft.route.rules.iter().flat_map(|rule| &rule.matches);
    let plain =
        matches.filter(|m| m.headers.is_empty() && m.query.is_empty() && m.method.is_none());
    let paths: Vec<String> = plain
        .map(|m| match &m.path {
            PathMatch::Exact(path) => format!("{path} (exact)"),
            PathMatch::Prefix(path) => path.to_string(),
            PathMatch::Regex(regex) => format!(" ~ {}", regex.as_str()),
        })
        .collect();
    let pairs = on
        .iter()
        .flat_map(|listener| paths.iter().map(move |path| (listener, path)));
    pairs
        .map(|(listener, path)| (listener.clone(), host.cloned(), path.clone()))
        .collect()
}
