//! Resources as a management server of somebody else's writes them, for the tests.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint::HostIdentifier,
};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use weir_wire::{Kind, Resource, Resources};

use crate::message::{Given, Response, Variant};

fn any<T: Message>(type_url: &str, message: &T) -> Any {
    Any {
        type_url: format!("type.googleapis.com/{type_url}"),
        value: message.encode_to_vec(),
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn address(port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: "127.0.0.1".into(),
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

/// A cluster whose endpoints are asked for.
pub(crate) fn cluster(name: &str) -> Resource {
    cluster_with(name, |_| {})
}

pub(crate) fn cluster_with(name: &str, change: impl FnOnce(&mut Cluster)) -> Resource {
    let mut cluster = Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads()),
            ..EdsClusterConfig::default()
        }),
        ..Cluster::default()
    };
    change(&mut cluster);
    Resource::new(Kind::Cluster, name, cluster.encode_to_vec())
}

/// One that nobody can serve: a field of which we know nothing is set.
pub(crate) fn strange_cluster(name: &str) -> Resource {
    cluster_with(name, |cluster| {
        cluster.close_connections_on_host_health_failure = true;
    })
}

pub(crate) fn assignment(name: &str, ports: &[u16]) -> Resource {
    let endpoints = ports.iter().map(|port| LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(address(*port)),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    });
    let assignment = ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: endpoints.collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    Resource::new(Kind::Endpoint, name, assignment.encode_to_vec())
}

/// A listener whose routes are asked for.
pub(crate) fn listener(name: &str, port: u16, routes: &str) -> Resource {
    let router = HttpFilter {
        name: "envoy.filters.http.router".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(any(
            "envoy.extensions.filters.http.router.v3.Router",
            &Router::default(),
        ))),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: name.into(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: routes.into(),
        })),
        http_filters: vec![router],
        ..HttpConnectionManager::default()
    };
    let filter = Filter {
        name: "envoy.filters.network.http_connection_manager".into(),
        config_type: Some(ConfigType::TypedConfig(any(
            "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            &manager,
        ))),
    };
    let listener = Listener {
        name: name.into(),
        address: Some(address(port)),
        filter_chains: vec![FilterChain {
            filters: vec![filter],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    Resource::new(Kind::Listener, name, listener.encode_to_vec())
}

/// Everything to one cluster.
pub(crate) fn routes(name: &str, cluster: &str) -> Resource {
    let all = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix("/".into())),
            ..RouteMatch::default()
        }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let routes = RouteConfiguration {
        name: name.into(),
        virtual_hosts: vec![VirtualHost {
            name: "all".into(),
            domains: vec!["*".into()],
            routes: vec![all],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    Resource::new(Kind::Route, name, routes.encode_to_vec())
}

/// A set in which everything that is named is there.
pub(crate) fn whole() -> Resources {
    let mut resources = Resources::default();
    for resource in [
        cluster("shop"),
        assignment("shop", &[9001, 9002]),
        listener("web", 8080, "web"),
        routes("web", "shop"),
    ] {
        resources.insert(Arc::new(resource));
    }
    resources
}

pub(crate) fn delta(kind: Kind, nonce: &str, given: &[Resource], removed: &[&str]) -> Response {
    response(Variant::Delta, kind, nonce, given, removed)
}

pub(crate) fn response(
    variant: Variant,
    kind: Kind,
    nonce: &str,
    given: &[Resource],
    removed: &[&str],
) -> Response {
    let given = given.iter().map(|resource| Given {
        name: resource.name.clone(),
        version: match variant {
            Variant::Delta => resource.version.clone(),
            Variant::StateOfTheWorld => String::new(),
        },
        body: Some(resource.body.clone()),
    });
    Response {
        type_url: kind.type_url().into(),
        version: format!("v{nonce}"),
        nonce: nonce.into(),
        given: given.collect(),
        removed: removed.iter().map(ToString::to_string).collect(),
        control_plane: String::new(),
        variant,
    }
}
