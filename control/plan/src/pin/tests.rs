use std::path::Path;

use weir_config::{check, dump, file, restore};

use super::*;

fn model(text: &str) -> Model {
    let loaded = file::parse_with(Path::new("weir.yaml"), text, &|_| None);
    let compiled = check(&loaded);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    compiled.model
}

fn pin(text: &str) -> Pin {
    let restored = restore(&dump(&model(text)), "generation 1").unwrap();
    Pin {
        model: Arc::new(restored.model),
        over_tls: restored.over_tls,
    }
}

/// Endpoints on ports below 1000 were written, the others found.
fn below_1000(endpoint: &Endpoint) -> bool {
    endpoint.address.port() < 1000
}

fn ports(service: &Service) -> Vec<u16> {
    let ports = service.endpoints.iter().map(|e| e.address.port());
    ports.collect()
}

fn shares(service: &Service) -> Vec<String> {
    let one = |v: &Version| format!("{}={}", v.name, v.weight);
    service.versions.iter().map(one).collect()
}

const WEB: &str = "listeners: [{ name: web, bind: 127.0.0.1:1 }]\n";

#[test]
fn services_and_routes_are_as_they_were_and_found_endpoints_are_those_of_now() {
    let then = format!(
        "{WEB}
services: [{{ name: shop, drainTimeout: 7s, endpoints: [{{ address: 127.0.0.1:101 }}] }}]
routes: [{{ name: shop, hostnames: [old.example.com], rules: [{{ backendRefs: [{{ name: shop }}] }}] }}]"
    );
    let now = format!(
        "{WEB}
services:
  - {{ name: shop, endpoints: [{{ address: 127.0.0.1:102 }}, {{ address: 127.0.0.1:2001 }}] }}
  - {{ name: new }}
routes: [{{ name: new, rules: [{{ backendRefs: [{{ name: new }}] }}] }}]"
    );
    let laid = lay(&pin(&then), &model(&now), &below_1000);
    assert_eq!(laid.left_out, Vec::<String>::new());
    let names: Vec<_> = laid
        .model
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["shop"]);
    let shop = &laid.model.services[0];
    assert_eq!(ports(shop), [101, 2001]);
    assert_eq!(shop.drain_timeout.as_secs(), 7);
    assert_eq!(laid.model.routes.len(), 1);
    assert_eq!(laid.model.routes[0].hostnames[0].text(), "old.example.com");
    assert_eq!(laid.model.listeners.len(), 1);
}

#[test]
fn a_version_that_is_gone_has_no_share_and_a_new_one_gets_none() {
    let then = format!(
        "{WEB}
services:
  - name: shop
    versions: [{{ name: stable, weight: 90 }}, {{ name: canary, weight: 10 }}]"
    );
    let now = |endpoints: &str| {
        model(&format!(
            "services: [{{ name: shop, endpoints: [{endpoints}] }}]"
        ))
    };
    for (endpoints, expected) in [
        (
            "{ address: 127.0.0.1:2001 }, { address: 127.0.0.1:2002, version: canary }",
            vec!["canary=10", "stable=90"],
        ),
        (
            "{ address: 127.0.0.1:2001 }, { address: 127.0.0.1:2003, version: next }",
            vec!["canary=0", "next=0", "stable=90"],
        ),
        // Nobody of then is left: better the shares of now than nobody.
        (
            "{ address: 127.0.0.1:2003, version: next }",
            vec!["next=100"],
        ),
    ] {
        let laid = lay(&pin(&then), &now(endpoints), &below_1000);
        assert_eq!(shares(&laid.model.services[0]), expected, "{endpoints}");
    }
}

#[test]
fn nothing_that_was_called_over_tls_is_called_in_plain_text() {
    let tls = "tls: { validation: { hostname: a.example, wellKnownCACertificates: System } }";
    let then = format!("services: [{{ name: shop, {tls} }}, {{ name: plain }}]");
    let gone = lay(
        &pin(&then),
        &model("services: [{ name: shop }]"),
        &below_1000,
    );
    let names: Vec<_> = gone
        .model
        .services
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["plain"]);
    assert!(gone.left_out[0].contains("over TLS"), "{:?}", gone.left_out);
    let same = lay(&pin(&then), &model(&then), &below_1000);
    assert!(same.model.service("shop").unwrap().tls.is_some());
}

#[test]
fn a_route_whose_listener_is_gone_is_left_out_rather_than_moved() {
    let then = "
listeners: [{ name: web, bind: 127.0.0.1:1 }, { name: old, bind: 127.0.0.1:2 }]
routes:
  - { name: a, listeners: [old], rules: [{ filters: [{ type: DirectResponse, directResponse: { status: 204 } }] }] }
  - { name: b, listeners: [old, web], rules: [{ filters: [{ type: DirectResponse, directResponse: { status: 204 } }] }] }";
    let laid = lay(&pin(then), &model(WEB), &below_1000);
    let names: Vec<_> = laid.model.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["b"]);
    assert!(laid.left_out[0].contains("route a"), "{:?}", laid.left_out);
}

#[test]
fn a_check_of_then_holds_for_endpoints_of_now() {
    let then = "services: [{ name: shop, healthCheck: { http: { path: /healthz } } }]";
    let now = "services: [{ name: shop, endpoints: [{ address: 127.0.0.1:2001 }] }]";
    let laid = lay(&pin(then), &model(now), &below_1000);
    let admission = &laid.model.services[0].endpoints[0].admission;
    assert_eq!(*admission, Admission::Probe);
}
