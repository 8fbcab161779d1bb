//! Connections: how many, and their TLS.

use std::future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::Shared;
use super::tally::Tally;
use super::tls::{end_of, names_of};
use crate::limits::{HANDSHAKE_TIMEOUT, MAX_CONNECTIONS, MAX_HANDSHAKES};

/// How long is waited when no connection can be taken, such as without a free file descriptor.
const PAUSE: Duration = Duration::from_millis(100);
/// Certificates end at whole seconds.
const SECOND: Duration = Duration::from_secs(1);
/// The clock is looked at this often at least: it may have been set.
const LOOK: Duration = Duration::from_secs(60);

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The names of its certificate, checked. `None`: it has none, because none is asked for.
    pub(super) names: Option<Arc<[String]>>,
    /// The certificate itself with what came with it, for those who look further. Empty: it has none.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
    /// When that certificate ends. `None`: it has none.
    pub(super) until: Option<SystemTime>,
}

impl Peer {
    /// Whether its certificate has ended since the handshake.
    pub(super) fn has_ended(&self) -> bool {
        self.until.is_some_and(|until| until < SystemTime::now())
    }

    /// Waits until then.
    pub(super) async fn ended(&self) {
        let Some(until) = self.until else {
            return future::pending().await;
        };
        while !self.has_ended() {
            let left = until.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::time::sleep(left.clamp(SECOND, LOOK)).await;
        }
    }
}

pub(super) struct Door {
    tls: Option<watch::Receiver<Arc<rustls::ServerConfig>>>,
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(
        tls: Option<watch::Receiver<Arc<rustls::ServerConfig>>>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            tls,
            shared,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            handshakes: Arc::new(Semaphore::new(MAX_HANDSHAKES)),
        }
    }

    /// Takes connections on a task of its own, which ends with the stream that is returned.
    pub(super) fn open(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let (out, incoming) = mpsc::channel(1);
        let door = Arc::new(self);
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = out.closed() => return,
                };
                match accepted {
                    Ok((stream, address)) => door.welcome(stream, address, &out),
                    Err(error) => {
                        tracing::warn!(%error, "xDS: cannot take a connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        });
        ReceiverStream::new(incoming)
    }

    fn welcome(
        self: &Arc<Self>,
        stream: TcpStream,
        address: SocketAddr,
        out: &mpsc::Sender<io::Result<Connection>>,
    ) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.shared
                .refusals
                .note("too_many", address, "too many connections");
            return;
        };
        let Ok(turn) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            self.shared.refusals.note(
                "too_many_handshakes",
                address,
                "too many handshakes at once",
            );
            return;
        };
        let (door, out) = (Arc::clone(self), out.clone());
        tokio::spawn(async move {
            let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, door.shake(stream, address));
            let shaken = shaken.await.unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the handshake took too long",
                ))
            });
            drop(turn);
            match shaken {
                Ok((inner, peer)) => {
                    let open = Open::new(place, Arc::clone(&door.shared.seen.tally));
                    let _ = out
                        .send(Ok(Connection {
                            inner,
                            peer,
                            _open: open,
                        }))
                        .await;
                }
                Err(error) => {
                    door.shared
                        .refusals
                        .note("handshake", address, &error.to_string());
                }
            }
        });
    }

    async fn shake(&self, stream: TcpStream, address: SocketAddr) -> io::Result<(Inner, Peer)> {
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            let peer = Peer {
                address,
                names: None,
                chain: Arc::default(),
                until: None,
            };
            return Ok((Inner::Plain(stream), peer));
        };
        let config = Arc::clone(&tls.borrow());
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let chain: Arc<[_]> = shown
            .unwrap_or_default()
            .iter()
            .map(|der| der.clone().into_owned())
            .collect();
        let names = chain.first().map(|own| names_of(own).into());
        let until = chain.first().map(end_of);
        let peer = Peer {
            address,
            names,
            chain,
            until,
        };
        Ok((Inner::Tls(Box::new(stream)), peer))
    }
}

/// A connection that is counted while it is there.
struct Open {
    _place: OwnedSemaphorePermit,
    tally: Arc<Tally>,
}

impl Open {
    fn new(place: OwnedSemaphorePermit, tally: Arc<Tally>) -> Self {
        tally.connections(1);
        Self {
            _place: place,
            tally,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.tally.connections(-1);
    }
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, in plain text or not.
pub(super) struct Connection {
    inner: Inner,
    peer: Peer,
    _open: Open,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
