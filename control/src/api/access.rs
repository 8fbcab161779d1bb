//! Who may call whom: all that is in force, and the answer to one question.

mod called;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use weir_config::file::document_name;
use weir_config::model::{
    AccessAction, Authorization, Listener, Model, ServiceName, Source, SpiffeId,
};
use weir_decide::authorize::{self, Asked, Call, Ruling};
use weir_decide::path::canonicalize;
use weir_plan::mesh;

use super::error::ApiError;
use super::types::{Access, AccessCheck, AccessPolicy, AccessTried, Reply};
use crate::control::Control;

/// Policies in one reply.
const MAX_POLICIES: usize = 10_000;

pub(super) async fn list(State(control): State<Control>) -> Json<Reply<Access>> {
    let model = Arc::clone(&control.shared.models.borrow().model);
    let access = &model.access;
    let every = access.others.authorization.as_deref();
    let own = |authorization: &Authorization| Authorization {
        policies: authorization
            .policies
            .iter()
            // What is for each service is shown once.
            .filter(|policy| !every.is_some_and(|every| every.policies.contains(policy)))
            .cloned()
            .collect(),
        port: None,
    };
    let mut policies = Vec::new();
    for (name, access) in &access.services {
        if let Some(authorization) = &access.authorization {
            policies.extend(shown(&own(authorization), Some(name.as_str()), None));
        }
    }
    for service in &model.services {
        // Not of anybody's rules, but each sidecar of the service has it beside them.
        if let Some(admitted) = mesh::admits_checks(&model, service) {
            let admitted = Authorization::new(vec![admitted]);
            policies.extend(shown(&admitted, Some(service.name.as_str()), None));
        }
    }
    policies.extend(
        every
            .into_iter()
            .flat_map(|every| shown(every, Some("*"), None)),
    );
    for listener in &model.listeners {
        if let Some(authorization) = &listener.authorization {
            policies.extend(shown(authorization, None, Some(listener)));
        }
    }
    policies.truncate(MAX_POLICIES);
    Json(Reply::new(Access {
        trust_domain: access.trust_domain.to_string(),
        policies,
    }))
}

fn shown(
    authorization: &Authorization,
    service: Option<&str>,
    listener: Option<&Listener>,
) -> Vec<AccessPolicy> {
    let rules = weir_config::dump_authorization(authorization);
    let rules = |at: usize| rules["policies"][at]["rules"].as_array().cloned();
    let all = authorization.policies.iter().enumerate();
    all.map(|(at, policy)| AccessPolicy {
        name: policy.name.to_string(),
        service: service.map(str::to_owned),
        listener: listener.map(|listener| listener.name.to_string()),
        action: action(policy.action),
        mode: mode(policy.log_only),
        rules: rules(at).unwrap_or_default(),
        source: policy.source.to_string(),
        document: match &policy.source {
            Source::File { path, .. } => document_name(path).map(str::to_owned),
            _ => None,
        },
    })
    .collect()
}

fn action(action: AccessAction) -> String {
    action.text().to_ascii_lowercase()
}

fn mode(log_only: bool) -> String {
    match log_only {
        true => "log",
        false => "enforce",
    }
    .to_owned()
}

/// One call, as it might be made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Question {
    /// A service, or a whole id; empty: a caller without an identity.
    #[serde(default)]
    from: String,
    /// What is called: a service or a listener.
    service: Option<String>,
    listener: Option<String>,
    /// Without a method it is a connection and no request.
    method: Option<String>,
    #[serde(default = "root")]
    path: String,
    #[serde(default)]
    host: String,
    port: Option<u16>,
    client: Option<IpAddr>,
    /// `NAME: VALUE`, one a line.
    #[serde(default)]
    headers: String,
}

fn root() -> String {
    "/".to_owned()
}

pub(super) async fn check(
    State(control): State<Control>,
    Query(question): Query<Question>,
) -> Result<Json<Reply<AccessCheck>>, ApiError> {
    let model = Arc::clone(&control.shared.models.borrow().model);
    answer(&model, &question).map(|check| Json(Reply::new(check)))
}

fn answer(model: &Model, question: &Question) -> Result<AccessCheck, ApiError> {
    let called = called::find(model, question)?;
    let identity = identity(model, &question.from)?;
    let mut buffer = Vec::new();
    let listener = called.listener.as_deref();
    let policy = listener.map(|l| l.path_policy).unwrap_or_default();
    let path = canonicalize(question.path.as_bytes(), policy, &mut buffer)
        .map_err(|why| ApiError::invalid(format!("such a request is answered with 400: {why}")))?;
    let headers: Vec<(&str, &str)> = question
        .headers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect();
    let (host, method) = (called.host(question), called.method(question));
    let client = question.client.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let call = Call {
        listener: listener.map_or(mesh::INBOUND, |listener| listener.name.as_str()),
        principal: identity.as_ref().map(SpiffeId::as_str),
        peer: client,
        client,
        port: question.port.unwrap_or_else(|| called.port()),
        server_name: Some(host.as_str()).filter(|host| called.names_host && !host.is_empty()),
        request: method.map(|method| Asked {
            host: &host,
            method,
            path,
            headers: headers.as_slice(),
        }),
    };
    let authorization = &*called.authorization;
    let verdict = authorize::judge(authorization, &call);
    let tried = authorize::explain(authorization, &call);
    let shut = called.is_shut(identity.as_ref());
    let settles = verdict.ruling.by.filter(|_| !shut);
    Ok(AccessCheck {
        admitted: verdict.ruling.admitted && !shut,
        by: settles.map(|at| authorization.policies[at].name.to_string()),
        reason: match shut {
            true => format!(
                "{} is strict, and takes nobody without an identity of the mesh",
                called.title
            ),
            false => reason(&called.title, authorization, verdict.ruling),
        },
        logged: verdict.logged.map(|ruling| ruling.admitted && !shut),
        identity: identity.as_ref().map(ToString::to_string),
        path: method.map(|_| path.to_owned()),
        tried: tried
            .iter()
            .map(|tried| told(authorization, tried))
            .collect(),
    })
}

fn identity(model: &Model, from: &str) -> Result<Option<SpiffeId>, ApiError> {
    let invalid = |error: weir_config::model::Invalid| ApiError::invalid(error.to_string());
    if from.is_empty() {
        return Ok(None);
    }
    if from.contains("://") {
        return SpiffeId::new(from).map(Some).map_err(invalid);
    }
    let service = ServiceName::new(from).map_err(invalid)?;
    let id = SpiffeId::of_service(&model.access.trust_domain, &service);
    id.map(Some).map_err(invalid)
}

fn reason(title: &str, authorization: &Authorization, ruling: Ruling) -> String {
    let policy = ruling.by.map(|at| &authorization.policies[at]);
    match (ruling.admitted, policy) {
        (false, Some(policy)) => format!("the policy {} refuses it", policy.name),
        (true, Some(policy)) => format!("the policy {} admits it", policy.name),
        (false, None) => format!("there are policies that admit to {title}, and none of them fits"),
        (true, None) => format!("no policy in force is about this call of {title}"),
    }
}

fn told(authorization: &Authorization, tried: &authorize::Tried) -> AccessTried {
    let policy = &authorization.policies[tried.policy];
    AccessTried {
        policy: policy.name.to_string(),
        action: action(policy.action),
        mode: mode(policy.log_only),
        source: policy.source.to_string(),
        fits: tried.fits(),
        rules: tried
            .rules
            .iter()
            .map(|why| why.as_ref().map(ToString::to_string))
            .collect(),
    }
}
