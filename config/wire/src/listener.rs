//! A listener, and back.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::socket_address::Protocol as Transport;
use envoy_types::pb::envoy::config::core::v3::{
    TrafficDirection, TransportSocket, UdpSocketConfig, transport_socket,
};
use envoy_types::pb::envoy::config::listener::v3::listener::DrainType;
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener as Wire, ListenerFilter, UdpListenerConfig,
    filter, listener_filter,
};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use weir_config::model::{Listener, Model, Protocol, Route, StreamRoute};

use crate::basic::{address, socket_address, u64_value};
use crate::keys::Keys;
use crate::names;
use crate::refusal::{Refusal, Within as _, take};

mod chain;
mod http;
mod inspect;
mod stream;

pub(crate) use http::{api, decode_api};
pub(crate) use inspect::expressible as believes_all;

/// What listeners are written by.
pub(crate) struct Context<'a> {
    /// For a Weir.
    pub(crate) notes: bool,
    pub(crate) model: &'a Model,
}

/// A listener with the streams that arrive on it; `None` where an Envoy would have nothing to do on it.
pub(crate) fn encode(
    own: &Listener,
    routes: &[&Arc<Route>],
    streams: &[&Arc<StreamRoute>],
    context: &Context<'_>,
    keys: &mut Keys,
) -> Option<Wire> {
    let transport = match own.protocol {
        Protocol::Udp => Transport::Udp,
        _ => Transport::Tcp,
    };
    let mut wire = Wire {
        name: own.name.to_string(),
        address: address(own.bind, transport),
        ..Wire::default()
    };
    match own.protocol {
        Protocol::Http | Protocol::Https => {
            let features = http::Features::of(routes);
            let manager = http::manager(own, features);
            wire.filter_chains = chain::http(own, &manager, keys);
        }
        Protocol::Tcp | Protocol::TlsPassthrough => {
            wire.filter_chains = stream::chains(own, streams, context);
            if wire.filter_chains.is_empty() && !context.notes {
                return None;
            }
        }
        Protocol::Udp => {
            wire.udp_listener_config = Some(UdpListenerConfig {
                downstream_socket_config: Some(UdpSocketConfig {
                    max_rx_datagram_size: u64_value(inspect::datagram(own)),
                    prefer_gro: None,
                }),
                ..UdpListenerConfig::default()
            });
            match stream::udp(own, streams, context) {
                Some(proxy) => wire.listener_filters.push(listener_filter(
                    "envoy.filters.udp_listener.udp_proxy",
                    proxy,
                )),
                None if context.notes => {}
                None => return None,
            }
        }
    }
    inspect::encode(own, context.notes, &mut wire);
    Some(wire)
}

fn network_filter(name: &str, config: Any) -> Filter {
    Filter {
        name: name.to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(config)),
    }
}

fn listener_filter(name: &str, config: Any) -> ListenerFilter {
    ListenerFilter {
        name: name.to_owned(),
        filter_disabled: None,
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
    }
}

/// The settings of a socket of this type.
fn tls_socket(config: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    }
}

/// Where an HTTP listener has its routes.
pub(crate) enum Routes {
    /// In the route configuration of that name.
    Named(String),
    Here(Box<RouteConfiguration>),
}

/// A listener as the standard fields say it.
pub(crate) struct Found {
    pub(crate) listener: Listener,
    pub(crate) routes: Option<Routes>,
    pub(crate) streams: Vec<StreamRoute>,
}

/// Takes a listener. `bare` allows one on which nothing is done, as Weir writes for itself.
pub(crate) fn decode(
    wire: Wire,
    bare: bool,
    keys: &Keys,
    known: &dyn Fn(&str) -> bool,
) -> Result<Found, Refusal> {
    // Statistics, how sockets are shared out among threads and how many connections are taken at once are a matter of the
    // machine. Listeners are drained in one way. The name of a direction is for people.
    take!(wire => Wire {
        name, address, stat_prefix, filter_chains, default_filter_chain, metadata, drain_type, listener_filters,
        listener_filters_timeout, udp_listener_config, connection_balance_config, reuse_port, enable_reuse_port,
        tcp_backlog_size, max_connections_to_accept_per_socket_event, traffic_direction, ignore_global_conn_limit,
        bypass_overload_manager, per_connection_buffer_limit_bytes,
    } refuse {
        additional_addresses, stats_matcher, fcds_config, filter_chain_matcher, use_original_dst,
        per_connection_buffer_high_watermark_timeout, deprecated_v1, continue_on_listener_filters_timeout, transparent,
        freebind, socket_options, tcp_fast_open_queue_length, api_listener, access_log, bind_to_port, enable_mptcp,
        tcp_keepalive, listener_specifier,
    });
    let _ = (
        stat_prefix,
        metadata,
        connection_balance_config,
        reuse_port,
        enable_reuse_port,
        tcp_backlog_size,
    );
    let _ = (
        max_connections_to_accept_per_socket_event,
        ignore_global_conn_limit,
        bypass_overload_manager,
    );
    let _ = (per_connection_buffer_limit_bytes, listener_filters_timeout);
    if DrainType::try_from(drain_type).is_err()
        || TrafficDirection::try_from(traffic_direction).is_err()
    {
        return Err(Refusal::unsupported("drain_type"));
    }
    let (bind, transport) = socket_address(address).within("address")?;
    let name =
        weir_config::model::ListenerName::new(names::service(&name).within("name")?.as_str());
    let name = name.map_err(|error| Refusal::new(error.to_string()).within("name"))?;
    let listener = Listener::new(name, bind, Protocol::Tcp);
    let mut filters = inspect::sort(listener_filters)?;
    if transport == Transport::Udp {
        if !filter_chains.is_empty() || default_filter_chain.is_some() {
            return Err(Refusal::new("is not supported for datagrams").within("filter_chains"));
        }
        return stream::decode_udp(
            listener,
            udp_listener_config,
            filters.udp.take(),
            bare,
            known,
        );
    }
    if udp_listener_config.is_some() {
        return Err(Refusal::unsupported("udp_listener_config"));
    }
    if filters.udp.is_some() {
        return Err(
            Refusal::new("holds a proxy of datagrams on an address of TCP")
                .within("listener_filters"),
        );
    }
    let mut chains: Vec<(String, FilterChain)> = Vec::new();
    for (index, chain) in filter_chains.into_iter().enumerate() {
        chains.push((format!("filter_chains[{index}]"), chain));
    }
    chains.extend(default_filter_chain.map(|chain| ("default_filter_chain".to_owned(), chain)));
    if chains.is_empty() && !bare {
        return Err(Refusal::missing("filter_chains"));
    }
    let mut found = chain::decode(listener, chains, keys, known)?;
    inspect::apply(filters, &mut found.listener)?;
    Ok(found)
}

/// The names for which a chain is, and what else must not be asked.
fn server_names(wire: Option<FilterChainMatch>) -> Result<Vec<String>, Refusal> {
    take!(wire.unwrap_or_default() => FilterChainMatch { server_names, transport_protocol } refuse {
        destination_port, prefix_ranges, address_suffix, suffix_len, direct_source_prefix_ranges, source_type,
        source_prefix_ranges, source_ports, application_protocols,
    });
    match transport_protocol.as_str() {
        "" | "tls" => Ok(server_names),
        _ => Err(Refusal::new("is not \"tls\"").within("transport_protocol")),
    }
}

fn is_type<M: Name>(any: &Any) -> bool {
    any.type_url == M::type_url()
}
