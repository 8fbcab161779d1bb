//! What a route hashes: for the choice of a version, which the model calls sticky, or for a balancer by key.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::route_action::HashPolicy;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::{
    ConnectionProperties, Cookie, Header, PolicySpecifier, QueryParameter,
};
use weir_config::model::{HashKey, Rule, Sticky, StickyKey};

use super::Context;
use crate::basic::{duration, time};
use crate::refusal::{Refusal, Within as _, take};

/// Policies of a route, and whether they pick the cluster too.
pub(super) struct Encoded {
    pub(super) policies: Vec<HashPolicy>,
    pub(super) picks_version: bool,
}

pub(super) fn encode(rule: &Rule, context: &Context<'_>) -> Encoded {
    let one = |specifier| HashPolicy {
        terminal: false,
        policy_specifier: Some(specifier),
    };
    match (&rule.sticky, context.hash_key(&rule.backends)) {
        (Some(sticky), _) => Encoded {
            policies: vec![one(sticky_policy(&sticky.key))],
            picks_version: true,
        },
        (None, Some(key)) => Encoded {
            policies: vec![one(key_policy(key))],
            picks_version: false,
        },
        (None, None) => Encoded {
            policies: Vec::new(),
            picks_version: false,
        },
    }
}

fn sticky_policy(key: &StickyKey) -> PolicySpecifier {
    match key {
        StickyKey::Cookie { name, max_age } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            // Without a time Envoy sets none; of zero, one for the session.
            ttl: Some(duration(max_age.unwrap_or(Duration::ZERO))),
            path: "/".to_owned(),
            attributes: Vec::new(),
        }),
        StickyKey::Header(name) => header(name),
        StickyKey::ClientIp => source_ip(),
    }
}

fn key_policy(key: &HashKey) -> PolicySpecifier {
    match key {
        HashKey::Header(name) => header(name),
        HashKey::Cookie {
            name,
            path,
            max_age,
        } => PolicySpecifier::Cookie(Cookie {
            name: name.to_string(),
            ttl: max_age.map(duration),
            path: path.to_string(),
            attributes: Vec::new(),
        }),
        HashKey::SourceIp => source_ip(),
        HashKey::Query(name) => PolicySpecifier::QueryParameter(QueryParameter {
            name: name.to_string(),
        }),
    }
}

fn header(name: &str) -> PolicySpecifier {
    PolicySpecifier::Header(Header {
        header_name: name.to_owned(),
        regex_rewrite: None,
    })
}

fn source_ip() -> PolicySpecifier {
    PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
}

/// What was found out about keys.
#[derive(Default)]
pub(super) struct Keyed {
    pub(super) sticky: Option<Sticky>,
    /// For balancers by key of the services that the route names.
    pub(super) key: Option<HashKey>,
}

pub(super) fn decode(policies: Vec<HashPolicy>, picks_version: bool) -> Result<Keyed, Refusal> {
    let mut policies = policies.into_iter();
    let key =
        match (policies.next(), policies.next()) {
            (None, _) if picks_version => {
                return Err(Refusal::new("is missing, though it is to pick the cluster")
                    .within("hash_policy"));
            }
            (None, _) => return Ok(Keyed::default()),
            (Some(first), None) => key(first).at("hash_policy", 0)?,
            (Some(_), Some(_)) => {
                return Err(Refusal::new("holds more than one, which is not supported")
                    .within("hash_policy"));
            }
        };
    if !picks_version {
        return Ok(Keyed {
            sticky: None,
            key: Some(key),
        });
    }
    let key = match key {
        HashKey::Header(name) => StickyKey::Header(name),
        HashKey::SourceIp => StickyKey::ClientIp,
        HashKey::Cookie {
            name,
            path,
            max_age,
        } if &*path == "/" || path.is_empty() => StickyKey::Cookie {
            name,
            max_age: max_age.filter(|age| !age.is_zero()),
        },
        HashKey::Cookie { .. } | HashKey::Query(_) => {
            return Err(Refusal::new(
                "cannot pick a cluster here: a header, the address and a cookie for all paths can",
            ))
            .at("hash_policy", 0);
        }
    };
    Ok(Keyed {
        sticky: Some(Sticky { key }),
        key: None,
    })
}

fn key(wire: HashPolicy) -> Result<HashKey, Refusal> {
    // The last one ends the list whether it says so or not.
    let HashPolicy {
        terminal,
        policy_specifier,
    } = wire;
    let _ = terminal;
    match policy_specifier {
        None => Err(Refusal::missing("header")),
        Some(PolicySpecifier::Header(wire)) => {
            take!(wire => Header { header_name } refuse { regex_rewrite });
            Ok(HashKey::Header(Arc::from(header_name.to_ascii_lowercase())))
        }
        Some(PolicySpecifier::Cookie(wire)) => {
            take!(wire => Cookie { name, ttl, path } refuse { attributes });
            Ok(HashKey::Cookie {
                name: Arc::from(name),
                path: Arc::from(path),
                max_age: ttl
                    .map(|ttl| time(&ttl))
                    .transpose()
                    .within("ttl")
                    .within("cookie")?,
            })
        }
        Some(PolicySpecifier::ConnectionProperties(wire)) => {
            take!(wire => ConnectionProperties { source_ip } refuse {});
            match source_ip {
                true => Ok(HashKey::SourceIp),
                false => Err(Refusal::unsupported("connection_properties")),
            }
        }
        Some(PolicySpecifier::QueryParameter(wire)) => {
            take!(wire => QueryParameter { name } refuse {});
            Ok(HashKey::Query(Arc::from(name)))
        }
        Some(PolicySpecifier::FilterState(_)) => Err(Refusal::unsupported("filter_state")),
    }
}
