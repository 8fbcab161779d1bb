//! What a resource needs: which others it names.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, UpstreamTlsContext,
};
use envoy_types::pb::google::protobuf::Any;
use prost::{Message as _, Name};

use crate::{Kind, Resource};

/// The resources that this one names, for a client to subscribe to: the endpoints of a cluster, the routes of a listener, the
/// secrets of both. Clusters and listeners are asked for as a whole. What cannot be read names nothing; [`crate::check`] says so.
#[must_use]
pub fn references(resource: &Resource) -> BTreeSet<(Kind, String)> {
    let mut found = BTreeSet::new();
    let bytes = resource.body.value.as_slice();
    match resource.kind {
        Kind::Cluster => {
            if let Ok(cluster) = Cluster::decode(bytes) {
                of_cluster(cluster, &mut found);
            }
        }
        Kind::Listener => {
            if let Ok(listener) = Listener::decode(bytes) {
                of_listener(listener, &mut found);
            }
        }
        Kind::Endpoint | Kind::Secret | Kind::Route => {}
    }
    found
}

type Found = BTreeSet<(Kind, String)>;

fn of_cluster(cluster: Cluster, found: &mut Found) {
    if let Some(eds) = cluster.eds_cluster_config {
        let name = match eds.service_name.is_empty() {
            true => cluster.name,
            false => eds.service_name,
        };
        found.insert((Kind::Endpoint, name));
    }
    of_socket(cluster.transport_socket, found);
}

fn of_listener(listener: Listener, found: &mut Found) {
    let chains = listener
        .filter_chains
        .into_iter()
        .chain(listener.default_filter_chain);
    for chain in chains {
        of_socket(chain.transport_socket, found);
        let configs = chain
            .filters
            .into_iter()
            .filter_map(|filter| match filter.config_type {
                Some(filter::ConfigType::TypedConfig(any)) => Some(any),
                _ => None,
            });
        for manager in configs.filter_map(|any| read::<HttpConnectionManager>(&any)) {
            if let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier {
                found.insert((Kind::Route, rds.route_config_name));
            }
        }
    }
}

fn of_socket(socket: Option<TransportSocket>, found: &mut Found) {
    let Some(ConfigType::TypedConfig(any)) = socket.and_then(|socket| socket.config_type) else {
        return;
    };
    if let Some(outer) = read::<ProxyProtocolUpstreamTransport>(&any) {
        // Once: nobody puts one in front of another.
        if let Some(ConfigType::TypedConfig(inner)) =
            outer.transport_socket.and_then(|socket| socket.config_type)
        {
            of_context(&inner, found);
        }
        return;
    }
    of_context(&any, found);
}

fn of_context(any: &Any, found: &mut Found) {
    let upstream = read::<UpstreamTlsContext>(any).and_then(|context| context.common_tls_context);
    let context = upstream.or_else(|| read::<DownstreamTlsContext>(any)?.common_tls_context);
    if let Some(context) = context {
        of_common(context, found);
    }
}

fn of_common(context: CommonTlsContext, found: &mut Found) {
    let certificates = context
        .tls_certificate_sds_secret_configs
        .into_iter()
        .map(|sds| sds.name);
    let authorities = match context.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(sds)) => Some(sds.name),
        Some(ValidationContextType::CombinedValidationContext(both)) => both
            .validation_context_sds_secret_config
            .map(|sds| sds.name),
        _ => None,
    };
    found.extend(
        certificates
            .chain(authorities)
            .map(|name| (Kind::Secret, name)),
    );
}

fn read<M: prost::Message + Name + Default>(any: &Any) -> Option<M> {
    (any.type_url == M::type_url()).then(|| M::decode(any.value.as_slice()).ok())?
}
