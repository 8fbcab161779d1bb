//! What an Envoy or a client of gRPC is told.

use std::path::Path;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, route};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use prost::Message;
use weir_config::model::Model;
use weir_config::{check, file};
use weir_wire::{Audience, Encoded, Kind, Resources, encode, service_listener};

fn model(text: &str) -> Model {
    let loaded = file::parse_with(Path::new("weir.yaml"), text, &|_| None);
    let compiled = check(&loaded);
    assert!(!compiled.has_errors(), "{:?}", compiled.diagnostics);
    compiled.model
}

fn read<M: Message + Default>(resources: &Resources, kind: Kind, name: &str) -> M {
    let resource = resources
        .get(kind, name)
        .unwrap_or_else(|| panic!("there is no {name}"));
    M::decode(resource.body.value.as_slice()).expect("a message of its type")
}

fn others(text: &str) -> Encoded {
    encode(&model(text), Audience::Other)
}

const SHOP: &str = "
listeners: [{ name: web, bind: 127.0.0.1:8080 }]
services:
  - name: shop
    versions: [{ name: stable, weight: 95 }, { name: canary, weight: 5 }]
    endpoints:
      - { address: 127.0.0.1:9001 }
      - { address: 127.0.0.1:9002 }
      - { address: 127.0.0.1:9003, version: canary }
  - { name: plain, endpoints: [{ address: 127.0.0.1:9004 }] }
routes:
  - name: every
    rules: [{ backendRefs: [{ name: plain }] }]
  - name: wide
    hostnames: ['*.example.com']
    rules:
      - { matches: [{ path: { type: PathPrefix, value: /wide } }], backendRefs: [{ name: plain }] }
  - name: shop
    hostnames: [shop.example.com]
    rules:
      - { matches: [{ path: { type: PathPrefix, value: / } }], backendRefs: [{ name: shop }] }
      - { matches: [{ path: { type: PathPrefix, value: /api } }], backendRefs: [{ name: shop, version: canary }] }
      - { matches: [{ path: { type: Exact, value: /api } }], backendRefs: [{ name: plain }] }
";

#[test]
fn routes_stand_in_the_order_in_which_they_are_tried() {
    let encoded = others(SHOP);
    let routes: RouteConfiguration = read(&encoded.resources, Kind::Route, "web");
    let names = |domain: &str| -> Vec<String> {
        let host = routes
            .virtual_hosts
            .iter()
            .find(|host| host.domains == [domain])
            .expect("a virtual host");
        host.routes.iter().map(|route| route.name.clone()).collect()
    };
    // Exact, longer prefix, prefix; then what wider hosts have, for Envoy looks into one virtual host alone.
    assert_eq!(
        names("shop.example.com"),
        ["shop#2.0", "shop#1.0", "shop#0.0", "wide#0.0", "every#0.0"]
    );
    assert_eq!(names("*.example.com"), ["wide#0.0", "every#0.0"]);
    assert_eq!(names("*"), ["every#0.0"]);
}

#[test]
fn a_service_is_split_by_its_versions() {
    let encoded = others(SHOP);
    let routes: RouteConfiguration = read(&encoded.resources, Kind::Route, "web");
    let host = routes
        .virtual_hosts
        .iter()
        .find(|host| host.domains == ["shop.example.com"])
        .unwrap();
    let Some(route::Action::Route(action)) = &host.routes[2].action else {
        panic!("{:?}", host.routes[2]);
    };
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action.cluster_specifier else {
        panic!("{action:?}");
    };
    let shares: Vec<_> = weighted
        .clusters
        .iter()
        .map(|c| (c.name.as_str(), c.weight.unwrap().value))
        .collect();
    assert_eq!(shares, [("shop|canary", 5), ("shop|stable", 95)]);
    for (name, count) in [
        ("shop", 3),
        ("shop|stable", 2),
        ("shop|canary", 1),
        ("plain", 1),
    ] {
        let _: Cluster = read(&encoded.resources, Kind::Cluster, name);
        let all: ClusterLoadAssignment = read(&encoded.resources, Kind::Endpoint, name);
        assert_eq!(all.cluster_name, name);
        assert_eq!(
            all.endpoints
                .iter()
                .map(|group| group.lb_endpoints.len())
                .sum::<usize>(),
            count,
            "{name}"
        );
    }
    // As a whole each version has its share, however many endpoints: 95 for two, 5 for one.
    let whole: ClusterLoadAssignment = read(&encoded.resources, Kind::Endpoint, "shop");
    let weights: Vec<u32> = whole.endpoints[0]
        .lb_endpoints
        .iter()
        .map(|one| one.load_balancing_weight.unwrap().value)
        .collect();
    assert_eq!(weights, [475_000, 475_000, 50_000]);
    assert!(
        encoded
            .resources
            .get(Kind::Cluster, "plain|stable")
            .is_none()
    );
}

#[test]
fn what_an_envoy_cannot_do_is_told_with_its_place() {
    let encoded = others(
        "
listeners: [{ name: web, bind: 127.0.0.1:8080, trustedHops: ['10.0.0.0/8'], pathPolicy: strict }]
services:
  - name: shop
    endpoints: [{ address: 127.0.0.1:9001 }]
    loadBalancer: { simple: PEAK_EWMA }
routes:
  - name: shop
    rules:
      - backendRefs: [{ name: shop }]
        filters: [{ type: RateLimit, rateLimit: { requests: 5, key: ClientIp } }]
",
    );
    let told: Vec<_> = encoded
        .left_out
        .iter()
        .map(|l| (l.kind, l.resource.as_str(), l.field.as_str()))
        .collect();
    for expected in [
        (Kind::Listener, "web", "trusted_hops"),
        (Kind::Listener, "web", "path_policy"),
        (Kind::Cluster, "shop", "load_balancer.balancer"),
        (Kind::Route, "web/shop", "rules.filters.rate_limit"),
    ] {
        assert!(
            told.contains(&expected),
            "{expected:?} is not among {told:?}"
        );
    }
    assert!(encoded.left_out.iter().all(|left| !left.why.is_empty()));
}

#[test]
fn an_envoy_loses_nothing_of_the_quickstart() {
    let encoded = others(SHOP);
    let told: Vec<_> = encoded
        .left_out
        .iter()
        .map(|left| (left.resource.as_str(), left.field.as_str()))
        .collect();
    // But for what no Envoy has, of which the defaults of a listener and a service are full.
    let known = [
        "limits.max_field_bytes",
        "limits.max_request_line_bytes",
        "pool",
        "admission",
    ];
    let more: Vec<_> = told
        .iter()
        .filter(|(_, field)| !known.contains(field))
        .collect();
    assert!(more.is_empty(), "{more:?}");
}

#[test]
fn a_client_of_grpc_finds_a_service_by_its_name() {
    let model = model(SHOP);
    assert!(service_listener(&model, "nobody").is_none());
    let resources = service_listener(&model, "shop").expect("the service");
    let listener: Listener = read(&resources, Kind::Listener, "shop");
    let any = listener
        .api_listener
        .and_then(|api| api.api_listener)
        .expect("an API listener");
    let manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
    let Some(RouteSpecifier::RouteConfig(routes)) = manager.route_specifier else {
        panic!("routes are not in place");
    };
    assert_eq!(routes.virtual_hosts[0].domains, ["*"]);
    let Some(route::Action::Route(action)) = &routes.virtual_hosts[0].routes[0].action else {
        panic!("{routes:?}");
    };
    let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action.cluster_specifier else {
        panic!("{action:?}");
    };
    for cluster in &weighted.clusters {
        let _: Cluster = read(&resources, Kind::Cluster, &cluster.name);
        let endpoints: ClusterLoadAssignment = read(&resources, Kind::Endpoint, &cluster.name);
        for group in &endpoints.endpoints {
            // Without them gRPC leaves a locality out.
            assert!(group.locality.is_some() && group.load_balancing_weight.is_some());
        }
    }
}
