//! Changing weights by hand.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::body::{bytes, read};
use super::error::ApiError;
use super::read::show;
use super::types::{CanaryChange, ClearRequest, Reply, SetRequest};
use crate::control::{Control, Outcome};

/// How long an answer waits for the data plane; it takes milliseconds when all is well.
const APPLY: Duration = Duration::from_secs(2);
/// The name for the record of someone who gives none.
const NAMELESS: &str = "api";
const EXAMPLE: &str = r#"{"weights": {"canary": "25"}}"#;

pub(super) async fn set(
    State(control): State<Control>,
    Path(service): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let request: SetRequest = read(&bytes(body)?, EXAMPLE)?;
    let by = request.by.unwrap_or_else(|| NAMELESS.into());
    let outcome = control
        .set_weights(service.clone(), request.weights, by)
        .await?;
    Ok(answer(&control, &service, outcome).await)
}

pub(super) async fn clear(
    State(control): State<Control>,
    Path(service): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let body = bytes(body)?;
    let request: ClearRequest = if body.is_empty() {
        ClearRequest::default()
    } else {
        read(&body, EXAMPLE)?
    };
    let by = request.by.unwrap_or_else(|| NAMELESS.into());
    let outcome = control.clear_weights(service.clone(), by).await?;
    Ok(answer(&control, &service, outcome).await)
}

async fn answer(control: &Control, service: &str, outcome: Outcome) -> Response {
    // Who took it in part has said so, and shows in the status: shares are in force there.
    let following = control.followers().wait(outcome.generation, APPLY).await;
    let in_force = following.err().is_none_or(|late| late.behind.is_empty());
    let mut warnings = outcome.warnings;
    if !in_force {
        warnings.push(format!(
            "the data plane has not confirmed generation {} within {} s; see weir status",
            outcome.generation,
            APPLY.as_secs()
        ));
    }
    let rollout = {
        let facts = control.shared.board.lock();
        weir_plan::rollout_of(&facts.configured, &facts.overrides, service)
    };
    let change = CanaryChange {
        generation: outcome.generation,
        in_force,
        message: outcome.message,
        warnings,
        rollout: rollout.map(|rollout| show(&control.shared, &rollout)),
    };
    let status = if in_force {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    (status, Json(Reply::new(change))).into_response()
}
