//! The mesh: who is in it, how its authority stands, tokens, and rotating its root.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use weir_authority::rotation::{Phase, RotateError};
use weir_authority::token::{Token, Used};
use weir_authority::{RootShown, RotationRefused, TokenError};
use weir_config::model::{AccessAction, AccessPolicy, Service, ServiceName};
use weir_config::raw::Scalar as _;

use super::body::{bytes, read};
use super::error::ApiError;
use super::types::{
    AuthorityInfo, AuthorityRoot, MeshInfo, MeshService, MeshToken, MeshTokens, NewToken, Reply,
    RotationInfo, RotationRequest, RotationStep, TokenRequest,
};
use crate::clock::rfc3339;
use crate::control::Control;
use crate::events::Draft;
use crate::mesh::{Mesh, in_words};

/// The name for the record of someone who gives none.
const NAMELESS: &str = "api";
const TOKEN: &str = r#"{"service": "shop", "ttl": "1h"}"#;
const STEP: &str = r#"{"step": "start"}"#;
/// Without a word how long, a token is good for an hour.
const TTL: std::time::Duration = std::time::Duration::from_secs(3600);

pub(super) async fn view(
    State(control): State<Control>,
) -> Result<Json<Reply<MeshInfo>>, ApiError> {
    let mesh = mesh(&control)?;
    let model = std::sync::Arc::clone(&control.shared.models.borrow().model);
    let mut sidecars: BTreeMap<String, usize> = BTreeMap::new();
    let seen = crate::xds::seen(&control.shared);
    for status in seen.map(|seen| seen.proxies.list()).unwrap_or_default() {
        if let Some(service) = status.service {
            *sidecars.entry(service).or_default() += 1;
        }
    }
    let met = weir_plan::mesh::with_modes(&model);
    let shown = |service: &std::sync::Arc<Service>| {
        let settings = service.mesh?;
        let name = service.name.as_str();
        let mode = met.service(name).and_then(|met| met.mesh);
        let access = model.access.of(name).authorization.as_deref();
        let policies = access.map_or(&[][..], |access| &access.policies);
        let enforced = policies.iter().filter(|policy| is_enforced(policy)).count();
        Some(MeshService {
            name: name.to_owned(),
            mode: mode.map_or("off", |met| met.mode.text()).to_owned(),
            protocol: settings.protocol.text().to_owned(),
            port: settings.port,
            endpoints: service.endpoints.len(),
            sidecars: sidecars.get(name).copied().unwrap_or(0),
            policies: policies.len(),
            enforced,
            open: enforced == 0,
        })
    };
    Ok(Json(Reply::new(MeshInfo {
        trust_domain: mesh.authority.trust_domain().to_string(),
        services: model.services.iter().filter_map(shown).collect(),
    })))
}

/// Whether anybody may be refused for it.
fn is_enforced(policy: &AccessPolicy) -> bool {
    !policy.log_only && policy.action != AccessAction::Audit
}

pub(super) async fn authority(
    State(control): State<Control>,
) -> Result<Json<Reply<AuthorityInfo>>, ApiError> {
    Ok(Json(Reply::new(info(mesh(&control)?))))
}

pub(super) async fn tokens(
    State(control): State<Control>,
) -> Result<Json<Reply<MeshTokens>>, ApiError> {
    let mesh = mesh(&control)?;
    let now = (mesh.world.now)();
    let tokens = mesh.authority.tokens();
    let tokens = tokens.iter().map(|token| shown(token, now)).collect();
    Ok(Json(Reply::new(MeshTokens { tokens })))
}

pub(super) async fn create_token(
    State(control): State<Control>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Reply<NewToken>>, ApiError> {
    let request: TokenRequest = read(&bytes(body)?, TOKEN)?;
    let mesh = mesh(&control)?;
    let service = ServiceName::new(&request.service)
        .map_err(|invalid| ApiError::invalid(invalid.to_string()))?;
    let ttl = match &request.ttl {
        None => TTL,
        Some(text) => std::time::Duration::parse(text)
            .map_err(|refused| ApiError::invalid(refused.message))?,
    };
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let by = request.by.as_deref().unwrap_or(NAMELESS);
    let (token, text) = mesh.authority.create_token(&service, seconds, by).await?;
    let event = format!("token {} for {service} made by {by}", token.id);
    control.shared.events.record(Draft::certificate(event));
    let now = (mesh.world.now)();
    Ok(Json(Reply::new(NewToken {
        text: text.reveal(),
        token: shown(&token, now),
    })))
}

pub(super) async fn revoke_token(
    State(control): State<Control>,
    Path(id): Path<String>,
) -> Result<Json<Reply<MeshToken>>, ApiError> {
    let mesh = mesh(&control)?;
    let token = mesh.authority.revoke_token(&id).await?;
    let event = format!("token {} for {} revoked", token.id, token.service);
    control.shared.events.record(Draft::certificate(event));
    let now = (mesh.world.now)();
    Ok(Json(Reply::new(shown(&token, now))))
}

pub(super) async fn rotate(
    State(control): State<Control>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Reply<AuthorityInfo>>, ApiError> {
    let request: RotationRequest = read(&bytes(body)?, STEP)?;
    let mesh = mesh(&control)?.clone();
    if request.step == RotationStep::Next && !request.force {
        refuse_early(&mesh)?;
    }
    let acting = mesh.clone();
    // It reads and writes files.
    let done = tokio::task::spawn_blocking(move || match request.step {
        RotationStep::Start => acting.authority.rotate_start(),
        RotationStep::Next => acting.authority.rotate_force(),
        RotationStep::Abort => acting.authority.rotate_abort(),
    });
    let done = done.await.map_err(|error| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "failed",
            error.to_string(),
        )
    })?;
    done?;
    mesh.changed();
    let by = request.by.as_deref().unwrap_or(NAMELESS);
    let event = format!("mesh: {} (by {by})", in_words(&mesh));
    control.shared.events.record(Draft::certificate(event));
    Ok(Json(Reply::new(info(&mesh))))
}

/// Somebody would be without a connection, or may be.
fn refuse_early(mesh: &Mesh) -> Result<(), ApiError> {
    let standing = mesh.authority.standing();
    let rotates = standing.phase != Phase::Steady;
    let why = match (standing.awaited, standing.unknown_until) {
        (0, Some(until)) if rotates => format!(
            "certificates may hold until {} that are not known, as records of them were lost",
            time(until)
        ),
        (0, _) => return Ok(()),
        (awaited, _) => {
            let services: Vec<String> = standing.awaited_services.into_iter().take(20).collect();
            format!(
                "{awaited} certificates are not there yet (of {})",
                services.join(", ")
            )
        }
    };
    let message = format!(
        "{why}: connections of their holders would fail; the step is taken by itself when that is over, or with --force now"
    );
    Err(ApiError::new(StatusCode::CONFLICT, "refused", message))
}

fn mesh(control: &Control) -> Result<&std::sync::Arc<Mesh>, ApiError> {
    control.shared.mesh.as_ref().ok_or_else(|| {
        let message = "there is no mesh; write mesh: {} and control: {} into the configuration and start again";
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    })
}

fn info(mesh: &Mesh) -> AuthorityInfo {
    let standing = mesh.authority.standing();
    let (phase, since, other) = match &standing.phase {
        Phase::Steady => ("steady", None, None),
        Phase::Spreading { coming, since } => ("spreading", Some(*since), Some(coming.clone())),
        Phase::Retiring { going, since } => ("retiring", Some(*since), Some(going.clone())),
    };
    AuthorityInfo {
        trust_domain: mesh.authority.trust_domain().to_string(),
        given: standing.given,
        problem: standing.problem,
        not_after: time(standing.not_after),
        roots: standing.roots.iter().map(root).collect(),
        certificates: standing.holders,
        unwritten: standing.unwritten,
        unknown_until: standing.unknown_until.map(time),
        rotation: RotationInfo {
            phase: phase.to_owned(),
            since: since.map(time),
            other,
            due: standing.due.map(time),
            awaited: standing.awaited,
            services: standing.awaited_services.into_iter().collect(),
        },
    }
}

fn root(root: &RootShown) -> AuthorityRoot {
    AuthorityRoot {
        fingerprint: root.fingerprint.clone(),
        signs: root.signs,
        not_before: time(root.not_before),
        not_after: time(root.not_after),
        pem: root.pem.clone(),
    }
}

fn shown(token: &Token, now: i64) -> MeshToken {
    let state = match &token.used {
        Some(_) => "used",
        None if token.expires <= now => "expired",
        None => "ready",
    };
    let used = token.used.as_ref();
    MeshToken {
        id: token.id.clone(),
        service: token.service.clone(),
        state: state.to_owned(),
        by: token.by.clone(),
        created: time(token.created),
        expires: time(token.expires),
        used: used.map(|used: &Used| time(used.at)),
        used_from: used.map(|used| used.from.clone()),
    }
}

fn time(seconds: i64) -> String {
    rfc3339(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}

impl From<TokenError> for ApiError {
    fn from(error: TokenError) -> Self {
        let (status, code) = match &error {
            TokenError::None(_) => (StatusCode::NOT_FOUND, "not_found"),
            TokenError::Records(_) => (StatusCode::INSUFFICIENT_STORAGE, "not_kept"),
            TokenError::Refused(_) | TokenError::Service(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "invalid")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<RotationRefused> for ApiError {
    fn from(error: RotationRefused) -> Self {
        let (status, code) = match &error {
            RotationRefused::Step(RotateError::UnderWay | RotateError::None)
            | RotationRefused::Files => (StatusCode::CONFLICT, "refused"),
            RotationRefused::Open(_) => (StatusCode::INSUFFICIENT_STORAGE, "not_kept"),
        };
        Self::new(status, code, error.to_string())
    }
}
