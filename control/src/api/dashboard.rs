//! The dashboard: one page, one style sheet, one script, one icon, all in the binary.

use askama::Template;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};

use super::error::ApiError;
use crate::control::Control;

/// The page itself holds no data but the version; the script fetches the rest and writes it as text only.
#[derive(Template)]
#[template(path = "dashboard.html")]
struct Page {
    version: &'static str,
}

pub(super) async fn page(State(control): State<Control>) -> Result<Html<String>, ApiError> {
    let page = Page {
        version: control.shared.version,
    };
    page.render().map(Html).map_err(|error| {
        ApiError::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            error.to_string(),
        )
    })
}

pub(super) async fn style() -> Response {
    asset(
        "text/css; charset=utf-8",
        include_str!("../../assets/weir.css"),
    )
}

pub(super) async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../../assets/weir.js"),
    )
}

pub(super) async fn icon() -> Response {
    asset("image/svg+xml", include_str!("../../assets/weir.svg"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text).into_response()
}
