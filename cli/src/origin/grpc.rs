//! A gRPC service that echoes, and the health service, without generated code.
//!
//! Messages are opaque: what comes in goes out, so any client that sends bytes can call it. What
//! else a call shall do is asked by metadata ([`Call`]), as paths and queries ask it over HTTP.

mod call;
mod health;
mod messages;
mod status;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::{Frame, Incoming};
use tokio::sync::watch;

use super::answer::Context;
use super::body::{self, Answer, full};
use super::plan::Defaults;
use call::Call;
use messages::Messages;
use status::{Code, Status};

/// The service's name, as a path and as a health check have it.
const SERVICE: &str = "weir.origin.v1.Echo";

/// Whether this is a gRPC call rather than a request of HTTP.
pub(super) fn is_call<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    let kind = kind.map(HeaderValue::as_bytes).unwrap_or_default();
    // `application/grpc`, `application/grpc+proto`, but not `application/grpc-web`.
    let is_grpc = kind
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+") || rest.starts_with(b";"));
    is_grpc && request.version() == Version::HTTP_2 && request.method() == Method::POST
}

/// What a call is answered from.
pub(super) struct Peer<'a> {
    pub(super) defaults: Defaults,
    /// What `/healthz` answers, and whoever watches it is told.
    pub(super) health: &'a watch::Sender<u16>,
    /// Whether a call that fails with that share of calls fails now.
    pub(super) fails: &'a (dyn Fn(u32) -> bool + Sync),
    pub(super) context: &'a Context,
}

/// Answers one call; `description` is what `Describe` tells. What goes wrong before the first message is an answer of trailers alone.
pub(super) async fn answer(
    request: Request<Incoming>,
    description: String,
    peer: Peer<'_>,
) -> Response<Answer> {
    let encoding = request.headers().get("grpc-encoding").cloned();
    let told = match Call::read(request.headers(), peer.defaults) {
        Ok(call) => {
            let fails = (peer.fails)(call.fail_tenths);
            tokio::time::sleep(call.delay).await;
            if let Some(status) = call.http_status {
                return plain(status);
            }
            match fails {
                true => Err(Status::new(Code::Unavailable, "fails as asked")),
                false => route(request, &call, &description, &peer).await,
            }
        }
        Err(why) => Err(Status::new(Code::InvalidArgument, why)),
    };
    let mut response = match told {
        Ok(body) => Response::new(body),
        Err(status) => alone(&status),
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // Messages go back as they came, compressed or not.
    if let Some(encoding) = encoding {
        headers.insert("grpc-encoding", encoding);
    }
    response
}

async fn route(
    request: Request<Incoming>,
    call: &Call,
    description: &str,
    peer: &Peer<'_>,
) -> Result<Answer, Status> {
    let path = request.uri().path().to_owned();
    let (service, method) = path[1..].split_once('/').unwrap_or((&path, ""));
    let mut input = Messages::new(request.into_body());
    let end = call.end.clone();
    match (service, method) {
        (SERVICE, "Unary") => {
            let message = input.only().await?;
            // As servers do it: a call that failed has no message.
            end.clone().into_result()?;
            Ok(few([message], end))
        }
        (SERVICE, "Describe") => {
            input.only().await?;
            Ok(few([messages::frame(description.as_bytes())], end))
        }
        (SERVICE, "ServerStream") => {
            let message = input.only().await?;
            Ok(spoken(repeat(message, call.count, call.interval), end))
        }
        (SERVICE, "ClientStream") => {
            let (mut count, mut bytes) = (0_u64, 0);
            while let Some(message) = input.next().await? {
                count += 1;
                bytes += messages::payload(&message).len();
            }
            end.clone().into_result()?;
            let text = format!("{count} messages, {bytes} bytes");
            Ok(few([messages::frame(text.as_bytes())], end))
        }
        (SERVICE, "Bidi") => Ok(spoken(each(input, call.interval), end)),
        (health::SERVICE, "Check") => {
            let asked = health::read(&input.only().await?)?;
            let state = health::state(&asked, *peer.health.borrow());
            let state = state.ok_or(Status::new(Code::NotFound, "unknown service"))?;
            Ok(few([health::frame(state)], end))
        }
        (health::SERVICE, "Watch") => {
            let asked = health::read(&input.only().await?)?;
            let stop = peer.context.stop.clone();
            Ok(spoken(
                health::watch(asked, peer.health.subscribe(), stop),
                Status::new(Code::Unavailable, "the origin ends"),
            ))
        }
        _ => Err(Status::new(Code::Unimplemented, "no such method")),
    }
}

/// An answer that is no gRPC at all, as a proxy in between might give it.
fn plain(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(full(format!("{}\n", status.as_u16())));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// Nothing but a status, in the head (`Trailers-Only`).
fn alone(status: &Status) -> Response<Answer> {
    let mut response = Response::new(full(Bytes::new()));
    response.headers_mut().extend(status.trailers());
    response
}

/// These messages, then the status.
fn few<const N: usize>(messages: [Bytes; N], end: Status) -> Answer {
    spoken(stream::iter(messages.map(Ok)), end)
}

/// A message again and again.
fn repeat(
    message: Bytes,
    count: u64,
    interval: std::time::Duration,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    stream::unfold(0, move |n| {
        let message = message.clone();
        async move {
            if n >= count {
                return None;
            }
            if n > 0 {
                tokio::time::sleep(interval).await;
            }
            Some((Ok(message), n + 1))
        }
    })
}

/// Each message as it comes, that long after it came.
fn each(
    input: Messages<Incoming>,
    interval: std::time::Duration,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    stream::unfold(Some(input), move |input| async move {
        let mut input = input?;
        let message = input.next().await.transpose()?;
        tokio::time::sleep(interval).await;
        // What cannot be read is said once, and is the end.
        let next = message.is_ok().then_some(input);
        Some((message, next))
    })
}

/// Messages as a body, with `end` as trailers, or with the status of the first that went wrong.
fn spoken(
    messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static,
    end: Status,
) -> Answer {
    let parts = (Box::pin(messages), Some(end));
    let frames = stream::unfold(parts, |(mut messages, end)| async move {
        use futures_util::StreamExt as _;
        let end = end?;
        let ended = |status: &Status| Frame::trailers(HeaderMap::from_iter(status.trailers()));
        Some(match messages.next().await {
            Some(Ok(message)) => (Ok(Frame::data(message)), (messages, Some(end))),
            Some(Err(status)) => (Ok(ended(&status)), (messages, None)),
            None => (Ok::<_, std::io::Error>(ended(&end)), (messages, None)),
        })
    });
    body::boxed(http_body_util::StreamBody::new(frames))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_by_its_content_type_over_http_2() {
        let request = |version, method, kind: &str| {
            let request = Request::builder().version(version).method(method);
            is_call(&request.header(CONTENT_TYPE, kind).body(()).unwrap())
        };
        let (two, post) = (Version::HTTP_2, Method::POST);
        assert!(request(two, post.clone(), "application/grpc"));
        assert!(request(two, post.clone(), "application/grpc+proto"));
        assert!(request(two, post.clone(), "application/grpc;charset=utf-8"));
        assert!(!request(two, post.clone(), "application/grpc-web"));
        assert!(!request(two, post.clone(), "application/json"));
        assert!(!request(two, Method::GET, "application/grpc"));
        assert!(!request(Version::HTTP_11, post, "application/grpc"));
    }

    #[tokio::test]
    async fn an_answer_ends_with_the_status_of_what_went_wrong_first() {
        use http_body_util::BodyExt as _;
        let bad = Status::new(Code::Internal, "bad");
        let list = stream::iter([
            Ok(messages::frame(b"a")),
            Err(bad),
            Ok(messages::frame(b"b")),
        ]);
        let whole = spoken(list, Status::ok()).collect().await.unwrap();
        let trailers = whole.trailers().unwrap().clone();
        assert_eq!(whole.to_bytes(), messages::frame(b"a"));
        assert_eq!(trailers["grpc-status"], "13");
        assert_eq!(trailers["grpc-message"], "bad");
    }
}
