//! WebSocket echo: a handshake, then every message back.
//!
//! Over HTTP/1.1 the handshake is an upgrade (RFC 6455, section 4.2.2), over HTTP/2 an extended
//! CONNECT (RFC 8441, section 5), which needs neither a key nor an answer to it.

use futures_util::{SinkExt, StreamExt};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::answer::Context;
use super::body::{Answer, full};

/// Answers 101, or 200 over HTTP/2, and starts the echo; or 426 when this is no WebSocket handshake.
pub(super) fn upgrade(request: &mut Request<Incoming>, context: &Context) -> Response<Answer> {
    if is_extended_connect(request) {
        start(request, context);
        return Response::new(full(""));
    }
    let Some(accept) = accept_key(request.method(), request.headers()) else {
        let mut response = Response::new(full(
            "this path speaks WebSocket: send Upgrade: websocket\n",
        ));
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        response
            .headers_mut()
            .insert(UPGRADE, HeaderValue::from_static("websocket"));
        return response;
    };
    start(request, context);
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// The echo, once the answer has left.
fn start(request: &mut Request<Incoming>, context: &Context) {
    let upgrading = hyper::upgrade::on(request);
    let stop = context.stop.clone();
    context.tasks.spawn(async move {
        let Ok(stream) = upgrading.await else { return };
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
        echo(socket, stop).await;
    });
}

/// Whether a request asks for WebSocket by `:protocol`.
fn is_extended_connect<B>(request: &Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    let version = request.headers().get(SEC_WEBSOCKET_VERSION);
    request.method() == Method::CONNECT
        && protocol.is_some_and(|protocol| protocol.as_str() == "websocket")
        && version.is_some_and(|version| version == "13")
}

/// The answer to a handshake's key; `None` when a part of the handshake is missing.
fn accept_key(method: &Method, headers: &HeaderMap) -> Option<HeaderValue> {
    let has = |name, token: &str| {
        headers.get_all(name).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(token))
        })
    };
    let version = headers.get(SEC_WEBSOCKET_VERSION)?;
    let fits = method == Method::GET
        && version == "13"
        && has(UPGRADE, "websocket")
        && has(CONNECTION, "upgrade");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|_| fits)?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

/// Sends text and binary back until either side closes; pings are answered by the library.
async fn echo<S>(mut socket: WebSocketStream<S>, stop: tokio_util::sync::CancellationToken)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    loop {
        let message = tokio::select! {
            () = stop.cancelled() => {
                let _ = socket.close(None).await;
                return;
            }
            message = socket.next() => message,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_static(v)));
        pairs.collect()
    }

    /// The example of RFC 6455, section 1.3.
    #[test]
    fn the_handshake_of_the_rfc_gets_its_answer() {
        let good = headers(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]);
        let answer = accept_key(&Method::GET, &good).unwrap();
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(accept_key(&Method::POST, &good).is_none());
    }

    #[test]
    fn an_extended_connect_needs_its_protocol_and_version() {
        let request = |protocol: &'static str, version: &str| {
            let request = Request::builder().method(Method::CONNECT);
            let request = request.extension(Protocol::from_static(protocol));
            let request = request.header(SEC_WEBSOCKET_VERSION, version);
            is_extended_connect(&request.body(()).unwrap())
        };
        assert!(request("websocket", "13"));
        assert!(!request("connect-udp", "13"));
        assert!(!request("websocket", "8"));
    }

    #[test]
    fn a_handshake_with_a_part_missing_is_none() {
        let bad = headers(&[("upgrade", "websocket"), ("sec-websocket-version", "13")]);
        assert!(accept_key(&Method::GET, &bad).is_none());
    }
}
