//! A service as a cluster, and back. Its endpoints are a resource of their own ([`crate::endpoint`]).

use std::collections::HashMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig,
};
use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::google::protobuf::Any;
use weir_config::model::{AppProtocol, HealthCheck, HealthProbe, Service};

use crate::basic::{ads, duration, real_percent, same_stream, time_or, u32_or, whole_percent};
use crate::keys::Keys;
use crate::names;
use crate::refusal::{Refusal, Within as _, is_set, take};

mod balance;
mod health;
mod http;
mod protect;
mod socket;

/// Envoy's own default.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// A cluster of that name under a service's policies. `size` is how many endpoints it has.
pub(crate) fn encode(service: &Service, name: &str, size: usize, keys: &mut Keys) -> Cluster {
    let pool = &service.pool;
    let lb = balance::encode(&service.load_balancer);
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: ads(),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(pool.connect_timeout)),
        lb_policy: lb.policy,
        lb_config: lb.config,
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: real_percent(service.outlier.min_health_percent.into()),
            ..CommonLbConfig::default()
        }),
        circuit_breakers: Some(protect::breakers(pool)),
        outlier_detection: Some(protect::outlier(&service.outlier, size)),
        health_checks: askable(service).map(health::encode).into_iter().collect(),
        typed_extension_protocol_options: HashMap::from([http::encode(service)]),
        transport_socket: socket::encode(service, keys),
        ..Cluster::default()
    }
}

/// The check that an Envoy takes: one by gRPC needs endpoints that are spoken to in HTTP/2, or it refuses the whole cluster.
pub(crate) fn askable(service: &Service) -> Option<&HealthCheck> {
    let http2 = match service.protocol {
        AppProtocol::H2c => true,
        AppProtocol::Http => service.tls.is_some(),
        AppProtocol::Http1 => false,
    };
    let fits = |check: &&HealthCheck| http2 || !matches!(check.probe, HealthProbe::Grpc(_));
    service.health_check.as_ref().filter(fits)
}

/// What a cluster says of its endpoints: which resource holds them, or themselves.
pub(crate) enum Endpoints {
    Named(String),
    Here(ClusterLoadAssignment),
}

/// A service under the cluster's policies, without its endpoints.
pub(crate) fn decode(cluster: Cluster, keys: &Keys) -> Result<(Service, Endpoints), Refusal> {
    // A cluster's metadata holds our note, which the caller reads, and what is for others. The names of its statistics, how
    // soon it is cleaned up and on which of a host's changes it is ready say nothing about where requests go.
    take!(cluster => Cluster {
        name, alt_stat_name, eds_cluster_config, connect_timeout, lb_policy, lb_config, load_assignment, health_checks,
        max_requests_per_connection, circuit_breakers, typed_extension_protocol_options, outlier_detection,
        cleanup_interval, common_lb_config, transport_socket, metadata, wait_for_warm_on_init, cluster_discovery_type,
        http2_protocol_options, track_cluster_stats, track_timeout_budgets,
    } refuse {
        transport_socket_matches, transport_socket_matcher, stats_matcher, per_connection_buffer_limit_bytes,
        per_connection_buffer_high_watermark_timeout, upstream_http_protocol_options, common_http_protocol_options,
        http_protocol_options, dns_refresh_rate, dns_jitter, dns_failure_refresh_rate, respect_dns_ttl,
        dns_lookup_family, dns_resolvers, use_tcp_for_dns_lookups, dns_resolution_config, typed_dns_resolver_config,
        upstream_bind_config, lb_subset_config, protocol_selection, upstream_connection_options,
        close_connections_on_host_health_failure, ignore_health_on_host_removal, filters, load_balancing_policy,
        lrs_server, lrs_report_endpoint_metrics, upstream_config, preconnect_policy,
        connection_pool_per_downstream_connection, queuing_policies,
    });
    let _ = (
        alt_stat_name,
        cleanup_interval,
        metadata,
        wait_for_warm_on_init,
    );
    let _ = (track_cluster_stats, track_timeout_budgets);
    let mut service = Service::new(names::service(&name).within("name")?);
    service.load_balancer = balance::decode(lb_policy, lb_config)?;
    service.pool = protect::pool(circuit_breakers).within("circuit_breakers")?;
    service.pool.connect_timeout =
        time_or(connect_timeout.as_ref(), CONNECT_TIMEOUT).within("connect_timeout")?;
    service.pool.max_requests_per_connection = u32_or(max_requests_per_connection.as_ref(), 0);
    service.outlier = protect::detection(outlier_detection).within("outlier_detection")?;
    service.outlier.min_health_percent =
        panic_threshold(common_lb_config).within("common_lb_config")?;
    service.health_check = match health_checks.len() {
        0 | 1 => health_checks
            .into_iter()
            .next()
            .map(|check| health::decode(check).at("health_checks", 0))
            .transpose()?,
        _ => {
            return Err(
                Refusal::new("says more than one check, which is not supported")
                    .within("health_checks"),
            );
        }
    };
    // The old way to say HTTP/2, still what gRPC's examples have; what it may bound is in the new one.
    let old_h2 = http2_protocol_options.is_some();
    if http2_protocol_options.as_ref().is_some_and(is_set) {
        return Err(Refusal::unsupported("http2_protocol_options"));
    }
    // First, for what is spoken depends on it.
    socket(transport_socket, keys, &mut service)?;
    http::decode(
        protocol_options(typed_extension_protocol_options)?,
        old_h2,
        &mut service,
    )
    .within("typed_extension_protocol_options")?;
    let endpoints = endpoints(
        &name,
        cluster_discovery_type,
        eds_cluster_config,
        load_assignment,
    )?;
    Ok((service, endpoints))
}

fn socket(
    wire: Option<TransportSocket>,
    keys: &Keys,
    service: &mut Service,
) -> Result<(), Refusal> {
    match wire {
        None => Ok(()),
        Some(wire) => socket::decode(wire, keys, service).within("transport_socket"),
    }
}

fn panic_threshold(config: Option<CommonLbConfig>) -> Result<u8, Refusal> {
    // Hosts that were not checked yet get nothing either way; connections are kept where they can be.
    take!(config.unwrap_or_default() => CommonLbConfig {
        healthy_panic_threshold, update_merge_window, ignore_new_hosts_until_first_hc,
    } refuse {
        close_connections_on_host_set_change, consistent_hashing_lb_config, override_host_status,
        locality_config_specifier,
    });
    let _ = (update_merge_window, ignore_new_hosts_until_first_hc);
    healthy_panic_threshold
        .map_or(Ok(50), |percent| whole_percent(&percent))
        .within("healthy_panic_threshold")
}

fn protocol_options(mut all: HashMap<String, Any>) -> Result<Option<Any>, Refusal> {
    let http = all.remove(http::NAME);
    match all.keys().min() {
        None => Ok(http),
        Some(other) => Err(Refusal::unsupported(&format!(
            "typed_extension_protocol_options[{other:?}]"
        ))),
    }
}

fn endpoints(
    name: &str,
    discovery: Option<ClusterDiscoveryType>,
    eds: Option<EdsClusterConfig>,
    inline: Option<ClusterLoadAssignment>,
) -> Result<Endpoints, Refusal> {
    let kind = match discovery {
        Some(ClusterDiscoveryType::ClusterType(_)) => {
            return Err(Refusal::unsupported("cluster_type"));
        }
        Some(ClusterDiscoveryType::Type(kind)) => kind,
        None => DiscoveryType::Static.into(),
    };
    match (DiscoveryType::try_from(kind), eds, inline) {
        (Ok(DiscoveryType::Eds), _, Some(_)) => Err(Refusal::unsupported("load_assignment")),
        (Ok(DiscoveryType::Eds), None, None) => Err(Refusal::missing("eds_cluster_config")),
        (Ok(DiscoveryType::Eds), Some(eds), None) => {
            take!(eds => EdsClusterConfig { eds_config, service_name } refuse {});
            same_stream(eds_config)
                .within("eds_config")
                .within("eds_cluster_config")?;
            Ok(Endpoints::Named(match service_name.as_str() {
                "" => name.to_owned(),
                other => other.to_owned(),
            }))
        }
        (Ok(DiscoveryType::Static), None, inline) => {
            Ok(Endpoints::Here(inline.unwrap_or_default()))
        }
        (Ok(DiscoveryType::Static), Some(_), _) => Err(Refusal::unsupported("eds_cluster_config")),
        (Ok(other), _, _) => {
            let kind = other.as_str_name();
            Err(Refusal::new(format!("is {kind}; STATIC and EDS are supported")).within("type"))
        }
        (Err(_), _, _) => Err(Refusal::unsupported("type")),
    }
}
