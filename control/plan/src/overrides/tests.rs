use weir_config::model::{
    BackendRef, EndpointId, Match, PathMatch, Retry, Route, RouteName, Rule, Source, StreamRoute,
    Timeouts,
};

use super::*;

pub(crate) fn service(name: &str, versions: &str) -> Arc<Service> {
    let versions = versions
        .split_whitespace()
        .map(|pair| {
            let (name, weight) = pair.split_once('=').unwrap();
            Version {
                name: VersionName::new(name).unwrap(),
                weight: weight.parse().unwrap(),
            }
        })
        .collect();
    Arc::new(Service {
        versions,
        ..Service::new(ServiceName::new(name).unwrap())
    })
}

/// `shop/stable=95 shop/canary=5 other=10`
pub(crate) fn rule(backends: &str) -> Rule {
    let backends = backends
        .split_whitespace()
        .map(|text| {
            let (target, weight) = text.split_once('=').unwrap();
            let (service, version) = match target.split_once('/') {
                Some((service, version)) => (service, Some(VersionName::new(version).unwrap())),
                None => (target, None),
            };
            let service = ServiceName::new(service).unwrap();
            BackendRef {
                service,
                version,
                weight: weight.parse().unwrap(),
            }
        })
        .collect();
    Rule {
        matches: vec![Match {
            path: PathMatch::Prefix(Arc::from("/")),
            headers: Vec::new(),
            query: Vec::new(),
            method: None,
        }],
        filters: Vec::new(),
        backends,
        sticky: None,
        timeouts: Timeouts::default(),
        retry: Retry::default(),
    }
}

pub(crate) fn route(name: &str, rules: Vec<Rule>) -> Arc<Route> {
    Arc::new(Route {
        name: RouteName::new(name).unwrap(),
        listeners: Vec::new(),
        hostnames: Vec::new(),
        rules,
        age: 0,
        source: Source::default(),
    })
}

pub(crate) fn told(service: &str, weights: &str) -> Overrides {
    let weights = weights
        .split_whitespace()
        .map(|pair| {
            let (name, weight) = pair.split_once('=').unwrap();
            (VersionName::new(name).unwrap(), weight.parse().unwrap())
        })
        .collect();
    let told = Override {
        weights,
        by: "cli".into(),
        since_ms: 1,
    };
    Overrides {
        services: [(ServiceName::new(service).unwrap(), told)].into(),
    }
}

fn text(rule: &Rule) -> String {
    let one = |b: &BackendRef| match &b.version {
        Some(version) => format!("{}/{version}={}", b.service, b.weight),
        None => format!("{}={}", b.service, b.weight),
    };
    rule.backends.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn check_rule(before: &str, weights: &str, after: &str) {
    let mut model = Model {
        routes: vec![route("r", vec![rule(before)])],
        ..Model::default()
    };
    apply(&mut model, &told("shop", weights));
    assert_eq!(
        text(&model.routes[0].rules[0]),
        after,
        "{before} with {weights}"
    );
}

#[test]
fn an_override_reaches_the_streams_that_split() {
    let stream = StreamRoute {
        name: "db".parse().unwrap(),
        listeners: Vec::new(),
        hostnames: Vec::new(),
        backends: rule("db/stable=95 db/canary=5").backends,
        age: 0,
        source: Source::default(),
    };
    let mut model = Model {
        streams: vec![Arc::new(stream)],
        ..Model::default()
    };
    apply(&mut model, &told("db", "canary=25"));
    let weights: Vec<String> = model.streams[0]
        .backends
        .iter()
        .map(|b| b.weight.to_string())
        .collect();
    assert_eq!(weights, ["75", "25"]);
}

#[test]
fn an_override_replaces_the_services_own_split() {
    let mut model = Model {
        services: vec![service("shop", "canary=5 stable=95")],
        ..Model::default()
    };
    apply(&mut model, &told("shop", "canary=25"));
    let got: Vec<String> = model.services[0]
        .versions
        .iter()
        .map(|v| format!("{}={}", v.name, v.weight))
        .collect();
    assert_eq!(got, ["canary=25", "stable=75"]);
}

#[test]
fn an_override_reaches_the_rules_that_split() {
    check_rule(
        "shop/stable=95 shop/canary=5",
        "canary=25",
        "shop/stable=75 shop/canary=25",
    );
    check_rule(
        "shop/stable=1 shop/canary=1",
        "canary=0.1",
        "shop/stable=99.9 shop/canary=0.1",
    );
}

#[test]
fn other_services_keep_their_share_of_the_rule() {
    check_rule(
        "shop/stable=40 shop/canary=10 other=50",
        "canary=50",
        "shop/stable=50 shop/canary=50 other=100",
    );
}

// semantics 22
#[test]
fn a_rule_that_always_goes_to_the_canary_stays() {
    check_rule("shop/canary=1", "canary=0", "shop/canary=1");
    check_rule("shop/canary=1 other=3", "canary=0", "shop/canary=1 other=3");
}

#[test]
fn a_reference_without_a_version_is_left_to_the_services_split() {
    check_rule("shop=1", "canary=50", "shop=1");
}

#[test]
fn a_version_named_twice_gets_its_share_once() {
    check_rule(
        "shop/canary=10 shop/canary=10 shop/stable=80",
        "canary=50",
        "shop/canary=50 shop/canary=0 shop/stable=50",
    );
}

#[test]
fn a_blue_green_switch_moves_everything_and_back() {
    check_rule(
        "shop/blue=100 shop/green=0",
        "green=100 blue=0",
        "shop/blue=0 shop/green=100",
    );
    check_rule(
        "shop/blue=0 shop/green=100",
        "green=0 blue=100",
        "shop/blue=100 shop/green=0",
    );
}

#[test]
fn the_largest_weights_do_not_overflow() {
    check_rule(
        "shop/blue=1000000 shop/green=1000000",
        "green=25",
        "shop/blue=750000 shop/green=250000",
    );
}

#[test]
fn what_no_override_concerns_is_shared_and_not_copied() {
    let mut model = Model {
        services: vec![service("other", "stable=100")],
        routes: vec![route("r", vec![rule("other=1")])],
        ..Model::default()
    };
    let before = model.clone();
    apply(&mut model, &told("shop", "canary=25"));
    assert!(Arc::ptr_eq(&before.services[0], &model.services[0]));
    assert!(Arc::ptr_eq(&before.routes[0], &model.routes[0]));
}

// semantics 34
#[test]
fn a_version_whose_last_container_is_told_to_stop_loses_its_share_under_an_override_too() {
    let endpoint = |version: &str, admission| Endpoint {
        version: VersionName::new(version).unwrap(),
        admission,
        ..Endpoint::new(
            EndpointId::new(version).unwrap(),
            ([127, 0, 0, 1], 80).into(),
        )
    };
    let split = |admission: Admission| {
        let mut shop = service("shop", "canary=0 stable=100");
        Arc::get_mut(&mut shop).unwrap().endpoints = vec![
            endpoint("canary", admission),
            endpoint("stable", Admission::Ready),
        ];
        let mut model = Model {
            services: vec![shop],
            ..Model::default()
        };
        apply(&mut model, &told("shop", "canary=25"));
        model.services[0]
            .versions
            .iter()
            .map(|v| v.weight.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(split(Admission::Ready), "25 75");
    assert_eq!(split(Admission::Draining), "0 100");
    assert_eq!(split(Admission::NotReady(Arc::from("starting"))), "0 100");
    // Unhealthy is not on its way: its share errors, and is seen to.
    assert_eq!(split(Admission::NotReady(Arc::from("unhealthy"))), "25 75");
}
