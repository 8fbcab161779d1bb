//! The table as a whole: size, sharing, listeners.

use std::sync::Arc;

use weir_config::model::{Listener, ListenerName, Model, Protocol};
use weir_decide::route::{Request, RouteTable};

use super::build::{prefix, route, rule};

#[test]
fn ten_thousand_hosts_and_a_thousand_prefixes_are_each_found() {
    let mut routes: Vec<_> = (0..10_000)
        .map(|n| {
            route(
                &format!("r{n}"),
                0,
                &[&format!("h{n}.example.com")],
                vec![rule(vec![prefix("/")])],
            )
        })
        .collect();
    let prefixes = (0..1000).map(|n| {
        rule(vec![prefix(
            &format!("/{}/p{n}", "d/".repeat(n % 40)).replace("//", "/"),
        )])
    });
    routes.push(route(
        "prefixes",
        0,
        &["many.example.com"],
        prefixes.collect(),
    ));
    let table = RouteTable::new(&routes);
    assert_eq!(table.len(), 11_000);

    let find = |host: &str, path: &str| {
        table
            .find(&Request {
                host,
                path,
                query: None,
                method: "GET",
                headers: &(),
            })
            .map(|found| found.id.index())
    };
    for n in 0..10_000 {
        assert_eq!(find(&format!("h{n}.example.com"), "/x"), Some(n));
    }
    for n in 0..1000 {
        let path = format!("/{}/p{n}/x/y", "d/".repeat(n % 40)).replace("//", "/");
        assert_eq!(find("many.example.com", &path), Some(10_000 + n), "{path}");
    }
    assert_eq!(find("many.example.com", "/d/d"), None);
    assert_eq!(find("h10000.example.com", "/"), None);
}

#[test]
fn an_empty_table_finds_nothing() {
    let table = RouteTable::new(&[]);
    assert!(table.is_empty());
    assert!(
        table
            .find(&Request {
                host: "a",
                path: "/",
                query: None,
                method: "GET",
                headers: &()
            })
            .is_none()
    );
    assert!(
        RouteTable::default()
            .explain(&Request {
                host: "a",
                path: "/",
                query: None,
                method: "GET",
                headers: &()
            })
            .is_empty()
    );
}

#[test]
fn odd_paths_and_hosts_find_only_what_matches_everything() {
    let routes = [route(
        "root",
        0,
        &[],
        vec![rule(vec![prefix("/")]), rule(vec![prefix("/abc")])],
    )];
    let table = RouteTable::new(&routes);
    let long = "/".repeat(5000);
    for path in ["", "*", "/", "é", "/abcé", long.as_str()] {
        for host in ["", ".", "..", "a..b", &"a.".repeat(3000)] {
            let found = table.find(&Request {
                host,
                path,
                query: None,
                method: "GET",
                headers: &(),
            });
            assert_eq!(found.map(|found| found.rule), Some(0), "{host} {path}");
        }
    }
}

#[test]
fn a_listener_serves_the_routes_that_name_it_or_none() {
    let mut named =
        Arc::unwrap_or_clone(route("named", 0, &["a.com"], vec![rule(vec![prefix("/")])]));
    named.listeners = vec![ListenerName::new("web").unwrap()];
    let model = Model {
        listeners: Vec::new(),
        services: Vec::new(),
        routes: vec![
            Arc::new(named),
            route("open", 0, &["b.com"], vec![rule(vec![prefix("/")])]),
        ],
        streams: Vec::new(),
        ..Model::default()
    };
    let listener = |name: &str| {
        let name = ListenerName::new(name).unwrap();
        Listener::new(name, ([127, 0, 0, 1], 0).into(), Protocol::Http)
    };
    for (name, count) in [("web", 2), ("other", 1)] {
        assert_eq!(
            RouteTable::for_listener(&model, &listener(name))
                .routes()
                .len(),
            count,
            "{name}"
        );
    }
}
