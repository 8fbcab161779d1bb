//! In which order routes are tried.
//!
//! Envoy takes the virtual host of the most specific domain, and in it the first route that fits. Weir takes the most specific
//! host, path and conditions, and falls back on less specific hosts ([`weir_decide::route`]). For an Envoy the routes are
//! written in Weir's order; of a foreign control plane only those are taken that are in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::{Route as WireRoute, VirtualHost};
use weir_config::model::{HostPattern, Match, PathMatch, Route, Rule, ValueMatch};
use weir_decide::route::MatchRank;

use super::{Context, encode_match};
use crate::refusal::{Refusal, Within as _};

/// Most routes of one virtual host of which a foreign order is looked into; beyond, it must be Weir's as it is.
const MAX_COMPARED: usize = 2_000;

/// One match of one rule of one route.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    route: usize,
    rule: usize,
    matched: usize,
}

/// The virtual hosts that do for an Envoy what these routes do here. `limited` tells whether a rule's limit of rate may be
/// written.
pub(crate) fn virtual_hosts(
    routes: &[&Arc<Route>],
    context: &Context<'_>,
    limited: &dyn Fn(&Route, &Rule) -> bool,
) -> Vec<VirtualHost> {
    let hosts: BTreeSet<Option<&HostPattern>> = routes
        .iter()
        .flat_map(|route| match route.hostnames.is_empty() {
            true => vec![None],
            false => route.hostnames.iter().map(Some).collect(),
        })
        .collect();
    // Hosts with the same routes share a virtual host.
    let mut shared: BTreeMap<Vec<At>, Vec<String>> = BTreeMap::new();
    for host in hosts {
        let domain = host.map_or_else(|| "*".to_owned(), HostPattern::text);
        shared.entry(tried(routes, host)).or_default().push(domain);
    }
    let mut out: Vec<VirtualHost> = shared
        .into_iter()
        .map(|(tried, domains)| VirtualHost {
            name: domains.first().cloned().unwrap_or_default(),
            domains,
            routes: tried
                .iter()
                .filter_map(|at| written(routes, *at, context, limited))
                .collect(),
            ..VirtualHost::default()
        })
        .collect();
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

fn written(
    routes: &[&Arc<Route>],
    at: At,
    context: &Context<'_>,
    limited: &dyn Fn(&Route, &Rule) -> bool,
) -> Option<WireRoute> {
    let route = routes.get(at.route)?;
    let rule = route.rules.get(at.rule)?;
    let conditions = rule.matches.get(at.matched)?;
    let name = format!("{}#{}.{}", route.name, at.rule, at.matched);
    Some(encode_match(
        rule,
        conditions,
        name,
        context,
        limited(route, rule),
    ))
}

/// Everything that is tried for a host, in its order: its own routes, those of wider hosts, those for every host.
fn tried(routes: &[&Arc<Route>], host: Option<&HostPattern>) -> Vec<At> {
    let mut tiers: Vec<Option<&HostPattern>> = Vec::new();
    if let Some(host) = host {
        tiers.push(Some(host));
        let mut wider: Vec<&HostPattern> = routes
            .iter()
            .flat_map(|route| &route.hostnames)
            .filter(|other| *other != host && covers(other, host))
            .collect();
        wider.sort_by_key(|pattern| std::cmp::Reverse(pattern.text().len()));
        wider.dedup();
        tiers.extend(wider.into_iter().map(Some));
    }
    tiers.push(None);
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for tier in tiers {
        out.extend(
            ranked(routes, tier)
                .into_iter()
                .filter(|at| seen.insert(*at)),
        );
    }
    out
}

fn covers(wide: &HostPattern, narrow: &HostPattern) -> bool {
    let HostPattern::Wildcard(suffix) = wide else {
        return false;
    };
    let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = narrow;
    name.len() > suffix.len() && name.ends_with(&**suffix)
}

/// The matches of the routes that speak for a host, by their precedence.
fn ranked(routes: &[&Arc<Route>], host: Option<&HostPattern>) -> Vec<At> {
    let speaks = |route: &Route| match host {
        None => route.hostnames.is_empty(),
        Some(host) => route.hostnames.contains(host),
    };
    let mut all = Vec::new();
    for (index, route) in routes.iter().enumerate().filter(|(_, route)| speaks(route)) {
        for (rule, matched, conditions) in matches(route) {
            let rank = MatchRank::new(route, rule, matched, conditions);
            all.push((
                rank,
                At {
                    route: index,
                    rule,
                    matched,
                },
            ));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.into_iter().map(|(_, at)| at).collect()
}

fn matches(route: &Route) -> impl Iterator<Item = (usize, usize, &Match)> {
    route.rules.iter().enumerate().flat_map(|(at, rule)| {
        let numbered = rule.matches.iter().enumerate();
        numbered.map(move |(which, conditions)| (at, which, conditions))
    })
}

/// Whether Weir would try the rules in the order in which they are written, as far as it makes a difference.
pub(super) fn as_written(route: &Route) -> Result<(), Refusal> {
    let all: Vec<(MatchRank<'_>, &Match)> = matches(route)
        .map(|(rule, which, conditions)| {
            (MatchRank::new(route, rule, which, conditions), conditions)
        })
        .collect();
    if all.is_sorted_by(|a, b| a.0 <= b.0) {
        return Ok(());
    }
    if all.len() > MAX_COMPARED {
        let why = format!(
            "are more than {MAX_COMPARED} and not in the order of precedence; put the most specific first"
        );
        return Err(Refusal::new(why).within("routes"));
    }
    for (later, (rank, conditions)) in all.iter().enumerate() {
        let before = all.iter().take(later).enumerate();
        let overtaken = before.filter(|(_, (other, _))| rank < other);
        for (earlier, (_, other)) in overtaken {
            if !disjoint(conditions, other) {
                let why = format!(
                    "would be tried before routes[{earlier}], for it is more specific: put it in front of that, or make \
                     them match different requests"
                );
                return Err(Refusal::new(why)).at("routes", later);
            }
        }
    }
    Ok(())
}

/// Whether no request fits both, as far as can be told.
fn disjoint(a: &Match, b: &Match) -> bool {
    let methods = matches!((&a.method, &b.method), (Some(a), Some(b)) if a != b);
    methods
        || paths(&a.path, &b.path)
        || values(&a.headers, &b.headers)
        || values(&a.query, &b.query)
}

fn paths(a: &PathMatch, b: &PathMatch) -> bool {
    let inside = |path: &str, prefix: &str| {
        prefix == "/"
            || path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match (a, b) {
        (PathMatch::Exact(a), PathMatch::Exact(b)) => a != b,
        (PathMatch::Exact(path), PathMatch::Prefix(prefix))
        | (PathMatch::Prefix(prefix), PathMatch::Exact(path)) => !inside(path, prefix),
        (PathMatch::Prefix(a), PathMatch::Prefix(b)) => !inside(a, b) && !inside(b, a),
        (PathMatch::Exact(path), PathMatch::Regex(regex))
        | (PathMatch::Regex(regex), PathMatch::Exact(path)) => !regex.is_match(path),
        (PathMatch::Regex(_), _) | (_, PathMatch::Regex(_)) => false,
    }
}

fn values(a: &[(Arc<str>, ValueMatch)], b: &[(Arc<str>, ValueMatch)]) -> bool {
    a.iter().any(|(name, value)| {
        let same = b.iter().filter(|(other, _)| other == name);
        same.into_iter().any(|(_, other)| match (value, other) {
            (ValueMatch::Exact(a), ValueMatch::Exact(b)) => a != b,
            (ValueMatch::Exact(text), ValueMatch::Regex(regex))
            | (ValueMatch::Regex(regex), ValueMatch::Exact(text)) => !regex.is_match(text),
            (ValueMatch::Regex(_), ValueMatch::Regex(_)) => false,
        })
    })
}
