//! The order in which matches are asked, in one place for the index and for explanations.

use std::cmp::Reverse;

use weir_config::model::{HostPattern, Match, PathMatch, Route};

/// How specific a hostname is, the most specific first.
///
/// Gateway API, `HTTPRouteSpec.hostnames`: the most characters in a matching non-wildcard hostname,
/// then the most characters in a matching hostname.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HostRank {
    Exact,
    Wildcard(Reverse<usize>),
    Any,
}

impl HostRank {
    /// The most specific of a route's hostnames that this host matches.
    pub(super) fn best(route: &Route, host: &str) -> Option<Self> {
        if route.hostnames.is_empty() {
            return Some(Self::Any);
        }
        route
            .hostnames
            .iter()
            .filter_map(|pattern| Self::of(pattern, host))
            .min()
    }

    fn of(pattern: &HostPattern, host: &str) -> Option<Self> {
        match pattern {
            HostPattern::Exact(name) => (&**name == host).then_some(Self::Exact),
            HostPattern::Wildcard(suffix) => (host.len() > suffix.len()
                && host.ends_with(&**suffix))
            .then_some(Self::Wildcard(Reverse(suffix.len()))),
        }
    }
}

/// Precedence among the matches under hosts of one rank, the first wins.
///
/// Gateway API, `HTTPRouteRule.matches`: exact path, longest prefix, method, most headers, most query
/// parameters, oldest route, name of the route, order of rules, order of matches. Regular expressions
/// are left to the implementation: here they come after the prefixes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MatchRank<'m> {
    path: PathRank,
    without_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    age: u64,
    name: &'m str,
    rule: usize,
    matched: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Prefix(Reverse<usize>),
    Regex,
}

impl<'m> MatchRank<'m> {
    /// The rank of one match, by its place in its route.
    #[must_use]
    pub fn new(route: &'m Route, rule: usize, matched: usize, conditions: &Match) -> Self {
        let path = match &conditions.path {
            PathMatch::Exact(_) => PathRank::Exact,
            PathMatch::Prefix(prefix) => PathRank::Prefix(Reverse(prefix_key(prefix).len())),
            PathMatch::Regex(_) => PathRank::Regex,
        };
        Self {
            path,
            without_method: conditions.method.is_none(),
            headers: Reverse(conditions.headers.len()),
            query: Reverse(conditions.query.len()),
            age: route.age,
            name: route.name.as_str(),
            rule,
            matched,
        }
    }
}

/// A prefix without its final slash; that of `/` is empty.
pub(super) fn prefix_key(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}
