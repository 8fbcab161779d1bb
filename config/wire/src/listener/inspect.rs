//! What is read of a connection before its chain is chosen: the PROXY header, the name that a TLS client asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use envoy_types::pb::envoy::config::core::v3::ProxyProtocolPassThroughTlVs;
use envoy_types::pb::envoy::config::core::v3::proxy_protocol_pass_through_tl_vs::PassTlVsMatchType;
use envoy_types::pb::envoy::config::listener::v3::{
    Listener as Wire, ListenerFilter, listener_filter::ConfigType,
};
use envoy_types::pb::envoy::extensions::filters::listener::proxy_protocol::v3::ProxyProtocol as WireProxyProtocol;
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::udp::udp_proxy::v3::UdpProxyConfig;
use envoy_types::pb::google::protobuf::Any;
use ipnet::IpNet;
use weir_config::model::{Listener, Protocol, ProxyProtocol};

use super::{is_type, listener_filter};
use crate::basic::{duration, pack, unpack};
use crate::refusal::{Refusal, Within as _, take};

/// The most that Envoy reads of one datagram.
const MAX_DATAGRAM: u64 = 65_535;

pub(super) fn datagram(own: &Listener) -> u64 {
    u64::try_from(own.udp.max_packet)
        .unwrap_or(MAX_DATAGRAM)
        .clamp(1, MAX_DATAGRAM)
}

/// Everybody.
pub(super) fn anybody() -> Vec<IpNet> {
    let all = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    all.into_iter()
        .filter_map(|ip| IpNet::new(ip, 0).ok())
        .collect()
}

/// Whether an Envoy may be told: it believes the header of everybody, or nobody's.
pub(crate) fn expressible(own: &ProxyProtocol) -> bool {
    let all = anybody();
    all.iter().all(|net| own.from.contains(net))
}

pub(super) fn encode(own: &Listener, notes: bool, wire: &mut Wire) {
    if let Some(header) = own
        .proxy_protocol
        .as_ref()
        .filter(|header| notes || expressible(header))
    {
        let config = WireProxyProtocol {
            allow_requests_without_proxy_protocol: !header.required,
            pass_through_tlvs: header.pass_tlvs.then(ProxyProtocolPassThroughTlVs::default),
            ..WireProxyProtocol::default()
        };
        wire.listener_filters.push(listener_filter(
            "envoy.filters.listener.proxy_protocol",
            pack(&config),
        ));
        wire.listener_filters_timeout = Some(duration(own.limits.handshake_timeout));
    }
    let names = match own.protocol {
        Protocol::TlsPassthrough => true,
        Protocol::Https => own.tls.as_ref().is_some_and(|tls| !tls.hosts.is_empty()),
        Protocol::Http | Protocol::Tcp | Protocol::Udp => false,
    };
    if names {
        wire.listener_filters.push(listener_filter(
            "envoy.filters.listener.tls_inspector",
            pack(&TlsInspector::default()),
        ));
        wire.listener_filters_timeout = Some(duration(own.limits.handshake_timeout));
    }
}

/// Listener filters by what they are.
#[derive(Default)]
pub(super) struct Filters {
    header: Option<ProxyProtocol>,
    pub(super) udp: Option<Any>,
}

pub(super) fn sort(all: Vec<ListenerFilter>) -> Result<Filters, Refusal> {
    let mut filters = Filters::default();
    for (index, wire) in all.into_iter().enumerate() {
        one(wire, &mut filters).at("listener_filters", index)?;
    }
    Ok(filters)
}

fn one(wire: ListenerFilter, filters: &mut Filters) -> Result<(), Refusal> {
    take!(wire => ListenerFilter { name, config_type } refuse { filter_disabled });
    let any = match config_type {
        Some(ConfigType::TypedConfig(any)) => any,
        Some(ConfigType::ConfigDiscovery(_)) => {
            return Err(Refusal::unsupported("config_discovery"));
        }
        None => return Err(Refusal::missing("typed_config")),
    };
    if is_type::<TlsInspector>(&any) {
        // Names are read wherever they decide something.
        let inspector: TlsInspector = unpack(&any).within("typed_config")?;
        let _ = inspector;
    } else if is_type::<WireProxyProtocol>(&any) {
        filters.header = Some(unpack(&any).and_then(header).within("typed_config")?);
    } else if is_type::<UdpProxyConfig>(&any) {
        filters.udp = Some(any);
    } else {
        return Err(Refusal::new(format!(
            "is {name:?} of type {:?}, which is not supported",
            any.type_url
        )));
    }
    Ok(())
}

fn header(wire: WireProxyProtocol) -> Result<ProxyProtocol, Refusal> {
    take!(wire => WireProxyProtocol { allow_requests_without_proxy_protocol, pass_through_tlvs, stat_prefix } refuse {
        rules, disallowed_versions, tlv_location,
    });
    let _ = stat_prefix;
    let every = PassTlVsMatchType::IncludeAll as i32;
    if pass_through_tlvs
        .as_ref()
        .is_some_and(|tlvs| tlvs.match_type != every)
    {
        return Err(Refusal::new("is not INCLUDE_ALL")
            .within("match_type")
            .within("pass_through_tlvs"));
    }
    Ok(ProxyProtocol {
        from: anybody(),
        required: !allow_requests_without_proxy_protocol,
        pass_tlvs: pass_through_tlvs.is_some(),
    })
}

pub(super) fn apply(filters: Filters, listener: &mut Listener) -> Result<(), Refusal> {
    listener.proxy_protocol = filters.header;
    Ok(())
}
