//! The data plane's part of the admin API: is it alive, is it ready, what has it counted, what does it serve,
//! and why would a request go where it goes.
//!
//! Everything here only reads. It runs on the admin server's own runtime; what it reads of the workers are
//! counters and the published snapshot, so that no question slows a request down.

mod error;
mod explain;
mod lists;
mod scrape;
mod text;
pub mod types;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use crate::runtime::{ListenerState, Readiness, Shared};
use crate::snapshot::Snapshot;
use crate::telemetry::metrics::{self, Metrics};
use error::ApiError;
use types::Reply;

/// What the API reads; the data plane's common state, or a stand-in for it in tests.
pub(crate) trait View: Send + Sync + 'static {
    fn snapshot(&self) -> Arc<Snapshot>;
    fn metrics(&self) -> &Metrics;
    fn readiness(&self) -> Readiness;
    fn listeners(&self) -> Vec<ListenerState>;
    fn draining(&self) -> bool;
    /// The share in use of each limited resource of the process.
    fn pressure(&self) -> Vec<(&'static str, f64)>;
}

impl View for Shared {
    fn snapshot(&self) -> Arc<Snapshot> {
        Self::snapshot(self)
    }

    fn metrics(&self) -> &Metrics {
        Self::metrics(self)
    }

    fn readiness(&self) -> Readiness {
        Self::readiness(self)
    }

    fn listeners(&self) -> Vec<ListenerState> {
        Self::listeners(self)
    }

    fn draining(&self) -> bool {
        Self::draining(self)
    }

    fn pressure(&self) -> Vec<(&'static str, f64)> {
        Self::pressure(self)
    }
}

/// More metric families in the exposition format, from those who count elsewhere.
pub(crate) type Extra = Arc<dyn Fn() -> String + Send + Sync>;

/// `/live`, `/ready`, `/metrics` and `/api/v1/{listeners,routes,services,endpoints,explain}`.
pub(crate) fn router<V: View>(view: Arc<V>, extra: Extra) -> Router {
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready::<V>))
        .route(
            "/metrics",
            get(move |State(view): State<Arc<V>>| scrape(view, extra)),
        )
        .route("/api/v1/listeners", get(listeners::<V>))
        .route("/api/v1/routes", get(routes::<V>))
        .route("/api/v1/services", get(services::<V>))
        .route("/api/v1/endpoints", get(endpoints::<V>))
        .route("/api/v1/explain", get(explain::<V>))
        .with_state(view)
}

async fn live() -> &'static str {
    "alive\n"
}

async fn ready<V: View>(State(view): State<Arc<V>>) -> Response {
    let Readiness { ready, reason } = view.readiness();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, format!("{reason}\n")).into_response()
}

async fn scrape<V: View>(view: Arc<V>, extra: Extra) -> Response {
    let text = scrape::text(&*view, &extra());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn listeners<V: View>(State(view): State<Arc<V>>) -> Json<Reply<types::Listeners>> {
    Json(Reply::new(lists::listeners(&*view)))
}

async fn routes<V: View>(State(view): State<Arc<V>>) -> Json<Reply<types::Routes>> {
    Json(Reply::new(lists::routes(&view.snapshot())))
}

async fn services<V: View>(State(view): State<Arc<V>>) -> Json<Reply<types::Services>> {
    Json(Reply::new(lists::services(
        &view.snapshot(),
        view.metrics(),
    )))
}

async fn endpoints<V: View>(State(view): State<Arc<V>>) -> Json<Reply<types::Endpoints>> {
    Json(Reply::new(lists::endpoints(&view.snapshot())))
}

async fn explain<V: View>(
    State(view): State<Arc<V>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Reply<types::Explanation>>, ApiError> {
    let question = explain::Question::parse(query)?;
    Ok(Json(Reply::new(explain::answer(&*view, question)?)))
}

#[cfg(test)]
mod tests;
