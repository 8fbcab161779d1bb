//! The name that a TLS client asks for, read from its first message without ending the TLS.
//!
//! No I/O: bytes in, an answer out, however the message is cut into records and the records into segments. Nothing is
//! judged that routing does not need; what is malformed where routing looks is refused, since whoever reads
//! it next might read another name.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(test)]
mod tests;

/// Most bytes looked at: what clients send has some hundred bytes, two thousand with keys that are safe from quantum
/// computers.
pub const MAX_LEN: usize = 16 * 1024;

/// A client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// Lower case; `None` where it asks for no name.
    pub server_name: Option<String>,
}

/// What is wrong with a first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    #[error("it is not TLS")]
    NotTls,
    #[error("the TLS is malformed")]
    Malformed,
    #[error("the ClientHello is longer than 16384 bytes")]
    TooLong,
}

impl HelloError {
    /// The alert that tells the client (RFC 8446, section 6.2): `unexpected_message`, `decode_error`.
    #[must_use]
    pub fn alert(self) -> u8 {
        match self {
            Self::NotTls => 10,
            Self::Malformed | Self::TooLong => 50,
        }
    }
}

/// Reads a ClientHello at the front of these bytes; `None` while it is not whole. However the same bytes are split over
/// calls, the answer is the same once it is not `None`.
///
/// # Errors
/// [`HelloError`], as soon as the bytes that are there cannot become a ClientHello.
pub fn read(bytes: &[u8]) -> Result<Option<ClientHello>, HelloError> {
    let is_cut = bytes.len() < MAX_LEN;
    let bytes = bytes.get(..MAX_LEN).unwrap_or(bytes);
    let mut message = Message::default();
    let mut rest = bytes;
    loop {
        match record(rest)? {
            Record::Whole { data, after } => {
                message.add(data)?;
                rest = after;
            }
            Record::Cut(data) => {
                message.add(data)?;
                if !message.is_whole() {
                    return match is_cut {
                        true => Ok(None),
                        false => Err(HelloError::TooLong),
                    };
                }
            }
        }
        if message.is_whole() {
            return hello(message.body()).map(Some);
        }
    }
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// Longest record (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// One record of the handshake.
enum Record<'a> {
    Whole {
        data: &'a [u8],
        after: &'a [u8],
    },
    /// What there is of it.
    Cut(&'a [u8]),
}

/// Splits the first record off, judging each byte of its head that is there.
fn record(bytes: &[u8]) -> Result<Record<'_>, HelloError> {
    let Some((&kind, rest)) = bytes.split_first() else {
        return Ok(Record::Cut(b""));
    };
    if kind != HANDSHAKE {
        return Err(HelloError::NotTls);
    }
    // SSL 3 to TLS 1.3 all write 3 here; the second number means nothing any more.
    match rest.first() {
        None => return Ok(Record::Cut(b"")),
        Some(3) => {}
        Some(_) => return Err(HelloError::NotTls),
    }
    let (Some(high), Some(low)) = (rest.get(2), rest.get(3)) else {
        return Ok(Record::Cut(b""));
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    // An empty fragment of a handshake is not allowed (RFC 8446, section 5.1).
    if len == 0 || len > MAX_RECORD {
        return Err(HelloError::Malformed);
    }
    let body = rest.get(4..).unwrap_or_default();
    Ok(match body.split_at_checked(len) {
        Some((data, after)) => Record::Whole { data, after },
        None => Record::Cut(body),
    })
}

/// A handshake message put together from its records.
#[derive(Default)]
struct Message(Vec<u8>);

/// Type and length of a handshake message.
const HEAD: usize = 4;

impl Message {
    fn add(&mut self, data: &[u8]) -> Result<(), HelloError> {
        self.0.extend_from_slice(data);
        if self.0.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
            return Err(HelloError::NotTls);
        }
        match self.len() {
            Some(len) if len > MAX_LEN - HEAD => Err(HelloError::TooLong),
            _ => Ok(()),
        }
    }

    /// Of the body, once it is known.
    fn len(&self) -> Option<usize> {
        let (_, rest) = self.0.split_first()?;
        let (&[a, b, c], _) = rest.split_first_chunk::<3>()?;
        usize::try_from(u32::from_be_bytes([0, a, b, c])).ok()
    }

    fn is_whole(&self) -> bool {
        self.len().is_some_and(|len| self.0.len() >= HEAD + len)
    }

    fn body(&self) -> &[u8] {
        let end = HEAD + self.len().unwrap_or(0);
        self.0.get(HEAD..end).unwrap_or_default()
    }
}

/// Takes fields off the front of bytes, each within the one around it.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(HelloError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, HelloError> {
        self.take(1)?.first().copied().ok_or(HelloError::Malformed)
    }

    fn short(&mut self) -> Result<u16, HelloError> {
        match self.take(2)? {
            &[high, low] => Ok(u16::from_be_bytes([high, low])),
            _ => Err(HelloError::Malformed),
        }
    }

    /// A field with its length in two bytes before it.
    fn vector(&mut self) -> Result<&'a [u8], HelloError> {
        let len = self.short()?;
        self.take(usize::from(len))
    }

    fn short_vector(&mut self) -> Result<&'a [u8], HelloError> {
        let len = self.byte()?;
        self.take(usize::from(len))
    }
}

const SERVER_NAME: u16 = 0;

/// RFC 8446, section 4.1.2.
fn hello(body: &[u8]) -> Result<ClientHello, HelloError> {
    let mut fields = Fields(body);
    // Version and random.
    fields.take(2 + 32)?;
    let session = fields.short_vector()?;
    let suites = fields.vector()?;
    let compressions = fields.short_vector()?;
    if session.len() > 32 || suites.len() < 2 || suites.len() % 2 != 0 || compressions.is_empty() {
        return Err(HelloError::Malformed);
    }
    // A client older than extensions ends here.
    if fields.0.is_empty() {
        return Ok(ClientHello { server_name: None });
    }
    let mut extensions = Fields(fields.vector()?);
    if !fields.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    let mut found = None;
    while !extensions.0.is_empty() {
        let (kind, data) = (extensions.short()?, extensions.vector()?);
        if kind == SERVER_NAME && found.replace(server_name(data)?).is_some() {
            return Err(HelloError::Malformed);
        }
    }
    Ok(ClientHello { server_name: found })
}

/// RFC 6066, section 3: a list, though there is one type of name, and no more than one name of a type.
fn server_name(data: &[u8]) -> Result<String, HelloError> {
    let mut list = Fields(data);
    let mut names = Fields(list.vector()?);
    let (kind, name) = (names.byte()?, names.vector()?);
    if kind != 0 || !names.0.is_empty() || !list.0.is_empty() {
        return Err(HelloError::Malformed);
    }
    // A host name is matched, logged and written to terminals.
    let fits = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || name.len() > 255 || !name.iter().all(fits) {
        return Err(HelloError::Malformed);
    }
    let name = std::str::from_utf8(name).map_err(|_| HelloError::Malformed)?;
    Ok(name.to_ascii_lowercase())
}
