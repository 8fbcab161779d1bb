//! Istio's DestinationRules: which service each applies to, and what stands before it.

use std::path::Path;
use std::time::Duration;

use weir_config::file::{self, parse_with};
use weir_config::labels::{self, Container, ContainerState};
use weir_config::model::{AltName, AppProtocol, BackendRoots, Balancer, Model, Service};
use weir_config::{Compiled, check, compile};

fn checked(text: &str) -> Compiled {
    check(&parse_with(Path::new("weir.yaml"), text, &|_| None))
}

fn rule(host: &str, policy: &str) -> String {
    rule_of("v1", host, policy)
}

fn rule_of(version: &str, host: &str, policy: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/{version}
kind: DestinationRule
metadata: {{ name: {host}-rule }}
spec: {{ host: {host}, trafficPolicy: {{ {policy} }} }}
"
    )
}

fn service<'a>(model: &'a Model, name: &str) -> &'a Service {
    let service = model.service(name);
    service.unwrap_or_else(|| panic!("no service {name}"))
}

const API: &str = "services: [{ name: api, endpoints: [{ address: 127.0.0.1:9001 }] }]\n";
const TEN: &str = "connectionPool: { tcp: { maxConnections: 10 } }";

#[test]
fn a_rule_applies_to_the_service_that_its_host_names() {
    for version in ["v1alpha3", "v1beta1", "v1"] {
        for host in ["api", "api.shop", "api.shop.svc.cluster.local"] {
            let compiled = checked(&format!("{API}{}", rule_of(version, host, TEN)));
            assert!(
                compiled.diagnostics.is_empty(),
                "{:?}",
                compiled.diagnostics
            );
            let pool = &service(&compiled.model, "api").pool;
            assert_eq!(pool.max_connections, 10, "{version} {host}");
        }
    }
    // A name with dots of its own is found whole, and does not reach the service of its first label.
    let both = "services: [{ name: api }, { name: api.shop }]\n";
    let model = checked(&format!("{both}{}", rule("api.shop", TEN))).model;
    assert_eq!(service(&model, "api.shop").pool.max_connections, 10);
    assert_eq!(service(&model, "api").pool.max_connections, 1024);
}

#[test]
fn a_rule_comes_behind_the_services_own_entry_and_before_labels() {
    let own = "services: [{ name: api, loadBalancer: { simple: RANDOM } }]\n";
    let policy = "loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { interval: 7s }";
    let text = format!("{own}{}", rule("api", policy));
    let labels = [
        ("weir.enable", "true"),
        ("weir.balancer", "PEAK_EWMA"),
        ("weir.outlier.interval", "9s"),
        ("weir.pool.maxConnections", "9"),
    ];
    let container = Container {
        id: "c".repeat(64),
        name: "api".to_owned(),
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        created: 1,
        since: 1,
        state: ContainerState::Running { health: None },
        addresses: [("net".to_owned(), "10.0.0.1".parse().unwrap())].into(),
        exposed: vec![80],
        default_network: None,
    };
    let (containers, ..) = labels::read(&[container]);
    let files = parse_with(Path::new("weir.yaml"), &text, &|_| None).fragment;
    let compiled = compile(&[containers, files]);
    let api = service(&compiled.model, "api");
    assert_eq!(api.load_balancer.balancer, Balancer::Random);
    assert_eq!(api.outlier.interval, Duration::from_secs(7));
    assert_eq!(api.pool.max_connections, 9);
}

#[test]
fn a_rule_waits_for_its_service_and_applies_once_that_is_there() {
    let waiting = checked(&rule("api", TEN));
    assert!(!waiting.has_errors());
    let said = waiting.diagnostics[0].to_string();
    assert!(said.contains("\"api\"") && said.contains("waits"), "{said}");
    // A mistake in it shows all the same.
    let wrong = checked(&rule(
        "api",
        "connectionPool: { tcp: { maxConnections: 0 } }",
    ));
    assert!(wrong.has_errors(), "{:?}", wrong.diagnostics);
}

#[test]
fn two_rules_for_one_host_are_an_error_that_names_both() {
    let text = format!("{API}{}{}", rule("api", TEN), rule("api.shop", ""));
    let compiled = checked(&text);
    let errors: Vec<String> = compiled
        .diagnostics
        .iter()
        .filter(|found| found.is_error())
        .map(ToString::to_string)
        .collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    for part in ["api-rule", "api.shop-rule", "weir.yaml:3"] {
        assert!(errors[0].contains(part), "no {part} in {errors:?}");
    }
    assert_eq!(service(&compiled.model, "api").pool.max_connections, 10);
}

#[test]
fn a_service_is_not_called_in_plain_text_where_its_rule_asks_for_tls() {
    for tls in [
        "mode: MUTUAL",
        "mode: ISTIO_MUTUAL",
        "mode: SIMPEL",
        "sni: api",
        "mode: SIMPLE, caCertificates: /nowhere/ca.pem",
        "mode: MUTUAL, clientCertificate: /nowhere/tls.crt, privateKey: /nowhere/tls.key",
    ] {
        let policy = format!("tls: {{ {tls} }}");
        let compiled = checked(&format!("{API}{}", rule("api", &policy)));
        assert!(compiled.has_errors(), "{tls}");
        assert!(compiled.model.services.is_empty(), "{tls}");
    }
    let plain = checked(&format!("{API}{}", rule("api", "tls: { mode: DISABLE }")));
    assert!(plain.diagnostics.is_empty(), "{:?}", plain.diagnostics);
    assert_eq!(service(&plain.model, "api").tls, None);
}

#[test]
fn tls_of_a_rule_is_that_of_its_service() {
    let of = |tls: &str| {
        let policy = format!("tls: {{ {tls} }}");
        let compiled = checked(&format!("{API}{}", rule("api.shop.svc", &policy)));
        assert!(!compiled.has_errors(), "{tls}: {:?}", compiled.diagnostics);
        let tls = service(&compiled.model, "api").tls.clone();
        (tls.unwrap(), compiled.diagnostics.len())
    };
    // As Istio does, the host stands for a name that is not written.
    let (tls, warnings) = of("mode: SIMPLE");
    assert_eq!(tls.roots, BackendRoots::System);
    assert_eq!(tls.hostname.as_deref(), Some("api.shop.svc"));
    assert_eq!(warnings, 0);
    let (tls, _) =
        of("mode: SIMPLE, sni: Api.Internal, subjectAltNames: [a.example.com, spiffe://x/api]");
    assert_eq!(tls.hostname.as_deref(), Some("api.internal"));
    let names = [
        AltName::Dns("a.example.com".into()),
        AltName::Uri("spiffe://x/api".into()),
    ];
    assert_eq!(tls.alt_names, names);
    let (tls, warnings) = of("mode: SIMPLE, insecureSkipVerify: true");
    assert_eq!((&tls.roots, warnings), (&BackendRoots::Insecure, 1));
    let (_, warnings) = of("mode: SIMPLE, caCrl: x, clientCertificate: /tls.crt");
    assert_eq!(warnings, 2, "what is not applied is named");
}

#[test]
fn http2_of_a_rule_is_that_of_its_service_unless_it_says_itself() {
    let pool =
        |policy: &str| format!("connectionPool: {{ http: {{ h2UpgradePolicy: {policy} }} }}");
    for (policy, own, want) in [
        ("UPGRADE", "", AppProtocol::H2c),
        ("DO_NOT_UPGRADE", "", AppProtocol::Http1),
        ("DEFAULT", "", AppProtocol::Http),
        ("UPGRADE", ", appProtocol: http1", AppProtocol::Http1),
    ] {
        let api = API.replace("name: api", &format!("name: api{own}"));
        let compiled = checked(&format!("{api}{}", rule("api", &pool(policy))));
        assert!(
            compiled.diagnostics.is_empty(),
            "{:?}",
            compiled.diagnostics
        );
        assert_eq!(
            service(&compiled.model, "api").protocol,
            want,
            "{policy}{own}"
        );
    }
}

#[test]
fn the_settings_of_a_port_replace_the_rules_own_whole() {
    let of = |ports: &str| {
        let policy = format!("{TEN}, portLevelSettings: [{ports}]");
        checked(&format!("{API}{}", rule("api", &policy)))
    };
    let random =
        |port: u16| format!("{{ port: {{ number: {port} }}, loadBalancer: {{ simple: RANDOM }} }}");
    let other = "{ port: { number: 443 }, loadBalancer: { simple: ROUND_ROBIN } }";
    // The only entry applies whatever its port: a cluster's port is rarely that of an endpoint.
    for (ports, balancer, max, warnings) in [
        (random(80), Balancer::Random, 1024, 0),
        (
            format!("{}, {other}", random(9001)),
            Balancer::Random,
            1024,
            1,
        ),
        (
            format!("{}, {other}", random(80)),
            Balancer::LeastRequest,
            10,
            2,
        ),
    ] {
        let compiled = of(&ports);
        assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
        let api = service(&compiled.model, "api");
        assert_eq!(api.load_balancer.balancer, balancer, "{ports}");
        assert_eq!(api.pool.max_connections, max, "{ports}");
        assert_eq!(compiled.diagnostics.len(), warnings, "{ports}");
    }
}

#[test]
fn a_subset_names_a_version_and_takes_no_traffic_by_itself() {
    let text = format!(
        "{API}{}",
        "---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api }
spec: { host: api, subsets: [{ name: old, labels: { version: stable } }, { name: next, labels: { version: v2 } }, { name: v3 }] }
"
    );
    let compiled = checked(&text);
    assert!(
        compiled.diagnostics.is_empty(),
        "{:?}",
        compiled.diagnostics
    );
    let versions = &service(&compiled.model, "api").versions;
    let shares: Vec<String> = versions
        .iter()
        .map(|version| format!("{} {}", version.name, version.weight))
        .collect();
    assert_eq!(shares, ["stable 100", "v2 0", "v3 0"]);
}

#[test]
fn rules_are_read_from_a_directory_beside_weirs_own_file() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("10-rules.yaml"), rule("api", TEN)).unwrap();
    std::fs::write(dir.path().join("20-weir.yaml"), API).unwrap();
    let compiled = check(&file::load(&[dir.path().to_path_buf()]));
    assert!(
        compiled.diagnostics.is_empty(),
        "{:?}",
        compiled.diagnostics
    );
    assert_eq!(service(&compiled.model, "api").pool.max_connections, 10);
}
