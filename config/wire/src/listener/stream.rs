//! Listeners whose connections or datagrams are passed on as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::UdpSocketConfig;
use envoy_types::pb::envoy::config::listener::v3::{FilterChain, FilterChainMatch, UdpListenerConfig};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier, WeightedCluster,
};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::udp::udp_proxy::v3::UdpProxyConfig;
use envoy_types::pb::envoy::extensions::filters::udp::udp_proxy::v3::udp_proxy_config::RouteSpecifier;
use envoy_types::pb::google::protobuf::Any;
use weir_config::model::{
    BackendRef, HostPattern, Listener, Protocol, Source, StreamRoute, UdpLimits, Weight,
};

use super::{Context, Found, network_filter};
use crate::basic::{duration, narrow, pack, time_or, u64_value, unpack};
use crate::names;
use crate::refusal::{Refusal, Within as _, take};
use crate::route::{rounded, split};

/// Envoy, `TcpProxy.idle_timeout`.
const IDLE: std::time::Duration = std::time::Duration::from_secs(3600);
/// Envoy, `UdpProxyConfig.idle_timeout`.
const UDP_IDLE: std::time::Duration = std::time::Duration::from_secs(60);

/// The streams of a listener, those first that are asked first: the oldest, then by name.
fn in_order<'a>(streams: &[&'a Arc<StreamRoute>]) -> Vec<&'a Arc<StreamRoute>> {
    let mut sorted = streams.to_vec();
    sorted.sort_by(|a, b| (a.age, &a.name).cmp(&(b.age, &b.name)));
    sorted
}

pub(super) fn chains(
    own: &Listener,
    streams: &[&Arc<StreamRoute>],
    context: &Context<'_>,
) -> Vec<FilterChain> {
    let mut taken: BTreeSet<Option<&HostPattern>> = BTreeSet::new();
    let mut chains = Vec::new();
    for stream in in_order(streams) {
        let names: Vec<Option<&HostPattern>> = match stream.hostnames.is_empty() {
            true => vec![None],
            false => stream.hostnames.iter().map(Some).collect(),
        };
        // Nobody hears of those that somebody older has.
        let free: Vec<_> = names
            .into_iter()
            .filter(|name| taken.insert(*name))
            .collect();
        let Some(proxy) = proxy(own, stream, context).filter(|_| !free.is_empty()) else {
            continue;
        };
        let server_names: Vec<String> = free.into_iter().flatten().map(HostPattern::text).collect();
        chains.push(FilterChain {
            name: stream.name.to_string(),
            filter_chain_match: (!server_names.is_empty()).then(|| FilterChainMatch {
                server_names,
                ..FilterChainMatch::default()
            }),
            filters: vec![network_filter(
                "envoy.filters.network.tcp_proxy",
                pack(&proxy),
            )],
            ..FilterChain::default()
        });
    }
    chains
}

fn clusters(stream: &StreamRoute, context: &Context<'_>) -> Vec<(String, u32)> {
    match context.notes {
        true => rounded(&stream.backends),
        false => split(&stream.backends, context.model),
    }
}

fn proxy(own: &Listener, stream: &StreamRoute, context: &Context<'_>) -> Option<TcpProxy> {
    let mut weighted = clusters(stream, context);
    // Envoy takes no weight of nothing here.
    weighted.retain(|(_, weight)| *weight > 0);
    let specifier = match weighted.as_slice() {
        [] => return None,
        [(name, _)] => ClusterSpecifier::Cluster(name.clone()),
        _ => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: weighted
                .into_iter()
                .map(|(name, weight)| ClusterWeight {
                    name,
                    weight,
                    metadata_match: None,
                })
                .collect(),
        }),
    };
    // Whichever is shorter holds, the listener's or the service's.
    let services = stream
        .backends
        .iter()
        .filter_map(|backend| context.model.service(backend.service.as_str()));
    let idle = services
        .map(|service| service.pool.stream_idle_timeout)
        .min();
    let idle = idle.map_or(own.limits.stream_idle_timeout, |idle| {
        idle.min(own.limits.stream_idle_timeout)
    });
    Some(TcpProxy {
        stat_prefix: own.name.to_string(),
        idle_timeout: Some(duration(idle)),
        cluster_specifier: Some(specifier),
        ..TcpProxy::default()
    })
}

/// The destination of datagrams that has the most of them: Envoy knows one.
pub(super) fn udp(
    own: &Listener,
    streams: &[&Arc<StreamRoute>],
    context: &Context<'_>,
) -> Option<Any> {
    let sorted = in_order(streams);
    let stream = sorted.first()?;
    let mut weighted = clusters(stream, context);
    weighted.reverse();
    let (cluster, _) = weighted
        .into_iter()
        .filter(|(_, weight)| *weight > 0)
        .max_by_key(|(_, weight)| *weight)?;
    let size = super::inspect::datagram(own);
    #[allow(deprecated)]
    let proxy = UdpProxyConfig {
        stat_prefix: own.name.to_string(),
        idle_timeout: Some(duration(own.udp.idle_timeout)),
        upstream_socket_config: Some(UdpSocketConfig {
            max_rx_datagram_size: u64_value(size),
            prefer_gro: None,
        }),
        route_specifier: Some(RouteSpecifier::Cluster(cluster)),
        ..UdpProxyConfig::default()
    };
    Some(pack(&proxy))
}

/// A stream out of what a chain does; the time that nothing may move is the listener's.
pub(super) fn decode(
    wire: TcpProxy,
    name: &str,
    hostnames: Vec<HostPattern>,
    listener: &mut Listener,
    known: &dyn Fn(&str) -> bool,
) -> Result<StreamRoute, Refusal> {
    take!(wire => TcpProxy { stat_prefix, idle_timeout, max_connect_attempts, cluster_specifier } refuse {
        on_demand, metadata_match, downstream_idle_timeout, upstream_idle_timeout, access_log, backoff_options,
        hash_policy, tunneling_config, max_downstream_connection_duration,
        max_downstream_connection_duration_jitter_percentage, access_log_flush_interval,
        flush_access_log_on_connected, access_log_options, proxy_protocol_tlvs, proxy_protocol_tlv_merge_policy,
        upstream_connect_mode, max_early_data_bytes, check_drain_close,
    });
    let _ = stat_prefix;
    if max_connect_attempts.is_some_and(|attempts| attempts.value > 1) {
        return Err(Refusal::new("is more than 1").within("max_connect_attempts"));
    }
    listener.limits.stream_idle_timeout =
        time_or(idle_timeout.as_ref(), IDLE).within("idle_timeout")?;
    let backends = match cluster_specifier {
        None => return Err(Refusal::missing("cluster")),
        Some(ClusterSpecifier::Cluster(cluster)) => {
            vec![backend(&cluster, Weight::ONE, known).within("cluster")?]
        }
        Some(ClusterSpecifier::WeightedClusters(all)) => {
            let mut backends = Vec::new();
            for (index, wire) in all.clusters.into_iter().enumerate() {
                backends.push(
                    weighted(wire, known)
                        .at("clusters", index)
                        .within("weighted_clusters")?,
                );
            }
            backends
        }
    };
    stream(name, listener, hostnames, backends)
}

fn weighted(wire: ClusterWeight, known: &dyn Fn(&str) -> bool) -> Result<BackendRef, Refusal> {
    take!(wire => ClusterWeight { name, weight } refuse { metadata_match });
    let weight = weight
        .checked_mul(10)
        .and_then(|tenths| Weight::from_tenths(tenths).ok());
    let weight = weight.ok_or_else(|| Refusal::new("is more than 1000000").within("weight"))?;
    backend(&name, weight, known).within("name")
}

fn backend(
    cluster: &str,
    weight: Weight,
    known: &dyn Fn(&str) -> bool,
) -> Result<BackendRef, Refusal> {
    let (service, version) = names::reference(cluster, known)?;
    Ok(BackendRef {
        service,
        version,
        weight,
    })
}

fn stream(
    name: &str,
    listener: &Listener,
    hostnames: Vec<HostPattern>,
    backends: Vec<BackendRef>,
) -> Result<StreamRoute, Refusal> {
    Ok(StreamRoute {
        name: names::route(name)?,
        listeners: vec![listener.name.clone()],
        hostnames,
        backends,
        age: 0,
        source: Source::default(),
    })
}

pub(super) fn decode_udp(
    mut listener: Listener,
    config: Option<UdpListenerConfig>,
    proxy: Option<Any>,
    bare: bool,
    known: &dyn Fn(&str) -> bool,
) -> Result<Found, Refusal> {
    listener.protocol = Protocol::Udp;
    listener.udp = UdpLimits {
        idle_timeout: UDP_IDLE,
        max_packet: 1500,
        ..UdpLimits::default()
    };
    if let Some(size) = config
        .map(datagram_size)
        .transpose()
        .within("udp_listener_config")?
        .flatten()
    {
        listener.udp.max_packet = size;
    }
    let proxy = match proxy {
        Some(any) => unpack::<UdpProxyConfig>(&any)
            .within("typed_config")
            .within("listener_filters")?,
        None if bare => {
            return Ok(Found {
                listener,
                routes: None,
                streams: Vec::new(),
            });
        }
        None => return Err(Refusal::new("holds no proxy of datagrams").within("listener_filters")),
    };
    let name = listener.name.to_string();
    let read = udp_proxy(proxy, &mut listener, known)
        .within("typed_config")
        .within("listener_filters")?;
    let streams = vec![stream(&name, &listener, Vec::new(), vec![read])?];
    Ok(Found {
        listener,
        routes: None,
        streams,
    })
}

fn datagram_size(wire: UdpListenerConfig) -> Result<Option<usize>, Refusal> {
    take!(wire => UdpListenerConfig { downstream_socket_config } refuse { quic_options, udp_packet_packet_writer_config });
    let size = downstream_socket_config.and_then(|socket| socket.max_rx_datagram_size);
    size.map(|size| narrow(size.value))
        .transpose()
        .within("downstream_socket_config.max_rx_datagram_size")
}

fn udp_proxy(
    wire: UdpProxyConfig,
    listener: &mut Listener,
    known: &dyn Fn(&str) -> bool,
) -> Result<BackendRef, Refusal> {
    take!(wire => UdpProxyConfig { stat_prefix, idle_timeout, upstream_socket_config, route_specifier } refuse {
        use_original_src_ip, hash_policies, use_per_packet_load_balancing, access_log, proxy_access_log, session_filters,
        tunneling_config, access_log_options,
    });
    let _ = (stat_prefix, upstream_socket_config);
    listener.udp.idle_timeout = time_or(idle_timeout.as_ref(), UDP_IDLE).within("idle_timeout")?;
    #[allow(deprecated)]
    match route_specifier {
        Some(RouteSpecifier::Cluster(cluster)) => {
            backend(&cluster, Weight::ONE, known).within("cluster")
        }
        Some(RouteSpecifier::Matcher(_)) => Err(Refusal::unsupported("matcher")),
        None => Err(Refusal::missing("cluster")),
    }
}
