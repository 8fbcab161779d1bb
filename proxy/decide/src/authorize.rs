//! Who may call what: policies against one request or connection (Istio, `AuthorizationPolicy`).
//!
//! A DENY that fits refuses, whatever else fits; else, if there is an ALLOW, one must fit; else everybody may. No order of
//! policies, rules or values changes the answer.
//!
//! # Spellings
//! What an endpoint makes of a path, a method or a repeated header is its own affair: one takes `/admin;x` or `/ADMIN` for
//! `/admin`, another does not. So what refuses is held against every reading, and what admits must hold in each of them
//! (`Reading`). An attribute that is not there, such as the path of a connection of TCP, is refused by a DENY that asks
//! for it and admitted by no ALLOW that does, as with Istio.
//!
//! Nothing here allocates.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

mod explain;
mod pattern;

use std::net::IpAddr;

use weir_config::model::{
    AccessAction, AccessCondition, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among,
    Authorization, Pattern,
};

use super::route::Headers;
pub use explain::{Tried, Why, explain};
use pattern::Reading;

/// What is asked for, and by whom.
#[derive(Debug)]
pub struct Call<'a, H: ?Sized> {
    pub listener: &'a str,
    /// The SPIFFE id that the peer has proved.
    pub principal: Option<&'a str>,
    /// Who is connected.
    pub peer: IpAddr,
    /// For whom.
    pub client: IpAddr,
    /// The port that was called.
    pub port: u16,
    /// The name that a client of TLS asked for.
    pub server_name: Option<&'a str>,
    /// `None` for what is no request of HTTP.
    pub request: Option<Asked<'a, H>>,
}

/// A request.
#[derive(Debug)]
pub struct Asked<'a, H: ?Sized> {
    /// In lower case, without a port; a dot at the end does not count.
    pub host: &'a str,
    pub method: &'a str,
    /// In canonical form.
    pub path: &'a str,
    pub headers: &'a H,
}

/// An answer, and the policy that gave it, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    pub admitted: bool,
    /// `None`: no policy fits. Who is refused then found no ALLOW to fit.
    pub by: Option<usize>,
}

/// All answers for one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// By the policies in force.
    pub ruling: Ruling,
    /// By those and the ones that are for the log only, where there are any.
    pub logged: Option<Ruling>,
    /// The first AUDIT that fits.
    pub audited: Option<usize>,
}

/// Decides.
#[must_use]
pub fn judge<H: Headers + ?Sized>(authorization: &Authorization, call: &Call<'_, H>) -> Verdict {
    let policies = &authorization.policies;
    let audits = |policy: &AccessPolicy| {
        policy.action == AccessAction::Audit && fits(policy, call, Reading::Any)
    };
    Verdict {
        ruling: ruling(policies, call, false),
        logged: policies
            .iter()
            .any(|policy| policy.log_only)
            .then(|| ruling(policies, call, true)),
        audited: policies.iter().position(audits),
    }
}

fn ruling<H: Headers + ?Sized>(
    policies: &[AccessPolicy],
    call: &Call<'_, H>,
    with_logged: bool,
) -> Ruling {
    let of = |action| {
        let all = policies.iter().enumerate();
        all.filter(move |(_, p)| p.action == action && (with_logged || !p.log_only))
    };
    if let Some((at, _)) = of(AccessAction::Deny).find(|(_, p)| fits(p, call, Reading::Any)) {
        return Ruling {
            admitted: false,
            by: Some(at),
        };
    }
    let allowed = of(AccessAction::Allow).find(|(_, p)| fits(p, call, Reading::All));
    Ruling {
        admitted: allowed.is_some() || of(AccessAction::Allow).next().is_none(),
        by: allowed.map(|(at, _)| at),
    }
}

/// Whether one of its rules fits.
fn fits<H: Headers + ?Sized>(policy: &AccessPolicy, call: &Call<'_, H>, reading: Reading) -> bool {
    policy
        .rules
        .iter()
        .any(|rule| rule_fits(rule, call, reading))
}

fn rule_fits<H: Headers + ?Sized>(rule: &AccessRule, call: &Call<'_, H>, reading: Reading) -> bool {
    (rule.from.is_empty() || rule.from.iter().any(|source| source_fits(source, call)))
        && (rule.to.is_empty()
            || rule
                .to
                .iter()
                .any(|operation| operation_fits(operation, call, reading)))
        && rule
            .when
            .iter()
            .all(|condition| condition_fits(condition, call, reading))
}

/// One of `only`, if there are any, and none of `never`. What is forbidden inside a rule is read the other way round: a
/// request that an ALLOW is not for must not become one by its spelling.
fn among<T>(wanted: &Among<T>, reading: Reading, fits: impl Fn(&T, Reading) -> bool) -> bool {
    (wanted.only.is_empty() || wanted.only.iter().any(|want| fits(want, reading)))
        && !wanted.never.iter().any(|want| fits(want, reading.other()))
}

fn source_fits<H: ?Sized>(source: &AccessSource, call: &Call<'_, H>) -> bool {
    principal_fits(&source.principals, call.principal)
        && address_fits(&source.peers, call.peer)
        && address_fits(&source.clients, call.client)
}

/// Byte for byte: an identity has one spelling.
fn principal_fits(wanted: &Among<Pattern>, principal: Option<&str>) -> bool {
    among(wanted, Reading::All, |want, _| {
        principal.is_some_and(|principal| pattern::text(want, principal))
    })
}

fn address_fits(wanted: &Among<ipnet::IpNet>, address: IpAddr) -> bool {
    among(wanted, Reading::All, |net, _| net.contains(&address))
}

fn port_fits(wanted: &Among<u16>, port: u16) -> bool {
    among(wanted, Reading::All, |want, _| *want == port)
}

fn operation_fits<H: Headers + ?Sized>(
    operation: &AccessOperation,
    call: &Call<'_, H>,
    reading: Reading,
) -> bool {
    port_fits(&operation.ports, call.port)
        && among(&operation.listeners, reading, |want, _| {
            pattern::text(want, call.listener)
        })
        && request_fits(&operation.methods, call, reading, |want, asked, reading| {
            pattern::method(want, asked.method, reading)
        })
        && request_fits(&operation.paths, call, reading, |want, asked, reading| {
            pattern::path(want, asked.path, reading)
        })
        && request_fits(&operation.hosts, call, reading, |want, asked, _| {
            let host = asked.host.strip_suffix('.').unwrap_or(asked.host);
            pattern::text(want, host)
        })
}

/// What is wanted of a request; of what is none, as the reading has it.
fn request_fits<H: ?Sized>(
    wanted: &Among<Pattern>,
    call: &Call<'_, H>,
    reading: Reading,
    fits: impl Fn(&Pattern, &Asked<'_, H>, Reading) -> bool,
) -> bool {
    match &call.request {
        Some(asked) => among(wanted, reading, |want, reading| fits(want, asked, reading)),
        None => wanted.is_empty() || reading == Reading::Any,
    }
}

fn condition_fits<H: Headers + ?Sized>(
    condition: &AccessCondition,
    call: &Call<'_, H>,
    reading: Reading,
) -> bool {
    match condition {
        AccessCondition::Header { name, values } => {
            request_fits(values, call, reading, |want, asked, reading| {
                pattern::header(want, asked.headers.values(name), reading)
            })
        }
        AccessCondition::Principal(wanted) => principal_fits(wanted, call.principal),
        AccessCondition::Peer(wanted) => address_fits(wanted, call.peer),
        AccessCondition::Client(wanted) => address_fits(wanted, call.client),
        AccessCondition::Port(wanted) => port_fits(wanted, call.port),
        AccessCondition::ServerName(wanted) => among(wanted, reading, |want, _| {
            call.server_name
                .is_some_and(|name| pattern::text(want, name))
        }),
    }
}

#[cfg(test)]
mod tests;
