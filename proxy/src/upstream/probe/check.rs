//! One probe: a connection of its own, and a question where one is asked.

mod grpc;
mod http;
mod tcp;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use weir_config::model::{HealthCheck, HealthProbe};

use crate::tls::{self, Alpn, ClientTls, TlsStream};

/// As much of what comes is looked at, and no more is kept.
const MAX_LOOKED_AT: usize = 64 * 1024;

/// As much of what came, or was to come, is told.
const MAX_TOLD: usize = 48;

/// Asks once. Either says what was seen: `connected`, `status 503, expected 200-299`.
pub(super) async fn run(
    mut address: SocketAddr,
    check: &HealthCheck,
    tls: Option<&ClientTls>,
) -> Result<String, String> {
    if let Some(port) = check.port {
        address.set_port(port.get());
    }
    let deadline = Deadline::after(check.timeout);
    let stream = deadline
        .bound("connecting", TcpStream::connect(address))
        .await?
        .map_err(|error| connect_failed(&error))?;
    let Some(tls) = tls else {
        return ask(stream, address, None, &check.probe, &deadline).await;
    };
    let alpn = match &check.probe {
        HealthProbe::Tcp(_) => Alpn::None,
        HealthProbe::Http(_) => Alpn::Http11,
        HealthProbe::Grpc(_) => Alpn::H2,
    };
    let shaking = tls::connect_alone(stream, tls, address.ip(), alpn);
    let stream = deadline.bound("in the TLS handshake", Box::pin(shaking));
    let stream = stream.await?.map_err(|error| format!("TLS: {error}"))?;
    ask(stream, address, tls.hostname(), &check.probe, &deadline).await
}

/// `name` is what the endpoint was asked for by TLS.
async fn ask(
    stream: impl Connection,
    address: SocketAddr,
    name: Option<&str>,
    probe: &HealthProbe,
    deadline: &Deadline,
) -> Result<String, String> {
    let to = Asked { address, name };
    match probe {
        HealthProbe::Tcp(probe) => tcp::check(stream, probe, deadline).await,
        HealthProbe::Http(probe) => http::check(stream, to, probe, deadline).await,
        // On the heap, for it is far larger than the others.
        HealthProbe::Grpc(probe) => Box::pin(grpc::check(stream, to, probe, deadline)).await,
    }
}

/// Who is asked.
struct Asked<'a> {
    address: SocketAddr,
    /// By TLS.
    name: Option<&'a str>,
}

impl Asked<'_> {
    /// Whom a request is for when the check does not say.
    fn authority(&self) -> String {
        let address = self.address.to_string();
        self.name.map_or(address, str::to_owned)
    }
}

/// What a question is asked on.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket itself.
    fn socket(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream {
    fn socket(&self) -> &TcpStream {
        self.tcp()
    }
}

/// When a check must have ended.
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    fn after(timeout: Duration) -> Self {
        Self {
            at: Instant::now() + timeout,
            timeout,
        }
    }

    /// Does one part of the check; when there is no time left, the reason says which part that was.
    async fn bound<T>(&self, doing: &str, work: impl Future<Output = T>) -> Result<T, String> {
        let ended = tokio::time::timeout_at(self.at, work).await;
        ended.map_err(|_| format!("timed out after {:?} {doing}", self.timeout))
    }
}

fn connect_failed(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => format!("cannot connect: {error}"),
    }
}

fn broke_off(error: &io::Error) -> String {
    format!("the connection broke off: {error}")
}

/// Once the answer is known nobody needs the connection: a reset leaves nothing behind at either end, where
/// an orderly close would hold a port for a minute after each check. A bare connect is closed in order, since to
/// the endpoint it is a client that said nothing, and a reset from one is an error in many a log.
fn end_with_reset(stream: &impl Connection) {
    // Without it the connection is closed in order, which is as good.
    let _ = stream.socket().set_zero_linger();
}

/// Bytes for people: in quotes, printable, not too many.
fn quoted(bytes: &[u8]) -> String {
    match bytes.get(..MAX_TOLD) {
        Some(start) if bytes.len() > MAX_TOLD => format!("\"{}…\"", start.escape_ascii()),
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

fn with_seen(why: String, seen: &[u8]) -> String {
    match seen {
        [] => why,
        some => format!("{why}; what came begins with {}", quoted(some)),
    }
}

#[cfg(test)]
mod tests;
