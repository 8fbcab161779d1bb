//! The model as JSON, in the words of the file it came from.
//!
//! What is dumped is what is in force: defaults are filled in, and each item says where it was
//! written. What is secret in a model (keys, what is sent along with spans) is never written here.

mod authorization;
mod health;
mod policy;
mod route;
mod tls;
mod tracing;
mod traffic;

use serde_json::{Value, json};

use crate::model::{
    Admission, Authorization, Endpoint, ForwardClientCert, Http2, Listener, Model, PathPolicy,
    Protocol, ProxyVersion, Service, ServiceAccess, TrustedHops, Weight,
};
use crate::raw::duration_text;

/// Everything in the model, with keys as a configuration file spells them.
#[must_use]
pub fn dump(model: &Model) -> Value {
    let mut out = json!({
        "listeners": model.listeners.iter().map(|l| listener(l)).collect::<Vec<_>>(),
        "services": model.services.iter().map(|s| service(s)).collect::<Vec<_>>(),
        "routes": model.routes.iter().map(|r| route::route(r))
            .chain(model.streams.iter().map(|r| route::stream(r)))
            .collect::<Vec<_>>(),
        "tracing": tracing::tracing(&model.tracing),
    });
    let said = !model.access.services.is_empty() || model.access.others != ServiceAccess::default();
    if said {
        out["access"] = authorization::access(&model.access);
    }
    out
}

fn listener(listener: &Listener) -> Value {
    let limits = &listener.limits;
    let mut out = json!({
        "name": listener.name.as_str(),
        "bind": listener.bind.to_string(),
        "protocol": listener.protocol.text(),
        "trustedHops": match &listener.trusted_hops {
            TrustedHops::None => json!(0),
            TrustedHops::Count(count) => json!(count),
            TrustedHops::Networks(networks) => json!(networks.iter().map(ToString::to_string).collect::<Vec<_>>()),
        },
        "pathPolicy": match listener.path_policy {
            PathPolicy::Canonicalize => "canonicalize",
            PathPolicy::Strict => "strict",
        },
        "allowGetBody": limits.get_body,
        "limits": {
            "maxHeaders": limits.max_headers,
            "maxHeaderBytes": limits.max_header_bytes,
            "maxFieldBytes": limits.max_field_bytes,
            "maxRequestLineBytes": limits.max_request_line_bytes,
            "headTimeout": duration_text(limits.head_timeout),
            "handshakeTimeout": duration_text(limits.handshake_timeout),
            "idleTimeout": duration_text(limits.idle_timeout),
            "streamIdleTimeout": duration_text(limits.stream_idle_timeout),
        },
        "via": listener.via,
        "source": listener.source.to_string(),
    });
    if let Some(proxy) = &listener.proxy_protocol {
        out["proxyProtocol"] = json!({
            "from": proxy.from.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "required": proxy.required,
            "tlvs": if proxy.pass_tlvs { "pass" } else { "drop" },
        });
    }
    if listener.protocol.is_http() {
        out["http2"] = http2(&listener.http2);
    }
    if listener.client_cert != ForwardClientCert::default() {
        out["forwardClientCert"] = json!(listener.client_cert.text());
    }
    if let Some(authorization) = &listener.authorization {
        out["authorization"] = authorization::authorization(authorization);
    }
    if let Some(tls) = &listener.tls {
        out["tls"] = tls::listener(tls);
    }
    if listener.protocol == Protocol::Udp {
        out["udp"] = json!({
            "idleTimeout": duration_text(listener.udp.idle_timeout),
            "maxSessions": listener.udp.max_sessions,
            "maxPacket": listener.udp.max_packet,
        });
    }
    out
}

/// The policies of a listener or a service, alone.
#[must_use]
pub fn dump_authorization(authorization: &Authorization) -> Value {
    authorization::authorization(authorization)
}

fn http2(http2: &Http2) -> Value {
    json!({
        "enabled": http2.enabled,
        "maxConcurrentStreams": http2.max_concurrent_streams,
        "initialStreamWindow": http2.stream_window,
        "initialConnectionWindow": http2.connection_window,
        "maxConnectionAge": duration_text(http2.max_age.unwrap_or_default()),
        "maxConnectionAgeGrace": duration_text(http2.max_age_grace),
    })
}

fn service(service: &Service) -> Value {
    let mut out = json!({
        "name": service.name.as_str(),
        "versions": service.versions.iter()
            .map(|version| json!({ "name": version.name.as_str(), "weight": weight(version.weight) }))
            .collect::<Vec<_>>(),
        "endpoints": service.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "loadBalancer": policy::load_balancer(&service.load_balancer),
        "connectionPool": policy::connection_pool(&service.pool),
        "outlierDetection": policy::outlier_detection(&service.outlier),
        "healthCheck": service.health_check.as_ref().map(health::health_check),
        "drainTimeout": duration_text(service.drain_timeout),
        "appProtocol": service.protocol.text(),
        "source": service.source.to_string(),
    });
    if let Some(tls) = &service.tls {
        out["tls"] = tls::backend(tls);
    }
    if let Some(mesh) = &service.mesh {
        out["mesh"] = json!({
            "mode": mesh.mode.text(),
            "port": mesh.port,
            "protocol": mesh.protocol.text(),
            "listen": mesh.listen,
        });
    }
    if let Some(version) = service.proxy_protocol {
        out["proxyProtocol"] = json!(match version {
            ProxyVersion::V1 => "v1",
            ProxyVersion::V2 => "v2",
        });
    }
    out
}

fn endpoint(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.id.as_str(),
        "address": endpoint.address.to_string(),
        "version": endpoint.version.as_str(),
        "weight": weight(endpoint.weight),
        "priority": endpoint.priority,
        "locality": endpoint.locality.as_ref().map(ToString::to_string),
        "admission": match &endpoint.admission {
            Admission::Ready => "ready".to_owned(),
            Admission::Probe => "probe".to_owned(),
            Admission::NotReady(reason) => format!("not ready: {reason}"),
            Admission::Draining => "draining".to_owned(),
        },
        "source": endpoint.source.to_string(),
    })
}

/// A whole number where it is one: `95`, `0.5`.
fn weight(weight: Weight) -> Value {
    match weight.tenths() % 10 {
        0 => json!(weight.tenths() / 10),
        _ => json!(weight.as_f64()),
    }
}
