//! Who may call: what was written, as policies.
//!
//! A policy of which something cannot be read or is not supported is never taken without it: left out of a DENY it would
//! admit, left out of an ALLOW too. In its place stands one that fails closed ([`AccessPolicy::closed`]), and that is said.

pub(super) mod mesh;
mod rule;

use super::report::Report;
use crate::diagnostic::Place;
use crate::model::{
    AccessAction, AccessOperation, AccessPolicy, AccessRule, AccessSource, Authorization,
    PolicyName, TrustDomain,
};
use crate::raw::{self, At};
pub(super) use rule::Context;

/// The policies of a listener. With an error in one the listener is left out.
pub(super) fn listener(
    all: &[raw::Authorization],
    trust_domain: &TrustDomain,
    report: &mut Report,
) -> Authorization {
    for raw in all {
        if let Some(service) = &raw.service {
            let help =
                "remove it; who may call a service of the mesh is said under mesh.authorization";
            let message =
                "the authorization of a listener is for that listener, and names no service";
            report.error_help(&service.place, message, help);
        }
    }
    let all = all.iter().map(|raw| policy(raw, trust_domain, report));
    Authorization::new(all.collect())
}

/// One entry, as a policy of one rule, or of those that it lists.
pub(super) fn policy(
    raw: &raw::Authorization,
    trust_domain: &TrustDomain,
    report: &mut Report,
) -> AccessPolicy {
    let errors = report.errors();
    let name = name(raw.name.as_ref(), &raw.meta, report);
    let action = report.required(&raw.action, &raw.meta, "the action, allow or deny,");
    let action = action.map(|action| match action.value {
        raw::Action::Allow => AccessAction::Allow,
        raw::Action::Deny => AccessAction::Deny,
        raw::Action::Audit => AccessAction::Audit,
    });
    let context = Context {
        trust_domain: Some(trust_domain),
    };
    let flat = flat(raw, &context, report);
    let rules = match &raw.rules {
        Some(rules) => {
            if flat != AccessRule::default() {
                let message =
                    "rules stand alone: what is written beside them would be another rule";
                report.error_help(&raw.meta.place, message, "write it into one of the rules");
            }
            rule::rules(rules, &context, report)
        }
        None => vec![flat],
    };
    let log_only = raw
        .mode
        .as_ref()
        .is_some_and(|mode| mode.value == raw::Mode::Log);
    finished(
        AccessPolicy {
            name,
            action: action.unwrap_or(AccessAction::Deny),
            log_only,
            rules,
            source: raw.meta.place.source.clone(),
        },
        report.errors() > errors || raw.meta.broken,
        &raw.meta.place,
        report,
    )
}

/// The policy, or what stands in its place.
pub(super) fn finished(
    policy: AccessPolicy,
    broken: bool,
    place: &Place,
    report: &mut Report,
) -> AccessPolicy {
    if !broken {
        return policy;
    }
    let closed = AccessPolicy {
        log_only: policy.log_only,
        ..AccessPolicy::closed(policy.name, policy.action, policy.source)
    };
    let (message, help) = match (closed.log_only, closed.action) {
        (true, _) | (_, AccessAction::Audit) => return closed,
        (false, AccessAction::Allow) => (
            "admits nobody",
            "it is an ALLOW: others may still admit, and who fits none of them is refused",
        ),
        (false, AccessAction::Deny) => (
            "refuses everybody",
            "it is a DENY, or what it is cannot be read: mend it or remove it",
        ),
    };
    let message = format!("until that is mended the policy {} {message}", closed.name);
    report.warn(place, message, help);
    closed
}

/// A policy's name, or one that stands in for it.
pub(super) fn name(name: Option<&At<String>>, meta: &raw::Meta, report: &mut Report) -> PolicyName {
    let name = match name {
        Some(at) => report.valid(PolicyName::new(&at.value), &at.place),
        None => {
            if !meta.broken {
                report.error(&meta.place, "the name of the policy is missing");
            }
            None
        }
    };
    name.unwrap_or_else(PolicyName::unnamed)
}

/// The one rule of an entry.
fn flat(raw: &raw::Authorization, context: &Context<'_>, report: &mut Report) -> AccessRule {
    let place = &raw.meta.place;
    for (name, list) in [
        ("from", &raw.from),
        ("notFrom", &raw.not_from),
        ("listeners", &raw.listeners),
        ("notListeners", &raw.not_listeners),
        ("hosts", &raw.hosts),
        ("notHosts", &raw.not_hosts),
        ("methods", &raw.methods),
        ("notMethods", &raw.not_methods),
        ("paths", &raw.paths),
        ("notPaths", &raw.not_paths),
    ] {
        rule::not_empty(name, list, place, report);
    }
    rule::not_empty("ipBlocks", &raw.ip_blocks, place, report);
    rule::not_empty("notIpBlocks", &raw.not_ip_blocks, place, report);
    rule::not_empty("remoteIpBlocks", &raw.remote_ip_blocks, place, report);
    rule::not_empty(
        "notRemoteIpBlocks",
        &raw.not_remote_ip_blocks,
        place,
        report,
    );
    rule::not_empty("ports", &raw.ports, place, report);
    rule::not_empty("notPorts", &raw.not_ports, place, report);
    let source = AccessSource {
        principals: rule::among(&raw.from, &raw.not_from, report, |at, report| {
            context.caller(at, report)
        }),
        peers: rule::networks(&raw.ip_blocks, &raw.not_ip_blocks, report),
        clients: rule::networks(&raw.remote_ip_blocks, &raw.not_remote_ip_blocks, report),
    };
    let operation = AccessOperation {
        listeners: rule::among(&raw.listeners, &raw.not_listeners, report, rule::text),
        hosts: rule::among(&raw.hosts, &raw.not_hosts, report, rule::host),
        methods: rule::among(&raw.methods, &raw.not_methods, report, rule::method),
        paths: rule::among(&raw.paths, &raw.not_paths, report, |at, report| {
            context.path(at, report)
        }),
        ports: rule::ports(&raw.ports, &raw.not_ports, report),
    };
    let (default_source, default_operation) = Default::default();
    AccessRule {
        from: Some(source)
            .into_iter()
            .filter(|s| *s != default_source)
            .collect(),
        to: Some(operation)
            .into_iter()
            .filter(|o| *o != default_operation)
            .collect(),
        when: Vec::new(),
    }
}
