//! The admin API of the control plane, and the dashboard on top of it.
//!
//! Reading needs no token (the server listens on loopback or a unix socket by default); what changes
//! something, the weights set by hand and what is asked of endpoints, is a POST with a token. [`router`] is merged with the data plane's, and
//! [`protect`] is laid over both.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::control::Control;

mod body;
mod canary;
mod dashboard;
mod endpoint;
mod error;
mod guard;
mod read;
mod stream;
pub mod types;

pub use error::ApiError;

/// Bytes of a request body; a change of weights takes a few hundred.
pub const MAX_BODY: usize = 64 * 1024;

/// `/api/v1/{status,discovery,rollouts,events,config,stream}`, `POST /api/v1/{canary,endpoints}/…`, and `/` with its assets.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/api/v1/status", get(read::status))
        .route("/api/v1/discovery", get(read::discovery))
        .route("/api/v1/rollouts", get(read::rollouts))
        .route("/api/v1/events", get(read::events))
        .route("/api/v1/config", get(read::config))
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/canary/{service}", post(canary::set))
        .route("/api/v1/canary/{service}/clear", post(canary::clear))
        .route("/api/v1/endpoints/{service}/{id}", post(endpoint::operate))
        .route("/", get(dashboard::page))
        .route("/assets/weir.css", get(dashboard::style))
        .route("/assets/weir.js", get(dashboard::script))
        .route("/assets/weir.svg", get(dashboard::icon))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(control)
}

/// Lays the rules that hold for every admin path over a router: the `Host` check against DNS rebinding, the rules
/// for anything but reading, and the headers that keep a browser strict.
pub fn protect(router: Router, control: &Control) -> Router {
    router
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(
            control.clone(),
            guard::guard,
        ))
}

#[cfg(test)]
mod tests;
