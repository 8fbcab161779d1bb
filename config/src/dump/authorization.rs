//! Who may call, as JSON.

use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::model::{
    AccessCondition, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among, Authorization,
    MeshAccess, ServiceAccess,
};

pub(super) fn authorization(authorization: &Authorization) -> Value {
    let policies: Vec<Value> = authorization.policies.iter().map(policy).collect();
    match authorization.port {
        Some(port) => json!({ "policies": policies, "port": port }),
        None => json!({ "policies": policies }),
    }
}

fn policy(policy: &AccessPolicy) -> Value {
    json!({
        "name": policy.name.as_str(),
        "action": policy.action.text().to_ascii_lowercase(),
        "mode": if policy.log_only { "log" } else { "enforce" },
        "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
        "source": policy.source.to_string(),
    })
}

fn rule(rule: &AccessRule) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, all: Vec<Value>| {
        if !all.is_empty() {
            out.insert(key.to_owned(), all.into());
        }
    };
    let from = rule.from.iter().map(|of| json!({ "source": source(of) }));
    let to = rule
        .to
        .iter()
        .map(|of| json!({ "operation": operation(of) }));
    put("from", from.collect());
    put("to", to.collect());
    put("when", rule.when.iter().map(condition).collect());
    out.into()
}

fn source(source: &AccessSource) -> Value {
    let mut out = Map::new();
    among(&mut out, "principals", &source.principals);
    among(&mut out, "ipBlocks", &source.peers);
    among(&mut out, "remoteIpBlocks", &source.clients);
    out.into()
}

fn operation(operation: &AccessOperation) -> Value {
    let mut out = Map::new();
    among(&mut out, "listeners", &operation.listeners);
    among(&mut out, "hosts", &operation.hosts);
    among(&mut out, "methods", &operation.methods);
    among(&mut out, "paths", &operation.paths);
    among(&mut out, "ports", &operation.ports);
    out.into()
}

fn condition(condition: &AccessCondition) -> Value {
    let mut out = Map::new();
    let key = match condition {
        AccessCondition::Header { name, .. } => format!("request.headers[{name}]"),
        AccessCondition::Principal(_) => "source.principal".to_owned(),
        AccessCondition::Peer(_) => "source.ip".to_owned(),
        AccessCondition::Client(_) => "remote.ip".to_owned(),
        AccessCondition::Port(_) => "destination.port".to_owned(),
        AccessCondition::ServerName(_) => "connection.sni".to_owned(),
    };
    out.insert("key".to_owned(), key.into());
    match condition {
        AccessCondition::Header { values, .. } => among(&mut out, "values", values),
        AccessCondition::Principal(values) | AccessCondition::ServerName(values) => {
            among(&mut out, "values", values);
        }
        AccessCondition::Peer(values) | AccessCondition::Client(values) => {
            among(&mut out, "values", values);
        }
        AccessCondition::Port(values) => among(&mut out, "values", values),
    }
    out.into()
}

/// `paths` and `notPaths`, where there are any.
fn among<T: Display>(out: &mut Map<String, Value>, key: &str, wanted: &Among<T>) {
    let list = |all: &[T]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    if !wanted.only.is_empty() {
        out.insert(key.to_owned(), list(&wanted.only).into());
    }
    if !wanted.never.is_empty() {
        let (first, rest) = key.split_at(1);
        let key = format!("not{}{rest}", first.to_ascii_uppercase());
        out.insert(key, list(&wanted.never).into());
    }
}

/// A list by service, so that a diff names the one that changed; what is for all others is that of `*`.
pub(super) fn access(access: &MeshAccess) -> Value {
    let named = access
        .services
        .iter()
        .map(|(name, access)| service(name.as_str(), access));
    let others = (access.others != ServiceAccess::default()).then(|| service("*", &access.others));
    named.chain(others).collect::<Vec<_>>().into()
}

fn service(name: &str, access: &ServiceAccess) -> Value {
    let mut out = json!({ "name": name });
    if let Some(policies) = &access.authorization {
        out["policies"] = policies
            .policies
            .iter()
            .map(policy)
            .collect::<Vec<_>>()
            .into();
    }
    if let Some(mode) = access.peers {
        out["mtls"] = mode.text().into();
    }
    if !access.port_peers.is_empty() {
        let ports = access.port_peers.iter();
        let ports = ports.map(|(port, mode)| (port.to_string(), mode.text().into()));
        out["portMtls"] = Value::Object(ports.collect());
    }
    out
}
