//! Numbers, durations, addresses and packed messages, as protobuf wraps them.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::{PortSpecifier, Protocol};
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, RuntimeFractionalPercent,
    SocketAddress, address,
};
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Percent as RealPercent};
use envoy_types::pb::google::protobuf::{Any, Duration as WireDuration};
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value, UInt64Value};
use prost::{Message, Name};
use weir_config::model::Percent;

use crate::refusal::{Refusal, Within as _, take};

/// The longest time that protobuf's `Duration` may say: 10,000 years, in seconds.
const MAX_SECONDS: u64 = 315_576_000_000;

pub(crate) fn duration(time: Duration) -> WireDuration {
    let seconds = time.as_secs().min(MAX_SECONDS);
    WireDuration {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn time(wire: &WireDuration) -> Result<Duration, Refusal> {
    let seconds = u64::try_from(wire.seconds)
        .ok()
        .filter(|s| *s <= MAX_SECONDS);
    let nanos = u32::try_from(wire.nanos)
        .ok()
        .filter(|n| *n < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(Refusal::new("is no time from 0 to 10,000 years")),
    }
}

/// A time, or this one where none is given.
pub(crate) fn time_or(wire: Option<&WireDuration>, default: Duration) -> Result<Duration, Refusal> {
    wire.map_or(Ok(default), time)
}

/// A time of which zero says that there is no bound.
pub(crate) fn bound(wire: &WireDuration) -> Result<Option<Duration>, Refusal> {
    time(wire).map(|time| (!time.is_zero()).then_some(time))
}

pub(crate) fn u32_value(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

pub(crate) fn u64_value(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

pub(crate) fn bool_value(value: bool) -> Option<BoolValue> {
    Some(BoolValue { value })
}

pub(crate) fn u32_or(wire: Option<&UInt32Value>, default: u32) -> u32 {
    wire.map_or(default, |wire| wire.value)
}

pub(crate) fn is_true(wire: Option<&BoolValue>) -> bool {
    wire.is_some_and(|wire| wire.value)
}

/// A number that fits a smaller one.
pub(crate) fn narrow<T: TryFrom<u64>>(value: impl Into<u64>) -> Result<T, Refusal> {
    let value = value.into();
    T::try_from(value).map_err(|_| Refusal::new(format!("is {value}, which is too much")))
}

pub(crate) fn real_percent(value: f64) -> Option<RealPercent> {
    Some(RealPercent { value })
}

/// A whole percentage.
pub(crate) fn whole_percent(wire: &RealPercent) -> Result<u8, Refusal> {
    (0..=100u8)
        .find(|whole| f64::from(*whole) == wire.value)
        .ok_or_else(|| Refusal::new("is no whole number from 0 to 100"))
}

pub(crate) fn fraction(percent: Percent) -> FractionalPercent {
    FractionalPercent {
        numerator: u32::from(percent.tenths()) * 10,
        denominator: DenominatorType::TenThousand.into(),
    }
}

pub(crate) fn percent(wire: &FractionalPercent) -> Result<Percent, Refusal> {
    let scale = match DenominatorType::try_from(wire.denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) => 1,
        Err(_) => return Err(Refusal::unsupported("denominator")),
    };
    let millionths = u64::from(wire.numerator) * scale;
    let tenths = millionths / 1000;
    // More than everything is everything, as Envoy has it.
    match millionths % 1000 {
        _ if tenths >= 1000 => Ok(Percent::ALL),
        0 => format!("{}.{}", tenths / 10, tenths % 10)
            .parse()
            .map_err(|_| Refusal::unsupported("numerator")),
        _ => Err(Refusal::new("is finer than tenths of a percent")),
    }
}

pub(crate) fn runtime_fraction(percent: Percent) -> Option<RuntimeFractionalPercent> {
    Some(RuntimeFractionalPercent {
        default_value: Some(fraction(percent)),
        runtime_key: String::new(),
    })
}

/// The share that holds without a runtime, which Weir has none of.
pub(crate) fn runtime_percent(wire: RuntimeFractionalPercent) -> Result<Percent, Refusal> {
    take!(wire => RuntimeFractionalPercent { default_value, runtime_key } refuse {});
    let _ = runtime_key;
    let value = default_value.ok_or_else(|| Refusal::missing("default_value"))?;
    percent(&value).within("default_value")
}

/// Packs a message.
pub(crate) fn pack<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

/// Unpacks a message of the one type that is expected.
///
/// The library drops fields that its types do not know. What is dropped is missed in the length of what is left: encoders
/// write the fields of a message without padding, so that equal content has an equal length.
pub(crate) fn unpack<M: Message + Name + Default>(any: &Any) -> Result<M, Refusal> {
    if any.type_url != M::type_url() {
        return Err(Refusal::new(format!(
            "is of type {:?}, which is not supported here; {} is",
            any.type_url,
            M::type_url()
        )));
    }
    let message = M::decode(any.value.as_slice())
        .map_err(|error| Refusal::new(format!("cannot be read: {error}")))?;
    match message.encoded_len() < any.value.len() {
        true => Err(Refusal::new(
            "holds fields that are newer than what is known here; they would be lost",
        )),
        false => Ok(message),
    }
}

/// A map whose entries are encoded in the order of their keys.
///
/// The library encodes the entries of a `HashMap` as they come, and each map has an order of its own. Of the few entries that
/// are needed here some map has them in order: a new one is drawn until it does, so that one model has one encoding.
pub(crate) fn in_order<V: Clone>(mut entries: Vec<(String, V)>) -> HashMap<String, V> {
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    loop {
        let map: HashMap<String, V> = entries.iter().cloned().collect();
        if map.keys().is_sorted() {
            return map;
        }
    }
}

/// The same stream that the resource came on.
pub(crate) fn ads() -> Option<ConfigSource> {
    Some(ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    })
}

/// Takes resources over the same stream; any other source is refused.
#[allow(deprecated)]
pub(crate) fn same_stream(source: Option<ConfigSource>) -> Result<(), Refusal> {
    let source = source.ok_or_else(|| Refusal::new("is missing"))?;
    // How long is waited for resources is a matter of the client.
    take!(source => ConfigSource { initial_fetch_timeout, resource_api_version, config_source_specifier }
        refuse { authorities });
    let _ = initial_fetch_timeout;
    if resource_api_version == ApiVersion::V2 as i32 {
        return Err(Refusal::unsupported("resource_api_version"));
    }
    match config_source_specifier {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        Some(ConfigSourceSpecifier::Path(_)) => Err(Refusal::unsupported("path")),
        Some(ConfigSourceSpecifier::PathConfigSource(_)) => {
            Err(Refusal::unsupported("path_config_source"))
        }
        Some(ConfigSourceSpecifier::ApiConfigSource(_)) => {
            Err(Refusal::unsupported("api_config_source"))
        }
        None => Err(Refusal::missing("ads")),
    }
}

pub(crate) fn address(addr: SocketAddr, protocol: Protocol) -> Option<Address> {
    let host = match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("{}%{}", v6.ip(), v6.scope_id()),
        _ => addr.ip().to_string(),
    };
    Some(Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            protocol: protocol.into(),
            address: host,
            port_specifier: Some(PortSpecifier::PortValue(addr.port().into())),
            ..SocketAddress::default()
        })),
    })
}

/// An address and whether datagrams are meant.
pub(crate) fn socket_address(wire: Option<Address>) -> Result<(SocketAddr, Protocol), Refusal> {
    let wire = wire.and_then(|wire| wire.address);
    let wire = match wire {
        Some(address::Address::SocketAddress(wire)) => wire,
        Some(address::Address::Pipe(_)) => return Err(Refusal::unsupported("pipe")),
        Some(address::Address::EnvoyInternalAddress(_)) => {
            return Err(Refusal::unsupported("envoy_internal_address"));
        }
        None => return Err(Refusal::new("is missing")),
    };
    plain_address(wire).within("socket_address")
}

fn plain_address(wire: SocketAddress) -> Result<(SocketAddr, Protocol), Refusal> {
    take!(wire => SocketAddress { protocol, address, port_specifier }
        refuse { resolver_name, ipv4_compat, network_namespace_filepath });
    let protocol = Protocol::try_from(protocol).map_err(|_| Refusal::unsupported("protocol"))?;
    let port = match port_specifier {
        Some(PortSpecifier::PortValue(port)) => narrow::<u16>(port).within("port_value")?,
        Some(PortSpecifier::NamedPort(_)) => return Err(Refusal::unsupported("named_port")),
        None => return Err(Refusal::missing("port_value")),
    };
    let (host, scope) = match address.split_once('%') {
        Some((host, scope)) => (host, scope.parse::<u32>().ok()),
        None => (address.as_str(), Some(0)),
    };
    match (host.parse::<IpAddr>(), scope) {
        (Ok(IpAddr::V6(ip)), Some(scope)) => {
            Ok((SocketAddrV6::new(ip, port, 0, scope).into(), protocol))
        }
        (Ok(ip), Some(0)) => Ok(((ip, port).into(), protocol)),
        _ => Err(Refusal::new(format!("is {address:?}, which is no IP address")).within("address")),
    }
}
