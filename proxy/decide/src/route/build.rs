//! Building the index: off the data path, so plain code before fast code.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use weir_config::model::{HostPattern, PathMatch, Route};

use super::condition::Conditions;
use super::rank::{MatchRank, prefix_key};
use super::{Entry, HostTable, Lengths, RouteTable, RuleId};

pub(super) fn table(routes: &[Arc<Route>]) -> RouteTable {
    let mut table = RouteTable {
        routes: routes.to_vec(),
        ..RouteTable::default()
    };
    let mut first_rule = Vec::with_capacity(routes.len());
    for (route, at) in routes.iter().zip(0u32..) {
        first_rule.push(table.rules.len());
        table
            .rules
            .extend((0u32..).take(route.rules.len()).map(|rule| (at, rule)));
    }
    let prepared: Vec<_> = routes
        .iter()
        .zip(0u32..)
        .zip(first_rule)
        .map(|((route, at), first)| prepare(route, at, first))
        .collect();

    let mut shared: FxHashMap<Vec<usize>, u32> = FxHashMap::default();
    for (host, members) in members_by_host(routes) {
        let tables = &mut table.tables;
        let at = *shared.entry(members).or_insert_with_key(|members| {
            tables.push(host_table(routes, &prepared, members));
            index(tables.len() - 1)
        });
        match host {
            None => table.any_host = Some(at),
            Some(HostPattern::Exact(name)) => {
                table.exact_hosts.insert(name.as_bytes().into(), at);
            }
            Some(HostPattern::Wildcard(suffix)) => {
                table.wildcard_lengths.insert(suffix.len());
                table.wildcards.insert(suffix.as_bytes().into(), at);
            }
        }
    }
    table
}

/// Positions fit 32 bits: a table of four billion rules would not fit the memory of any machine.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Which routes speak for which hostname; `None` is every host.
fn members_by_host(routes: &[Arc<Route>]) -> BTreeMap<Option<&HostPattern>, Vec<usize>> {
    let mut hosts: BTreeMap<Option<&HostPattern>, Vec<usize>> = BTreeMap::new();
    for (at, route) in routes.iter().enumerate() {
        if route.hostnames.is_empty() {
            hosts.entry(None).or_default().push(at);
        }
        for host in &route.hostnames {
            let members = hosts.entry(Some(host)).or_default();
            if members.last() != Some(&at) {
                members.push(at);
            }
        }
    }
    hosts
}

/// The entries of one route, made once and shared by all its hosts.
fn prepare(route: &Route, at: u32, first_rule: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (rule_at, rule) in route.rules.iter().enumerate() {
        for (match_at, conditions) in rule.matches.iter().enumerate() {
            entries.push(Entry {
                id: RuleId(index(first_rule + rule_at)),
                route: at,
                rule: index(rule_at),
                matched: index(match_at),
                conditions: Conditions::new(conditions).map(Arc::new),
            });
        }
    }
    entries
}

fn host_table(routes: &[Arc<Route>], prepared: &[Vec<Entry>], members: &[usize]) -> HostTable {
    let mut ranked: Vec<_> = members
        .iter()
        .flat_map(|&at| prepared[at].iter().map(move |entry| (&*routes[at], entry)))
        .map(|(route, entry)| {
            let (rule, matched) = (entry.rule as usize, entry.matched as usize);
            let conditions = &route.rules[rule].matches[matched];
            (
                MatchRank::new(route, rule, matched, conditions),
                &conditions.path,
                entry,
            )
        })
        .collect();
    ranked.sort_by(|a, b| a.0.cmp(&b.0));

    let mut exact: FxHashMap<Box<[u8]>, Vec<Entry>> = FxHashMap::default();
    let mut prefixes: FxHashMap<Box<[u8]>, Vec<Entry>> = FxHashMap::default();
    let mut prefix_lengths = Lengths::default();
    let (mut root, mut regexes) = (Vec::new(), Vec::new());
    for (_, path, entry) in ranked {
        let entry = entry.clone();
        match path {
            PathMatch::Exact(path) => exact.entry(path.as_bytes().into()).or_default().push(entry),
            PathMatch::Prefix(prefix) => match prefix_key(prefix) {
                "" => root.push(entry),
                key => {
                    prefix_lengths.insert(key.len());
                    prefixes
                        .entry(key.as_bytes().into())
                        .or_default()
                        .push(entry);
                }
            },
            PathMatch::Regex(regex) => regexes.push((regex.clone(), entry)),
        }
    }
    let boxed = |map: FxHashMap<Box<[u8]>, Vec<Entry>>| {
        map.into_iter()
            .map(|(key, list)| (key, list.into()))
            .collect()
    };
    HostTable {
        exact: boxed(exact),
        prefixes: boxed(prefixes),
        prefix_lengths,
        root: root.into(),
        regexes: regexes.into(),
    }
}
