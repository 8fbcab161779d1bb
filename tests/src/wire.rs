//! HTTP/1 on a blocking socket, in clear or over TLS, as both ends of the tests need it: strict, byte-true, with deadlines.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::tls::Channel;

/// Everything that arrived on one connection, shared with the test.
pub type Tape = Arc<Mutex<Vec<u8>>>;

/// Bytes as text, one character a byte (ISO 8859-1), so that nothing is lost.
#[must_use]
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The reverse of [`latin1`].
///
/// # Panics
/// For a character above U+00FF.
#[must_use]
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("a character of ISO 8859-1"))
        .collect()
}

/// A start line and its fields, in the order and the case in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    fn parse(raw: &[u8]) -> io::Result<Self> {
        let text = latin1(raw);
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| invalid(format!("a field without colon: {line:?}")))?;
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { start, fields })
    }

    /// The first field of that name, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }

    /// All fields of that name.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The word of the start line at that index: method, target, version; or version, status.
    #[must_use]
    pub fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// The status, of a response.
    ///
    /// # Panics
    /// When the start line is not a status line.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.word(1)
            .parse()
            .unwrap_or_else(|_| panic!("not a status line: {:?}", self.start))
    }

    /// Whether the last transfer coding is chunked.
    #[must_use]
    pub fn chunked(&self) -> bool {
        let last = self
            .all("transfer-encoding")
            .last()
            .and_then(|v| v.rsplit(',').next())
            .unwrap_or_default()
            .to_owned();
        last.split(';')
            .next()
            .is_some_and(|coding| coding.trim().eq_ignore_ascii_case("chunked"))
    }

    /// The one Content-Length.
    ///
    /// # Errors
    /// When there are several, or it is no number.
    pub fn length(&self) -> io::Result<Option<usize>> {
        match self.all("content-length").as_slice() {
            [] => Ok(None),
            [one] if one.bytes().all(|b| b.is_ascii_digit()) => one
                .parse()
                .map(Some)
                .map_err(|_| invalid(format!("Content-Length: {one}"))),
            many => Err(invalid(format!("Content-Length: {many:?}"))),
        }
    }
}

/// A body, and the chunks and trailers it came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub data: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    pub chunks: Vec<usize>,
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    channel: Channel,
    buffer: Vec<u8>,
    tape: Option<Tape>,
    /// How long any one read may take.
    pub patience: Duration,
}

impl Wire {
    /// Speaks on this stream; what arrives is copied onto the tape.
    ///
    /// # Panics
    /// When the socket refuses its options.
    #[must_use]
    pub fn new(stream: TcpStream, tape: Option<Tape>) -> Self {
        Self::over(Channel::Plain(stream), tape)
    }

    /// As [`Wire::new`], on a connection that may be TLS.
    ///
    /// # Panics
    /// When the socket refuses its options.
    #[must_use]
    pub fn over(channel: Channel, tape: Option<Tape>) -> Self {
        channel.socket().set_nodelay(true).expect("TCP_NODELAY");
        Self {
            channel,
            buffer: Vec::new(),
            tape,
            patience: crate::wait::PATIENCE,
        }
    }

    /// The socket itself.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        self.channel.socket()
    }

    /// What TLS agreed on; `None` in clear.
    #[must_use]
    pub fn session(&self) -> Option<crate::tls::Session> {
        self.channel.session()
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// As the socket gives them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream().set_write_timeout(Some(self.patience))?;
        self.channel.write_all(bytes.as_ref())?;
        self.channel.flush()
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// As the socket gives them.
    pub fn finish(&mut self) -> io::Result<()> {
        self.channel.finish()
    }

    /// Makes the close a reset instead of an orderly end.
    pub fn reset_on_close(&self) {
        // Where the option is refused, an orderly close is what is left.
        let _ = rustix::net::sockopt::set_socket_linger(self.stream(), Some(Duration::ZERO));
    }

    /// Reads once; 0 at the end of the stream.
    fn fill(&mut self) -> io::Result<usize> {
        self.stream().set_read_timeout(Some(self.patience))?;
        let mut chunk = [0; 64 * 1024];
        let count = self.channel.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        if let Some(tape) = &self.tape {
            tape.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(&chunk[..count]);
        }
        Ok(count)
    }

    /// The next head; `None` when the peer closed in front of it.
    ///
    /// # Errors
    /// When it is cut short, malformed, or does not come in time.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let mut scanned = 0;
        loop {
            let from = scanned.min(self.buffer.len());
            if let Some(at) = find(&self.buffer[from..], b"\r\n\r\n") {
                let raw: Vec<u8> = self.buffer.drain(..from + at + 4).collect();
                return Head::parse(&raw).map(Some);
            }
            scanned = self.buffer.len().saturating_sub(3);
            if self.fill()? == 0 {
                let left = latin1(&self.buffer);
                return if left.is_empty() {
                    Ok(None)
                } else {
                    Err(invalid(format!("the head ends early: {left:?}")))
                };
            }
        }
    }

    /// Exactly that many bytes.
    ///
    /// # Errors
    /// When the stream ends before.
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(invalid(format!(
                    "{} of {count} bytes, then the end",
                    self.buffer.len()
                )));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// One line without its CRLF.
    ///
    /// # Errors
    /// When the stream ends before.
    pub fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(latin1(&line[..at]));
            }
            if self.fill()? == 0 {
                return Err(invalid(format!(
                    "a line ends early: {:?}",
                    latin1(&self.buffer)
                )));
            }
        }
    }

    /// A chunked body with its trailers.
    ///
    /// # Errors
    /// When its framing is not exact.
    pub fn chunked(&mut self) -> io::Result<Body> {
        let mut body = Body::default();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default();
            let size = usize::from_str_radix(digits, 16)
                .map_err(|_| invalid(format!("a chunk size {line:?}")))?;
            if size == 0 {
                break;
            }
            body.chunks.push(size);
            body.data.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(invalid("a chunk does not end in CRLF".into()));
            }
        }
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                return if line.is_empty() {
                    Ok(body)
                } else {
                    Err(invalid(format!("a trailer {line:?}")))
                };
            };
            body.trailers
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Whatever is there or comes next, at least one byte; empty at the end of the stream.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Everything up to the end of the stream.
    ///
    /// # Errors
    /// When it does not end in time; a reset counts as an end.
    pub fn to_end(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.fill() {
                Ok(0) => return Ok(std::mem::take(&mut self.buffer)),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(std::mem::take(&mut self.buffer));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// What arrives within that time, without waiting for more.
    ///
    /// # Errors
    /// As the socket gives them; a silent peer is no error.
    pub fn arriving(&mut self, time: Duration) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + time;
        let patience = self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.patience = left;
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if is_timeout(&e) => break,
                Err(e) => {
                    self.patience = patience;
                    return Err(e);
                }
            }
        }
        self.patience = patience;
        Ok(std::mem::take(&mut self.buffer))
    }
}

/// Whether a read or write gave up waiting.
#[must_use]
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

/// A malformed message.
#[must_use]
pub fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Where `needle` starts in `hay`.
#[must_use]
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len())
        .position(|window| window == needle)
}

/// A body in chunks of the given size, without trailers.
#[must_use]
pub fn chunks(data: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + 64);
    for chunk in data.chunks(size.max(1)) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}
