//! How requests reach the engine: read-only, one connection each, bounded.
//!
//! Weir only ever reads from the engine. This is the one place through which every request goes, and it refuses what
//! is not a GET on a short list of paths, whatever the code above it asks for. An answer has a size limit, because
//! the library that decodes it reads it as a whole.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bollard::BollardRequest;
use bollard::errors::Error;
use http::header::{HOST, HeaderValue};
use http::{Method, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::endpoint::Endpoint;

/// Largest answers, with their heads. A list of 10,000 containers with many labels takes some 30 MiB.
const MAX_LIST_BYTES: usize = 64 * 1024 * 1024;
const MAX_SMALL_BYTES: usize = 4 * 1024 * 1024;
/// An event stream is opened anew, with nothing lost, after this much: one event cannot fill the memory.
pub(super) const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// Said in the error of an answer that is too large.
pub(super) const TOO_LARGE: &str = "the engine's answer is larger than Weir accepts";

/// Which of the allowed requests it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    List,
    Small,
    Events,
}

/// Makes connections to one engine.
pub(super) struct Transport {
    endpoint: Endpoint,
    /// Told when the engine has begun to answer a request for events.
    pub(super) events_open: Notify,
    /// `/v1.41` once both sides agreed on it. The library asks without a version, which a newer engine would take as
    /// a wish for its newest one.
    version_prefix: OnceLock<String>,
}

impl Transport {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            events_open: Notify::new(),
            version_prefix: OnceLock::new(),
        }
    }

    /// From now on asks in that version of the API.
    pub(super) fn speak(&self, major: usize, minor: usize) {
        // Set once, after the negotiation that each transport begins with.
        let _ = self.version_prefix.set(format!("/v{major}.{minor}"));
    }

    /// Sends one request on a connection of its own.
    pub(super) async fn send(
        self: Arc<Self>,
        mut request: BollardRequest,
    ) -> Result<Response<Incoming>, Error> {
        let Some(kind) = allowed(request.method(), request.uri().path()) else {
            let text = format!(
                "refused to send {} {} to the engine",
                request.method(),
                request.uri().path()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text).into());
        };
        let limit = match kind {
            Allowed::List => MAX_LIST_BYTES,
            Allowed::Small => MAX_SMALL_BYTES,
            Allowed::Events => MAX_EVENT_BYTES,
        };
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let prefix = self.version_prefix.get().map_or("", String::as_str);
        *request.uri_mut() = format!("{prefix}{target}").parse::<Uri>()?;
        let explain =
            |error: io::Error| io::Error::new(error.kind(), self.endpoint.explain(&error));
        let response = match &self.endpoint {
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(explain)?;
                exchange(
                    Limited {
                        stream,
                        left: limit,
                    },
                    request,
                    "docker",
                )
                .await?
            }
            Endpoint::Tcp(host) => {
                let stream = TcpStream::connect(host.as_str()).await.map_err(explain)?;
                exchange(
                    Limited {
                        stream,
                        left: limit,
                    },
                    request,
                    host,
                )
                .await?
            }
        };
        if kind == Allowed::Events && response.status().is_success() {
            self.events_open.notify_one();
        }
        Ok(response)
    }
}

async fn exchange<S>(
    stream: Limited<S>,
    mut request: BollardRequest,
    host: &str,
) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the response is read or dropped; an error reaches whoever reads it.
    tokio::spawn(connection);
    let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("docker"));
    request.headers_mut().insert(HOST, host);
    Ok(sender.send_request(request).await?)
}

/// The whole of what may be asked of an engine, before the version prefix is set.
fn allowed(method: &Method, path: &str) -> Option<Allowed> {
    if method != Method::GET {
        return None;
    }
    match path {
        "/version" | "/_ping" => Some(Allowed::Small),
        "/containers/json" | "/services" => Some(Allowed::List),
        "/events" => Some(Allowed::Events),
        _ => {
            let id = path.strip_prefix("/containers/")?.strip_suffix("/json")?;
            let plain = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
            plain.then_some(Allowed::Small)
        }
    }
}

/// A stream of which only so many bytes can be read.
struct Limited<S> {
    stream: S,
    left: usize,
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::FileTooLarge, TOO_LARGE)));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reading_a_few_paths_is_allowed() {
        for path in [
            "/version",
            "/_ping",
            "/containers/json",
            "/containers/0123abcdef/json",
            "/events",
            "/services",
        ] {
            assert!(allowed(&Method::GET, path).is_some(), "{path}");
            assert!(allowed(&Method::POST, path).is_none(), "{path}");
            assert!(allowed(&Method::DELETE, path).is_none(), "{path}");
        }
        for path in [
            "/",
            "/v1.41/containers/json",
            "//containers/json",
            "/info",
            "/containers/../images/json",
            "/containers/a/b/json",
            "/containers//json",
            "/containers/abc/archive",
            "/containers/abc/exec",
            "/secrets",
            "/services/abc",
            "/services/create",
        ] {
            assert!(allowed(&Method::GET, path).is_none(), "{path}");
        }
    }

    #[tokio::test]
    async fn reading_stops_at_the_limit() {
        use tokio::io::AsyncReadExt;
        let data = [0_u8; 100];
        let mut limited = Limited {
            stream: &data[..],
            left: 60,
        };
        let mut out = Vec::new();
        let error = limited.read_to_end(&mut out).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
