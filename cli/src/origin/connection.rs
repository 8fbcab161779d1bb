//! One connection: the handshake if there is TLS, then HTTP/1.1 or HTTP/2 until it ends.
//!
//! In clear the first bytes decide (HTTP/2 by prior knowledge, RFC 9113, section 3.3); over TLS the
//! protocol that was agreed on does, and where none was, the first bytes again.

use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::answer::{Context, Origin};
use super::tls::{HANDSHAKE, Session, Tls};

/// Streams that a client may have open at once on one connection.
const STREAMS: u32 = 1000;

/// Serves one connection; after `stop` it answers what it has and closes.
pub(super) async fn serve(
    stream: TcpStream,
    tls: Option<Tls>,
    service: Arc<Origin>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let Some(tls) = tls else {
        return speak(stream, None, service, stop, tasks).await;
    };
    // A client that does not get through the handshake has nothing to be told.
    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.acceptor.accept(stream)).await {
        let session = Session::of(stream.get_ref().1);
        speak(stream, Some(session), service, stop, tasks).await;
    }
}

async fn speak<S>(
    stream: S,
    session: Option<Session>,
    service: Arc<Origin>,
    stop: CancellationToken,
    tasks: TaskTracker,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let builder = builder(session.as_ref().and_then(|s| s.alpn.as_deref()));
    let context = Context {
        tasks,
        stop: stop.clone(),
        session: session.map(Arc::new),
    };
    let respond = hyper::service::service_fn(move |request| {
        let service = Arc::clone(&service);
        let context = context.clone();
        async move { service.respond(request, context).await }
    });
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), respond);
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        // A connection that a client breaks is that client's affair; a `/close` ends here too.
        _ = serving.as_mut() => return,
        () = stop.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

fn builder(alpn: Option<&[u8]>) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .pipeline_flush(true)
        .header_read_timeout(None);
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .enable_connect_protocol();
    match alpn {
        Some(b"h2") => builder.http2_only(),
        Some(b"http/1.1") => builder.http1_only(),
        _ => builder,
    }
}
