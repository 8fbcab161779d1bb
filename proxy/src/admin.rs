//! (in work)
use crate::runtime::Shared;
use std::sync::Arc;
pub(crate) fn router(_: Arc<Shared>, _: Arc<dyn Fn() -> String + Send + Sync>) -> axum::Router {
    axum::Router::new()
}
