//! Random tables and requests: the index must answer as a reader of the specification would, who asks
//! every rule and keeps the one that comes first.

use std::sync::Arc;

use proptest::prelude::*;
use weir_config::model::{HostPattern, Match, PathMatch, Route, ValueMatch};
use weir_decide::route::{Outcome, Request, RouteTable};

use super::build::{exact, header, method, pattern, prefix, query, route, rule};

const HOSTS: [&str; 8] = [
    "a.com",
    "x.a.com",
    "y.x.a.com",
    "*.a.com",
    "*.x.a.com",
    "*.com",
    "b.com",
    "*.b.com",
];
const PATHS: [&str; 9] = [
    "/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/a/", "/a/b/", "/c/d/e/f",
];

#[derive(Debug, Clone)]
struct Asked {
    host: String,
    path: String,
    query: Option<String>,
    method: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

fn a_match() -> impl Strategy<Value = Match> {
    let path = prop_oneof![
        4 => prop::sample::select(&["/", "/a", "/a/b", "/a/b/c", "/ab", "/b", "/c/d"][..]).prop_map(prefix),
        2 => prop::sample::select(&PATHS[..]).prop_map(exact),
        1 => prop::sample::select(&["/a.*", "/[abc]/b", "/", "/.*/d/.*"][..]).prop_map(pattern),
    ];
    let extras = (
        prop::option::weighted(0.2, prop::sample::select(&["GET", "PUT"][..])),
        prop::collection::vec(
            (
                prop::sample::select(&["x-a", "x-b"][..]),
                prop::sample::select(&["1", "2"][..]),
            ),
            0..2,
        ),
        prop::collection::vec(
            (
                prop::sample::select(&["q", "r"][..]),
                prop::sample::select(&["1", "2"][..]),
            ),
            0..2,
        ),
        any::<bool>(),
    );
    (path, extras).prop_map(|(mut found, (verb, headers, queries, plain))| {
        if plain {
            return found;
        }
        if let Some(verb) = verb {
            found = method(found, verb);
        }
        found = headers
            .into_iter()
            .fold(found, |to, (name, value)| header(to, name, value));
        queries
            .into_iter()
            .fold(found, |to, (name, value)| query(to, name, value))
    })
}

fn a_table() -> impl Strategy<Value = Vec<Arc<Route>>> {
    let rules = prop::collection::vec(prop::collection::vec(a_match(), 1..3).prop_map(rule), 1..4);
    let one = (
        prop::collection::vec(prop::sample::select(&HOSTS[..]), 0..3),
        0u64..3,
        rules,
    );
    prop::collection::vec(one, 0..12).prop_map(|routes| {
        let named = routes.into_iter().enumerate();
        named
            .map(|(at, (hosts, age, rules))| {
                route(&format!("r{}", (at * 7) % 12), age, &hosts, rules)
            })
            .collect()
    })
}

fn a_request() -> impl Strategy<Value = Asked> {
    let host = prop::sample::select(
        &[
            "a.com",
            "x.a.com",
            "y.x.a.com",
            "z.y.x.a.com",
            "b.com",
            "c.b.com",
            "org",
            "",
        ][..],
    );
    let path = prop_oneof![
        prop::sample::select(&PATHS[..]).prop_map(str::to_owned),
        "/[abcd/]{0,6}".prop_map(merged)
    ];
    let query = prop::option::of("[qr]=[12](&[qr]=[12])?");
    let method = prop::sample::select(&["GET", "PUT", "POST"][..]);
    let headers = prop::collection::vec(
        (
            prop::sample::select(&["X-A", "x-b"][..]),
            prop::sample::select(&["1", "2"][..]),
        ),
        0..3,
    );
    (host, path, query, method, headers).prop_map(|(host, path, query, method, headers)| Asked {
        host: host.to_owned(),
        path,
        query,
        method,
        headers,
    })
}

fn merged(mut path: String) -> String {
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    path
}

/// Where a match stands in the order; the smallest answers.
type Place<'r> = (
    u8,
    i64,
    u8,
    i64,
    bool,
    i64,
    i64,
    u64,
    &'r str,
    usize,
    usize,
    usize,
);

fn reference(routes: &[Arc<Route>], asked: &Asked) -> Option<(usize, usize, usize)> {
    let mut places: Vec<Place<'_>> = Vec::new();
    for (route_at, route) in routes.iter().enumerate() {
        let hosts = route.hostnames.iter().filter_map(|pattern| match pattern {
            HostPattern::Exact(name) => (**name == asked.host).then_some((0, 0)),
            HostPattern::Wildcard(suffix) => {
                let before = asked.host.strip_suffix(&**suffix)?;
                (!before.is_empty()).then_some((1, -(suffix.len() as i64)))
            }
        });
        let hosts = hosts.chain(route.hostnames.is_empty().then_some((2, 0)));
        for (host, wild) in hosts {
            for (rule_at, rule) in route.rules.iter().enumerate() {
                for (match_at, wanted) in rule.matches.iter().enumerate() {
                    let Some((kind, length)) = path_place(&wanted.path, &asked.path) else {
                        continue;
                    };
                    if !rest_holds(wanted, asked) {
                        continue;
                    }
                    let (headers, query) =
                        (-(wanted.headers.len() as i64), -(wanted.query.len() as i64));
                    let name = route.name.as_str();
                    let no_method = wanted.method.is_none();
                    places.push((
                        host, wild, kind, length, no_method, headers, query, route.age, name,
                        rule_at, match_at, route_at,
                    ));
                }
            }
        }
    }
    places
        .into_iter()
        .min()
        .map(|place| (place.11, place.9, place.10))
}

fn path_place(wanted: &PathMatch, path: &str) -> Option<(u8, i64)> {
    match wanted {
        PathMatch::Exact(want) => (**want == *path).then_some((0, 0)),
        PathMatch::Prefix(want) => {
            let whole = |text: &str| {
                text.split('/')
                    .filter(|s| !s.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            whole(path)
                .starts_with(&whole(want))
                .then_some((1, -(want.len() as i64)))
        }
        PathMatch::Regex(regex) => regex.is_match(path).then_some((2, 0)),
    }
}

fn rest_holds(wanted: &Match, asked: &Asked) -> bool {
    let is = |want: &ValueMatch, value: Option<String>| match want {
        ValueMatch::Exact(want) => value.as_deref() == Some(&**want),
        ValueMatch::Regex(_) => unreachable!("not generated"),
    };
    let header = |name: &str| {
        let values: Vec<_> = asked
            .headers
            .iter()
            .filter(|h| h.0.eq_ignore_ascii_case(name))
            .map(|h| h.1)
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    };
    let parameter = |name: &str| {
        let pairs = asked.query.as_deref()?.split('&');
        pairs
            .filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
            .next()
    };
    wanted
        .method
        .as_deref()
        .is_none_or(|method| method == asked.method)
        && wanted
            .headers
            .iter()
            .all(|(name, want)| is(want, header(name)))
        && wanted
            .query
            .iter()
            .all(|(name, want)| is(want, parameter(name)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_answers_as_the_reference_does(
        routes in a_table(),
        requests in prop::collection::vec(a_request(), 1..20),
    ) {
        // semantics 29
        let table = RouteTable::new(&routes);
        for asked in &requests {
            let request = Request {
                host: &asked.host,
                path: &asked.path,
                query: asked.query.as_deref().map(str::as_bytes),
                method: asked.method,
                headers: asked.headers.as_slice(),
            };
            let found = table.find(&request);
            let indices = found.map(|found| (found.route, found.rule, found.matched));
            prop_assert_eq!(indices, reference(&routes, asked), "{:?}", asked);

            let tried = table.explain(&request);
            let explained = tried.iter().find(|tried| tried.outcome == Outcome::Matched);
            prop_assert_eq!(explained.map(|tried| (tried.route, tried.rule, tried.matched)), indices);
            let places: usize = routes.iter().flat_map(|route| &route.rules).map(|rule| rule.matches.len()).sum();
            prop_assert_eq!(tried.len(), places);

            if let Some(found) = found {
                let (id, route, rule) = table.rules().nth(found.id.index()).unwrap();
                prop_assert_eq!(id, found.id);
                prop_assert!(Arc::ptr_eq(route, &routes[found.route]));
                prop_assert_eq!(rule, &routes[found.route].rules[found.rule]);
            }
        }
    }
}
