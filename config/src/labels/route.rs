//! The route that the containers of a service ask for.

use super::group::Group;
use crate::diagnostic::Place;
use crate::raw::{At, BackendRef, Filter, FilterKind, Meta, PathMatch, Route, RouteMatch, Rule};

/// One route named after the service; `None` if no label asks for one.
pub(super) fn of(group: &Group<'_>) -> Option<Route> {
    let mut hosts: Vec<(At<String>, u64)> = Vec::new();
    for member in &group.members {
        for host in &member.claim.hosts {
            // Members come oldest first: a host is claimed since its oldest container, or service of a Swarm.
            if !hosts
                .iter()
                .any(|(other, _)| other.value.eq_ignore_ascii_case(&host.value))
            {
                hosts.push((host.clone(), member.container.since));
            }
        }
    }
    let every = group
        .members
        .iter()
        .find_map(|member| Some((member.claim.every_host.clone()?, member.container.since)));
    let (place, age) = match (hosts.first(), every) {
        (Some((host, age)), _) => (host.place.clone(), *age),
        (None, Some((place, age))) => (place, age),
        (None, None) => return None,
    };
    let claims = || {
        group
            .members
            .iter()
            .map(|m| &m.claim)
            .filter(|c| !c.hosts.is_empty() || c.every_host.is_some())
    };
    let mut listeners: Vec<At<String>> = Vec::new();
    for listener in claims().flat_map(|claim| &claim.listeners) {
        if !listeners.iter().any(|other| other.value == listener.value) {
            listeners.push(listener.clone());
        }
    }
    let (hostnames, host_ages) = hosts.into_iter().unzip();
    Some(Route {
        meta: meta(&place),
        name: Some(group.name.clone()),
        every_listener: claims().any(|claim| claim.listeners.is_empty()),
        listeners: Some(listeners),
        hostnames: Some(hostnames),
        rules: Some(vec![rule(group, &place)]),
        age,
        host_ages,
        protocol: group.newest(|member| member.claim.protocol.clone()),
    })
}

fn rule(group: &Group<'_>, place: &Place) -> Rule {
    let path = group
        .newest(|member| member.claim.path.clone())
        .map(|path| PathMatch {
            meta: meta(&path.place),
            kind: None,
            value: Some(path),
        });
    let matches = path.map(|path| {
        vec![RouteMatch {
            meta: meta(&path.meta.place),
            path: Some(path),
            ..RouteMatch::default()
        }]
    });
    let backend = BackendRef {
        meta: meta(place),
        name: Some(group.name.clone()),
        version: None,
        weight: None,
    };
    let limit = group.newest(|member| member.policy.rate_limit.clone());
    let filters = limit.map(|limit| {
        vec![Filter {
            meta: limit.meta.clone(),
            kind: Some(At::new(FilterKind::RateLimit, limit.meta.place.clone())),
            rate_limit: Some(Box::new(limit)),
            ..Filter::default()
        }]
    });
    Rule {
        meta: meta(place),
        matches,
        filters,
        backend_refs: Some(vec![backend]),
        sticky: group.newest(|member| member.policy.sticky.clone().map(Box::new)),
        timeouts: group.newest(|member| member.policy.timeouts.clone().map(Box::new)),
        retry: group.newest(|member| member.policy.retry.clone().map(Box::new)),
        ..Rule::default()
    }
}

fn meta(place: &Place) -> Meta {
    Meta {
        place: place.clone(),
        broken: false,
    }
}
