//! Documents, and going back.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};

use super::body::{bytes, read};
use super::error::ApiError;
use super::types::{ApplyRequest, ConfigOutcome, Reply, RollbackRequest, UndoRequest};
use crate::control::Control;
use crate::watcher::ConfigRequest;

/// The name for the record of someone who gives none.
const NAMELESS: &str = "api";
/// How long an answer waits for the proxies; it takes milliseconds when all is well.
const APPLY_TIME: Duration = Duration::from_secs(2);
const APPLY: &str = r#"{"text": "routes: [...]", "dryRun": true}"#;
const ROLLBACK: &str = r#"{"generation": 9, "dryRun": true}"#;
const UNDO: &str = r#"{"dryRun": true}"#;

type Answer = Result<Json<Reply<ConfigOutcome>>, ApiError>;

pub(super) async fn apply(
    State(control): State<Control>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let request: ApplyRequest = read(&bytes(body)?, APPLY)?;
    let text = request.text;
    let apply = ConfigRequest::Apply { name, text };
    decide(&control, apply, request.by, request.dry_run).await
}

pub(super) async fn remove(
    State(control): State<Control>,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let request = undo(body)?;
    let remove = ConfigRequest::Remove { name };
    decide(&control, remove, request.by, request.dry_run).await
}

pub(super) async fn rollback(
    State(control): State<Control>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let request: RollbackRequest = read(&bytes(body)?, ROLLBACK)?;
    let generation = request.generation;
    let rollback = ConfigRequest::Rollback { generation };
    decide(&control, rollback, request.by, request.dry_run).await
}

pub(super) async fn clear(
    State(control): State<Control>,
    body: Result<Bytes, BytesRejection>,
) -> Answer {
    let request = undo(body)?;
    decide(&control, ConfigRequest::Clear, request.by, request.dry_run).await
}

fn undo(body: Result<Bytes, BytesRejection>) -> Result<UndoRequest, ApiError> {
    let body = bytes(body)?;
    match body.is_empty() {
        true => Ok(UndoRequest::default()),
        false => read(&body, UNDO),
    }
}

async fn decide(
    control: &Control,
    request: ConfigRequest,
    by: Option<String>,
    dry_run: bool,
) -> Answer {
    let by = by.unwrap_or_else(|| NAMELESS.into());
    let mut outcome = control.decide(request, by, dry_run).await?;
    if !dry_run {
        let following = control.followers().wait(outcome.generation, APPLY_TIME);
        match following.await {
            Ok(()) => outcome.in_force = true,
            Err(late) => outcome.late = Some(late.to_string()),
        }
    }
    Ok(Json(Reply::new(outcome)))
}
