//! Refusals, all of one shape.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::types::{ErrorBody, ErrorReply, Reply};
use crate::operate::EndpointRefused;
use crate::watcher::Refused;

/// A refusal with its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    rendered: Option<String>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            rendered: None,
        }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    pub(super) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let message = refused.to_string();
        let (status, code) = match &refused {
            Refused::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            refused if refused.is_unknown() => (StatusCode::NOT_FOUND, "not_found"),
            Refused::NotKept(_) => (StatusCode::INSUFFICIENT_STORAGE, "not_kept"),
            Refused::Pinned { .. } | Refused::Unrestorable { .. } => {
                (StatusCode::CONFLICT, "refused")
            }
            Refused::Invalid { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        };
        let rendered = match refused {
            Refused::Invalid { rendered, .. } => Some(rendered),
            _ => None,
        };
        Self {
            rendered,
            ..Self::new(status, code, message)
        }
    }
}

impl From<EndpointRefused> for ApiError {
    fn from(refused: EndpointRefused) -> Self {
        let (status, code) = match refused {
            EndpointRefused::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            EndpointRefused::Harmful(_) => (StatusCode::CONFLICT, "refused"),
            EndpointRefused::Unattached => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        Self::new(status, code, refused.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorBody {
            code: self.code.into(),
            message: self.message,
            rendered: self.rendered,
        };
        let mut response = (self.status, Json(Reply::new(ErrorReply { error }))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = axum::http::HeaderValue::from_static("Bearer realm=\"weir\"");
            response
                .headers_mut()
                .insert(axum::http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

pub(super) async fn not_found(uri: axum::http::Uri) -> ApiError {
    let message = format!(
        "there is nothing at {}; see / and /api/v1/status",
        uri.path()
    );
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

pub(super) async fn method_not_allowed() -> ApiError {
    let message = "this path takes another method: reading is GET, changing is POST";
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}
