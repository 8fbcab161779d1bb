//! What endpoints speak, and how connections to them are kept.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::google::protobuf::Any;
use weir_config::model::{AppProtocol, Service};

use crate::basic::{duration, pack, time_or, u32_or, u32_value, unpack};
use crate::refusal::{Refusal, Within as _, is_set, take};

/// Under which the options stand in a cluster.
pub(super) const NAME: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
/// Envoy, `HttpProtocolOptions.idle_timeout`.
const IDLE: Duration = Duration::from_secs(3600);

pub(super) fn encode(service: &Service) -> (String, Any) {
    let pool = &service.pool;
    let some = |count: u32| (count > 0).then_some(count).and_then(u32_value);
    let http1 = Http1ProtocolOptions::default();
    let http2 = Http2ProtocolOptions {
        max_concurrent_streams: some(pool.max_concurrent_streams.min(i32::MAX as u32)),
        ..Http2ProtocolOptions::default()
    };
    let explicit = |protocol| {
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(protocol),
        })
    };
    let options = HttpProtocolOptions {
        common_http_protocol_options: Some(Common {
            idle_timeout: Some(duration(pool.idle_timeout)),
            max_requests_per_connection: some(pool.max_requests_per_connection),
            ..Common::default()
        }),
        upstream_protocol_options: Some(match (service.protocol, &service.tls) {
            (AppProtocol::H2c, _) => explicit(ProtocolConfig::Http2ProtocolOptions(http2)),
            (AppProtocol::Http, Some(_)) => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
                http_protocol_options: Some(http1),
                http2_protocol_options: Some(http2),
                ..AutoHttpConfig::default()
            }),
            (AppProtocol::Http | AppProtocol::Http1, _) => {
                explicit(ProtocolConfig::HttpProtocolOptions(http1))
            }
        }),
        ..HttpProtocolOptions::default()
    };
    (NAME.to_owned(), pack(&options))
}

/// Takes the options; whether there is TLS must be known by now. Without any, HTTP/1.1 is spoken, or HTTP/2 where the old
/// field says so.
pub(super) fn decode(
    options: Option<Any>,
    old_h2: bool,
    service: &mut Service,
) -> Result<(), Refusal> {
    service.pool.idle_timeout = IDLE;
    let over_tls = service.tls.is_some();
    service.protocol = match (old_h2, over_tls) {
        (true, _) => AppProtocol::H2c,
        (false, true) => AppProtocol::Http1,
        (false, false) => AppProtocol::Http,
    };
    let Some(any) = options else {
        return Ok(());
    };
    take!(unpack::<HttpProtocolOptions>(&any)? => HttpProtocolOptions {
        common_http_protocol_options, upstream_protocol_options,
    } refuse {
        upstream_http_protocol_options, http_filters, header_validation_config, outlier_detection,
        request_mirror_policies, hash_policy, retry_policy,
    });
    if let Some(common) = common_http_protocol_options {
        decode_common(common, service).within("common_http_protocol_options")?;
    }
    let streams = |http2: Option<Http2ProtocolOptions>| http2.map_or(Ok(0), concurrent_streams);
    match upstream_protocol_options {
        None => Err(Refusal::missing("explicit_http_config")),
        Some(UpstreamProtocolOptions::UseDownstreamProtocolConfig(_)) => {
            Err(Refusal::unsupported("use_downstream_protocol_config"))
        }
        Some(UpstreamProtocolOptions::AutoConfig(auto)) => {
            take!(auto => AutoHttpConfig { http_protocol_options, http2_protocol_options } refuse {
                http3_protocol_options, alternate_protocols_cache_options,
            });
            if http_protocol_options.as_ref().is_some_and(is_set) {
                return Err(Refusal::unsupported("http_protocol_options").within("auto_config"));
            }
            if !over_tls {
                return Err(Refusal::new("needs TLS, for ALPN decides").within("auto_config"));
            }
            service.protocol = AppProtocol::Http;
            service.pool.max_concurrent_streams =
                streams(http2_protocol_options).within("auto_config")?;
            Ok(())
        }
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => {
            decode_explicit(explicit, service).within("explicit_http_config")
        }
    }
}

fn decode_explicit(wire: ExplicitHttpConfig, service: &mut Service) -> Result<(), Refusal> {
    match wire.protocol_config {
        None => Err(Refusal::missing("protocol_config")),
        Some(ProtocolConfig::HttpProtocolOptions(http1)) => match is_set(&http1) {
            true => Err(Refusal::unsupported("http_protocol_options")),
            false => Ok(()),
        },
        Some(ProtocolConfig::Http2ProtocolOptions(http2)) => {
            service.protocol = AppProtocol::H2c;
            service.pool.max_concurrent_streams = concurrent_streams(http2)?;
            Ok(())
        }
        Some(ProtocolConfig::Http3ProtocolOptions(_)) => {
            Err(Refusal::unsupported("http3_protocol_options"))
        }
    }
}

fn decode_common(wire: Common, service: &mut Service) -> Result<(), Refusal> {
    take!(wire => Common { idle_timeout, max_requests_per_connection } refuse {
        max_connection_duration, max_connection_duration_jitter, max_headers_count, max_response_headers_kb,
        max_stream_duration, headers_with_underscores_action,
    });
    service.pool.idle_timeout = time_or(idle_timeout.as_ref(), IDLE).within("idle_timeout")?;
    if let Some(most) = max_requests_per_connection {
        service.pool.max_requests_per_connection = u32_or(Some(&most), 0);
    }
    Ok(())
}

fn concurrent_streams(http2: Http2ProtocolOptions) -> Result<u32, Refusal> {
    let most = http2.max_concurrent_streams;
    let rest = Http2ProtocolOptions {
        max_concurrent_streams: None,
        ..http2
    };
    match is_set(&rest) {
        true => Err(
            Refusal::new("says more than max_concurrent_streams, which is not supported")
                .within("http2_protocol_options"),
        ),
        false => Ok(u32_or(most.as_ref(), 0)),
    }
}
