//! Properties that hold for any input: nothing panics, and the order of containers changes nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use proptest::prelude::*;
use weir_config::labels::{self, Container, ContainerState, Health};
use weir_config::{Fragment, check, compile, diagnostic, diff, dump, file};

const SAMPLE: &str = include_str!("golden/file/everything.in.yaml");
const MISTAKES: &str = include_str!("golden/file/mistakes.in.yaml");

const POLICIES: &str = include_str!("golden/file/policies.in.yaml");
const POLICY_MISTAKES: &str = include_str!("golden/file/policy-mistakes.in.yaml");
const RULES: &str = include_str!("golden/file/destination-rule.in.yaml");
const RULE_MISTAKES: &str = include_str!("golden/file/destination-rule-mistakes.in.yaml");

/// Reads, compiles, renders and dumps a text: every stage that hostile text could reach.
fn run(text: &str) {
    let loaded = file::parse_with(Path::new("any.yaml"), text, &|_| None);
    let compiled = check(&loaded);
    let _ = diagnostic::render(&compiled.diagnostics, true, &loaded.files);
    let _ = dump(&compiled.model);
    for found in &compiled.diagnostics {
        if let Some((start, end)) = found.span {
            assert!(
                start <= end && text.get(start..end).is_some(),
                "{found} points outside of the text"
            );
        }
    }
}

fn label_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("true".to_owned()),
        Just("shop".to_owned()),
        Just("canary".to_owned()),
        Just("shop.example.com, *.example.com".to_owned()),
        Just("/api".to_owned()),
        Just("25".to_owned()),
        Just("0.5".to_owned()),
        Just("10s".to_owned()),
        Just("cookie:x".to_owned()),
        Just("PEAK_EWMA".to_owned()),
        Just("eu/a".to_owned()),
        any::<String>(),
        "[ -~]{0,12}",
    ]
}

fn label_name() -> impl Strategy<Value = String> {
    const KNOWN: [&str; 34] = [
        "service",
        "version",
        "port",
        "host",
        "path",
        "listener",
        "weight",
        "network",
        "balancer",
        "sticky",
        "timeout",
        "drain",
        "retry.on",
        "healthcheck.path",
        "healthcheck.interval",
        "healthcheck.status",
        "healthcheck.bodyRegex",
        "healthcheck.grpc",
        "healthcheck.expect",
        "healthcheck.port",
        "pool.maxConnections",
        "pool.retryBudget.percent",
        "outlier.interval",
        "outlier.maxEjectionPercent",
        "outlier.successRate.stdevFactor",
        "outlier.failurePercentage.threshold",
        "priority",
        "locality",
        "balancer.hashCookie",
        "balancer.maglevSize",
        "balancer.warmup",
        "balancer.warmupAggression",
        "canary.steps",
        "hots",
    ];
    prop_oneof![
        9 => prop::sample::select(&KNOWN[..]).prop_map(|name| format!("weir.{name}")),
        1 => any::<String>().prop_map(|name| format!("weir.{name}")),
        1 => Just("com.docker.compose.service".to_owned()),
        1 => Just("com.docker.compose.project".to_owned()),
    ]
}

fn state() -> impl Strategy<Value = ContainerState> {
    let running = |health| ContainerState::Running { health };
    prop::sample::select(vec![
        running(None),
        running(Some(Health::Starting)),
        running(Some(Health::Healthy)),
        running(Some(Health::Unhealthy)),
        ContainerState::Paused,
        ContainerState::Stopping,
    ])
}

prop_compose! {
    fn container()(
        id in "[0-9a-f]{64}",
        name in "[a-c]{1,2}",
        labels in prop::collection::btree_map(label_name(), label_value(), 0..8),
        enabled in prop::bool::weighted(0.9),
        created in 0u64..4,
        state in state(),
        host in 1u8..9,
        networks in 0usize..3,
        exposed in prop::collection::vec(0u16..3, 0..3),
    ) -> Container {
        let mut labels = labels;
        if enabled {
            labels.insert("weir.enable".to_owned(), "true".to_owned());
        }
        let addresses: BTreeMap<String, IpAddr> = (0..networks)
            .map(|n| (format!("net{n}"), IpAddr::V4(Ipv4Addr::new(10, u8::try_from(n).unwrap(), 0, host))))
            .collect();
        Container { id, name, labels, created, since: created, state, addresses, exposed, default_network: None }
    }
}

fn listener() -> Fragment {
    Fragment::with_listener(
        "web",
        "127.0.0.1:0".parse().unwrap(),
        weir_config::model::Source::default(),
    )
}

proptest! {

    #[test]
    fn any_text_is_read_without_a_panic(text in any::<String>()) {
        run(&text);
    }

    #[test]
    fn text_of_yaml_characters_is_read_without_a_panic(text in r"[-\[\]{}:,&*!|>'%@#?a-c0-9 \n\t\$é]{0,80}") {
        run(&text);
    }

    #[test]
    fn a_damaged_file_is_read_without_a_panic(
        base in prop::sample::select(vec![SAMPLE, MISTAKES, POLICIES, POLICY_MISTAKES, RULES, RULE_MISTAKES]),
        at in 0usize..4000,
        cut in 0usize..40,
        put in prop_oneof![any::<String>(), r"[-\[\]{}:,&*|>' \n]{0,6}"],
    ) {
        let mut chars: Vec<char> = base.chars().collect();
        let start = at.min(chars.len());
        let end = (start + cut).min(chars.len());
        chars.splice(start..end, put.chars());
        run(&chars.into_iter().collect::<String>());
    }

    // semantics 23, 38
    #[test]
    fn the_order_of_containers_changes_nothing(
        containers in prop::collection::vec(container(), 0..8),
        seed in any::<prop::sample::Index>(),
    ) {
        let (fragment, found, reports) = labels::read(&containers);
        let mut turned = containers.clone();
        if !turned.is_empty() {
            let by = seed.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        let (fragment2, found2, reports2) = labels::read(&turned);
        prop_assert_eq!(&fragment, &fragment2);
        prop_assert_eq!(found, found2);
        prop_assert_eq!(reports.len(), containers.iter().map(|c| &c.id).collect::<std::collections::BTreeSet<_>>().len());
        prop_assert_eq!(reports, reports2);
        let one = compile(&[listener(), fragment]);
        let two = compile(&[fragment2, listener()]);
        prop_assert_eq!(&one.model, &two.model);
        prop_assert!(diff(&one.model, &two.model).is_empty());
        let _ = diagnostic::render(&one.diagnostics, false, &weir_config::Files::default());
    }

    // semantics 38
    #[test]
    fn a_further_container_never_takes_a_host_from_an_older_one(
        containers in prop::collection::vec(container(), 0..6),
        newcomer in container(),
    ) {
        let owner = |containers: &[Container]| {
            let (fragment, ..) = labels::read(containers);
            compile(&[listener(), fragment]).model
        };
        let before = owner(&containers);
        let mut newcomer = newcomer;
        newcomer.created = 1000;
        newcomer.labels.insert("weir.service".to_owned(), "newcomer".to_owned());
        let mut with: Vec<Container> = containers;
        with.push(newcomer);
        let after = owner(&with);
        for route in &before.routes {
            let same = after.routes.iter().find(|other| other.name == route.name);
            prop_assert_eq!(same.map(|other| &other.hostnames), Some(&route.hostnames));
        }
    }
}
