//! Resources of a control plane that knows nothing of Weir.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, OutlierDetection};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ConfigSource, HeaderValue, HeaderValueOption, RoutingPriority, SocketAddress,
    address,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster, route,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};
use weir_config::model::{Filter as OwnFilter, Model, PathMatch, Protocol, RetryLimit, RetryOn};
use weir_wire::{Kind, Rejected, Resource, Resources, check, decode};

fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

fn ads() -> Option<ConfigSource> {
    Some(ConfigSource {
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    })
}

fn address(port: u32) -> Option<Address> {
    Some(Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "127.0.0.1".to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    })
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: ads(),
            service_name: String::new(),
        }),
        ..Cluster::default()
    }
}

fn assignment(name: &str, ports: &[u32]) -> ClusterLoadAssignment {
    let endpoint = |port: &u32| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: address(*port),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: ports.iter().map(endpoint).collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

fn manager() -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "web".to_owned(),
        http_filters: vec![HttpFilter {
            name: "envoy.filters.http.router".to_owned(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(
                &Router::default(),
            ))),
            ..HttpFilter::default()
        }],
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: ads(),
            route_config_name: "routes".to_owned(),
        })),
        ..HttpConnectionManager::default()
    }
}

fn listener(manager: &HttpConnectionManager) -> Listener {
    Listener {
        name: "web".to_owned(),
        address: address(8080),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack(manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    }
}

fn to(path: PathSpecifier, cluster: &str) -> Route {
    Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(path),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    }
}

fn prefix(text: &str) -> PathSpecifier {
    PathSpecifier::Prefix(text.to_owned())
}

fn host(name: &str, domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: name.to_owned(),
        domains: domains.iter().map(ToString::to_string).collect(),
        routes,
        ..VirtualHost::default()
    }
}

fn configuration(virtual_hosts: Vec<VirtualHost>) -> RouteConfiguration {
    RouteConfiguration {
        name: "routes".to_owned(),
        virtual_hosts,
        ..RouteConfiguration::default()
    }
}

fn resource(kind: Kind, name: &str, message: &impl Message) -> Resource {
    Resource::new(kind, name, message.encode_to_vec())
}

fn all(clusters: &[Cluster], routes: &RouteConfiguration) -> Resources {
    let mut resources = Resources::default();
    let mut put = |resource| resources.insert(Arc::new(resource));
    for (index, cluster) in clusters.iter().enumerate() {
        put(resource(Kind::Cluster, &cluster.name, cluster));
        let port = 9000 + u32::try_from(index).unwrap();
        put(resource(
            Kind::Endpoint,
            &cluster.name,
            &assignment(&cluster.name, &[port]),
        ));
    }
    put(resource(Kind::Listener, "web", &listener(&manager())));
    put(resource(Kind::Route, "routes", routes));
    resources
}

fn decoded(resources: &Resources) -> Model {
    decode(resources).unwrap_or_else(|rejected| panic!("{rejected:#?}"))
}

#[track_caller]
fn refused(resource: &Resource, reason: &str) {
    let Err(Rejected { reason: got, .. }) = check(resource) else {
        panic!("{} was taken: {reason}", resource.name);
    };
    assert!(got.contains(reason), "{got:?} is not about {reason:?}");
}

#[test]
fn the_least_that_a_control_plane_says_is_a_model_that_works() {
    let routes = configuration(vec![host("all", &["*"], vec![to(prefix("/"), "shop")])]);
    let model = decoded(&all(&[cluster("shop")], &routes));
    assert_eq!(model.listeners.len(), 1);
    assert_eq!(model.listeners[0].protocol, Protocol::Http);
    assert_eq!(model.listeners[0].bind, "127.0.0.1:8080".parse().unwrap());
    let service = model.service("shop").expect("the cluster as a service");
    assert_eq!(service.endpoints.len(), 1);
    assert_eq!(
        service.endpoints[0].address,
        "127.0.0.1:9000".parse().unwrap()
    );
    assert_eq!(service.endpoints[0].id.as_str(), "shop@127.0.0.1:9000");
    // What the API says of a cluster without circuit breakers and without outlier detection.
    assert_eq!(service.pool.retries, RetryLimit::Fixed(3));
    assert!(!service.outlier.judges_unanswered());
    let route = &model.routes[0];
    assert_eq!(route.name.as_str(), "routes/all");
    assert_eq!(route.listeners, [model.listeners[0].name.clone()]);
    assert!(route.hostnames.is_empty());
    assert_eq!(
        route.rules[0].matches[0].path,
        PathMatch::Prefix(Arc::from("/"))
    );
    assert_eq!(route.rules[0].backends[0].service.as_str(), "shop");
    // Without a policy nothing is tried again.
    assert_eq!(route.rules[0].retry.attempts, 0);
}

#[test]
fn weights_retries_and_headers_are_taken() {
    let weighted = |name: &str, weight| ClusterWeight {
        name: name.to_owned(),
        weight: Some(UInt32Value { value: weight }),
        ..ClusterWeight::default()
    };
    let mut split = to(prefix("/"), "");
    split.request_headers_to_add = vec![HeaderValueOption {
        header: Some(HeaderValue {
            key: "X-Env".to_owned(),
            value: "100%%".to_owned(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }];
    split.action = Some(route::Action::Route(RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: vec![weighted("a", 9), weighted("b|v2", 1)],
            ..WeightedCluster::default()
        })),
        retry_policy: Some(RetryPolicy {
            retry_on: "connect-failure, 5xx,retriable-status-codes".to_owned(),
            num_retries: Some(UInt32Value { value: 3 }),
            retriable_status_codes: vec![409],
            ..RetryPolicy::default()
        }),
        ..RouteAction::default()
    }));
    let routes = configuration(vec![host("all", &["*"], vec![split])]);
    // A cluster of that very name is a service of its own, whatever its name looks like.
    let model = decoded(&all(&[cluster("a"), cluster("b|v2")], &routes));
    let rule = &model.routes[0].rules[0];
    let backends: Vec<_> = rule
        .backends
        .iter()
        .map(|b| (b.service.as_str(), b.weight.to_string()))
        .collect();
    assert_eq!(backends, [("a", "9".to_owned()), ("b_v2", "1".to_owned())]);
    assert!(model.service("b_v2").is_some());
    assert_eq!(rule.retry.attempts, 3);
    assert_eq!(
        rule.retry.on,
        [
            RetryOn::ConnectFailure,
            RetryOn::FiveXx,
            RetryOn::Status(409)
        ]
    );
    let [OwnFilter::RequestHeaders(edits)] = rule.filters.as_slice() else {
        panic!("{:?}", rule.filters);
    };
    assert_eq!(edits.add, [(Arc::from("x-env"), Arc::from("100%"))]);
}

#[test]
fn a_prefix_of_characters_stays_one() {
    let routes = configuration(vec![host("all", &["*"], vec![to(prefix("/api"), "shop")])]);
    let model = decoded(&all(&[cluster("shop")], &routes));
    let PathMatch::Regex(regex) = &model.routes[0].rules[0].matches[0].path else {
        panic!("{:?}", model.routes[0]);
    };
    assert!(regex.is_match("/apix") && regex.is_match("/api/x") && !regex.is_match("/x/api"));
}

#[test]
fn a_host_without_an_answer_does_not_fall_back_on_others() {
    // Envoy looks into one virtual host; Weir would go on to the next.
    let segment = PathSpecifier::PathSeparatedPrefix("/api".to_owned());
    let own = host("own", &["shop.example.com"], vec![to(segment, "shop")]);
    let routes = configuration(vec![
        own,
        host("all", &["*"], vec![to(prefix("/"), "shop")]),
    ]);
    let model = decoded(&all(&[cluster("shop")], &routes));
    let own = model
        .routes
        .iter()
        .find(|route| route.name.as_str() == "routes/own")
        .unwrap();
    assert_eq!(own.rules.len(), 2);
    assert!(matches!(
        own.rules[1].filters[0],
        OwnFilter::DirectResponse { status: 404, .. }
    ));
}

#[test]
fn an_order_that_precedence_would_turn_around_is_refused() {
    let segment = || PathSpecifier::PathSeparatedPrefix("/api".to_owned());
    let hidden = configuration(vec![host(
        "all",
        &["*"],
        vec![to(prefix("/"), "a"), to(segment(), "b")],
    )]);
    refused(
        &resource(Kind::Route, "routes", &hidden),
        "virtual_hosts[0].routes[1] would be tried before routes[0]",
    );
    // Where no request fits both, the order does not matter.
    let apart = PathSpecifier::Path("/shop".to_owned());
    let fine = configuration(vec![host(
        "all",
        &["*"],
        vec![to(segment(), "a"), to(apart, "b")],
    )]);
    assert_eq!(check(&resource(Kind::Route, "routes", &fine)), Ok(()));
}

#[test]
fn what_is_not_supported_is_refused_by_its_path() {
    let mut by_header = to(prefix("/"), "");
    by_header.action = Some(route::Action::Route(RouteAction {
        cluster_specifier: Some(ClusterSpecifier::ClusterHeader("x-cluster".to_owned())),
        ..RouteAction::default()
    }));
    let routes = |route| {
        configuration(vec![host(
            "all",
            &["*"],
            vec![to(PathSpecifier::Path("/x".to_owned()), "a"), route],
        )])
    };
    refused(
        &resource(Kind::Route, "routes", &routes(by_header)),
        "virtual_hosts[0].routes[1].route.cluster_header is not supported",
    );
    let mut urgent = to(prefix("/"), "a");
    if let Some(route::Action::Route(action)) = &mut urgent.action {
        action.priority = RoutingPriority::High.into();
    }
    refused(
        &resource(Kind::Route, "routes", &routes(urgent)),
        "routes[1].route.priority is not supported",
    );

    let strict = Cluster {
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into())),
        ..cluster("shop")
    };
    refused(
        &resource(Kind::Cluster, "shop", &strict),
        "type is STRICT_DNS",
    );
    let provided = Cluster {
        lb_policy: LbPolicy::ClusterProvided.into(),
        ..cluster("shop")
    };
    refused(
        &resource(Kind::Cluster, "shop", &provided),
        "lb_policy is CLUSTER_PROVIDED",
    );
    let by_chance = Cluster {
        outlier_detection: Some(OutlierDetection {
            enforcing_consecutive_5xx: Some(UInt32Value { value: 50 }),
            ..OutlierDetection::default()
        }),
        ..cluster("shop")
    };
    refused(
        &resource(Kind::Cluster, "shop", &by_chance),
        "outlier_detection.enforcing_consecutive_5xx is 50",
    );

    let logging = HttpConnectionManager {
        proxy_100_continue: true,
        ..manager()
    };
    refused(
        &resource(Kind::Listener, "web", &listener(&logging)),
        "filter_chains[0].filters[0].typed_config.proxy_100_continue is not supported",
    );
}

#[test]
fn a_field_that_is_newer_than_this_program_is_not_lost_in_silence() {
    let mut bytes = cluster("shop").encode_to_vec();
    // Field 4000, a varint of 1.
    bytes.extend([0x80, 0xfa, 0x01, 0x01]);
    let newer = Resource::new(Kind::Cluster, "shop", bytes);
    refused(&newer, "holds fields that are newer");
}

#[test]
fn what_would_break_a_message_is_refused() {
    let mut smuggled = to(prefix("/"), "a");
    smuggled.request_headers_to_add = vec![HeaderValueOption {
        header: Some(HeaderValue {
            key: "x-a".to_owned(),
            value: "1\r\nx-b: 2".to_owned(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }];
    let routes = configuration(vec![host("all", &["*"], vec![smuggled])]);
    refused(
        &resource(Kind::Route, "routes", &routes),
        "request_headers_to_add holds a value",
    );
    let endless = Cluster {
        connect_timeout: Some(envoy_types::pb::google::protobuf::Duration {
            seconds: -1,
            nanos: 0,
        }),
        ..cluster("shop")
    };
    refused(
        &resource(Kind::Cluster, "shop", &endless),
        "connect_timeout is no time",
    );
}

#[test]
fn what_is_named_and_not_there_is_told() {
    let routes = configuration(vec![host("all", &["*"], vec![to(prefix("/"), "shop")])]);
    let mut resources = all(&[cluster("shop")], &routes);
    resources.remove(Kind::Endpoint, "shop");
    resources.remove(Kind::Cluster, "shop");
    // Nobody answers there, which the route may wait for.
    assert_eq!(decoded(&resources).routes.len(), 1);
    resources.remove(Kind::Route, "routes");
    let rejected = decode(&resources).expect_err("a listener without its routes");
    assert_eq!(
        (rejected[0].kind, rejected[0].name.as_str()),
        (Kind::Listener, "web")
    );
    assert!(
        rejected[0]
            .reason
            .contains("\"routes\", which is not there"),
        "{}",
        rejected[0].reason
    );
}
