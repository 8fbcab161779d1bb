//! Taking an endpoint out by hand, and giving it back.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use weir_config::raw::Scalar;

use super::body::{bytes, read};
use super::error::ApiError;
use super::types::{EndpointAction, EndpointChange, EndpointRequest, Reply};
use crate::clock;
use crate::control::Control;
use crate::events::{Draft, one_line};
use crate::operate::{EndpointOperation, EndpointOutcome, EndpointRefused};

const EXAMPLE: &str = r#"{"action": "drain", "for": "10m", "reason": "disk swap"}"#;
/// The name for the record of someone who gives none.
const NAMELESS: &str = "api";
/// Characters of a name that a client gave itself.
const MAX_BY: usize = 64;
/// Characters of a reason; it is shown in tables.
const MAX_REASON: usize = 200;

pub(super) async fn operate(
    State(control): State<Control>,
    Path((service, id)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Reply<EndpointChange>>, ApiError> {
    let request: EndpointRequest = read(&bytes(body)?, EXAMPLE)?;
    let words = Words::of(&request);
    let operation = EndpointOperation {
        time: time(&request)?,
        service,
        id,
        action: request.action,
        by: words.reason_and_name(),
        force: request.force,
    };
    let outcome = (control.shared.operate)(&operation).map_err(|refused| {
        if matches!(refused, EndpointRefused::Harmful(_)) {
            let text = format!(
                "{} {} was refused: {refused}, asked {}",
                request.action, operation.id, words.tail
            );
            record(&control, &operation, text);
        }
        ApiError::from(refused)
    })?;
    let mut message = format!("{} {}", request.action, operation.id);
    if let Some(time) = &request.time {
        let _ = write!(message, " for {time}");
    }
    if !outcome.changed {
        message.push_str(": there was nothing to end");
    }
    record(&control, &operation, format!("{message} {}", words.tail));
    Ok(Json(Reply::new(change(operation, message, outcome))))
}

fn record(control: &Control, operation: &EndpointOperation, text: String) {
    let draft = Draft::endpoint(&operation.service, text);
    control.shared.events.record(draft);
}

/// How long, where that makes sense.
fn time(request: &EndpointRequest) -> Result<Option<Duration>, ApiError> {
    let senseless = |why: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", why);
    if request.force && request.action != EndpointAction::Eject {
        return Err(senseless(format!("{} takes no force", request.action)));
    }
    let Some(text) = &request.time else {
        return Ok(None);
    };
    if request.action.ends_something() {
        let why = format!(
            "{} ends what was asked before, and takes no time",
            request.action
        );
        return Err(senseless(why));
    }
    match Duration::parse(text) {
        Ok(Duration::ZERO) => Err(senseless("`for` is more than 0".into())),
        Ok(time) => Ok(Some(time)),
        Err(_) => Err(senseless(format!(
            "`for` is {}, not {text:?}",
            Duration::WHAT
        ))),
    }
}

/// Who asks, and why, as one line of text.
struct Words {
    by: String,
    reason: Option<String>,
    /// `(disk swap) by cli`
    tail: String,
}

impl Words {
    fn of(request: &EndpointRequest) -> Self {
        let given = |text: &Option<String>, most| {
            let line = one_line(text.as_deref().unwrap_or_default(), most);
            (!line.is_empty()).then_some(line)
        };
        let by = given(&request.by, MAX_BY).unwrap_or_else(|| NAMELESS.into());
        let reason = given(&request.reason, MAX_REASON);
        let tail = match &reason {
            Some(reason) => format!("({reason}) by {by}"),
            None => format!("by {by}"),
        };
        Self { by, reason, tail }
    }

    /// As the endpoint's reason.
    fn reason_and_name(&self) -> String {
        match &self.reason {
            Some(reason) => format!("{reason}, by {}", self.by),
            None => format!("by {}", self.by),
        }
    }
}

fn change(
    operation: EndpointOperation,
    message: String,
    outcome: EndpointOutcome,
) -> EndpointChange {
    let mut warnings = Vec::new();
    if outcome.left == 0 && !outcome.panic {
        warnings.push(format!(
            "no endpoint of {} takes requests now: they are answered with 503",
            operation.service
        ));
    }
    if outcome.panic {
        warnings.push(format!(
            "too few endpoints of {} are left: those that are ejected or failing get requests too (panic)",
            operation.service
        ));
    }
    EndpointChange {
        service: operation.service,
        id: operation.id,
        action: operation.action,
        changed: outcome.changed,
        message,
        warnings,
        state: outcome.state,
        reason: outcome.reason,
        since: rfc3339(outcome.since),
        until: outcome.until.map(rfc3339),
        available: outcome.available,
        in_flight: outcome.in_flight,
    }
}

fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    clock::rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
