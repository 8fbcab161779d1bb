//! A client that sends exactly the bytes it is told to and reads answers strictly.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::tls::Connector;
use crate::wait::PATIENCE;
use crate::wire::{Body, Head, Wire, invalid, is_timeout, latin1};

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    pub wire: Wire,
}

/// An answer with whatever 1xx came before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub interim: Vec<Head>,
    pub head: Head,
    pub body: Body,
}

impl Response {
    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The body as text, one character a byte.
    #[must_use]
    pub fn text(&self) -> String {
        latin1(&self.body.data)
    }

    /// The first field of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// Whether the server says that it closes now.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.head
            .all("connection")
            .iter()
            .any(|v| v.split(',').any(|t| t.trim().eq_ignore_ascii_case("close")))
    }
}

/// What a server did with what it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Response(Box<Response>),
    /// The connection ended without a response.
    Closed,
    /// Nothing happened in time.
    Silence,
}

impl Answer {
    /// The status, where there was one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Response(response) => Some(response.status()),
            Self::Closed | Self::Silence => None,
        }
    }
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|e| panic!("connect to {addr}: {e}"))
    }

    /// Connects.
    ///
    /// # Errors
    /// As the socket gives them.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        TcpStream::connect_timeout(&addr, PATIENCE).map(|stream| Self {
            wire: Wire::new(stream, None),
        })
    }

    /// Connects and shakes hands over TLS.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn connect_tls(addr: SocketAddr, tls: &Connector) -> Self {
        Self::try_connect_tls(addr, tls).unwrap_or_else(|e| panic!("TLS with {addr}: {e}"))
    }

    /// Connects and shakes hands over TLS.
    ///
    /// # Errors
    /// As the socket or TLS gives them.
    pub fn try_connect_tls(addr: SocketAddr, tls: &Connector) -> io::Result<Self> {
        let channel = tls.connect(TcpStream::connect_timeout(&addr, PATIENCE)?)?;
        Ok(Self {
            wire: Wire::over(channel, None),
        })
    }

    /// Connects from a given loopback address (127.0.0.0/8).
    ///
    /// # Panics
    /// When that is not possible.
    #[must_use]
    pub fn connect_from(source: std::net::IpAddr, addr: SocketAddr) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let fd = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&fd, &SocketAddr::new(source, 0)).unwrap_or_else(|e| panic!("bind to {source}: {e}"));
        connect(&fd, &addr).unwrap_or_else(|e| panic!("connect {source} to {addr}: {e}"));
        Self {
            wire: Wire::new(TcpStream::from(fd), None),
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the peer does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.wire
            .send(bytes)
            .unwrap_or_else(|e| panic!("send: {e}"));
        self
    }

    /// Reads the answer to a request of that method, 1xx included.
    ///
    /// # Errors
    /// When it is malformed or late; `Ok(None)` when the connection ended in front of it.
    pub fn try_response(&mut self, method: &str) -> io::Result<Option<Response>> {
        let mut interim = Vec::new();
        let head = loop {
            let Some(head) = self.wire.head()? else {
                return if interim.is_empty() {
                    Ok(None)
                } else {
                    Err(invalid("only 1xx, then the end".into()))
                };
            };
            match head
                .word(1)
                .parse::<u16>()
                .map_err(|_| invalid(format!("not a status line: {:?}", head.start)))?
            {
                101 => break head,
                100..=199 => interim.push(head),
                _ => break head,
            }
        };
        let status = head.status();
        let body = match status {
            101 | 204 | 304 => Body::default(),
            _ if method == "HEAD" => Body::default(),
            _ if head.chunked() => self.wire.chunked()?,
            _ => match head.length()? {
                Some(length) => Body {
                    data: self.wire.exactly(length)?,
                    ..Body::default()
                },
                None => Body {
                    data: self.wire.to_end()?,
                    ..Body::default()
                },
            },
        };
        Ok(Some(Response {
            interim,
            head,
            body,
        }))
    }

    /// The answer to a request of that method.
    ///
    /// # Panics
    /// When there is none, or it is malformed.
    pub fn response_to(&mut self, method: &str) -> Response {
        match self.try_response(method) {
            Ok(Some(response)) => response,
            Ok(None) => panic!("the connection was closed without an answer"),
            Err(e) => panic!("no proper answer: {e}"),
        }
    }

    /// The answer to a request that is not HEAD.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// Sends a GET and reads the answer.
    pub fn get(&mut self, host: &str, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .response()
    }

    /// What the server does within that time, whatever it is.
    ///
    /// # Panics
    /// When it answers with something that is not HTTP/1.
    pub fn answer(&mut self, method: &str, time: Duration) -> Answer {
        self.wire.patience = time;
        let answer = match self.try_response(method) {
            Ok(Some(response)) => Answer::Response(Box::new(response)),
            Ok(None) => Answer::Closed,
            Err(e) if is_timeout(&e) => Answer::Silence,
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Answer::Closed,
            Err(e) => panic!("not an HTTP answer: {e}"),
        };
        self.wire.patience = PATIENCE;
        answer
    }

    /// Waits for the server to close, and gives what it sent until then.
    ///
    /// # Panics
    /// When it stays open.
    pub fn closed(&mut self) -> Vec<u8> {
        self.wire
            .to_end()
            .unwrap_or_else(|e| panic!("the connection stays open: {e}"))
    }

    /// Whether the server closes within that time, without sending anything more.
    pub fn closes_within(&mut self, time: Duration) -> bool {
        self.wire.patience = time;
        let end = self.wire.to_end();
        self.wire.patience = PATIENCE;
        end.is_ok_and(|rest| rest.is_empty())
    }
}

/// One GET on a connection of its own.
#[must_use]
pub fn get(addr: SocketAddr, host: &str, target: &str) -> Response {
    Client::connect(addr).get(host, target)
}
