//! A client of one HTTP/2 connection.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{driver, wait, wait_within};
use crate::tls::Connector;

/// One connection to a server.
pub struct Client {
    send: SendRequest<Bytes>,
    /// Ends with the connection.
    driving: Option<JoinHandle<Result<(), h2::Error>>>,
    scheme: &'static str,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
}

impl Response {
    /// The first field of that name, as text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first trailer of that name; of the head where there is nothing but a head, as gRPC allows.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let from = self.trailers.as_ref().unwrap_or(&self.headers);
        from.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Client {
    /// Connects in clear, by prior knowledge.
    ///
    /// # Panics
    /// When there is nobody, or nobody who speaks HTTP/2.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &Builder::new())
    }

    /// As [`Client::connect`], with settings of the test's choice.
    ///
    /// # Panics
    /// When there is nobody, or nobody who speaks HTTP/2.
    #[must_use]
    pub fn connect_with(addr: SocketAddr, builder: &Builder) -> Self {
        wait("an HTTP/2 connection", async {
            let stream = TcpStream::connect(addr).await.expect("connect");
            stream.set_nodelay(true).expect("TCP_NODELAY");
            Self::over(stream, builder, "http").await
        })
        .unwrap_or_else(|e| panic!("HTTP/2 with {addr}: {e}"))
    }

    /// Connects over TLS; the connector must offer `h2`.
    ///
    /// # Panics
    /// When there is nobody, the handshake fails, or the server does not choose `h2`.
    #[must_use]
    pub fn connect_tls(addr: SocketAddr, tls: &Connector) -> Self {
        Self::try_connect_tls(addr, tls).unwrap_or_else(|e| panic!("TLS with {addr}: {e}"))
    }

    /// Connects over TLS; the connector must offer `h2`.
    ///
    /// # Errors
    /// As the socket, TLS or HTTP/2 gives them, and when the server does not choose `h2`.
    pub fn try_connect_tls(addr: SocketAddr, tls: &Connector) -> std::io::Result<Self> {
        let connector = TlsConnector::from(tls.config.clone());
        let name = tls.name.clone();
        wait("an HTTP/2 connection over TLS", async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            let tls = connector.connect(name, stream).await?;
            if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                let chosen = tls.get_ref().1.alpn_protocol();
                return Err(std::io::Error::other(format!("ALPN chose {chosen:?}")));
            }
            let client = Self::over(tls, &Builder::new(), "https").await;
            client.map_err(std::io::Error::other)
        })
    }

    async fn over(
        io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        builder: &Builder,
        scheme: &'static str,
    ) -> Result<Self, h2::Error> {
        let (send, connection): (_, Connection<_, Bytes>) = builder.handshake(io).await?;
        Ok(Self {
            send,
            driving: Some(driver().spawn(connection)),
            scheme,
        })
    }

    /// A request of that method on this connection, to be sent as it is or with more fields.
    ///
    /// # Panics
    /// When authority or path are none.
    #[must_use]
    pub fn request(&self, method: Method, authority: &str, path: &str) -> Request<()> {
        let uri = format!("{}://{authority}{path}", self.scheme);
        let request = Request::builder().method(method).uri(uri);
        request.body(()).expect("a request")
    }

    /// A GET and its whole answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn get(&self, authority: &str, path: &str) -> Response {
        self.exchange(self.request(Method::GET, authority, path), b"")
    }

    /// A request with a body, and its whole answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[must_use]
    pub fn exchange(&self, request: Request<()>, body: &[u8]) -> Response {
        self.try_exchange(request, body)
            .unwrap_or_else(|e| panic!("no answer: {e}"))
    }

    /// A request with a body, and its whole answer.
    ///
    /// # Errors
    /// When the stream or the connection ends without one; the reason is that of its frame.
    pub fn try_exchange(&self, request: Request<()>, body: &[u8]) -> Result<Response, h2::Error> {
        let mut stream = self.try_open(request, body.is_empty())?;
        if !body.is_empty() {
            // Who answers early may want no more of it; what became of the request is told by the answer.
            let _ = stream.try_send(body, true);
        }
        stream.try_response()
    }

    /// Opens a stream; `end` ends the request with its head.
    ///
    /// # Panics
    /// When the connection takes no more streams.
    #[must_use]
    pub fn open(&self, request: Request<()>, end: bool) -> Stream {
        self.try_open(request, end)
            .unwrap_or_else(|e| panic!("open a stream: {e}"))
    }

    /// Opens a stream; `end` ends the request with its head.
    ///
    /// # Errors
    /// When the connection takes no more streams.
    pub fn try_open(&self, request: Request<()>, end: bool) -> Result<Stream, h2::Error> {
        let mut send = self.send.clone();
        wait("room for a stream", async {
            poll_fn(|cx| send.poll_ready(cx)).await?;
            let (response, body) = send.send_request(request, end)?;
            Ok(Stream {
                response: Some(response),
                send: body,
                receive: None,
            })
        })
    }

    /// Whether the server allows extended CONNECT (RFC 8441).
    #[must_use]
    pub fn extended_connect(&self) -> bool {
        self.send.is_extended_connect_protocol_enabled()
    }

    /// Streams that the server allows at once, as far as is known.
    #[must_use]
    pub fn max_streams(&self) -> usize {
        self.send.current_max_send_streams()
    }

    /// Waits for the server to end the connection; an error tells of a GOAWAY with a reason.
    ///
    /// # Errors
    /// As the connection ended.
    ///
    /// # Panics
    /// When it goes on, or was waited for before.
    pub fn closed(&mut self) -> Result<(), h2::Error> {
        let driving = self.driving.take().expect("not waited for before");
        wait("the end of the connection", driving).expect("the driver lives")
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.driving.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// One exchange in progress.
pub struct Stream {
    response: Option<ResponseFuture>,
    send: SendStream<Bytes>,
    receive: Option<RecvStream>,
}

impl Stream {
    /// Sends a part of the body, as the windows allow.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn send(&mut self, data: &[u8], end: bool) {
        self.try_send(data, end)
            .unwrap_or_else(|e| panic!("send on the stream: {e}"));
    }

    /// Sends a part of the body, as the windows allow.
    ///
    /// # Errors
    /// When the stream ended.
    pub fn try_send(&mut self, data: &[u8], end: bool) -> Result<(), h2::Error> {
        let mut left = Bytes::copy_from_slice(data);
        wait("room for data", async {
            while !left.is_empty() {
                self.send.reserve_capacity(left.len());
                let room = poll_fn(|cx| self.send.poll_capacity(cx)).await;
                // Without room forever the stream is closed for sending.
                let room = room.ok_or(Reason::STREAM_CLOSED)??;
                let part = left.split_to(room.min(left.len()));
                self.send.send_data(part, false)?;
            }
            match end {
                true => self.send.send_data(Bytes::new(), true),
                false => Ok(()),
            }
        })
    }

    /// Sends as much of the body as the windows allow within that time, and says how much that was.
    pub fn send_within(&mut self, time: Duration, data: &[u8]) -> usize {
        let mut left = Bytes::copy_from_slice(data);
        let all = left.len();
        let sending = async {
            while !left.is_empty() {
                self.send.reserve_capacity(left.len());
                let room = poll_fn(|cx| self.send.poll_capacity(cx)).await;
                let Some(Ok(room)) = room else { return };
                let part = left.split_to(room.min(left.len()));
                if self.send.send_data(part, false).is_err() {
                    return;
                }
            }
        };
        wait_within(time, sending);
        all - left.len()
    }

    /// Ends the request with trailers.
    ///
    /// # Panics
    /// When the stream ended.
    pub fn trailers(&mut self, trailers: HeaderMap) {
        let sent = wait("trailers", async { self.send.send_trailers(trailers) });
        sent.unwrap_or_else(|e| panic!("send trailers: {e}"));
    }

    /// Gives the stream up.
    pub fn reset(&mut self, reason: Reason) {
        self.send.send_reset(reason);
    }

    /// Waits for the server to reset the stream.
    ///
    /// # Panics
    /// When it does not, or the connection ends.
    pub fn was_reset(&mut self) -> Reason {
        wait("a reset", poll_fn(|cx| self.send.poll_reset(cx)))
            .unwrap_or_else(|e| panic!("the connection ended instead: {e}"))
    }

    /// The next head in front of the final one; `None` where that comes first.
    ///
    /// # Panics
    /// When the stream ends instead, or its final head was taken before.
    pub fn interim(&mut self) -> Option<http::response::Parts> {
        let response = self.response.as_mut().expect("a head comes once");
        let head = wait("a head", poll_fn(|cx| response.poll_informational(cx)));
        head.map(|head| head.expect("a head").into_parts().0)
    }

    /// The head of the answer, without waiting for its body.
    ///
    /// # Errors
    /// When the stream ends without one.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn head(&mut self) -> Result<http::response::Parts, h2::Error> {
        let response = self.response.take().expect("a head comes once");
        let (parts, body) = wait("an answer", response)?.into_parts();
        self.receive = Some(body);
        Ok(parts)
    }

    /// As [`Stream::head`], if it comes within that time.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn head_within(
        &mut self,
        time: Duration,
    ) -> Option<Result<http::response::Parts, h2::Error>> {
        let response = self.response.as_mut().expect("a head comes once");
        let head = wait_within(time, response)?;
        self.response = None;
        Some(head.map(|head| {
            let (parts, body) = head.into_parts();
            self.receive = Some(body);
            parts
        }))
    }

    /// The next part of the answer's body; `None` at its end.
    ///
    /// # Errors
    /// When the stream ends otherwise.
    ///
    /// # Panics
    /// When there was no head yet.
    pub fn data(&mut self) -> Result<Option<Bytes>, h2::Error> {
        wait("data", next(self.receive.as_mut().expect("a head first")))
    }

    /// As [`Stream::data`], if it comes within that time.
    ///
    /// # Panics
    /// When there was no head yet.
    pub fn data_within(&mut self, time: Duration) -> Option<Result<Option<Bytes>, h2::Error>> {
        wait_within(time, next(self.receive.as_mut().expect("a head first")))
    }

    /// The trailers behind a body that was read to its end.
    ///
    /// # Errors
    /// When the stream ends otherwise.
    ///
    /// # Panics
    /// When there was no head yet.
    pub fn end(&mut self) -> Result<Option<HeaderMap>, h2::Error> {
        let body = self.receive.as_mut().expect("a head first");
        match wait("trailers", poll_fn(|cx| body.poll_trailers(cx))) {
            Err(error) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => Ok(None),
            ended => ended,
        }
    }

    /// The whole answer.
    ///
    /// # Errors
    /// When the stream ends without one.
    pub fn try_response(mut self) -> Result<Response, h2::Error> {
        let head = self.head()?;
        let mut body = Vec::new();
        while let Some(data) = self.data()? {
            body.extend_from_slice(&data);
        }
        Ok(Response {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            trailers: self.end()?,
        })
    }

    /// The whole answer.
    ///
    /// # Panics
    /// When the stream ends without one.
    #[must_use]
    pub fn response(self) -> Response {
        self.try_response()
            .unwrap_or_else(|e| panic!("no answer: {e}"))
    }
}

/// The next data, its window given back at once.
async fn next(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let data = match body.data().await.transpose() {
        Ok(Some(data)) => data,
        Ok(None) => return Ok(None),
        // All was said, and no more of the request is wanted (RFC 9113, section 8.1); `h2` forgets the first of the two.
        Err(error) if error.is_reset() && error.reason() == Some(Reason::NO_ERROR) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    body.flow_control().release_capacity(data.len())?;
    Ok(Some(data))
}
