//! Precedence, one rule of it at a time.

use std::cell::Cell;
use std::sync::Arc;

use weir_config::model::Route;
use weir_decide::route::{Headers, Outcome, Request, RouteTable};

use super::build::{exact, header, method, pattern, prefix, query, route, rule};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// `METHOD host/path?query` against some routes; the names of those that answer, in the order found.
fn check(routes: &[Arc<Route>], target: &str, headers: Fields<'_>, expected: &str) {
    for backwards in [false, true] {
        let mut routes = routes.to_vec();
        if backwards {
            routes.reverse();
        }
        let table = RouteTable::new(&routes);
        let (method, rest) = target.split_once(' ').unwrap();
        let at = rest.find('/').unwrap();
        let (path, query) = rest[at..]
            .split_once('?')
            .map_or((&rest[at..], None), |(path, query)| (path, Some(query)));
        let request = Request {
            host: &rest[..at],
            path,
            query: query.map(str::as_bytes),
            method,
            headers,
        };
        let found = table
            .find(&request)
            .map_or("404", |found| table.routes()[found.route].name.as_str());
        assert_eq!(found, expected, "{target} with {headers:?}");
    }
}

#[test]
fn an_exact_host_beats_the_longest_wildcard_which_beats_any() {
    // semantics 29
    let routes = [
        route("any", 0, &[], vec![rule(vec![exact("/x"), prefix("/any")])]),
        route("wide", 0, &["*.com"], vec![rule(vec![exact("/x")])]),
        route("wild", 0, &["*.example.com"], vec![rule(vec![prefix("/")])]),
        route(
            "exact",
            0,
            &["shop.example.com"],
            vec![rule(vec![prefix("/")])],
        ),
    ];
    check(&routes, "GET shop.example.com/x", &[], "exact");
    check(&routes, "GET shop.example.com./x", &[], "exact");
    check(&routes, "GET other.example.com/x", &[], "wild");
    check(&routes, "GET a.b.example.com/x", &[], "wild");
    check(&routes, "GET example.com/x", &[], "wide");
    check(&routes, "GET .example.com/x", &[], "wide");
    check(&routes, "GET com/x", &[], "any");
    check(&routes, "GET /x", &[], "any");
    check(&routes, "GET example.org/y", &[], "404");
}

#[test]
fn where_no_rule_of_the_most_specific_host_matches_the_next_is_asked() {
    // semantics 29
    let routes = [
        route("any", 0, &[], vec![rule(vec![prefix("/")])]),
        route("wild", 0, &["*.a.com"], vec![rule(vec![prefix("/wild")])]),
        route("exact", 0, &["x.a.com"], vec![rule(vec![prefix("/exact")])]),
    ];
    check(&routes, "GET x.a.com/exact", &[], "exact");
    check(&routes, "GET x.a.com/wild/y", &[], "wild");
    check(&routes, "GET x.a.com/other", &[], "any");
}

#[test]
fn an_exact_path_beats_the_longest_prefix_which_beats_a_pattern() {
    // semantics 29
    let routes = [
        route("exact", 9, &[], vec![rule(vec![exact("/api/v1")])]),
        route("long", 9, &[], vec![rule(vec![prefix("/api/v1")])]),
        route(
            "short",
            0,
            &[],
            vec![rule(vec![method(prefix("/api"), "GET")])],
        ),
        route(
            "pattern",
            0,
            &[],
            vec![rule(vec![pattern("/(api|img)/.*")])],
        ),
    ];
    check(&routes, "GET h/api/v1", &[], "exact");
    check(&routes, "GET h/api/v1/", &[], "long");
    check(&routes, "GET h/api/v1/x", &[], "long");
    check(&routes, "GET h/api/v2", &[], "short");
    check(&routes, "POST h/api/v2", &[], "pattern");
    check(&routes, "GET h/img/x", &[], "pattern");
    check(&routes, "GET h/other", &[], "404");
}

#[test]
fn a_prefix_matches_whole_segments() {
    // semantics 29
    let routes = [route("api", 0, &[], vec![rule(vec![prefix("/api")])])];
    for path in ["/api", "/api/", "/api/x"] {
        check(&routes, &format!("GET h{path}"), &[], "api");
    }
    for path in ["/", "/apix", "/ap", "/x/api"] {
        check(&routes, &format!("GET h{path}"), &[], "404");
    }
}

#[test]
fn method_then_headers_then_query_then_age_then_name_break_ties() {
    // semantics 29
    let routes = [
        route("plain-young", 2, &[], vec![rule(vec![prefix("/")])]),
        route("b-plain-old", 1, &[], vec![rule(vec![prefix("/")])]),
        route("c-plain-old", 1, &[], vec![rule(vec![prefix("/")])]),
        route(
            "query",
            9,
            &[],
            vec![rule(vec![query(prefix("/"), "q", "1")])],
        ),
        route(
            "header",
            9,
            &[],
            vec![rule(vec![header(prefix("/"), "x-a", "1")])],
        ),
        route(
            "headers",
            9,
            &[],
            vec![rule(vec![header(
                header(prefix("/"), "x-a", "1"),
                "x-b",
                "1",
            )])],
        ),
        route(
            "method",
            9,
            &[],
            vec![rule(vec![method(prefix("/"), "PUT")])],
        ),
    ];
    check(&routes, "GET h/", &[], "b-plain-old");
    check(&routes, "GET h/?q=1", &[], "query");
    check(&routes, "GET h/?q=1", &[("X-A", "1")], "header");
    check(
        &routes,
        "GET h/?q=1",
        &[("x-b", "1"), ("x-a", "1")],
        "headers",
    );
    check(
        &routes,
        "PUT h/?q=1",
        &[("x-b", "1"), ("x-a", "1")],
        "method",
    );
    check(&routes, "put h/?q=1", &[], "query");
}

#[test]
fn a_header_match_to_the_canary_beats_the_split_at_any_weight() {
    // semantics 22
    let canary = rule(vec![header(prefix("/"), "x-canary", "always")]);
    let routes = [route(
        "shop",
        0,
        &["shop.test"],
        vec![rule(vec![prefix("/")]), canary],
    )];
    let table = RouteTable::new(&routes);
    let find = |headers: Fields<'_>| {
        table
            .find(&Request {
                host: "shop.test",
                path: "/",
                query: None,
                method: "GET",
                headers,
            })
            .unwrap()
    };
    assert_eq!(find(&[("X-Canary", "always")]).rule, 1);
    assert_eq!(find(&[("X-Canary", "never")]).rule, 0);
    assert_eq!(find(&[]).rule, 0);
}

#[test]
fn the_first_rule_and_the_first_match_win_within_a_route() {
    // semantics 29
    let routes = [
        route(
            "a",
            0,
            &[],
            vec![
                rule(vec![exact("/y")]),
                rule(vec![prefix("/"), prefix("/")]),
            ],
        ),
        route("b", 0, &[], vec![rule(vec![prefix("/")])]),
    ];
    let table = RouteTable::new(&routes);
    let found = table
        .find(&Request {
            host: "h",
            path: "/x",
            query: None,
            method: "GET",
            headers: &(),
        })
        .unwrap();
    assert_eq!(
        (found.route, found.rule, found.matched, found.id.index()),
        (0, 1, 0, 1)
    );
}

#[test]
fn the_length_of_the_prefix_is_what_a_rewrite_replaces() {
    let routes = [route(
        "r",
        0,
        &[],
        vec![rule(vec![prefix("/"), prefix("/api"), exact("/api/me")])],
    )];
    let table = RouteTable::new(&routes);
    for (path, rest) in [
        ("/x", "/x"),
        ("/api", ""),
        ("/api/", "/"),
        ("/api/x", "/x"),
        ("/api/me", ""),
    ] {
        let found = table
            .find(&Request {
                host: "",
                path,
                query: None,
                method: "GET",
                headers: &(),
            })
            .unwrap();
        assert_eq!(&path[found.prefix_len..], rest, "{path}");
    }
}

#[test]
fn headers_are_not_read_where_no_rule_that_fits_asks_for_them() {
    struct Counting(Cell<usize>);
    impl Headers for Counting {
        fn values<'a>(&'a self, _: &'a str) -> impl Iterator<Item = &'a [u8]> {
            self.0.set(self.0.get() + 1);
            std::iter::empty()
        }
    }
    let routes = [
        route("a", 0, &["a.test"], vec![rule(vec![prefix("/")])]),
        route(
            "b",
            0,
            &["b.test"],
            vec![
                rule(vec![header(prefix("/"), "x-a", "1")]),
                rule(vec![prefix("/x")]),
            ],
        ),
    ];
    let table = RouteTable::new(&routes);
    for (host, path, reads) in [
        ("a.test", "/", 0),
        ("b.test", "/x/y", 0),
        ("b.test", "/", 1),
    ] {
        let headers = Counting(Cell::new(0));
        let _ = table.find(&Request {
            host,
            path,
            query: None,
            method: "GET",
            headers: &headers,
        });
        assert_eq!(headers.0.get(), reads, "{host}{path}");
    }
}

#[test]
fn an_explanation_says_why_each_rule_did_not_answer() {
    let routes = [
        route("a", 0, &["*.a.com"], vec![rule(vec![prefix("/")])]),
        route(
            "canary",
            0,
            &[],
            vec![rule(vec![header(prefix("/api"), "x-canary", "always")])],
        ),
        route(
            "put",
            0,
            &[],
            vec![rule(vec![method(prefix("/api"), "PUT")])],
        ),
        route(
            "query",
            0,
            &[],
            vec![rule(vec![query(exact("/apix"), "v", "2")])],
        ),
        route(
            "root",
            0,
            &[],
            vec![rule(vec![prefix("/")]), rule(vec![prefix("/api")])],
        ),
        route("root2", 1, &[], vec![rule(vec![prefix("/")])]),
    ];
    let table = RouteTable::new(&routes);
    let explain = |query, headers: Fields<'_>| -> Vec<String> {
        let request = Request {
            host: "shop.example.com",
            path: "/apix",
            query,
            method: "GET",
            headers,
        };
        let tried = table.explain(&request);
        tried
            .iter()
            .map(|t| format!("{}: {}", table.routes()[t.route].name, t.outcome))
            .collect()
    };
    assert_eq!(
        explain(Some(b"v=1"), &[]),
        [
            "query: query parameter v is \"1\", not \"2\"",
            "put: path /apix is not under /api",
            "canary: path /apix is not under /api",
            "root: path /apix is not under /api",
            "root: matched",
            "root2: matches too, but a rule of higher precedence answers",
            "a: host shop.example.com does not match *.a.com",
        ]
    );
    assert_eq!(explain(None, &[])[0], "query: query parameter v is absent");

    let request = Request {
        host: "",
        path: "/api",
        query: None,
        method: "GET",
        headers: &(),
    };
    let tried: Vec<_> = table
        .explain(&request)
        .into_iter()
        .map(|t| t.outcome.to_string())
        .collect();
    assert_eq!(tried[0], "path /api is not /apix");
    assert_eq!(tried[1], "method GET is not PUT");
    assert_eq!(tried[2], "header x-canary is absent");
    assert_eq!(tried[3], Outcome::Matched.to_string());
    assert_eq!(tried[6], "the request names no host, wanted *.a.com");
}
