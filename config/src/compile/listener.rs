//! Listeners: names and addresses are unique, and what cannot be served is not pretended to be.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use crate::diagnostic::suggest;
use crate::model::{Limits, Listener, ListenerName, PathPolicy, Protocol, TrustedHops};
use crate::raw::{self, At, millis_or_more};

/// The listeners that hold, and the names of all that were written.
pub(super) struct Listeners {
    pub(super) valid: Vec<Arc<Listener>>,
    /// With those left out: a route that names one needs no second report.
    pub(super) known: BTreeSet<String>,
}

pub(super) fn compile<'a>(
    all: impl Iterator<Item = &'a raw::Listener>,
    report: &mut Report,
) -> Listeners {
    let mut listeners = Listeners {
        valid: Vec::new(),
        known: BTreeSet::new(),
    };
    for raw in all {
        if let Some(name) = &raw.name {
            listeners.known.insert(name.value.clone());
        }
        let errors = report.errors();
        let listener = compile_one(raw, report);
        let holds = report.errors() == errors && !raw.meta.broken;
        if let Some(listener) = listener.filter(|_| holds)
            && alone(&listener, raw, &listeners.valid, report)
        {
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
    if let Some(other) = others.iter().find(|other| overlap(other.bind, new.bind)) {
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

fn compile_one(raw: &raw::Listener, report: &mut Report) -> Option<Listener> {
    let place = &raw.meta.place;
    let name = report.required(&raw.name, &raw.meta, "the name of the listener")?;
    let listener_name = report.valid(ListenerName::new(&name.value), &name.place);
    let bind = report
        .required(&raw.bind, &raw.meta, "the address to bind")
        .map(|bind| bind.value);
    protocol(raw, report);
    let trusted_hops = trusted_hops(raw.trusted_hops.as_ref(), report);
    let mut limits = raw
        .limits
        .as_ref()
        .map_or_else(Limits::default, |raw| limits(raw, report));
    limits.get_body = raw.allow_get_body.as_ref().is_some_and(|allow| allow.value);
    Some(Listener {
        name: listener_name?,
        bind: bind?,
        protocol: Protocol::Http,
        trusted_hops,
        path_policy: match raw.path_policy.as_ref().map(|policy| policy.value) {
            Some(raw::Policy::Strict) => PathPolicy::Strict,
            Some(raw::Policy::Canonicalize) | None => PathPolicy::Canonicalize,
        },
        limits,
        via: raw.via.as_ref().is_some_and(|via| via.value),
        source: place.source.clone(),
    })
}

/// Serving in plain text what was meant to be encrypted is worse than not serving it.
fn protocol(raw: &raw::Listener, report: &mut Report) {
    if let Some(tls) = &raw.tls {
        let help = "the listener is left out rather than served in plain text; remove tls, or end TLS in front of Weir";
        report.error_help(&tls.place, "tls is not served by this version", help);
    }
    let Some(protocol) = &raw.protocol else {
        return;
    };
    match protocol.value.as_str() {
        "http" | "HTTP" => {}
        "https" | "HTTPS" | "tls" | "TLS" | "tcp" | "TCP" | "udp" | "UDP" | "h2c" | "grpc" => {
            let message = format!(
                "the protocol {} is not served by this version",
                protocol.value
            );
            report.error_help(
                &protocol.place,
                message,
                "the listener is left out; this version serves http",
            );
        }
        other => report.error_help(
            &protocol.place,
            format!("unknown protocol {other:?}"),
            suggest(other, &["http"]),
        ),
    }
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
    time(&raw.idle_timeout, &mut limits.idle_timeout);
    time(&raw.stream_idle_timeout, &mut limits.stream_idle_timeout);
    limits
}
