//! Active checks.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::health_check::{
    GrpcHealthCheck, HealthChecker, HttpHealthCheck, Payload, TcpHealthCheck, payload,
};
use envoy_types::pb::envoy::config::core::v3::{HealthCheck as Wire, RequestMethod};
use envoy_types::pb::envoy::r#type::v3::{CodecClientType, Int64Range};
use weir_config::model::{
    BodyMatch, GrpcProbe, HealthCheck, HealthProbe, HttpProbe, ProbeMethod, StatusRange, TcpProbe,
};

use crate::basic::{bool_value, duration, narrow, time, u32_value};
use crate::headers;
use crate::refusal::{Refusal, Within as _, take};

pub(super) fn encode(check: &HealthCheck) -> Wire {
    let interval = Some(duration(check.interval));
    Wire {
        timeout: Some(duration(check.timeout)),
        interval,
        interval_jitter_percent: 10,
        unhealthy_threshold: u32_value(check.unhealthy_threshold),
        healthy_threshold: u32_value(check.healthy_threshold),
        alt_port: check.port.and_then(|port| u32_value(port.get().into())),
        reuse_connection: bool_value(false),
        // Envoy asks once a minute where no request goes; here all are asked alike.
        no_traffic_interval: interval,
        no_traffic_healthy_interval: interval,
        health_checker: Some(match &check.probe {
            HealthProbe::Tcp(tcp) => HealthChecker::TcpHealthCheck(TcpHealthCheck {
                send: tcp.send.as_deref().map(binary),
                receive: tcp.expect.iter().map(|bytes| binary(bytes)).collect(),
                proxy_protocol_config: None,
            }),
            HealthProbe::Http(http) => HealthChecker::HttpHealthCheck(encode_http(http)),
            HealthProbe::Grpc(grpc) => HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
                service_name: grpc.service.to_string(),
                authority: grpc.authority.as_deref().unwrap_or_default().to_owned(),
                initial_metadata: Vec::new(),
            }),
        }),
        ..Wire::default()
    }
}

fn encode_http(probe: &HttpProbe) -> HttpHealthCheck {
    let range = |range: &StatusRange| Int64Range {
        start: range.low.into(),
        end: i64::from(range.high) + 1,
    };
    HttpHealthCheck {
        host: probe.host.as_deref().unwrap_or_default().to_owned(),
        path: probe.path.to_string(),
        receive: match &probe.body {
            Some(BodyMatch::Contains(text)) => vec![binary(text.as_bytes())],
            Some(BodyMatch::Regex(_)) | None => Vec::new(),
        },
        request_headers_to_add: headers::set(&probe.headers),
        expected_statuses: probe.expected.iter().map(range).collect(),
        codec_client_type: CodecClientType::Http1.into(),
        method: match probe.method {
            ProbeMethod::Get => RequestMethod::Get,
            ProbeMethod::Head => RequestMethod::Head,
        }
        .into(),
        ..HttpHealthCheck::default()
    }
}

fn binary(bytes: &[u8]) -> Payload {
    Payload {
        payload: Some(payload::Payload::Binary(bytes.to_vec())),
    }
}

pub(super) fn decode(wire: Wire) -> Result<HealthCheck, Refusal> {
    // How checks are spread and logged, and at which other pace those are asked that get no request or have just changed, is
    // left to whoever asks; on which connection, too.
    take!(wire => Wire {
        timeout, interval, initial_jitter, interval_jitter, interval_jitter_percent, unhealthy_threshold, healthy_threshold,
        alt_port, reuse_connection, no_traffic_interval, no_traffic_healthy_interval, unhealthy_interval,
        unhealthy_edge_interval, healthy_edge_interval, always_log_health_check_failures,
        always_log_health_check_success, health_checker,
    } refuse {
        event_log_path, event_logger, event_service, tls_options, transport_socket_match_criteria,
    });
    let _ = (
        initial_jitter,
        interval_jitter,
        interval_jitter_percent,
        reuse_connection,
    );
    let _ = (
        no_traffic_interval,
        no_traffic_healthy_interval,
        unhealthy_interval,
    );
    let _ = (unhealthy_edge_interval, healthy_edge_interval);
    let _ = (
        always_log_health_check_failures,
        always_log_health_check_success,
    );
    let required = |wire: Option<_>, field| -> Result<Duration, Refusal> {
        let wire = wire.ok_or_else(|| Refusal::missing(field))?;
        time(&wire).within(field)
    };
    let threshold = |wire: Option<envoy_types::pb::google::protobuf::UInt32Value>, field| match wire
    {
        None => Err(Refusal::missing(field)),
        Some(wire) => Ok(wire.value),
    };
    let port = alt_port
        .map(|port| narrow::<u16>(port.value))
        .transpose()
        .within("alt_port")?;
    Ok(HealthCheck {
        probe: match health_checker {
            None => return Err(Refusal::missing("health_checker")),
            Some(HealthChecker::TcpHealthCheck(tcp)) => {
                HealthProbe::Tcp(decode_tcp(tcp).within("tcp_health_check")?)
            }
            Some(HealthChecker::HttpHealthCheck(http)) => {
                HealthProbe::Http(decode_http(http).within("http_health_check")?)
            }
            Some(HealthChecker::GrpcHealthCheck(grpc)) => {
                HealthProbe::Grpc(decode_grpc(grpc).within("grpc_health_check")?)
            }
            Some(HealthChecker::CustomHealthCheck(_)) => {
                return Err(Refusal::unsupported("custom_health_check"));
            }
        },
        port: port.and_then(NonZeroU16::new),
        interval: required(interval, "interval")?,
        timeout: required(timeout, "timeout")?,
        unhealthy_threshold: threshold(unhealthy_threshold, "unhealthy_threshold")?,
        healthy_threshold: threshold(healthy_threshold, "healthy_threshold")?,
    })
}

fn decode_tcp(wire: TcpHealthCheck) -> Result<TcpProbe, Refusal> {
    take!(wire => TcpHealthCheck { send, receive } refuse { proxy_protocol_config });
    Ok(TcpProbe {
        send: send.map(bytes).transpose().within("send")?.map(Arc::from),
        expect: one(receive)?.map(Arc::from),
    })
}

fn decode_http(wire: HttpHealthCheck) -> Result<HttpProbe, Refusal> {
    take!(wire => HttpHealthCheck {
        host, path, receive, response_buffer_size, request_headers_to_add, expected_statuses, codec_client_type, method,
    } refuse {
        send, request_headers_to_remove, retriable_statuses, service_name_matcher,
    });
    let _ = response_buffer_size;
    if codec_client_type != CodecClientType::Http1 as i32 {
        return Err(Refusal::new("is not HTTP1, which checks speak").within("codec_client_type"));
    }
    let mut probe = HttpProbe::get(path);
    probe.host = (!host.is_empty()).then(|| Arc::from(host));
    probe.method = match RequestMethod::try_from(method) {
        Ok(RequestMethod::MethodUnspecified | RequestMethod::Get) => ProbeMethod::Get,
        Ok(RequestMethod::Head) => ProbeMethod::Head,
        _ => return Err(Refusal::unsupported("method")),
    };
    probe.headers = headers::only_set(request_headers_to_add).within("request_headers_to_add")?;
    probe.expected = match expected_statuses.is_empty() {
        // Envoy, `HttpHealthCheck.expected_statuses`.
        true => vec![StatusRange {
            low: 200,
            high: 200,
        }],
        false => expected_statuses
            .iter()
            .enumerate()
            .map(|(index, range)| statuses(range).at("expected_statuses", index))
            .collect::<Result<_, _>>()?,
    };
    let body = one(receive)?;
    probe.body = body
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| Refusal::new("is no text").within("receive"))?
        .map(|text| BodyMatch::Contains(Arc::from(text)));
    Ok(probe)
}

fn statuses(range: &Int64Range) -> Result<StatusRange, Refusal> {
    let low = u16::try_from(range.start);
    let high = range.end.checked_sub(1).map(u16::try_from);
    match (low, high) {
        (Ok(low), Some(Ok(high))) if (100..=599).contains(&low) && (low..=599).contains(&high) => {
            Ok(StatusRange { low, high })
        }
        _ => Err(Refusal::new("is no range of statuses")),
    }
}

fn decode_grpc(wire: GrpcHealthCheck) -> Result<GrpcProbe, Refusal> {
    take!(wire => GrpcHealthCheck { service_name, authority } refuse { initial_metadata });
    Ok(GrpcProbe {
        service: Arc::from(service_name),
        authority: (!authority.is_empty()).then(|| Arc::from(authority)),
    })
}

fn one(payloads: Vec<Payload>) -> Result<Option<Vec<u8>>, Refusal> {
    let mut payloads = payloads.into_iter();
    let first = payloads.next().map(bytes).transpose().at("receive", 0)?;
    match payloads.next() {
        None => Ok(first),
        Some(_) => Err(
            Refusal::new("holds more than one payload, which is not supported").within("receive"),
        ),
    }
}

fn bytes(payload: Payload) -> Result<Vec<u8>, Refusal> {
    match payload.payload {
        None => Err(Refusal::missing("payload")),
        Some(payload::Payload::Binary(bytes)) => Ok(bytes),
        Some(payload::Payload::Text(text)) => crate::noted::unhex(&text)
            .ok_or_else(|| Refusal::new("is not hexadecimal").within("text")),
    }
}
