//! What a control plane without a data plane shows in the data plane's place: is it alive, does it serve proxies, what
//! has it counted.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::Control;

/// The content type of the text format that every scraper takes (Prometheus, exposition formats).
const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `/live`, `/ready` and `/metrics`.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/live", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(control)
}

async fn ready(State(control): State<Control>) -> Response {
    let (ready, reason) = (control.shared.ready)();
    match ready {
        true => (StatusCode::OK, format!("ready: {reason}\n")).into_response(),
        false => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {reason}\n"),
        )
            .into_response(),
    }
}

async fn metrics(State(control): State<Control>) -> Response {
    let text = format!("{}# EOF\n", control.metrics_text());
    ([(header::CONTENT_TYPE, TEXT)], text).into_response()
}
