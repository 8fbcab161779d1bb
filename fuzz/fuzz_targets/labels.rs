//! Any labels on any containers: no panic, nobody without opt-in, and a model that holds together.

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::{arbitrary, fuzz_target};
use weir_config::labels::{Container, ContainerState, Health, LabelOptions, read_with};

/// Keys that mean something, so that the fuzzer need not find them letter by letter.
const KEYS: [&str; 36] = [
    "weir.enable",
    "weir.service",
    "weir.version",
    "weir.port",
    "weir.host",
    "weir.path",
    "weir.listener",
    "weir.weight",
    "weir.network",
    "weir.sticky",
    "weir.timeout",
    "weir.drain",
    "weir.retry.attempts",
    "weir.retry.on",
    "weir.healthcheck.path",
    "weir.healthcheck.interval",
    "weir.outlier.interval",
    "weir.pool.connectTimeout",
    "weir.canary.steps",
    "weir.balancer",
    "WEIR.HOST",
    "weir.ho-st",
    "com.docker.compose.service",
    "com.docker.swarm.service.name",
    "traefik.enable",
    "traefik.docker.network",
    "traefik.http.routers.a.rule",
    "traefik.http.routers.a.entrypoints",
    "traefik.http.routers.a.middlewares",
    "traefik.http.routers.a.service",
    "traefik.http.middlewares.m.stripprefix.prefixes",
    "traefik.http.middlewares.m.addprefix.prefix",
    "traefik.http.middlewares.m.chain.middlewares",
    "traefik.http.middlewares.n.redirectregex.regex",
    "traefik.http.middlewares.n.redirectregex.replacement",
    "traefik.http.services.a.loadbalancer.server.port",
];

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    containers: Vec<Fuzzed<'a>>,
}

#[derive(Debug, arbitrary::Arbitrary)]
struct Fuzzed<'a> {
    enabled: bool,
    labels: Vec<(u8, &'a str)>,
    other: Vec<(&'a str, &'a str)>,
    created: u64,
    state: u8,
    exposed: Vec<u16>,
    addresses: Vec<(&'a str, u32)>,
}

fn container(index: usize, from: &Fuzzed<'_>) -> Container {
    let mut labels: BTreeMap<String, String> = from
        .other
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    for (key, value) in &from.labels {
        labels.insert(
            KEYS[usize::from(*key) % KEYS.len()].to_owned(),
            (*value).to_owned(),
        );
    }
    if from.enabled {
        labels.insert("weir.enable".to_owned(), "true".to_owned());
    }
    let state = match from.state % 6 {
        0 => ContainerState::Paused,
        1 => ContainerState::Stopping,
        2 => ContainerState::Running {
            health: Some(Health::Starting),
        },
        3 => ContainerState::Running {
            health: Some(Health::Unhealthy),
        },
        4 => ContainerState::Running {
            health: Some(Health::Healthy),
        },
        _ => ContainerState::Running { health: None },
    };
    Container {
        // Told apart by its front, as an engine's ids are.
        id: format!("{index:012x}{:052x}", 0),
        name: format!("container-{index}"),
        labels,
        created: from.created,
        since: from.created,
        state,
        addresses: from
            .addresses
            .iter()
            .map(|(net, ip)| ((*net).to_owned(), IpAddr::V4(Ipv4Addr::from_bits(*ip))))
            .collect(),
        exposed: from.exposed.clone(),
        default_network: None,
    }
}

fuzz_target!(|input: Input<'_>| {
    let containers: Vec<Container> = input
        .containers
        .iter()
        .take(20)
        .enumerate()
        .map(|(n, c)| container(n, c))
        .collect();
    for traefik in [false, true] {
        check(&containers, traefik);
    }
});

fn check(containers: &[Container], traefik: bool) {
    let options = LabelOptions {
        traefik,
        ..LabelOptions::default()
    };
    let (fragment, diagnostics, reports) = read_with(containers, options);
    for report in reports.iter().filter(|report| report.included) {
        let who = containers
            .iter()
            .find(|c| c.name == report.container)
            .expect("a container of the input");
        let folded = |key: &str| key.to_ascii_lowercase().replace(['-', '_'], "");
        assert!(
            who.labels.iter().any(|(k, v)| {
                let enables = folded(k) == "weir.enable"
                    || traefik && k.eq_ignore_ascii_case("traefik.enable");
                enables && !v.trim().is_empty()
            }),
            "{} never opted in",
            who.name
        );
    }
    for diagnostic in &diagnostics {
        assert!(!diagnostic.message.is_empty());
    }
    let compiled = weir_config::compile(&[fragment]);
    let services: BTreeSet<&str> = compiled
        .model
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    for backend in compiled
        .model
        .routes
        .iter()
        .flat_map(|r| &r.rules)
        .flat_map(|r| &r.backends)
    {
        assert!(
            services.contains(backend.service.as_str()),
            "a route to {} without a service",
            backend.service
        );
    }
    let ids: Vec<&str> = compiled
        .model
        .services
        .iter()
        .flat_map(|s| &s.endpoints)
        .map(|e| e.id.as_str())
        .collect();
    assert_eq!(
        ids.len(),
        ids.iter().collect::<BTreeSet<_>>().len(),
        "two endpoints of one id"
    );
    // Whatever was written, it can be shown.
    let _ = weir_config::dump(&compiled.model).to_string();
}
