//! Asking the engine, and what is passed on of its answer.

use std::io;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited, StreamBody};
use hyper::body::{Bytes, Incoming};
use serde_json::json;
use tokio::time::timeout;

use super::ask::{Asked, Denied};
use super::shape::Shape;
use super::{Inner, events};
use crate::discovery::engine::allowed::Question;
use crate::discovery::engine::{message, transport};

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How long an engine may take for an answer. Busy engines take seconds to list.
const ANSWER: Duration = Duration::from_secs(20);
/// Largest error of an engine, in bytes, and what is shown of it, in characters.
const MAX_ERROR: usize = 64 * 1024;
const SHOWN: usize = 300;

/// The version that an engine speaks: clients agree on one by it.
const API_VERSION: HeaderName = HeaderName::from_static("api-version");

/// What is said to a request that is not passed on.
pub(super) fn denied(denied: &Denied) -> Response<Body> {
    failure(
        StatusCode::FORBIDDEN,
        &format!("weir docker-gate: {denied}"),
    )
}

/// Asks the engine, and passes on what may be.
pub(super) async fn pass(inner: &Inner, asked: Asked) -> Response<Body> {
    let question = asked.question;
    // Held until the list is whole.
    let _place = match question {
        Question::Events | Question::Ping | Question::Version => None,
        _ => inner.lists.acquire().await.ok(),
    };
    let asking = ask(inner, &asked);
    let answer = match timeout(ANSWER, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            return failure(
                StatusCode::BAD_GATEWAY,
                &format!("weir docker-gate: {error}"),
            );
        }
        Err(_) => return slow(),
    };
    let status = answer.status();
    if status != StatusCode::OK {
        return refused(status, answer).await;
    }
    match question {
        Question::Events => stream(answer),
        Question::Ping => pong(&answer),
        _ => whole(question, answer).await,
    }
}

/// The engine sees a request made here, of which the client chose the path and a few parameters.
async fn ask(inner: &Inner, asked: &Asked) -> Result<Response<Incoming>, bollard::errors::Error> {
    // Of a stream only a line is held at a time.
    let limit = match asked.question {
        Question::Events => usize::MAX,
        other => other.limit(),
    };
    let request = Request::get(asked.target.as_str()).body(Empty::<Bytes>::new())?;
    transport::exchange_at(&inner.endpoint, limit, request).await
}

async fn whole(question: Question, answer: Response<Incoming>) -> Response<Body> {
    let body = match timeout(ANSWER, answer.into_body().collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            let text = format!("weir docker-gate: the engine's answer broke off: {error}");
            return failure(StatusCode::BAD_GATEWAY, &text);
        }
        Err(_) => return slow(),
    };
    match Shape::of(question).read(&body) {
        Ok(value) => json_response(StatusCode::OK, &value),
        Err(_) => {
            let text = "weir docker-gate: the engine's answer is no JSON";
            failure(StatusCode::BAD_GATEWAY, text)
        }
    }
}

fn stream(answer: Response<Incoming>) -> Response<Body> {
    let body = StreamBody::new(events::filtered(answer.into_body()));
    with_type(StatusCode::OK, body.boxed_unsync())
}

fn pong(answer: &Response<Incoming>) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(b"OK")));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    let version = answer.headers().get(&API_VERSION);
    let plain = |v: &&HeaderValue| {
        let version = v.as_bytes();
        version.len() <= 8 && version.iter().all(|b| b.is_ascii_digit() || *b == b'.')
    };
    if let Some(version) = version.filter(plain) {
        response.headers_mut().insert(API_VERSION, version.clone());
    }
    response
}

/// An engine's own error, in its own form, cut short.
async fn refused(status: StatusCode, answer: Response<Incoming>) -> Response<Body> {
    let body = timeout(
        ANSWER,
        Limited::new(answer.into_body(), MAX_ERROR).collect(),
    )
    .await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes());
    let text: String = message(&body.unwrap_or_default())
        .chars()
        .take(SHOWN)
        .collect();
    // An answer without a body must not be passed on with one.
    let status = match status.as_u16() {
        400..=599 => status,
        _ => StatusCode::BAD_GATEWAY,
    };
    failure(status, &text)
}

fn slow() -> Response<Body> {
    let text = "weir docker-gate: the engine did not answer in time; it may be overloaded";
    failure(StatusCode::GATEWAY_TIMEOUT, text)
}

/// An error in the form of the engine's API.
fn failure(status: StatusCode, message: &str) -> Response<Body> {
    json_response(status, &json!({ "message": message }))
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    with_type(status, full(Bytes::from(value.to_string())))
}

fn with_type(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}
