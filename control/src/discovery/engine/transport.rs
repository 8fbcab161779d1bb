//! How requests reach the engine: read-only, one connection each, bounded.
//!
//! Weir only ever reads from the engine. This is the one place through which every request goes, and it refuses what
//! is not on the list ([`Question`]), whatever the code above it asks for. An answer has a size limit, because
//! the library that decodes it reads it as a whole.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bollard::errors::Error;
use http::header::{HOST, HeaderValue};
use http::{Request, Response, Uri};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;

use super::allowed::Question;
use super::endpoint::Endpoint;

/// Said in the error of an answer that is too large.
pub(crate) const TOO_LARGE: &str = "the engine's answer is larger than Weir accepts";

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
    ///
    /// # Errors
    /// A request that is not on the list is refused, and nothing is sent.
    pub(super) async fn send<B>(
        self: Arc<Self>,
        mut request: Request<B>,
    ) -> Result<Response<Incoming>, Error>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let path = request.uri().path();
        let Some(question) = Question::of(request.method(), path) else {
            let text = format!("refused to send {} {path} to the engine", request.method());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text).into());
        };
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let prefix = self.version_prefix.get().map_or("", String::as_str);
        *request.uri_mut() = format!("{prefix}{target}").parse::<Uri>()?;
        let response = exchange_at(&self.endpoint, question.limit(), request).await?;
        if question == Question::Events && response.status().is_success() {
            self.events_open.notify_one();
        }
        Ok(response)
    }
}

/// Sends a request to an engine on a connection of its own, and takes no more than `limit` bytes of the answer, its head
/// included.
///
/// # Errors
/// Those of connecting say what to check.
pub(crate) async fn exchange_at<B>(
    endpoint: &Endpoint,
    limit: usize,
    request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let explain = |error: io::Error| io::Error::new(error.kind(), endpoint.explain(&error));
    let left = limit;
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(explain)?;
            exchange(Limited { stream, left }, request, "docker").await
        }
        Endpoint::Tcp(host) => {
            let stream = TcpStream::connect(host.as_str()).await.map_err(explain)?;
            exchange(Limited { stream, left }, request, host).await
        }
    }
}

async fn exchange<S, B>(
    stream: Limited<S>,
    mut request: Request<B>,
    host: &str,
) -> Result<Response<Incoming>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the response is read or dropped; an error reaches whoever reads it.
    tokio::spawn(connection);
    let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static("docker"));
    request.headers_mut().insert(HOST, host);
    Ok(sender.send_request(request).await?)
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
