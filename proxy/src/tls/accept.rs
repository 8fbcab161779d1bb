//! Accepting: the server's side of a handshake.
//!
//! The client's first message is read before anything is decided: it names the host, and the host decides what is asked of
//! the client. All the work is done on the connection's worker: a signature is shorter than the way to another thread and
//! back, and a worker that is busy with handshakes accepts fewer connections, which the kernel then gives to others.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::server::{Accepted, Acceptor};
use rustls::{CertificateError, Connection, Error};
use tokio::net::TcpStream;
use weir_config::model::ClientAuth;

use super::certificate;
use super::handshake::drive;
use super::info::{Peer, TlsInfo};
use super::server::ServerTls;
use super::socket::{Now, Socket, or_pending};
use super::{TlsError, TlsStream};
use crate::buffer::Buffer;
use crate::http::h1::flow::poll_fill;
use crate::http::linger;
use crate::snapshot::LabelId;
use crate::timer::{Alarm, Rung};
use crate::worker::Worker;

/// What is said to who speaks plain HTTP. It ends the connection.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
Content-Type: text/plain; charset=utf-8\r\n\
Content-Length: 58\r\n\
Connection: close\r\n\r\n\
Plain HTTP was sent to a port that speaks TLS: use https.\n";

/// How long a client that may speak in plain text is waited for: one of TLS speaks first, and at once.
const SPEAKS_WITHIN: Duration = Duration::from_secs(1);
/// The first byte of a handshake's record.
const HANDSHAKE: u8 = 0x16;

/// A connection that has been accepted, and for whom.
pub(crate) struct Incoming<'a> {
    pub(crate) worker: &'a Worker,
    /// The listener's, for metrics.
    pub(crate) listener: LabelId,
    pub(crate) peer: SocketAddr,
    pub(crate) alarm: &'a Alarm,
    pub(crate) timeout: Duration,
}

/// How a connection goes on.
pub(crate) enum Welcome {
    Secured(TlsStream),
    /// In plain text, where that is served, too; with what has been read of it.
    Plain(TcpStream, Buffer),
}

/// Shakes hands. `first` is what has been read from the connection already.
///
/// `None` is a handshake that failed: it has been counted and logged, and the client told where it can be.
pub(crate) async fn accept(
    incoming: Incoming<'_>,
    mut tcp: TcpStream,
    mut first: Buffer,
    tls: &ServerTls,
) -> Option<Welcome> {
    let Incoming { worker, alarm, .. } = incoming;
    if tls.plain_too() {
        match Box::pin(is_tls(worker, &mut tcp, &mut first, alarm)).await {
            Some(true) => {}
            Some(false) => {
                worker.metrics.handshake(incoming.listener, "plain");
                return Some(Welcome::Plain(tcp, first));
            }
            // It went away before it said anything.
            None => return None,
        }
    }
    alarm.set(worker.timers.now() + incoming.timeout.as_millis() as u64);
    // On the heap, for as long as it lasts: the connection's own future is to be small.
    let shaken = Box::pin(shake(&mut tcp, &first, tls, alarm)).await;
    drop(first);
    match shaken {
        Ok((connection, info)) => {
            let result = if info.resumed { "resumed" } else { "ok" };
            worker.metrics.handshake(incoming.listener, result);
            Some(Welcome::Secured(TlsStream::new(tcp, connection, info)))
        }
        Err(error) => {
            worker.metrics.handshake(incoming.listener, error.result());
            match tls.asks() {
                true => worker
                    .strangers
                    .refused(worker, incoming.listener, incoming.peer, &error),
                false => tracing::debug!(%error, peer = %incoming.peer, "a handshake failed"),
            }
            if error.is_told() {
                linger::close_stream(worker, &mut tcp, alarm).await;
            }
            None
        }
    }
}

/// Whether the client speaks TLS, by its first byte (RFC 8446, section 5.1). One that waits for the server to speak first
/// does not. `None`: it is gone.
async fn is_tls(
    worker: &Worker,
    tcp: &mut TcpStream,
    first: &mut Buffer,
    alarm: &Alarm,
) -> Option<bool> {
    if first.is_empty() {
        if first.capacity() == 0 {
            *first = worker.buffers.small();
        }
        alarm.set(worker.timers.now() + SPEAKS_WITHIN.as_millis() as u64);
        let (mut from, _) = tcp.split();
        match alarm.watch(|cx| poll_fill(cx, &mut from, first)).await {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(_)) => {}
            Err(Rung::Time) => return Some(false),
            Err(_) => return None,
        }
    }
    Some(first.first() == Some(&HANDSHAKE))
}

/// The handshake alone. What bounds it is the alarm's deadline.
pub(super) async fn shake(
    tcp: &mut TcpStream,
    mut first: &[u8],
    tls: &ServerTls,
    alarm: &Alarm,
) -> Result<(Connection, TlsInfo), TlsError> {
    if !tls.has_certificate() {
        return Err(TlsError::Unusable);
    }
    let accepted = hello(tcp, &mut first, alarm).await?;
    let policy = {
        let hello = accepted.client_hello();
        Arc::clone(tls.policy(hello.server_name()))
    };
    let Some(config) = &policy.config else {
        return Err(TlsError::Unusable);
    };
    let mut connection = match accepted.into_connection(Arc::clone(config)) {
        Ok(connection) => Connection::from(connection),
        Err((error, mut alert)) => {
            let _ = alert.write_all(&mut Now(tcp));
            return Err(error.into());
        }
    };
    drive(tcp, &mut connection, &mut first, alarm).await?;
    let info = info(&connection, policy.client_auth.clone());
    // With a ticket nothing is shown and verified anew, and it may be good for longer than what was shown.
    if info.resumed && info.ends.is_some_and(|end| end < info.opened) {
        return Err(Error::InvalidCertificate(CertificateError::Expired).into());
    }
    Ok((connection, info))
}

/// The client's first message.
async fn hello(
    tcp: &mut TcpStream,
    first: &mut &[u8],
    alarm: &Alarm,
) -> Result<Accepted, TlsError> {
    let mut acceptor = Acceptor::default();
    let mut start = Start::default();
    loop {
        let read = alarm.watch(|cx| {
            let from = first.by_ref().chain(Socket { tcp, cx });
            let start = &mut start;
            or_pending(acceptor.read_tls(&mut Watched { from, start }))
        });
        if read.await?? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // What the socket does not take at once is not worth a wait.
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err(_) if start.is_http() => {
                let _ = Now(tcp).write_all(PLAIN_HTTP);
                return Err(TlsError::PlainHttp);
            }
            Err((error, mut alert)) => {
                let _ = alert.write_all(&mut Now(tcp));
                return Err(error.into());
            }
        }
    }
}

fn info(connection: &Connection, client_auth: Option<ClientAuth>) -> TlsInfo {
    let server_name = match connection {
        Connection::Server(connection) => connection.server_name(),
        Connection::Client(_) => None,
    };
    let chain = connection.peer_certificates().unwrap_or_default();
    TlsInfo {
        server_name: server_name.map(|name| name.strip_suffix('.').unwrap_or(name).into()),
        peer: chain.first().map(|own| Box::new(Peer::of(own))),
        client_auth,
        ends: certificate::end_of(chain),
        chain: chain.into(),
        opened: Duration::from_secs(UnixTime::now().as_secs()),
        ..TlsInfo::of(connection)
    }
}

/// The first bytes of a connection, noted on their way.
#[derive(Default)]
struct Start {
    bytes: [u8; 4],
    len: usize,
}

impl Start {
    /// Whether they begin a request of HTTP: no record of TLS begins with a letter.
    fn is_http(&self) -> bool {
        let [first, rest @ ..] = &self.bytes;
        let of_method = |byte: &u8| byte.is_ascii_uppercase() || *byte == b' ';
        self.len == 4 && first.is_ascii_uppercase() && rest.iter().all(of_method)
    }
}

struct Watched<'a, R> {
    from: R,
    start: &'a mut Start,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buf)?;
        for byte in buf.iter().take(read) {
            let Some(place) = self.start.bytes.get_mut(self.start.len) else {
                break;
            };
            *place = *byte;
            self.start.len += 1;
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
