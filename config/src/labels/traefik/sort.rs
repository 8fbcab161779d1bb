//! A container's Traefik labels, sorted by what they are about.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::labels::Container;
use crate::labels::keys::{is_traefik, printable};
use crate::raw::At;

/// The settings of one router, service or middleware, by the rest of the label in lower case.
pub(super) type Settings = BTreeMap<String, At<String>>;

/// What a container says to Traefik.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) network: Option<At<String>>,
    pub(super) routers: BTreeMap<String, Settings>,
    pub(super) services: BTreeMap<String, Settings>,
    pub(super) middlewares: BTreeMap<String, Settings>,
}

/// Routers, services and middlewares of one container.
const MAX_THINGS: usize = 200;

/// Sorts them; what is about anything else is reported.
pub(super) fn sort(container: &Container, found: &mut Vec<Diagnostic>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut things = 0;
    for (written, value) in container.labels.iter().filter(|(name, _)| is_traefik(name)) {
        let place = container.place(&printable(written));
        let value = At::new(value.trim().to_owned(), place.clone());
        let parts: Vec<&str> = written.split('.').collect();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let kind = match lower.as_slice() {
            ["traefik", "enable"] => continue,
            ["traefik", "docker" | "swarm", "network"] => {
                sorted.network = Some(value);
                continue;
            }
            ["traefik", "http", "routers", _, _, ..] => &mut sorted.routers,
            ["traefik", "http", "services", _, _, ..] => &mut sorted.services,
            ["traefik", "http", "middlewares", _, _, ..] => &mut sorted.middlewares,
            _ => {
                found.push(not_read(&value, &lower));
                continue;
            }
        };
        things += 1;
        if things > MAX_THINGS * 20 || kind.len() > MAX_THINGS {
            let message = "this container has too many labels for Traefik; this one is left out";
            found.push(Diagnostic::error(&place, message));
            continue;
        }
        let name = parts.get(3).copied().unwrap_or_default();
        let rest = lower.get(4..).unwrap_or_default().join(".");
        kind.entry(name.to_owned()).or_default().insert(rest, value);
    }
    sorted
}

fn not_read(label: &At<String>, lower: &[&str]) -> Diagnostic {
    let (message, help) = match lower {
        ["traefik", "docker" | "swarm", "lbswarm"] => (
            "lbswarm is not read",
            "discovery.swarm.addresses: vip calls the virtual IPs of services",
        ),
        ["traefik", kind @ ("tcp" | "udp"), ..] => (
            match *kind {
                "tcp" => "routers of TCP are not read",
                _ => "routers of UDP are not read",
            },
            "weir.protocol and weir.listener do the same",
        ),
        ["traefik", "tls", ..] => (
            "labels name no certificates",
            "write tls under a listener of the configuration file",
        ),
        _ => ("this label of Traefik is not known", "check its spelling"),
    };
    Diagnostic::warning(&label.place, message).help(help)
}

/// The setting as `true` or `false`, with Go's further spellings.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A duration as Go writes it; a number alone is seconds.
pub(super) fn duration(text: &str) -> String {
    match !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("{text}s"),
        false => text.to_owned(),
    }
}
