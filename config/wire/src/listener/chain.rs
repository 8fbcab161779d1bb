//! Filter chains: one for all, or with TLS one for each set of names of which clients are asked something else.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, filter};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::DownstreamTlsContext;
use envoy_types::pb::google::protobuf::Any;
use weir_config::model::{ClientAuth, HostPattern, HostTls, Listener, ListenerTls, Protocol};

use super::{Found, Routes, http, is_type, network_filter, server_names, stream, tls_socket};
use crate::basic::{duration, pack, time, unpack};
use crate::keys::Keys;
use crate::refusal::{Refusal, Within as _, take};
use crate::tls::{self, Shown};

pub(super) fn http(
    own: &Listener,
    manager: &HttpConnectionManager,
    keys: &mut Keys,
) -> Vec<FilterChain> {
    let filters = vec![network_filter(
        "envoy.filters.network.http_connection_manager",
        pack(manager),
    )];
    let plain = FilterChain {
        filters,
        transport_socket_connect_timeout: Some(duration(own.limits.handshake_timeout)),
        ..FilterChain::default()
    };
    let Some(tls) = &own.tls else {
        return vec![plain];
    };
    let mut chain =
        |auth: Option<&ClientAuth>, hostnames: &[HostPattern], name: String| FilterChain {
            name,
            filter_chain_match: (!hostnames.is_empty()).then(|| FilterChainMatch {
                server_names: hostnames.iter().map(HostPattern::text).collect(),
                ..FilterChainMatch::default()
            }),
            transport_socket: Some(tls_socket(pack(&tls::downstream(tls, auth, keys)))),
            ..plain.clone()
        };
    let hosts = tls.hosts.iter().enumerate();
    let mut chains: Vec<FilterChain> = hosts
        .map(|(index, host)| {
            chain(
                host.client_auth.as_ref(),
                &host.hostnames,
                format!("host-{index}"),
            )
        })
        .collect();
    chains.push(chain(tls.client_auth.as_ref(), &[], "all".to_owned()));
    chains
}

/// One chain, taken apart.
struct Chain {
    path: String,
    names: Vec<String>,
    does: Does,
    shown: Option<Shown>,
    handshake: Option<std::time::Duration>,
}

/// What is done with a connection.
enum Does {
    Http(Any),
    Tcp(Any),
}

pub(super) fn decode(
    mut listener: Listener,
    chains: Vec<(String, FilterChain)>,
    keys: &Keys,
    known: &dyn Fn(&str) -> bool,
) -> Result<Found, Refusal> {
    let mut apart = Vec::new();
    for (path, wire) in chains {
        apart.push(one(&path, wire, keys).within(&path)?);
    }
    if let Some(handshake) = apart.iter().find_map(|chain| chain.handshake) {
        listener.limits.handshake_timeout = handshake;
    }
    let is_http = |chain: &Chain| matches!(chain.does, Does::Http(_));
    match apart.iter().filter(|chain| is_http(chain)).count() {
        0 => streams(listener, apart, known),
        count if count == apart.len() => requests(listener, apart),
        _ => Err(
            Refusal::new("are of HTTP and of TCP, which is not supported on one listener")
                .within("filter_chains"),
        ),
    }
}

fn one(path: &str, wire: FilterChain, keys: &Keys) -> Result<Chain, Refusal> {
    take!(wire => FilterChain {
        filter_chain_match, filters, metadata, transport_socket, transport_socket_connect_timeout, name,
    } refuse { use_proxy_proto });
    let _ = (metadata, name);
    let handshake = transport_socket_connect_timeout
        .map(|wire| time(&wire))
        .transpose();
    let mut filters = filters.into_iter();
    let (Some(only), None) = (filters.next(), filters.next()) else {
        return Err(
            Refusal::new("is not the one filter that is supported: of HTTP or of TCP")
                .within("filters"),
        );
    };
    Ok(Chain {
        path: path.to_owned(),
        names: server_names(filter_chain_match).within("filter_chain_match")?,
        does: does(only).at("filters", 0)?,
        shown: transport_socket
            .map(|socket| shown(socket, keys))
            .transpose()
            .within("transport_socket")?
            .flatten(),
        handshake: handshake.within("transport_socket_connect_timeout")?,
    })
}

fn does(wire: Filter) -> Result<Does, Refusal> {
    match wire.config_type {
        Some(filter::ConfigType::TypedConfig(any)) if is_type::<HttpConnectionManager>(&any) => {
            Ok(Does::Http(any))
        }
        Some(filter::ConfigType::TypedConfig(any)) if is_type::<TcpProxy>(&any) => {
            Ok(Does::Tcp(any))
        }
        Some(filter::ConfigType::TypedConfig(any)) => Err(Refusal::new(format!(
            "is {:?} of type {:?}, which is not supported",
            wire.name, any.type_url
        ))),
        Some(filter::ConfigType::ConfigDiscovery(_)) => {
            Err(Refusal::unsupported("config_discovery"))
        }
        None => Err(Refusal::missing("typed_config")),
    }
}

fn shown(wire: TransportSocket, keys: &Keys) -> Result<Option<Shown>, Refusal> {
    let Some(transport_socket::ConfigType::TypedConfig(any)) = wire.config_type else {
        return Err(Refusal::missing("typed_config"));
    };
    if is_type::<RawBuffer>(&any) {
        return Ok(None);
    }
    let context = unpack::<DownstreamTlsContext>(&any).within("typed_config")?;
    tls::decode_downstream(context, keys)
        .map(Some)
        .within("typed_config")
}

/// Chains of HTTP: they differ in what is asked of clients, and in nothing else.
fn requests(mut listener: Listener, chains: Vec<Chain>) -> Result<Found, Refusal> {
    let mut manager: Option<Any> = None;
    let mut tls: Option<ListenerTls> = None;
    let mut general: Option<Option<ClientAuth>> = None;
    let mut hosts = Vec::new();
    let mut plain = false;
    for chain in chains {
        let same = |why: &str| Refusal::new(why).within(&chain.path);
        let Does::Http(any) = chain.does else {
            return Err(same("is not of HTTP"));
        };
        if manager.as_ref().is_some_and(|other| *other != any) {
            return Err(same(
                "does something else than the others, which is not supported on one listener",
            ));
        }
        manager = Some(any);
        let Some(shown) = chain.shown else {
            plain = true;
            continue;
        };
        if tls.as_ref().is_some_and(|other| *other != shown.tls) {
            return Err(same(
                "shows something else than the others: only what is asked of clients may differ",
            ));
        }
        tls = Some(shown.tls);
        match (chain.names.is_empty(), &general) {
            (false, _) => hosts.push(HostTls {
                hostnames: patterns(&chain.names)
                    .within("server_names")
                    .within("filter_chain_match")
                    .within(&chain.path)?,
                client_auth: shown.auth,
            }),
            (true, None) => general = Some(shown.auth),
            (true, Some(_)) => return Err(same("is for all names, as another is already")),
        }
    }
    if plain && tls.is_some() {
        return Err(Refusal::new(
            "are with and without TLS, which is not supported on one listener",
        )
        .within("filter_chains"));
    }
    listener.protocol = Protocol::Http;
    if let Some(mut tls) = tls {
        let Some(auth) = general else {
            let why = "are for some names only: without one for all, who asks for another would be refused, which is not supported";
            return Err(Refusal::new(why).within("filter_chains"));
        };
        tls.client_auth = auth;
        tls.hosts = hosts;
        listener.protocol = Protocol::Https;
        listener.tls = Some(Arc::new(tls));
    }
    let routes = match manager {
        None => None,
        Some(any) => Some(read_manager(&any, &mut listener)?),
    };
    Ok(Found {
        listener,
        routes,
        streams: Vec::new(),
    })
}

fn read_manager(any: &Any, listener: &mut Listener) -> Result<Routes, Refusal> {
    let read =
        unpack::<HttpConnectionManager>(any).and_then(|manager| http::decode(manager, listener));
    read.within("typed_config")
        .at("filters", 0)
        .within("filter_chains[0]")
}

fn patterns(names: &[String]) -> Result<Vec<HostPattern>, Refusal> {
    let pattern = |name: &String| match HostPattern::parse(name) {
        Ok(Some(pattern)) => Ok(pattern),
        Ok(None) => Err(Refusal::new(
            "holds \"*\", which is said by leaving the names out",
        )),
        Err(error) => Err(Refusal::new(format!("is refused: {error}"))),
    };
    names.iter().map(pattern).collect()
}

/// Chains that pass connections on.
fn streams(
    mut listener: Listener,
    chains: Vec<Chain>,
    known: &dyn Fn(&str) -> bool,
) -> Result<Found, Refusal> {
    let count = chains.len();
    let by_name = chains.iter().any(|chain| !chain.names.is_empty());
    listener.protocol = if by_name {
        Protocol::TlsPassthrough
    } else {
        Protocol::Tcp
    };
    if count > 1 && chains.iter().filter(|chain| chain.names.is_empty()).count() > 1 {
        return Err(
            Refusal::new("are for all connections, more than one of them").within("filter_chains"),
        );
    }
    let mut streams = Vec::new();
    for (index, chain) in chains.into_iter().enumerate() {
        if chain.shown.is_some() {
            let why = "ends TLS in front of a stream, which is not supported";
            return Err(Refusal::new(why)
                .within("transport_socket")
                .within(&chain.path));
        }
        let Does::Tcp(any) = chain.does else {
            return Err(Refusal::new("is not of TCP").within(&chain.path));
        };
        let hostnames = patterns(&chain.names)
            .within("server_names")
            .within("filter_chain_match")
            .within(&chain.path)?;
        let name = match count {
            1 => listener.name.to_string(),
            _ => format!("{}/{index}", listener.name),
        };
        let read = unpack::<TcpProxy>(&any)
            .and_then(|proxy| stream::decode(proxy, &name, hostnames, &mut listener, known));
        streams.push(
            read.within("typed_config")
                .at("filters", 0)
                .within(&chain.path)?,
        );
    }
    Ok(Found {
        listener,
        routes: None,
        streams,
    })
}
