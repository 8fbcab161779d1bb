//! Rules, attribute by attribute.

use ipnet::IpNet;

use crate::compile::report::Report;
use crate::diagnostic::Place;
use crate::model::{
    AccessCondition, AccessOperation, AccessRule, AccessSource, Among, Pattern, ServiceName,
    SpiffeId, TrustDomain,
};
use crate::raw::{self, At, Later};

/// In whose words rules are written.
pub(in crate::compile) struct Context<'a> {
    /// Weir's own words: a name without a scheme is a service of that domain, and a path is with all below it. `None`:
    /// Istio's.
    pub(in crate::compile) trust_domain: Option<&'a TrustDomain>,
}

/// What is wanted, or nothing where a list is not written.
pub(super) fn among<T, U>(
    only: &Option<Vec<At<T>>>,
    never: &Option<Vec<At<T>>>,
    report: &mut Report,
    read: impl Fn(&At<T>, &mut Report) -> Option<U>,
) -> Among<U> {
    let mut list = |all: &Option<Vec<At<T>>>| -> Vec<U> {
        let all = all.iter().flatten();
        all.filter_map(|at| read(at, report)).collect()
    };
    Among {
        only: list(only),
        never: list(never),
    }
}

/// An empty list would be taken for one that is not written, and admit whom it was meant to shut out.
pub(super) fn not_empty<T>(
    name: &str,
    list: &Option<Vec<At<T>>>,
    place: &Place,
    report: &mut Report,
) {
    if list.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("{name} is empty, so nothing could fit it");
        report.error_help(place, message, "remove it, or write what is meant");
    }
}

pub(super) fn text(at: &At<String>, report: &mut Report) -> Option<Pattern> {
    report.valid(Pattern::new(&at.value), &at.place)
}

pub(super) fn method(at: &At<String>, report: &mut Report) -> Option<Pattern> {
    let pattern = text(at, report)?;
    if at.value.bytes().any(|b| b.is_ascii_lowercase()) {
        let message = format!("methods are written in capitals, {:?} is not", at.value);
        report.error(&at.place, message);
        return None;
    }
    Some(pattern)
}

/// In lower case, and without the port that Istio has its users allow for.
pub(super) fn host(at: &At<String>, report: &mut Report) -> Option<Pattern> {
    let host = at.value.strip_suffix(":*").unwrap_or(&at.value);
    let port = host.rsplit_once(':').is_some_and(|(_, port)| {
        !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(']')
    });
    if port {
        let message = format!("the host {host:?} has a port, and hosts are compared without");
        report.error_help(&at.place, message, "say the port under ports");
        return None;
    }
    let pattern = report.valid(Pattern::new(host), &at.place)?;
    let dot = |text: &str| text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    Some(match pattern {
        Pattern::Prefix(text) => Pattern::Prefix(text.to_ascii_lowercase().into()),
        other => other.map(dot),
    })
}

pub(super) fn networks(
    only: &Option<Vec<At<IpNet>>>,
    never: &Option<Vec<At<IpNet>>>,
    report: &mut Report,
) -> Among<IpNet> {
    among(only, never, report, |at, _| Some(at.value.trunc()))
}

pub(super) fn ports(
    only: &Option<Vec<At<u16>>>,
    never: &Option<Vec<At<u16>>>,
    report: &mut Report,
) -> Among<u16> {
    among(only, never, report, |at, report| {
        report.bounded(at, |port| port > 0, "a port is from 1 to 65535")
    })
}

pub(super) fn rules(
    all: &[raw::AccessRule],
    context: &Context<'_>,
    report: &mut Report,
) -> Vec<AccessRule> {
    all.iter().map(|raw| context.rule(raw, report)).collect()
}

impl Context<'_> {
    /// Who calls.
    pub(super) fn caller(&self, at: &At<String>, report: &mut Report) -> Option<Pattern> {
        let text = at.value.as_str();
        let Some(domain) = self.trust_domain else {
            return self.principal(at, report);
        };
        if text.contains('*') || text.contains("://") {
            return self.principal(at, report);
        }
        let service = report.valid(ServiceName::new(text), &at.place)?;
        let id = report.valid(SpiffeId::of_service(domain, &service), &at.place)?;
        Some(Pattern::Exact(id.as_str().into()))
    }

    /// A SPIFFE id, with its scheme or as Istio writes it, without; or a part of one.
    fn principal(&self, at: &At<String>, report: &mut Report) -> Option<Pattern> {
        let pattern = text(at, report)?;
        let whole = |text: &str| match text.contains("://") {
            true => text.to_owned(),
            false => format!("spiffe://{text}"),
        };
        match pattern {
            Pattern::Exact(id) => {
                let id = report.valid(SpiffeId::new(&whole(&id)), &at.place)?;
                Some(Pattern::Exact(id.as_str().into()))
            }
            Pattern::Prefix(start) => {
                let start = whole(&start);
                if !start.starts_with("spiffe://") {
                    report.error(&at.place, format!("no SPIFFE id starts with {start:?}"));
                    return None;
                }
                Some(Pattern::Prefix(start.into()))
            }
            other => Some(other),
        }
    }

    /// A path, in its canonical form: another would fit nothing.
    pub(super) fn path(&self, at: &At<String>, report: &mut Report) -> Option<Pattern> {
        let text = at.value.as_str();
        let own = self.trust_domain.is_some();
        let result = match text {
            text if own && text.starts_with('=') => {
                Pattern::new(&text[1..]).and_then(|pattern| match &pattern {
                    Pattern::Exact(_) => Ok(pattern),
                    _ => Pattern::under(text),
                })
            }
            text if own && text.ends_with("/**") => Pattern::under(&text[..text.len() - 2]),
            text if own && !text.contains('*') => Pattern::under(text),
            text => Pattern::new(text),
        };
        let pattern = report.valid(result, &at.place)?;
        if let Some(why) = unmatchable(&pattern) {
            let message = format!("the path {text:?} would fit nothing: {why}");
            let help = "paths are compared in their canonical form, as they are forwarded";
            report.error_help(&at.place, message, help);
            return None;
        }
        Some(pattern)
    }

    fn rule(&self, raw: &raw::AccessRule, report: &mut Report) -> AccessRule {
        let place = &raw.meta.place;
        for (list, empty) in [
            ("from", raw.from.as_ref().is_some_and(Vec::is_empty)),
            ("to", raw.to.as_ref().is_some_and(Vec::is_empty)),
            ("when", raw.when.as_ref().is_some_and(Vec::is_empty)),
        ] {
            if empty {
                report.error_help(
                    place,
                    format!("{list} is empty"),
                    "remove it, or say whom or what it means",
                );
            }
        }
        let from = raw.from.iter().flatten();
        let to = raw.to.iter().flatten();
        let when = raw.when.iter().flatten();
        AccessRule {
            from: from.filter_map(|raw| self.source(raw, report)).collect(),
            to: to.filter_map(|raw| self.operation(raw, report)).collect(),
            when: when.filter_map(|raw| self.condition(raw, report)).collect(),
        }
    }

    fn source(&self, raw: &raw::RuleFrom, report: &mut Report) -> Option<AccessSource> {
        let raw = report.required(&raw.source, &raw.meta, "the source of an entry of from")?;
        let errors = report.errors();
        for (later, name) in [
            (&raw.request_principals, "requestPrincipals"),
            (&raw.not_request_principals, "notRequestPrincipals"),
            (&raw.namespaces, "namespaces"),
            (&raw.not_namespaces, "notNamespaces"),
            (&raw.service_accounts, "serviceAccounts"),
            (&raw.not_service_accounts, "notServiceAccounts"),
        ] {
            not_supported(later, name, report);
        }
        let place = &raw.meta.place;
        not_empty("principals", &raw.principals, place, report);
        not_empty("notPrincipals", &raw.not_principals, place, report);
        not_empty("ipBlocks", &raw.ip_blocks, place, report);
        not_empty("notIpBlocks", &raw.not_ip_blocks, place, report);
        not_empty("remoteIpBlocks", &raw.remote_ip_blocks, place, report);
        not_empty(
            "notRemoteIpBlocks",
            &raw.not_remote_ip_blocks,
            place,
            report,
        );
        let source = AccessSource {
            principals: among(
                &raw.principals,
                &raw.not_principals,
                report,
                |at, report| self.principal(at, report),
            ),
            peers: networks(&raw.ip_blocks, &raw.not_ip_blocks, report),
            clients: networks(&raw.remote_ip_blocks, &raw.not_remote_ip_blocks, report),
        };
        if source == AccessSource::default() && report.errors() == errors && !raw.meta.broken {
            report.error(place, "the source names nobody");
        }
        Some(source)
    }

    fn operation(&self, raw: &raw::RuleTo, report: &mut Report) -> Option<AccessOperation> {
        let raw = report.required(&raw.operation, &raw.meta, "the operation of an entry of to")?;
        let errors = report.errors();
        let place = &raw.meta.place;
        for (name, list) in [
            ("hosts", &raw.hosts),
            ("notHosts", &raw.not_hosts),
            ("methods", &raw.methods),
            ("notMethods", &raw.not_methods),
            ("paths", &raw.paths),
            ("notPaths", &raw.not_paths),
        ] {
            not_empty(name, list, place, report);
        }
        not_empty("ports", &raw.ports, place, report);
        not_empty("notPorts", &raw.not_ports, place, report);
        let operation = AccessOperation {
            listeners: Among::default(),
            hosts: among(&raw.hosts, &raw.not_hosts, report, host),
            methods: among(&raw.methods, &raw.not_methods, report, method),
            paths: among(&raw.paths, &raw.not_paths, report, |at, report| {
                self.path(at, report)
            }),
            ports: ports(&raw.ports, &raw.not_ports, report),
        };
        if operation == AccessOperation::default() && report.errors() == errors && !raw.meta.broken
        {
            report.error(place, "the operation names nothing");
        }
        Some(operation)
    }

    fn condition(&self, raw: &raw::Condition, report: &mut Report) -> Option<AccessCondition> {
        let key = report.required(&raw.key, &raw.meta, "the key of the condition")?;
        if raw.values.as_ref().is_none_or(Vec::is_empty)
            && raw.not_values.as_ref().is_none_or(Vec::is_empty)
        {
            report.error(
                &raw.meta.place,
                "the condition has neither values nor notValues",
            );
            return None;
        }
        let (only, never) = (&raw.values, &raw.not_values);
        Some(match key.value.as_str() {
            "source.principal" => {
                AccessCondition::Principal(among(only, never, report, |at, report| {
                    self.principal(at, report)
                }))
            }
            "source.ip" => AccessCondition::Peer(among(only, never, report, scalar::<IpNet>)),
            "remote.ip" => AccessCondition::Client(among(only, never, report, scalar::<IpNet>)),
            "destination.port" => AccessCondition::Port(among(only, never, report, scalar::<u16>)),
            "connection.sni" => AccessCondition::ServerName(among(only, never, report, host)),
            other => {
                let name = other.strip_prefix("request.headers[");
                let name = name.and_then(|rest| rest.strip_suffix(']'));
                let Some(name) = name.filter(|name| is_token(name)) else {
                    let message = format!("the key {other:?} of a condition is not supported");
                    let help = "supported: request.headers[NAME], source.principal, source.ip, remote.ip, destination.port, connection.sni";
                    report.error_help(&key.place, message, help);
                    return None;
                };
                AccessCondition::Header {
                    name: name.to_ascii_lowercase().into(),
                    values: among(only, never, report, text),
                }
            }
        })
    }
}

fn scalar<T: raw::Scalar>(at: &At<String>, report: &mut Report) -> Option<T> {
    match T::parse(&at.value) {
        Ok(value) => Some(value),
        Err(refused) => {
            report.error(&at.place, refused.message);
            None
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(fits)
}

fn not_supported(later: &Option<Later>, name: &str, report: &mut Report) {
    if let Some(later) = later {
        let message = format!("{name} is not supported");
        let help = "identities of the mesh have no namespaces, and tokens of requests are not read; say whom under principals";
        report.error_help(&later.place, message, help);
    }
}

/// Why no canonical path has this text where the pattern wants it.
fn unmatchable(pattern: &Pattern) -> Option<&'static str> {
    let (text, starts) = match pattern {
        Pattern::Any => return None,
        Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Under(text) => (text, true),
        Pattern::Suffix(text) => (text, false),
    };
    if starts
        && !text.starts_with('/')
        && !matches!(pattern, Pattern::Under(text) if text.is_empty())
    {
        return Some("a path starts with /");
    }
    if text.contains("//") || text.contains('\\') || text.contains('?') || text.contains('#') {
        return Some("it has //, a backslash, a query or a fragment");
    }
    let inner = match pattern {
        // What stands at an open end may go on.
        Pattern::Prefix(text) => text.rsplit_once('/').map_or("", |(before, _)| before),
        Pattern::Suffix(text) => text.split_once('/').map_or("", |(_, after)| after),
        _ => text,
    };
    let dots = |segment: &str| matches!(segment, "." | "..");
    if inner.split('/').any(dots) {
        return Some("it has . or .. for a segment");
    }
    let escapes = text
        .match_indices('%')
        .map(|(at, _)| text.get(at + 1..at + 3));
    for escape in escapes {
        let value = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let small = escape.is_some_and(|hex| hex.bytes().any(|b| b.is_ascii_lowercase()));
        match value {
            None => return Some("% begins an escape of two hexadecimal digits"),
            Some(_) if small => return Some("escapes are in capitals"),
            Some(b'/' | b'\\' | 0) => return Some("paths with such an escape are refused"),
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                return Some("it escapes a character that needs no escape");
            }
            Some(_) => {}
        }
    }
    (!text.is_ascii() || text.bytes().any(|b| b <= b' ' || b == 127))
        .then_some("it has a character that stands in no path unescaped")
}
