//! The admin API of the control plane, and the dashboard on top of it.
//!
//! Reading needs no token (the server listens on loopback or a unix socket by default); what changes
//! something, the weights set by hand and what is asked of endpoints, is a POST with a token. [`router`] is merged with the data plane's, and
//! [`protect`] is laid over both.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use weir_config::settings::Admin;

use crate::control::Control;
use crate::store::Token;

mod access;
mod body;
mod canary;
mod dashboard;
mod decide;
mod endpoint;
mod error;
mod guard;
mod history;
mod mesh;
mod read;
mod standalone;
mod stream;
pub mod types;

pub use error::ApiError;
pub use standalone::router as standalone;

/// Bytes of a request body; a change of weights takes a few hundred.
pub const MAX_BODY: usize = 64 * 1024;
/// Bytes of a body with a document: 1 MiB of text, as JSON writes it at worst.
pub const MAX_DOCUMENT_BODY: usize = 8 * 1024 * 1024;

/// `/api/v1/{status,discovery,rollouts,certs,events,proxies,edges,config,access,generations,documents,stream,mesh}`,
/// `POST /api/v1/{canary,endpoints,documents,rollback,mesh}/…`, and `/` with its assets.
pub fn router(control: Control) -> Router {
    Router::new()
        .route("/api/v1/status", get(read::status))
        .route("/api/v1/discovery", get(read::discovery))
        .route("/api/v1/rollouts", get(read::rollouts))
        .route("/api/v1/access", get(access::list))
        .route("/api/v1/access/check", get(access::check))
        .route("/api/v1/certs", get(read::certs))
        .route("/api/v1/events", get(read::events))
        .route("/api/v1/proxies", get(read::proxies))
        .route("/api/v1/edges", get(read::edges))
        .route("/api/v1/config", get(read::config))
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/canary/{service}", post(canary::set))
        .route("/api/v1/canary/{service}/clear", post(canary::clear))
        .route("/api/v1/endpoints/{service}/{id}", post(endpoint::operate))
        .route("/api/v1/generations", get(history::list))
        .route("/api/v1/generations/{number}", get(history::get))
        .route(
            "/api/v1/generations/{number}/followers",
            get(history::followers),
        )
        .route("/api/v1/documents", get(history::documents))
        .route(
            "/api/v1/documents/{name}",
            post(decide::apply).layer(DefaultBodyLimit::max(MAX_DOCUMENT_BODY)),
        )
        .route("/api/v1/documents/{name}/remove", post(decide::remove))
        .route("/api/v1/rollback", post(decide::rollback))
        .route("/api/v1/rollback/clear", post(decide::clear))
        .route("/api/v1/mesh", get(mesh::view))
        .route("/api/v1/mesh/authority", get(mesh::authority))
        .route("/api/v1/mesh/rotation", post(mesh::rotate))
        .route(
            "/api/v1/mesh/tokens",
            get(mesh::tokens).post(mesh::create_token),
        )
        .route("/api/v1/mesh/tokens/{id}/revoke", post(mesh::revoke_token))
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
    let shared = &control.shared;
    guarded(router, shared.admin.clone(), shared.token.clone())
}

/// The same for a router that only shows: there is no token, and nothing can be changed.
pub fn protect_reading(router: Router, admin: &Admin) -> Router {
    guarded(router, admin.clone(), None)
}

fn guarded(router: Router, admin: Admin, token: Option<Token>) -> Router {
    let door = Arc::new(guard::Door { admin, token });
    router
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(door, guard::guard))
}

#[cfg(test)]
mod tests;
