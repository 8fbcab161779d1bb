//! A socket that passes on what may be asked of a container engine, and nothing else.
//!
//! For those who keep the engine's own socket in a container apart: whoever holds it owns the machine, and whoever holds
//! the gate's can read what discovery reads. [`ask`] says which requests are passed, by the same list that Weir's own
//! client keeps to; the request that reaches the engine is made anew, of the path and a few parameters. [`shape`] says which parts
//! of an answer are passed: those that discovery reads, so that what a container has in its environment, on its command line or
//! in its mounts never leaves. Everything is bounded: connections, heads, answers, times.

mod answer;
mod ask;
mod events;
mod shape;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::answer::Body;
use crate::discovery::engine::endpoint::Endpoint;

/// Connections at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// Lists at a time, which are read as a whole; further ones wait.
const MAX_LISTS: usize = 2;
/// A request's head, in bytes and in lines.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 32;
/// For the head to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// For a whole exchange but a stream of events.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// A gate in front of one engine. Clones share it.
#[derive(Clone)]
pub struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    lists: Semaphore,
    refusals: ask::Refusals,
}

impl Gate {
    /// In front of the engine at `unix:///path` or `tcp://host:port`.
    ///
    /// # Errors
    /// A text for the person who wrote the address.
    pub fn new(endpoint: &str) -> Result<Self, String> {
        let inner = Inner {
            endpoint: Endpoint::parse(endpoint)?,
            lists: Semaphore::new(MAX_LISTS),
            refusals: ask::Refusals::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Serves until it is told to stop; what is under way then ends with it.
    pub async fn serve(self, listener: UnixListener, stop: CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, _)) => {
                    let gate = self.clone();
                    connections.spawn(async move {
                        gate.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    // Mostly there are no descriptors left; trying again at once would only burn the processor.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// One request, and its end with the connection.
    async fn connection(&self, stream: UnixStream) {
        let streams = AtomicBool::new(false);
        let service = service_fn(|request: Request<Incoming>| {
            let streams = &streams;
            async move { Ok::<_, Infallible>(self.exchange(request, streams).await) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .keep_alive(false);
        let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let over = tokio::time::timeout(EXCHANGE_TIMEOUT, serving.as_mut()).await;
        let ended = match over {
            Ok(ended) => ended,
            Err(_) if streams.load(Ordering::Relaxed) => serving.await,
            Err(_) => return,
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended");
        }
    }

    async fn exchange(&self, request: Request<Incoming>, streams: &AtomicBool) -> Response<Body> {
        match ask::Asked::read(&request) {
            Ok(asked) => {
                streams.store(asked.is_stream(), Ordering::Relaxed);
                answer::pass(&self.inner, asked).await
            }
            Err(denied) => {
                self.inner.refusals.tell(&request, &denied);
                answer::denied(&denied)
            }
        }
    }
}
