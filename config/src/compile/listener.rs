//! Listeners: names and addresses are unique, and what cannot be served is not pretended to be.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::tls::{self, Keyring};
use super::{authorization, http2};
use crate::diagnostic::{Place, suggest};
use crate::model::{
    ForwardClientCert, Http2, Limits, Listener, ListenerName, PathPolicy, Protocol, ProxyProtocol,
    TrustDomain, TrustedHops, UdpLimits,
};
use crate::raw::{self, At, millis_or_more};

/// The listeners that hold, and the names of all that were written.
pub(super) struct Listeners {
    pub(super) valid: Vec<Arc<Listener>>,
    /// With those left out: a route that names one needs no second report.
    pub(super) known: BTreeSet<String>,
    /// Those that ask for a certificate for development, and where.
    pub(super) self_signed: Vec<(String, Place)>,
}

pub(super) fn compile<'a>(
    all: impl Iterator<Item = &'a raw::Listener>,
    trust_domain: &TrustDomain,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Listeners {
    let mut listeners = Listeners {
        valid: Vec::new(),
        known: BTreeSet::new(),
        self_signed: Vec::new(),
    };
    for raw in all {
        if let Some(name) = &raw.name {
            listeners.known.insert(name.value.clone());
        }
        let errors = report.errors();
        let listener = compile_one(raw, trust_domain, keyring, report);
        let holds = report.errors() == errors && !raw.meta.broken;
        if let Some(listener) = listener.filter(|_| holds)
            && alone(&listener, raw, &listeners.valid, report)
        {
            let tls = raw.tls.as_ref().filter(|tls| tls::is_self_signed(tls));
            let name = listener.name.to_string();
            let self_signed = tls.and_then(|tls| tls.self_signed.as_ref());
            listeners
                .self_signed
                .extend(self_signed.map(|at| (name, at.place.clone())));
            listeners.valid.push(Arc::new(listener));
        }
    }
    listeners
}

fn alone(
    new: &Listener,
    raw: &raw::Listener,
    others: &[Arc<Listener>],
    report: &mut Report,
) -> bool {
    let place = |at: Option<&crate::Place>| at.unwrap_or(&raw.meta.place).clone();
    if let Some(other) = others.iter().find(|other| other.name == new.name) {
        let at = place(raw.name.as_ref().map(|name| &name.place));
        report.error(
            &at,
            format!(
                "the listener {} is given twice, first at {}",
                new.name, other.source
            ),
        );
        return false;
    }
    let clashes = |other: &&Arc<Listener>| {
        other.protocol.shares_ports_with(new.protocol) && overlap(other.bind, new.bind)
    };
    if let Some(other) = others.iter().find(clashes) {
        let at = place(raw.bind.as_ref().map(|bind| &bind.place));
        let message = format!(
            "{} is already bound by the listener {} at {}",
            new.bind, other.name, other.source
        );
        report.error_help(&at, message, "give one of them another port");
        return false;
    }
    true
}

/// Whether the two cannot be bound at once. Port 0 is a free port each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port()
        && a.port() != 0
        && (a.ip() == b.ip() || (any && a.is_ipv4() == b.is_ipv4()))
}

fn compile_one(
    raw: &raw::Listener,
    trust_domain: &TrustDomain,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<Listener> {
    let place = &raw.meta.place;
    let name = report.required(&raw.name, &raw.meta, "the name of the listener")?;
    let listener_name = report.valid(ListenerName::new(&name.value), &name.place);
    let bind = report
        .required(&raw.bind, &raw.meta, "the address to bind")
        .map(|bind| bind.value);
    let protocol = protocol(raw, report);
    if let Some(protocol) = protocol {
        without_effect(raw, protocol, report);
    }
    let trusted_hops = trusted_hops(raw.trusted_hops.as_ref(), report);
    let mut limits = raw
        .limits
        .as_ref()
        .map_or_else(Limits::default, |raw| limits(raw, report));
    let http2 = raw
        .http2
        .as_ref()
        .map_or_else(Http2::default, |raw| http2::compile(raw, report));
    let tls = match (&raw.tls, protocol) {
        (Some(raw), Some(Protocol::Https)) => Some(tls::listener(raw, &http2, keyring, report)?),
        _ => None,
    };
    let authorization = raw
        .authorization
        .as_ref()
        .map(|raw| authorization::listener(raw, trust_domain, report));
    limits.get_body = raw.allow_get_body.as_ref().is_some_and(|allow| allow.value);
    Some(Listener {
        mesh: None,
        capture: None,
        name: listener_name?,
        bind: bind?,
        protocol: protocol?,
        trusted_hops,
        path_policy: match raw.path_policy.as_ref().map(|policy| policy.value) {
            Some(raw::Policy::Strict) => PathPolicy::Strict,
            Some(raw::Policy::Canonicalize) | None => PathPolicy::Canonicalize,
        },
        limits,
        via: raw.via.as_ref().is_some_and(|via| via.value),
        proxy_protocol: raw
            .proxy_protocol
            .as_ref()
            .map(|raw| proxy_protocol(raw, report)),
        udp: raw
            .udp
            .as_ref()
            .map_or_else(UdpLimits::default, |raw| udp(raw, report)),
        tls: tls.map(Arc::new),
        http2,
        authorization: authorization.map(Arc::new),
        client_cert: match raw.forward_client_cert.as_ref().map(|at| at.value) {
            Some(raw::ForwardClientCert::SanitizeSet) => ForwardClientCert::SanitizeSet,
            Some(raw::ForwardClientCert::AppendForward) => ForwardClientCert::AppendForward,
            Some(raw::ForwardClientCert::Sanitize) | None => ForwardClientCert::Sanitize,
        },
        source: place.source.clone(),
    })
}

/// Serving in plain text what was meant to be encrypted is worse than not serving it.
fn protocol(raw: &raw::Listener, report: &mut Report) -> Option<Protocol> {
    let protocol = match &raw.protocol {
        Some(written) => written_protocol(written, report)?,
        None => Protocol::Http,
    };
    match (&raw.tls, protocol) {
        (None, Protocol::Https) if !raw.meta.broken => {
            let place = raw.protocol.as_ref().map(|at| &at.place);
            let help = "give it tls: { certificates: [{ cert: FILE, key: FILE }] }, or tls: { selfSigned: true } for development";
            report.error_help(place.unwrap_or(&raw.meta.place), "https needs tls", help);
        }
        (Some(tls), other) if other != Protocol::Https => {
            let message = format!(
                "tls is for protocol https, this listener is of {}",
                other.text()
            );
            let help = "the listener is left out rather than served in plain text; set protocol: https, or remove tls";
            report.error_help(&tls.meta.place, message, help);
        }
        _ => {}
    }
    Some(protocol)
}

fn written_protocol(written: &At<String>, report: &mut Report) -> Option<Protocol> {
    let named = |p: &&Protocol| p.text().eq_ignore_ascii_case(&written.value);
    if let Some(protocol) = Protocol::ALL.iter().find(named) {
        return Some(*protocol);
    }
    let help = match written.value.to_ascii_lowercase().as_str() {
        "tls" => "https ends TLS here, tls-passthrough passes it on".to_owned(),
        "h2c" | "http2" | "h2" | "grpc" => {
            "http and https speak HTTP/2 too, and gRPC with it".to_owned()
        }
        other => suggest(other, &Protocol::ALL.map(Protocol::text)),
    };
    let message = format!("unknown protocol {:?}", written.value);
    report.error_help(&written.place, message, help);
    None
}

/// Names each setting that this protocol has no use for: one that guards is an error, as its author relies on it.
fn without_effect(raw: &raw::Listener, protocol: Protocol, report: &mut Report) {
    let what = protocol.text();
    if let Some(udp) = raw.udp.as_ref().filter(|_| protocol != Protocol::Udp) {
        let message = format!("udp is for listeners of protocol udp, this one is {what}");
        report.error_help(&udp.meta.place, message, "set protocol: udp, or remove it");
    }
    if let Some(proxy) = &raw.proxy_protocol
        && protocol == Protocol::Udp
    {
        let help = "PROXY headers are read on http, https, tcp and tls-passthrough; remove it";
        report.error_help(
            &proxy.meta.place,
            "proxyProtocol is not read on UDP by this version",
            help,
        );
    }
    let handshake = raw.limits.as_ref();
    let handshake = handshake.and_then(|limits| limits.handshake_timeout.as_ref());
    if let Some(at) = handshake.filter(|_| protocol != Protocol::Https) {
        let message =
            format!("limits.handshakeTimeout has no effect on a listener of protocol {what}");
        report.warn(&at.place, message, "remove it; it is for https");
    }
    if !protocol.is_stream() {
        return;
    }
    let hops = raw.trusted_hops.as_ref().map(|hops| match hops {
        raw::Hops::Count(count) => &count.place,
        raw::Hops::Networks(networks) => networks.first().map_or(&raw.meta.place, |n| &n.place),
    });
    let limits = raw.limits.as_ref();
    let field = |field: fn(&raw::Limits) -> &Option<At<u32>>| {
        limits.and_then(|limits| field(limits).as_ref().map(|at| &at.place))
    };
    for (name, place) in [
        ("trustedHops", hops),
        ("pathPolicy", raw.path_policy.as_ref().map(|at| &at.place)),
        (
            "allowGetBody",
            raw.allow_get_body.as_ref().map(|at| &at.place),
        ),
        ("via", raw.via.as_ref().map(|at| &at.place)),
        ("http2", raw.http2.as_ref().map(|raw| &raw.meta.place)),
        (
            "forwardClientCert",
            raw.forward_client_cert.as_ref().map(|at| &at.place),
        ),
        ("limits.maxHeaders", field(|l| &l.max_headers)),
        ("limits.maxHeaderBytes", field(|l| &l.max_header_bytes)),
        ("limits.maxFieldBytes", field(|l| &l.max_field_bytes)),
        (
            "limits.maxRequestLineBytes",
            field(|l| &l.max_request_line_bytes),
        ),
    ] {
        if let Some(place) = place {
            let message = format!("{name} has no effect on a listener of protocol {what}");
            report.warn(place, message, "remove it; it is for http and https");
        }
    }
}

fn proxy_protocol(raw: &raw::ProxyProtocol, report: &mut Report) -> ProxyProtocol {
    let from = report.required(&raw.from, &raw.meta, "from, the networks of the proxies,");
    let from = from.map(Vec::as_slice).unwrap_or_default();
    if raw.from.is_some() && from.is_empty() {
        let help = "name the proxies in front, as in from: [10.0.0.0/8], or remove proxyProtocol";
        report.error_help(&raw.meta.place, "nobody may send a PROXY header", help);
    }
    if let Some(all) = from.iter().find(|network| network.value.prefix_len() == 0) {
        let help = "any client can then claim any address; name the networks of your own proxies";
        report.warn(&all.place, format!("{} trusts everybody", all.value), help);
    }
    ProxyProtocol {
        from: from.iter().map(|network| network.value.trunc()).collect(),
        required: raw.required.as_ref().is_none_or(|at| at.value),
        pass_tlvs: raw
            .tlvs
            .as_ref()
            .is_some_and(|at| at.value == raw::Tlvs::Pass),
    }
}

/// More sessions than this need more ports than an address has.
const MAX_SESSIONS: u32 = 60_000;
/// The most that a datagram over IPv4 can carry.
const MAX_PACKET: u32 = 65_507;

fn udp(raw: &raw::Udp, report: &mut Report) -> UdpLimits {
    let mut limits = UdpLimits::default();
    let mut count = |at: &Option<At<u32>>, max: u32, into: &mut usize| {
        let want = format!("this limit is from 1 to {max}");
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, |n| (1..=max).contains(&n), &want));
        *into = value.map_or(*into, |value| value as usize);
    };
    count(&raw.max_sessions, MAX_SESSIONS, &mut limits.max_sessions);
    count(&raw.max_packet, MAX_PACKET, &mut limits.max_packet);
    if let Some(at) = &raw.idle_timeout {
        let value = report.bounded(at, millis_or_more, "this timeout is at least 1ms");
        limits.idle_timeout = value.unwrap_or(limits.idle_timeout);
    }
    limits
}

fn trusted_hops(raw: Option<&raw::Hops>, report: &mut Report) -> TrustedHops {
    match raw {
        None => TrustedHops::None,
        Some(raw::Hops::Count(count)) if count.value == 0 => TrustedHops::None,
        Some(raw::Hops::Count(count)) => TrustedHops::Count(count.value),
        Some(raw::Hops::Networks(networks)) if networks.is_empty() => TrustedHops::None,
        Some(raw::Hops::Networks(networks)) => {
            if let Some(all) = networks
                .iter()
                .find(|network| network.value.prefix_len() == 0)
            {
                let help =
                    "any client can then claim any address; name the networks of your own proxies";
                report.warn(&all.place, format!("{} trusts everybody", all.value), help);
            }
            TrustedHops::Networks(
                networks
                    .iter()
                    .map(|network| network.value.trunc())
                    .collect(),
            )
        }
    }
}

/// The default sizes are the largest, too: the buffer that a head must fit into is made for them.
const MAX_LINE: u32 = 8 * 1024;
const MAX_HEAD: u32 = 60 * 1024;
/// Fields that the parser has room for.
const MAX_FIELDS: u32 = 256;

fn limits(raw: &raw::Limits, report: &mut Report) -> Limits {
    let mut limits = Limits::default();
    let mut count = |at: &Option<At<u32>>, max: u32, into: &mut usize| {
        let want = format!("this limit is from 1 to {max}");
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, |n| (1..=max).contains(&n), &want));
        if let Some(value) = value {
            *into = value as usize;
        }
    };
    count(&raw.max_headers, MAX_FIELDS, &mut limits.max_headers);
    count(
        &raw.max_header_bytes,
        MAX_HEAD,
        &mut limits.max_header_bytes,
    );
    count(&raw.max_field_bytes, MAX_HEAD, &mut limits.max_field_bytes);
    count(
        &raw.max_request_line_bytes,
        MAX_LINE,
        &mut limits.max_request_line_bytes,
    );
    let mut time = |at: &Option<At<Duration>>, into: &mut Duration| {
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, millis_or_more, "this timeout is at least 1ms"));
        if let Some(value) = value {
            *into = value;
        }
    };
    time(&raw.head_timeout, &mut limits.head_timeout);
    time(&raw.handshake_timeout, &mut limits.handshake_timeout);
    time(&raw.idle_timeout, &mut limits.idle_timeout);
    time(&raw.stream_idle_timeout, &mut limits.stream_idle_timeout);
    limits
}
