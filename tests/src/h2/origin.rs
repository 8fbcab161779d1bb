//! An origin that counts streams, records what they say, and answers as a test tells it to.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{driver, wait};
use crate::ports;
use crate::wait::eventually;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Counts the connections of the origin from 0.
    pub connection: usize,
    pub method: http::Method,
    pub uri: http::Uri,
    pub headers: HeaderMap,
    /// The value of `:protocol`, of an extended CONNECT.
    pub protocol: Option<String>,
    /// `None` until it has arrived whole.
    pub body: Option<Vec<u8>>,
    pub trailers: Option<HeaderMap>,
    /// Why the stream ended before its request did.
    pub reset: Option<Reason>,
}

impl Seen {
    /// The first field of that name, as text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What the script answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Heads in front of the final one.
    pub interim: Vec<Response<()>>,
    pub response: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// Waits so long before the head.
    pub wait: Duration,
    /// Resets the stream instead of answering.
    pub reset: Option<Reason>,
    /// Resets the stream behind the body instead of ending it.
    pub cut: Option<Reason>,
    /// Says GOAWAY behind this answer, and lets what is open finish.
    pub go_away: bool,
}

impl Default for Reply {
    fn default() -> Self {
        Self::status(200)
    }
}

impl Reply {
    /// That status and a body of `OK`.
    ///
    /// # Panics
    /// When it is no status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        let response = Response::builder().status(status).body(());
        Self {
            interim: Vec::new(),
            response: response.expect("a status"),
            body: b"OK".to_vec(),
            trailers: None,
            wait: Duration::ZERO,
            reset: None,
            cut: None,
            go_away: false,
        }
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    builder: Builder,
    tls: Option<TlsAcceptor>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<Seen>) -> T) -> T {
        work(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A server on a port of loopback, until it is dropped.
pub struct Origin {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Origin {
    /// In clear, under a script that is called once a request has arrived whole.
    #[must_use]
    pub fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(&Builder::new(), None, script)
    }

    /// Answers every request with 200 and `OK`.
    #[must_use]
    pub fn ok() -> Self {
        Self::start(|_| Reply::default())
    }

    /// With settings of the test's choice, over TLS where there is a configuration.
    ///
    /// # Panics
    /// When no port can be bound.
    #[must_use]
    pub fn start_with(
        builder: &Builder,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let addr = ports::free();
        let listener = wait("a port for an origin", TcpListener::bind(addr)).expect("a free port");
        let shared = Arc::new(Shared {
            script: Box::new(script),
            builder: builder.clone(),
            tls: tls.map(TlsAcceptor::from),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let accepting = driver().spawn(accept(listener, Arc::clone(&shared)));
        Self {
            addr,
            shared,
            accepting,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The requests so far, in the order in which their heads came.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.with(|seen| seen.clone())
    }

    /// The number of requests, and so of streams, so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.with(|seen| seen.len())
    }

    /// The one request so far.
    ///
    /// # Panics
    /// When there is none or more than one.
    #[must_use]
    pub fn only(&self) -> Seen {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests at the origin: {requests:#?}");
        requests.remove(0)
    }

    /// Waits until that many requests came.
    pub fn wait_for(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} requests at the origin"), || {
            Some(self.requests()).filter(|requests| requests.len() >= count)
        })
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.shared.with(Vec::clear);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Its connections are tasks in this one's set, and end with it.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(connection(stream, number, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection until it ends; how it ends is the other side's affair.
async fn connection(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    shared.open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&shared));
    let _ = match &shared.tls {
        Some(tls) => match tls.accept(stream).await {
            Ok(tls) => serve(tls, number, &shared).await,
            Err(_) => return,
        },
        None => serve(stream, number, &shared).await,
    };
}

/// Counts a connection as open for as long as it lives, aborted or not.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(
    io: impl AsyncRead + AsyncWrite + Unpin,
    number: usize,
    shared: &Arc<Shared>,
) -> Result<(), h2::Error> {
    let mut connection = shared.builder.handshake::<_, Bytes>(io).await?;
    let mut streams = tokio::task::JoinSet::new();
    let leave = Arc::new(tokio::sync::Notify::new());
    loop {
        tokio::select! {
            () = leave.notified() => connection.graceful_shutdown(),
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let (shared, leave) = (Arc::clone(shared), Arc::clone(&leave));
                streams.spawn(async move { exchange(request, respond, number, &shared, &leave).await });
            }
        }
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    connection: usize,
    shared: &Shared,
    leave: &tokio::sync::Notify,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let protocol = head.extensions.get::<h2::ext::Protocol>();
    let seen = Seen {
        connection,
        method: head.method,
        uri: head.uri,
        protocol: protocol.map(|p| p.as_str().to_owned()),
        headers: head.headers,
        body: None,
        trailers: None,
        reset: None,
    };
    let at = shared.with(|all| {
        all.push(seen);
        all.len() - 1
    });
    let whole = collect(&mut body).await;
    let seen = shared.with(|all| {
        // Gone when the test has cleared what came before.
        let seen = all.get_mut(at)?;
        match &whole {
            Ok((data, trailers)) => {
                seen.body = Some(data.clone());
                seen.trailers.clone_from(trailers);
            }
            Err(error) => seen.reset = error.reason(),
        }
        Some(seen.clone())
    });
    whole?;
    let reply = seen.map(|seen| (shared.script)(&seen)).unwrap_or_default();
    tokio::time::sleep(reply.wait).await;
    if let Some(reason) = reply.reset {
        respond.send_reset(reason);
        return Ok(());
    }
    for head in reply.interim {
        respond.send_informational(head)?;
    }
    let bare = reply.body.is_empty() && reply.trailers.is_none();
    let mut out = respond.send_response(reply.response, bare)?;
    if !reply.body.is_empty() {
        let last = reply.trailers.is_none() && reply.cut.is_none();
        out.send_data(reply.body.into(), last)?;
    }
    if let Some(reason) = reply.cut {
        // Data that is still queued goes with a reset.
        tokio::time::sleep(Duration::from_millis(100)).await;
        out.send_reset(reason);
    }
    if let Some(trailers) = reply.trailers {
        out.send_trailers(trailers)?;
    }
    if reply.go_away {
        leave.notify_one();
    }
    Ok(())
}

async fn collect(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut data = Vec::new();
    while let Some(part) = body.data().await.transpose()? {
        body.flow_control().release_capacity(part.len())?;
        data.extend_from_slice(&part);
    }
    Ok((data, body.trailers().await?))
}

#[cfg(test)]
mod tests {
    use super::super::{Client, raw};
    use super::*;
    use crate::pki::Authority;
    use crate::tls::{Connector, acceptor};

    #[test]
    fn streams_are_recorded_with_their_bodies_trailers_and_resets() {
        let origin = Origin::start(|seen| match seen.uri.path() {
            "/refused" => Reply {
                reset: Some(Reason::REFUSED_STREAM),
                ..Reply::default()
            },
            _ => Reply::default(),
        });
        let client = Client::connect(origin.addr());
        let mut stream = client.open(client.request(http::Method::POST, "a", "/x"), false);
        stream.send(b"body", false);
        let trailers = [(http::HeaderName::from_static("x-sum"), "1".parse().unwrap())];
        stream.trailers(trailers.into_iter().collect());
        assert_eq!(stream.response().text(), "OK");
        let seen = origin.only();
        assert_eq!(seen.body.as_deref(), Some(&b"body"[..]));
        assert_eq!(seen.trailers.unwrap()["x-sum"], "1");
        let refused = client.request(http::Method::GET, "a", "/refused");
        let error = client.try_exchange(refused, b"").unwrap_err();
        assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM));
        let mut given_up = client.open(client.request(http::Method::PUT, "a", "/y"), false);
        origin.wait_for(3);
        given_up.reset(Reason::CANCEL);
        eventually("the reset at the origin", || origin.requests()[2].reset);
        assert_eq!((origin.accepted(), origin.open()), (1, 1));
    }

    #[test]
    fn a_goaway_ends_the_connection_behind_its_answer() {
        let leaving = |_: &Seen| Reply {
            go_away: true,
            ..Reply::default()
        };
        let authority = Authority::new("origins");
        let tls = acceptor(&authority.server(&["origin.example"]), &["h2"], None);
        let origin = Origin::start_with(&Builder::new(), Some(tls), leaving);
        let trusting = Connector::trusting(&authority, "origin.example", &["h2"]);
        let mut client = Client::connect_tls(origin.addr(), &trusting);
        assert_eq!(client.get("origin.example", "/").status, 200);
        client.closed().unwrap();
        eventually("the end at the origin", || {
            (origin.open() == 0).then_some(())
        });
    }

    #[test]
    fn frames_can_be_written_byte_by_byte() {
        let origin = Origin::ok();
        let mut client = raw::connect(origin.addr());
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":authority", b"a.example"),
            (b":path", b"/raw"),
        ];
        let flags = raw::flag::END_HEADERS | raw::flag::END_STREAM;
        client.send(raw::Frame::bytes(
            raw::kind::HEADERS,
            flags,
            1,
            &raw::block(&fields),
        ));
        let head = raw::until(&mut client, |frame| frame.kind == raw::kind::HEADERS);
        assert_eq!(head.stream, 1);
        assert_eq!(origin.only().uri, "http://a.example/raw");
        client.send(raw::Frame::bytes(raw::kind::PING, 0, 1, b"01234567"));
        let bye = raw::until(&mut client, |frame| frame.kind == raw::kind::GOAWAY);
        assert_eq!(bye.code(), Some(Reason::PROTOCOL_ERROR.into()));
    }
}
