//! The manager of HTTP connections.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions,
};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener as Wire};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, PathWithEscapedSlashesAction, RouteSpecifier, ServerHeaderTransformation, StripPortMode,
    UpgradeConfig,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::google::protobuf::Any;
use weir_config::model::{Filter, Http2, Limits, Listener, Route, TrustedHops};

use super::{Routes, is_type};
use crate::basic::{
    ads, bool_value, bound, duration, is_true, narrow, pack, real_percent, same_stream, time,
    time_or, u32_or, u32_value, unpack,
};
use crate::refusal::{Refusal, Within as _, is_set, take};
use crate::route::extra;

const VIA: &str = "1.1 weir";
/// Envoy, `HttpProtocolOptions.idle_timeout`.
const IDLE: Duration = Duration::from_secs(3600);
/// The windows of HTTP/2 that Envoy takes (RFC 9113, section 6.9.1, and its own lower bound).
const WINDOW: std::ops::RangeInclusive<u32> = 65_535..=2_147_483_647;
/// The most that Envoy takes of a head, in KiB.
const MAX_HEAD_KIB: usize = 8192;

/// Which filters the routes of a listener have settings for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Features {
    fault: bool,
    limit: bool,
    grpc_web: bool,
}

impl Features {
    pub(crate) fn of(routes: &[&Arc<Route>]) -> Self {
        let mut found = Self::default();
        for filter in routes
            .iter()
            .flat_map(|route| &route.rules)
            .flat_map(|rule| &rule.filters)
        {
            match filter {
                Filter::Fault(_) => found.fault = true,
                Filter::RateLimit(_) => found.limit = true,
                Filter::GrpcWeb => found.grpc_web = true,
                _ => {}
            }
        }
        found
    }
}

/// The manager of a listener, with its routes in the configuration of its name.
pub(super) fn manager(own: &Listener, features: Features) -> HttpConnectionManager {
    let limits = &own.limits;
    let trusted = match own.trusted_hops {
        TrustedHops::Count(count) => count.into(),
        // Of networks Envoy believes everything that comes from them; nobody is believed instead.
        TrustedHops::None | TrustedHops::Networks(_) => 0,
    };
    HttpConnectionManager {
        codec_type: if own.http2.enabled {
            CodecType::Auto
        } else {
            CodecType::Http1
        }
        .into(),
        stat_prefix: own.name.to_string(),
        http_filters: filters(features),
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(limits.idle_timeout)),
            max_headers_count: u32_value(u32::try_from(limits.max_headers).unwrap_or(u32::MAX)),
            max_connection_duration: own.http2.max_age.map(duration),
            max_connection_duration_jitter: own.http2.max_age.and_then(|_| real_percent(10.0)),
            ..HttpProtocolOptions::default()
        }),
        http_protocol_options: Some(Http1ProtocolOptions::default()),
        http2_protocol_options: Some(Http2ProtocolOptions {
            max_concurrent_streams: u32_value(
                own.http2.max_concurrent_streams.clamp(1, i32::MAX as u32),
            ),
            initial_stream_window_size: u32_value(window(own.http2.stream_window)),
            initial_connection_window_size: u32_value(window(own.http2.connection_window)),
            ..Http2ProtocolOptions::default()
        }),
        server_header_transformation: ServerHeaderTransformation::PassThrough.into(),
        max_request_headers_kb: u32_value(
            u32::try_from(
                limits
                    .max_header_bytes
                    .div_ceil(1024)
                    .clamp(1, MAX_HEAD_KIB),
            )
            .unwrap_or(60),
        ),
        stream_idle_timeout: Some(duration(limits.stream_idle_timeout)),
        request_headers_timeout: Some(duration(limits.head_timeout)),
        drain_timeout: Some(duration(own.http2.max_age_grace)),
        use_remote_address: bool_value(true),
        xff_num_trusted_hops: trusted,
        via: if own.via {
            VIA.to_owned()
        } else {
            String::new()
        },
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..UpgradeConfig::default()
        }],
        normalize_path: bool_value(true),
        merge_slashes: true,
        path_with_escaped_slashes_action: PathWithEscapedSlashesAction::RejectRequest.into(),
        strip_trailing_host_dot: true,
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: ads(),
            route_config_name: own.name.to_string(),
        })),
        ..HttpConnectionManager::default()
    }
}

fn window(size: u32) -> u32 {
    size.clamp(*WINDOW.start(), *WINDOW.end())
}

fn filters(features: Features) -> Vec<HttpFilter> {
    let filter = |name: &str, config: Any, disabled: bool| HttpFilter {
        name: name.to_owned(),
        disabled,
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    };
    let mut all = Vec::new();
    if features.grpc_web {
        all.push(filter(extra::GRPC_WEB, pack(&GrpcWeb {}), true));
    }
    if features.limit {
        let config = LocalRateLimit {
            stat_prefix: "weir".to_owned(),
            ..LocalRateLimit::default()
        };
        all.push(filter(extra::LIMIT, pack(&config), false));
    }
    if features.fault {
        all.push(filter(extra::FAULT, pack(&HttpFault::default()), false));
    }
    let router = Router {
        suppress_envoy_headers: true,
        ..Router::default()
    };
    all.push(filter("envoy.filters.http.router", pack(&router), false));
    all
}

/// Takes a manager into its listener, and tells where the routes are.
pub(super) fn decode(
    wire: HttpConnectionManager,
    listener: &mut Listener,
) -> Result<Routes, Refusal> {
    // Weir names itself as it likes, has request ids and access logs of its own, and always makes a path canonical. What a
    // connection is closed with, how requests on it are drained and which ports a host is stripped of changes nobody's route.
    take!(wire => HttpConnectionManager {
        codec_type, stat_prefix, http_filters, common_http_protocol_options, http_protocol_options, http2_protocol_options,
        server_name, server_header_transformation, max_request_headers_kb, stream_idle_timeout, request_headers_timeout,
        drain_timeout, delayed_close_timeout, use_remote_address, xff_num_trusted_hops, via, generate_request_id,
        upgrade_configs, normalize_path, merge_slashes, path_with_escaped_slashes_action, strip_matching_host_port,
        strip_trailing_host_dot, route_specifier, strip_port_mode, http1_safe_max_connection_duration, add_user_agent,
        stream_error_on_invalid_http_message,
    } refuse {
        tracing, http3_protocol_options, scheme_header_transformation, stream_flush_timeout, request_timeout,
        drain_timeout_jitter, access_log, access_log_flush_interval, flush_access_log_on_new_request, access_log_options,
        original_ip_detection_extensions, early_header_mutation_extensions, internal_address_config, skip_xff_append,
        preserve_external_request_id, always_set_request_id_in_response, forward_client_cert_details,
        set_current_client_cert_details, forward_client_cert_matcher, proxy_100_continue,
        represent_ipv4_remote_address_as_ipv4_mapped_ipv6, request_id_extension, local_reply_config,
        path_normalization_options, proxy_status_config, typed_header_validation_config, append_x_forwarded_port,
        append_local_overload, add_proxy_protocol_connection_state, forward_proto_config,
    });
    let _ = (
        stat_prefix,
        server_name,
        server_header_transformation,
        delayed_close_timeout,
        generate_request_id,
    );
    let _ = (
        normalize_path,
        merge_slashes,
        strip_matching_host_port,
        strip_trailing_host_dot,
    );
    let _ = (
        http1_safe_max_connection_duration,
        stream_error_on_invalid_http_message,
    );
    if is_true(add_user_agent.as_ref()) {
        return Err(Refusal::unsupported("add_user_agent"));
    }
    if let Some(StripPortMode::StripAnyHostPort(_)) = strip_port_mode {}
    match PathWithEscapedSlashesAction::try_from(path_with_escaped_slashes_action) {
        Ok(
            PathWithEscapedSlashesAction::ImplementationSpecificDefault
            | PathWithEscapedSlashesAction::RejectRequest,
        ) => {}
        _ => {
            return Err(
                Refusal::new("is not REJECT_REQUEST").within("path_with_escaped_slashes_action")
            );
        }
    }
    for (index, upgrade) in upgrade_configs.into_iter().enumerate() {
        upgraded(&upgrade).at("upgrade_configs", index)?;
    }
    for (index, filter) in http_filters.into_iter().enumerate() {
        known_filter(filter).at("http_filters", index)?;
    }
    listener.http2 = http2(codec_type, http2_protocol_options, drain_timeout)?;
    listener.limits = limits(
        common_http_protocol_options,
        &mut listener.http2,
        listener.limits.clone(),
    )
    .within("common_http_protocol_options")?;
    let limits = &mut listener.limits;
    limits.max_header_bytes = narrow::<usize>(u32_or(max_request_headers_kb.as_ref(), 60))
        .within("max_request_headers_kb")?
        .saturating_mul(1024);
    limits.stream_idle_timeout = time_or(stream_idle_timeout.as_ref(), Duration::from_secs(300))
        .within("stream_idle_timeout")?;
    if let Some(wire) = request_headers_timeout {
        limits.head_timeout = time(&wire).within("request_headers_timeout")?;
    }
    if http_protocol_options.as_ref().is_some_and(is_set) {
        return Err(Refusal::unsupported("http_protocol_options"));
    }
    listener.trusted_hops = match (xff_num_trusted_hops, is_true(use_remote_address.as_ref())) {
        (0, _) => TrustedHops::None,
        (count, true) => TrustedHops::Count(narrow(count).within("xff_num_trusted_hops")?),
        (_, false) => {
            return Err(
                Refusal::new("is supported with use_remote_address").within("xff_num_trusted_hops")
            );
        }
    };
    listener.via = match via.as_str() {
        "" => false,
        VIA => true,
        _ => {
            return Err(
                Refusal::new(format!("is not {VIA:?}, which is what is supported")).within("via"),
            );
        }
    };
    routes(route_specifier)
}

fn routes(wire: Option<RouteSpecifier>) -> Result<Routes, Refusal> {
    match wire {
        None => Err(Refusal::missing("rds")),
        Some(RouteSpecifier::Rds(rds)) => {
            take!(rds => Rds { config_source, route_config_name } refuse {});
            same_stream(config_source)
                .within("config_source")
                .within("rds")?;
            Ok(Routes::Named(route_config_name))
        }
        Some(RouteSpecifier::RouteConfig(config)) => Ok(Routes::Here(Box::new(config))),
        Some(RouteSpecifier::ScopedRoutes(_)) => Err(Refusal::unsupported("scoped_routes")),
    }
}

fn upgraded(wire: &UpgradeConfig) -> Result<(), Refusal> {
    let plain = UpgradeConfig {
        upgrade_type: wire.upgrade_type.clone(),
        enabled: wire.enabled,
        ..UpgradeConfig::default()
    };
    match wire.upgrade_type.eq_ignore_ascii_case("websocket") && *wire == plain {
        true => Ok(()),
        false => Err(Refusal::new(
            "is not that of websocket without filters, which is supported",
        )),
    }
}

/// A filter without settings of its own: what it does, routes say.
fn known_filter(wire: HttpFilter) -> Result<(), Refusal> {
    take!(wire => HttpFilter { name, is_optional, disabled, config_type } refuse {});
    let any = match config_type {
        Some(http_filter::ConfigType::TypedConfig(any)) => any,
        Some(http_filter::ConfigType::ConfigDiscovery(_)) => {
            return Err(Refusal::unsupported("config_discovery"));
        }
        None => return Err(Refusal::missing("typed_config")),
    };
    if is_type::<Router>(&any) {
        return router(unpack(&any).within("typed_config")?).within("typed_config");
    }
    let quiet = if is_type::<HttpFault>(&any) {
        !is_set(&unpack::<HttpFault>(&any).within("typed_config")?)
    } else if is_type::<LocalRateLimit>(&any) {
        let limit = unpack::<LocalRateLimit>(&any).within("typed_config")?;
        limit.filter_enabled.is_none()
            && limit.token_bucket.is_none()
            && limit.descriptors.is_empty()
    } else if is_type::<GrpcWeb>(&any) {
        disabled
    } else if is_optional {
        // Whoever does not know it may pass it over (`HttpFilter.is_optional`).
        true
    } else {
        return Err(Refusal::new(format!(
            "is {name:?} of type {:?}, which is not supported",
            any.type_url
        )));
    };
    match quiet || disabled {
        true => Ok(()),
        false => Err(Refusal::new(format!(
            "is {name:?} with settings for all routes; they are supported on routes"
        ))),
    }
}

fn router(wire: Router) -> Result<(), Refusal> {
    // Statistics, spans and headers that are Envoy's own.
    take!(wire => Router { dynamic_stats, start_child_span, suppress_envoy_headers } refuse {
        upstream_log, upstream_log_options, strict_check_headers, respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats, upstream_http_filters, reject_connect_request_early_data,
    });
    let _ = (dynamic_stats, start_child_span, suppress_envoy_headers);
    Ok(())
}

fn http2(
    codec: i32,
    wire: Option<Http2ProtocolOptions>,
    grace: Option<envoy_types::pb::google::protobuf::Duration>,
) -> Result<Http2, Refusal> {
    let mut own = Http2 {
        enabled: match CodecType::try_from(codec) {
            Ok(CodecType::Auto) => true,
            Ok(CodecType::Http1) => false,
            _ => return Err(Refusal::new("is not AUTO or HTTP1").within("codec_type")),
        },
        ..Http2::default()
    };
    own.max_age_grace = time_or(grace.as_ref(), Duration::from_secs(5)).within("drain_timeout")?;
    let Some(wire) = wire else {
        return Ok(own);
    };
    let rest = Http2ProtocolOptions {
        max_concurrent_streams: None,
        initial_stream_window_size: None,
        initial_connection_window_size: None,
        ..wire.clone()
    };
    if is_set(&rest) {
        let why = "says more than how many streams there may be and how large their windows are, which is not supported";
        return Err(Refusal::new(why).within("http2_protocol_options"));
    }
    own.max_concurrent_streams = u32_or(
        wire.max_concurrent_streams.as_ref(),
        own.max_concurrent_streams,
    );
    own.stream_window = u32_or(wire.initial_stream_window_size.as_ref(), own.stream_window);
    own.connection_window = u32_or(
        wire.initial_connection_window_size.as_ref(),
        own.connection_window,
    );
    Ok(own)
}

fn limits(
    wire: Option<HttpProtocolOptions>,
    http2: &mut Http2,
    mut limits: Limits,
) -> Result<Limits, Refusal> {
    take!(wire.unwrap_or_default() => HttpProtocolOptions {
        idle_timeout, max_connection_duration, max_connection_duration_jitter, max_headers_count,
    } refuse {
        max_response_headers_kb, max_stream_duration, headers_with_underscores_action, max_requests_per_connection,
    });
    let _ = max_connection_duration_jitter;
    limits.idle_timeout = time_or(idle_timeout.as_ref(), IDLE).within("idle_timeout")?;
    limits.max_headers =
        narrow(u32_or(max_headers_count.as_ref(), 100)).within("max_headers_count")?;
    http2.max_age = max_connection_duration
        .map_or(Ok(None), |wire| bound(&wire))
        .within("max_connection_duration")?;
    Ok(limits)
}

/// A listener without an address: what a client of the API reads instead of a DNS name (gRPC, proposal A27). Its routes are in
/// place.
pub(crate) fn api(name: &str, routes: RouteConfiguration) -> Wire {
    let manager = HttpConnectionManager {
        stat_prefix: name.to_owned(),
        http_filters: filters(Features::default()),
        route_specifier: Some(RouteSpecifier::RouteConfig(routes)),
        ..HttpConnectionManager::default()
    };
    Wire {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(pack(&manager)),
        }),
        ..Wire::default()
    }
}

/// The routes of such a listener.
pub(crate) fn decode_api(wire: ApiListener) -> Result<RouteConfiguration, Refusal> {
    let any = wire
        .api_listener
        .ok_or_else(|| Refusal::missing("api_listener"))?;
    let manager = unpack::<HttpConnectionManager>(&any).within("api_listener")?;
    match manager.route_specifier {
        Some(RouteSpecifier::RouteConfig(config)) => Ok(config),
        _ => Err(Refusal::missing("route_config").within("api_listener")),
    }
}
