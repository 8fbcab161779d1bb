//! How endpoints are connected to: in plain text or over TLS, with or without a PROXY header in front.

use envoy_types::pb::envoy::config::core::v3::proxy_protocol_config::Version;
use envoy_types::pb::envoy::config::core::v3::{
    ProxyProtocolConfig, ProxyProtocolPassThroughTlVs, TransportSocket, transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::UpstreamTlsContext;
use envoy_types::pb::google::protobuf::Any;
use prost::Name as _;
use std::sync::Arc;
use weir_config::model::{ProxyVersion, Service};

use crate::basic::{pack, unpack};
use crate::keys::Keys;
use crate::refusal::{Refusal, Within as _, take};
use crate::tls;

pub(super) fn encode(service: &Service, keys: &mut Keys) -> Option<TransportSocket> {
    let inner = service.tls.as_ref().map(|own| {
        socket(
            "envoy.transport_sockets.tls",
            pack(&tls::upstream(own, keys)),
        )
    });
    let Some(version) = service.proxy_protocol else {
        return inner;
    };
    let plain = || socket("envoy.transport_sockets.raw_buffer", pack(&RawBuffer {}));
    let outer = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig {
            version: match version {
                ProxyVersion::V1 => Version::V1,
                ProxyVersion::V2 => Version::V2,
            }
            .into(),
            // Which extensions go on is for the listener to say.
            pass_through_tlvs: (version == ProxyVersion::V2)
                .then(ProxyProtocolPassThroughTlVs::default),
            ..ProxyProtocolConfig::default()
        }),
        transport_socket: Some(inner.unwrap_or_else(plain)),
        ..ProxyProtocolUpstreamTransport::default()
    };
    let name = "envoy.transport_sockets.upstream_proxy_protocol";
    Some(socket(name, pack(&outer)))
}

fn socket(name: &str, any: Any) -> TransportSocket {
    TransportSocket {
        name: name.to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(any)),
    }
}

pub(super) fn decode(
    wire: TransportSocket,
    keys: &Keys,
    service: &mut Service,
) -> Result<(), Refusal> {
    let Some(transport_socket::ConfigType::TypedConfig(any)) = wire.config_type else {
        return Err(Refusal::missing("typed_config"));
    };
    inside(&any, keys, service).within("typed_config")
}

fn inside(any: &Any, keys: &Keys, service: &mut Service) -> Result<(), Refusal> {
    if any.type_url == RawBuffer::type_url() {
        return Ok(());
    }
    if any.type_url == ProxyProtocolUpstreamTransport::type_url()
        && service.proxy_protocol.is_none()
    {
        take!(unpack::<ProxyProtocolUpstreamTransport>(any)? => ProxyProtocolUpstreamTransport {
            config, transport_socket,
        } refuse { allow_unspecified_address, tlv_as_pool_key });
        take!(config.unwrap_or_default() => ProxyProtocolConfig { version, pass_through_tlvs } refuse { added_tlvs });
        let _ = pass_through_tlvs;
        service.proxy_protocol = Some(match Version::try_from(version) {
            Ok(Version::V1) => ProxyVersion::V1,
            Ok(Version::V2) => ProxyVersion::V2,
            Err(_) => return Err(Refusal::unsupported("version").within("config")),
        });
        return match transport_socket {
            None => Ok(()),
            Some(inner) => decode(inner, keys, service).within("transport_socket"),
        };
    }
    let context = unpack::<UpstreamTlsContext>(any)?;
    service.tls = Some(Arc::new(tls::decode_upstream(context, keys)?));
    Ok(())
}
