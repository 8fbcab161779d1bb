//! Which rule answers a request, by the precedence of the Gateway API.
//!
//! A [`RouteTable`] is built once per listener and configuration, and only read afterwards. A look-up
//! goes from the most specific host to the least: the exact host (one hash), the wildcards that fit,
//! longest first (one hash per label, and only where some wildcard has that length), then the routes
//! for every host. Under each it goes from the exact path (one hash) over the prefixes, longest first
//! (one hash per segment, and only where some prefix has that length), to the regular expressions in
//! turn. Neither the number of hosts nor that of prefixes enters the cost.
//!
//! When no rule under the most specific host matches, the rules of less specific hosts are asked. The
//! Gateway API gives *precedence* to the rules of the more specific hostname (`HTTPRouteSpec.hostnames`)
//! and reserves 404 for a request that no attached rule matches (`HTTPRouteRule.matches`); it does not
//! hide the others.

use std::sync::Arc;

use memchr::memrchr;
use rustc_hash::FxHashMap;
use weir_config::model::{Listener, Model, Route, Rule};

mod build;
mod condition;
mod explain;
mod query;
mod rank;

pub use condition::Headers;
pub use explain::{Outcome, Tried};
pub use query::value as query_value;
pub use rank::MatchRank;

use condition::Conditions;

/// The rules of one listener, indexed.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    /// Route and rule by [`RuleId`].
    rules: Vec<(u32, u32)>,
    exact_hosts: FxHashMap<Box<[u8]>, u32>,
    /// Keyed with the leading dot: `.example.com`.
    wildcards: FxHashMap<Box<[u8]>, u32>,
    wildcard_lengths: Lengths,
    any_host: Option<u32>,
    /// Shared by the hosts that have the same routes: a route with a thousand hostnames is indexed once.
    tables: Vec<HostTable>,
}

/// What a look-up reads of a request.
#[derive(Debug)]
pub struct Request<'r, H: ?Sized> {
    /// Lower case, without port; empty when the request names none.
    pub host: &'r str,
    /// As [`crate::path::canonicalize`] returns it.
    pub path: &'r str,
    /// What follows `?`, as it arrived; read as text only where a rule that fits so far asks for a parameter.
    pub query: Option<&'r [u8]>,
    pub method: &'r str,
    /// Asked only where a rule that fits so far has header conditions.
    pub headers: &'r H,
}

impl<'r, H: ?Sized> Request<'r, H> {
    /// The query as text; none where it is not UTF-8.
    fn query_text(&self) -> Option<&'r str> {
        self.query.and_then(|query| std::str::from_utf8(query).ok())
    }
}

/// Numbers the rules of one table from 0 without gaps, in the order of the routes and their rules, so
/// that a caller can keep what it knows of each rule in a plain vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

impl RuleId {
    /// The number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The rule that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub id: RuleId,
    /// Index of the route in [`RouteTable::routes`].
    pub route: usize,
    /// Index of the rule in its route.
    pub rule: usize,
    /// Index of the match that held, in its rule.
    pub matched: usize,
    /// How many bytes of the path the match covers, without a final slash: 4 for the prefix `/api`, 0
    /// for `/`, the whole path for an exact match or a regular expression. What follows is either
    /// empty or starts with a slash, so a prefix is replaced by writing the new one in its place.
    pub prefix_len: usize,
}

impl RouteTable {
    /// Indexes routes that the caller has already narrowed to one listener.
    #[must_use]
    pub fn new(routes: &[Arc<Route>]) -> Self {
        build::table(routes)
    }

    /// Indexes the routes of `model` that name this listener, or none.
    #[must_use]
    pub fn for_listener(model: &Model, listener: &Listener) -> Self {
        let routes: Vec<_> = Self::of_listener(model, listener).cloned().collect();
        Self::new(&routes)
    }

    /// The routes of `model` that name this listener, or none.
    pub fn of_listener<'m>(
        model: &'m Model,
        listener: &'m Listener,
    ) -> impl Iterator<Item = &'m Arc<Route>> {
        let serves = |route: &&Arc<Route>| {
            route.listeners.is_empty() || route.listeners.contains(&listener.name)
        };
        model.routes.iter().filter(serves)
    }

    /// The routes, in the order they were given.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// How many rules there are; [`RuleId`]s are below this.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules in the order of their ids.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &Arc<Route>, &Rule)> {
        let numbered = (0u32..).zip(&self.rules);
        numbered.map(|(id, &(route, rule))| {
            let route = &self.routes[route as usize];
            (RuleId(id), route, &route.rules[rule as usize])
        })
    }

    /// The rule that answers this request; `None` is a 404.
    #[inline]
    pub fn find<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Option<Found> {
        let host = without_final_dot(request.host.as_bytes());
        if let Some(&table) = self.exact_hosts.get(host)
            && let Some(found) = self.tables[table as usize].find(request)
        {
            return Some(found);
        }
        if !self.wildcards.is_empty()
            && let Some(found) = self.find_by_wildcard(host, request)
        {
            return Some(found);
        }
        self.tables[self.any_host? as usize].find(request)
    }

    fn find_by_wildcard<H: Headers + ?Sized>(
        &self,
        host: &[u8],
        request: &Request<'_, H>,
    ) -> Option<Found> {
        // From the left: the longest suffix comes first. A star stands for at least one character.
        for dot in memchr::memchr_iter(b'.', host).filter(|&dot| dot > 0) {
            let suffix = &host[dot..];
            if self.wildcard_lengths.contains(suffix.len())
                && let Some(&table) = self.wildcards.get(suffix)
                && let Some(found) = self.tables[table as usize].find(request)
            {
                return Some(found);
            }
        }
        None
    }
}

/// `shop.example.com.` and `shop.example.com` are one name; patterns are held without the dot.
fn without_final_dot(host: &[u8]) -> &[u8] {
    host.strip_suffix(b".").unwrap_or(host)
}

/// The matches under one set of hosts.
#[derive(Debug, Default)]
struct HostTable {
    exact: FxHashMap<Box<[u8]>, Box<[Entry]>>,
    /// Keyed without a final slash. The prefix `/` is in `root`.
    prefixes: FxHashMap<Box<[u8]>, Box<[Entry]>>,
    prefix_lengths: Lengths,
    root: Box<[Entry]>,
    regexes: Box<[(regex::Regex, Entry)]>,
}

impl HostTable {
    #[inline]
    fn find<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Option<Found> {
        let path = request.path.as_bytes();
        if !self.exact.is_empty()
            && let Some(entries) = self.exact.get(path)
            && let Some(found) = first(entries, request, path.len())
        {
            return Some(found);
        }
        if !self.prefixes.is_empty()
            && let Some(found) = self.find_by_prefix(path, request)
        {
            return Some(found);
        }
        first(&self.root, request, 0).or_else(|| self.find_by_regex(request))
    }

    /// Walks the segment boundaries from the right: `/a/b/c`, `/a/b`, `/a`.
    fn find_by_prefix<H: Headers + ?Sized>(
        &self,
        path: &[u8],
        request: &Request<'_, H>,
    ) -> Option<Found> {
        let longest = self.prefix_lengths.longest();
        let mut end = path.strip_suffix(b"/").unwrap_or(path).len();
        if end > longest {
            // The byte after a prefix is a slash, so nothing right of `longest` matters.
            end = memrchr(b'/', &path[..=longest])?;
        }
        while end > 0 {
            if self.prefix_lengths.contains(end)
                && let Some(entries) = self.prefixes.get(&path[..end])
                && let Some(found) = first(entries, request, end)
            {
                return Some(found);
            }
            end = memrchr(b'/', &path[..end])?;
        }
        None
    }

    fn find_by_regex<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Option<Found> {
        let mut fitting = self
            .regexes
            .iter()
            .filter(|(regex, entry)| entry.holds(request) && regex.is_match(request.path));
        fitting
            .next()
            .map(|(_, entry)| entry.found(request.path.len()))
    }
}

/// The first entry whose conditions hold; entries with the same path are in order of precedence.
#[inline]
fn first<H: Headers + ?Sized>(
    entries: &[Entry],
    request: &Request<'_, H>,
    prefix_len: usize,
) -> Option<Found> {
    entries
        .iter()
        .find(|entry| entry.holds(request))
        .map(|entry| entry.found(prefix_len))
}

/// One match of one rule, its host and path already taken care of.
#[derive(Debug, Clone)]
struct Entry {
    id: RuleId,
    route: u32,
    rule: u32,
    matched: u32,
    /// `None`: host and path decide alone, which is the common case and touches nothing else.
    conditions: Option<Arc<Conditions>>,
}

impl Entry {
    #[inline]
    fn holds<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> bool {
        self.conditions
            .as_ref()
            .is_none_or(|conditions| conditions.first_failure(request).is_none())
    }

    fn found(&self, prefix_len: usize) -> Found {
        Found {
            id: self.id,
            route: self.route as usize,
            rule: self.rule as usize,
            matched: self.matched as usize,
            prefix_len,
        }
    }
}

/// The lengths that occur among some keys: a bit each, so that a hash is computed only where it can hit.
#[derive(Debug, Default)]
struct Lengths(Vec<u64>);

impl Lengths {
    fn insert(&mut self, length: usize) {
        let word = length / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (length % 64);
    }

    #[inline]
    fn contains(&self, length: usize) -> bool {
        self.0
            .get(length / 64)
            .is_some_and(|word| word & (1 << (length % 64)) != 0)
    }

    /// The longest, 0 when there is none. The last word is never zero.
    fn longest(&self) -> usize {
        self.0
            .last()
            .map_or(0, |word| (self.0.len() - 1) * 64 + word.ilog2() as usize)
    }
}
