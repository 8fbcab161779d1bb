//! Who may ask, and how strictly a browser treats the answer.
//!
//! A page on the internet can make a browser send requests to 127.0.0.1. It cannot set `Authorization` or a JSON content
//! type on them without being asked for permission, which is never given (no CORS headers), and it names itself in
//! `Origin`. By DNS rebinding it can also look like a page of this server; then the `Host` is its own name, so on
//! loopback only names that mean this machine are answered.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName,
    HeaderValue, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use weir_config::settings::{Admin, AdminBind};

use super::error::ApiError;
use crate::store::Token;

/// Everything from this server, nothing inline, nothing framed.
const CSP: &str = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/// What is needed to tell who may ask.
pub(super) struct Door {
    pub(super) admin: Admin,
    pub(super) token: Option<Token>,
}

pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let mut response = match check(&door, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CSP),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

fn check(door: &Door, request: &Request) -> Result<(), ApiError> {
    let headers = request.headers();
    check_host(&door.admin, headers)?;
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    check_origin(headers)?;
    check_token(door.token.as_ref(), headers)?;
    check_content_type(headers)
}

/// Loopback answers to `localhost`, to addresses and to configured names. Elsewhere the name is whatever the
/// network calls this host.
fn check_host(admin: &Admin, headers: &HeaderMap) -> Result<(), ApiError> {
    let loopback =
        matches!(&admin.bind, AdminBind::Tcp(address) if address.ip().to_canonical().is_loopback());
    if !loopback {
        return Ok(());
    }
    let refuse = |shown: &str| {
        Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "wrong_host",
            format!(
                "{shown} is not a name of this server; use 127.0.0.1 or localhost, or add the name to admin.hosts"
            ),
        ))
    };
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return refuse("a missing or doubled Host");
    };
    let Ok(host) = host.to_str() else {
        return refuse("a Host that is no text");
    };
    let name = name_of(host).to_ascii_lowercase();
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>()
        .is_ok();
    let local = name == "localhost" || name.ends_with(".localhost");
    let configured = admin
        .hosts
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&name));
    match address || local || configured {
        true => Ok(()),
        false => refuse(&format!("{name:?}")),
    }
}

/// The host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

/// A browser names the page that asks; only our own may.
fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(origin) = headers.get(ORIGIN) else {
        return Ok(());
    };
    let own = headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let authority = origin
        .to_str()
        .ok()
        .and_then(|text| text.split_once("://"))
        .map(|(_, rest)| rest);
    match authority {
        Some(authority) if !own.is_empty() && authority.eq_ignore_ascii_case(own) => Ok(()),
        _ => Err(ApiError::forbidden(
            "a page of another origin may not change anything here",
        )),
    }
}

fn check_token(token: Option<&Token>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = token else {
        return Err(ApiError::forbidden(
            "nothing can be changed: there is neither a state directory nor admin.tokenFile to hold a token",
        ));
    };
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let Some((scheme, offered)) = sent.and_then(|sent| sent.split_once(' ')) else {
        return Err(ApiError::unauthorized(
            "a change needs Authorization: Bearer <token>; the token stands in admin.token in the state directory",
        ));
    };
    match scheme.eq_ignore_ascii_case("bearer") && token.matches(offered.trim()) {
        true => Ok(()),
        false => Err(ApiError::unauthorized(
            "that is not the token of this server",
        )),
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let sent = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let kind = sent.split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "send JSON, with content-type: application/json",
        )),
    }
}
