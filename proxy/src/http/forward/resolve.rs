//! What a request asks for: its names in canonical form, its client, its rule, its bucket.

use std::net::IpAddr;

use rand::Rng;
use weir_config::model::{Balancer, HashKey, Listener, Service, Sticky, StickyKey, TrustedHops};
use weir_decide::balance::{hash_ip, hash_key};
use weir_decide::path::canonicalize;
use weir_decide::route::{Found, Headers, Request, RouteTable};
use weir_decide::split;

use super::super::error::ProxyError;
use crate::http::h1::head::{Field, Known, Method, RequestHead};
use crate::http::h1::serve::{Connection, Scratch};
use crate::snapshot::RuleTable;

/// Puts host and path into the scratch in the one form in which they are matched and forwarded
/// (semantics 30).
pub(super) fn names(
    conn: &Connection,
    scratch: &mut Scratch,
    listener: &Listener,
) -> Result<(), ProxyError> {
    let bytes = conn.buffer.filled();
    scratch.host.clear();
    let authority = scratch.head.host.span().get(bytes);
    let end = match authority.first() {
        Some(b'[') => authority
            .iter()
            .position(|b| *b == b']')
            .map_or(authority.len(), |at| at + 1),
        _ => authority
            .iter()
            .position(|b| *b == b':')
            .unwrap_or(authority.len()),
    };
    // `shop.example.com.` is the same name. What is asked of its clients goes by this one, as its routes do.
    let name = &authority[..end];
    let name = name.strip_suffix(b".").unwrap_or(name);
    scratch
        .host
        .push_str(std::str::from_utf8(name).unwrap_or_default());
    scratch.host.make_ascii_lowercase();
    let raw = match scratch.head.target.path.get(bytes) {
        // An absolute target without a path, and OPTIONS *, are matched as the root.
        b"" | b"*" => b"/",
        raw => raw,
    };
    scratch.path.clear();
    let canonical = canonicalize(raw, listener.path_policy, &mut scratch.path_buffer)?;
    scratch.path.push_str(canonical);
    Ok(())
}

/// The client: the peer, unless the peer is trusted to name it.
pub(super) fn client(conn: &Connection, scratch: &Scratch, listener: &Listener) -> IpAddr {
    let trusted = &listener.trusted_hops;
    let peer = conn.client.peer.ip().to_canonical();
    if !conn.trusted {
        return peer;
    }
    let bytes = conn.buffer.filled();
    let fields = scratch
        .head
        .fields
        .iter()
        .rev()
        .filter(|f| f.known == Known::ForwardedFor);
    let entries = fields.flat_map(|field| field.value.text(bytes).rsplit(','));
    let mut entries =
        entries.map(|entry| entry.trim().parse::<IpAddr>().map(|ip| ip.to_canonical()));
    match trusted {
        TrustedHops::None => peer,
        // An app reaches its own sidecar over loopback, which says nothing of for whom it calls.
        TrustedHops::Count(_) if listener.mesh.is_some() => entries
            .find(|entry| !matches!(entry, Ok(ip) if ip.is_loopback()))
            .and_then(Result::ok)
            .unwrap_or(peer),
        TrustedHops::Count(count) => entries
            .nth(usize::from(*count).saturating_sub(1))
            .and_then(Result::ok)
            .unwrap_or(peer),
        TrustedHops::Networks(_) => {
            let mut last = peer;
            for entry in entries {
                // What is no address was not written by a proxy that we trust.
                let Ok(ip) = entry else { break };
                last = ip;
                if !trusted.trusts(ip) {
                    break;
                }
            }
            last
        }
    }
}

/// The rule that answers.
pub(super) fn route(conn: &Connection, scratch: &Scratch, table: &RouteTable) -> Option<Found> {
    let bytes = conn.buffer.filled();
    let head = &scratch.head;
    table.find(&Request {
        host: &scratch.host,
        path: &scratch.path,
        query: head.target.query.map(|query| query.get(bytes)),
        method: method(head, bytes),
        headers: &Fields { head, bytes },
    })
}

/// The method as it was sent.
pub(super) fn method<'a>(head: &RequestHead, bytes: &'a [u8]) -> &'a str {
    match head.kind {
        Method::Other => head.method.text(bytes),
        known => known.label(),
    }
}

pub(super) struct Fields<'a> {
    pub(super) head: &'a RequestHead,
    pub(super) bytes: &'a [u8],
}

impl Fields<'_> {
    /// The fields of that name, which is in lower case.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        let named = |field: &&Field| {
            field.name.len() == name.len()
                && field
                    .name
                    .get(self.bytes)
                    .eq_ignore_ascii_case(name.as_bytes())
        };
        self.head.fields.iter().filter(named)
    }
}

impl Headers for Fields<'_> {
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.named(name).map(|field| field.value.get(self.bytes))
    }
}

/// Where a client that sticks to a version falls. Sets the cookie of one that has none yet.
pub(super) fn bucket(
    conn: &Connection,
    scratch: &mut Scratch,
    rule: &RuleTable,
    client: IpAddr,
) -> Option<u64> {
    scratch.set_cookie.clear();
    let sticky = rule.rule().sticky.as_ref()?;
    let salt = rule
        .rule()
        .backends
        .first()
        .map_or("", |backend| backend.service.as_str());
    let bytes = conn.buffer.filled();
    match &sticky.key {
        StickyKey::ClientIp => Some(split::bucket(client.to_string().as_bytes(), salt)),
        StickyKey::Header(name) => {
            let fields = Fields {
                head: &scratch.head,
                bytes,
            };
            let value = fields.values(name).next()?;
            Some(split::bucket(value, salt))
        }
        StickyKey::Cookie { name, .. } => {
            if let Some(value) = cookie(&scratch.head, bytes, name) {
                return Some(split::bucket(value, salt));
            }
            let key = format!("{:016x}", conn.worker.random.borrow_mut().next_u64());
            set_cookie(&mut scratch.set_cookie, sticky, &key);
            Some(split::bucket(key.as_bytes(), salt))
        }
    }
}

/// What a service that is balanced by key hashes of this request; sets the cookie of a client that has none, where the
/// service asks for one.
pub(super) fn key(
    conn: &Connection,
    scratch: &mut Scratch,
    service: &Service,
    client: IpAddr,
) -> Option<u64> {
    let Balancer::ConsistentHash(hash) = &service.load_balancer.balancer else {
        return None;
    };
    let bytes = conn.buffer.filled();
    match &hash.key {
        HashKey::SourceIp => Some(hash_ip(client)),
        HashKey::Header(name) => {
            let fields = Fields {
                head: &scratch.head,
                bytes,
            };
            fields.values(name).next().map(hash_key)
        }
        HashKey::Query(name) => {
            let query = scratch.head.target.query?.text(bytes);
            weir_decide::route::query_value(query, name).map(|value| hash_key(value.as_bytes()))
        }
        HashKey::Cookie {
            name,
            path,
            max_age,
        } => {
            if let Some(value) = cookie(&scratch.head, bytes, name) {
                return Some(hash_key(value));
            }
            let max_age = (*max_age)?;
            let value = format!("{:016x}", conn.worker.random.borrow_mut().next_u64());
            let age = match max_age.as_secs() {
                0 => String::new(),
                seconds => format!("; Max-Age={seconds}"),
            };
            let line =
                format!("Set-Cookie: {name}={value}; Path={path}; HttpOnly; SameSite=Lax{age}\r\n");
            scratch.set_cookie.extend_from_slice(line.as_bytes());
            Some(hash_key(value.as_bytes()))
        }
    }
}

/// The value of a cookie (RFC 6265, section 4.2.1); empty ones do not count.
fn cookie<'a>(head: &RequestHead, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let fields = head.fields.iter().filter(|f| f.known == Known::Cookie);
    let pairs = fields.flat_map(|field| field.value.get(bytes).split(|b| *b == b';'));
    let mut values = pairs.filter_map(|pair| {
        let value = pair
            .trim_ascii()
            .strip_prefix(name.as_bytes())?
            .strip_prefix(b"=")?;
        (!value.is_empty() && value.len() <= 256).then_some(value)
    });
    values.next()
}

fn set_cookie(out: &mut Vec<u8>, sticky: &Sticky, key: &str) {
    let StickyKey::Cookie { name, max_age } = &sticky.key else {
        return;
    };
    out.extend_from_slice(
        format!("Set-Cookie: {name}={key}; Path=/; HttpOnly; SameSite=Lax").as_bytes(),
    );
    if let Some(age) = max_age {
        out.extend_from_slice(format!("; Max-Age={}", age.as_secs()).as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}
