//! Hosts of virtual hosts, and what a foreign configuration makes of them that Weir's rules do not.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_config::model::{Filter, HostPattern, Match, PathMatch, RouteName, Rule};

use super::Found;
use crate::names;
use crate::refusal::{Refusal, Within as _};

/// The hosts of these domains; none for every host.
pub(super) fn patterns(domains: &[String]) -> Result<Vec<HostPattern>, Refusal> {
    if domains.is_empty() {
        return Err(Refusal::missing("domains"));
    }
    let mut patterns = Vec::new();
    let mut every = false;
    for (index, domain) in domains.iter().enumerate() {
        if without_port(domain).is_some_and(|host| domains.iter().any(|other| other == host)) {
            // The same host, said with a port for those who look at it.
            continue;
        }
        let pattern = HostPattern::parse(domain)
            .map_err(|error| Refusal::new(format!("is refused: {error}")));
        match pattern.at("domains", index)? {
            None => every = true,
            Some(pattern) => patterns.push(pattern),
        }
    }
    Ok(if every { Vec::new() } else { patterns })
}

fn without_port(domain: &str) -> Option<&str> {
    let (host, port) = domain.rsplit_once(':')?;
    port.parse::<u16>().is_ok().then_some(host)
}

/// Makes the routes of a foreign configuration do what they do there: their names are told apart from those of other
/// configurations, and where a host's own routes have no answer nobody else's are asked.
pub(super) fn finish(configuration: &str, found: &mut [Found]) -> Result<(), Refusal> {
    alone(found)?;
    let foreign = found.iter().filter(|found| !found.noted);
    // Those that others could fall back on.
    let wide = foreign.filter(|found| {
        found
            .route
            .hostnames
            .iter()
            .all(|host| matches!(host, HostPattern::Wildcard(_)))
    });
    let wide = wide.count();
    for (index, found) in found
        .iter_mut()
        .enumerate()
        .filter(|(_, found)| !found.noted)
    {
        let name = names::route(&format!("{configuration}/{}", found.route.name));
        let name: RouteName = name.within("name").at("virtual_hosts", index)?;
        found.route.name = name;
        let others = match found
            .route
            .hostnames
            .iter()
            .any(|host| matches!(host, HostPattern::Exact(_)))
        {
            true => wide,
            false => wide.saturating_sub(1),
        };
        let answers_all = found
            .route
            .rules
            .iter()
            .any(|rule| rule.matches.iter().any(is_every));
        if others > 0 && !found.route.hostnames.is_empty() && !answers_all {
            found.route.rules.push(nothing_here());
        }
    }
    Ok(())
}

/// No host may have two virtual hosts: Envoy takes none of such a configuration.
fn alone(found: &[Found]) -> Result<(), Refusal> {
    let mut taken: BTreeSet<Option<&HostPattern>> = BTreeSet::new();
    for (index, found) in found.iter().enumerate().filter(|(_, found)| !found.noted) {
        let hosts = &found.route.hostnames;
        let every = hosts.is_empty().then_some(None);
        for host in hosts.iter().map(Some).chain(every) {
            if !taken.insert(host) {
                let text = host.map_or_else(|| "*".to_owned(), HostPattern::text);
                let why = format!("holds {text:?}, which an earlier virtual host has");
                return Err(Refusal::new(why).within("domains")).at("virtual_hosts", index);
            }
        }
    }
    Ok(())
}

fn is_every(conditions: &Match) -> bool {
    let all = matches!(&conditions.path, PathMatch::Prefix(prefix) if &**prefix == "/");
    all && conditions.headers.is_empty()
        && conditions.query.is_empty()
        && conditions.method.is_none()
}

fn nothing_here() -> Rule {
    let mut rule = Rule::every(Vec::new());
    rule.filters.push(Filter::DirectResponse {
        status: 404,
        body: Arc::from(""),
        content_type: Arc::from("text/plain"),
    });
    rule
}
