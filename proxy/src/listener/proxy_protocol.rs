//! The PROXY protocol (haproxy, `proxy-protocol.txt`): a header in front of a connection that says for whom it is
//! made.
//!
//! Both versions are read and written here, without I/O. It is a codec of our own because the crates there are read a
//! whole header at once and write another type than they read: here a header may arrive in pieces, is
//! bounded at [`MAX_LEN`], and what is passed on is checked first. Whether a header is believed is not decided here.

mod v1;
mod v2;

use std::net::SocketAddr;
use std::ops::Range;

use weir_config::model::ProxyVersion;

pub use v2::passable;

/// Longest header taken: room for the extensions that proxies send, and no more. Version 1 has at most 107 bytes.
pub const MAX_LEN: usize = 4096;

/// Bytes by which a header of either version is told from anything else.
pub const SIGNATURE_LEN: usize = 12;

/// A header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// `None`: the sender speaks for itself (LOCAL), or does not know (UNKNOWN, UNSPEC, a unix socket).
    pub addresses: Option<Addresses>,
    /// Where the extensions of version 2 are; well-formed.
    pub tlvs: Range<usize>,
    /// Of the whole header: what is behind it is the client's.
    pub len: usize,
}

/// Whom a connection is for, and what it was made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Too few bytes to tell, or a header that is not whole yet.
    Partial,
    /// Something else than a header.
    Other,
    Header(Header),
}

/// Why what starts as a header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("its line is malformed")]
    Line,
    #[error("its version or command is unknown")]
    Version,
    #[error("its family is not one of a stream")]
    Family,
    #[error("its addresses are cut short")]
    Addresses,
    #[error("its extensions are malformed")]
    Extensions,
    #[error("it is longer than 4096 bytes")]
    TooLong,
}

/// Looks at the first bytes of a connection. However the same bytes are split over calls, the answer is the same once
/// it is not [`Start::Partial`].
///
/// # Errors
/// [`HeaderError`] for what starts as a header and is none.
pub fn read(bytes: &[u8]) -> Result<Start, HeaderError> {
    match signed(bytes, v1::SIGNATURE) {
        Signed::Yes => return v1::read(bytes),
        Signed::NotYet if !bytes.is_empty() => return Ok(Start::Partial),
        _ => {}
    }
    match signed(bytes, v2::SIGNATURE) {
        Signed::Yes => v2::read(bytes),
        Signed::NotYet => Ok(Start::Partial),
        Signed::No => Ok(Start::Other),
    }
}

enum Signed {
    Yes,
    NotYet,
    No,
}

fn signed(bytes: &[u8], signature: &[u8]) -> Signed {
    if bytes.starts_with(signature) {
        Signed::Yes
    } else if signature.starts_with(bytes) {
        Signed::NotYet
    } else {
        Signed::No
    }
}

/// Writes a header. `tlvs` are the extensions as [`passable`] leaves them; version 1 has no room for them.
pub fn write(out: &mut Vec<u8>, version: ProxyVersion, addresses: Addresses, tlvs: &[u8]) {
    let Addresses {
        source,
        destination,
    } = addresses;
    let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let (mut source, mut destination) = (canonical(source), canonical(destination));
    // A header has one family: what is of two goes as IPv6.
    if source.is_ipv4() != destination.is_ipv4() {
        (source, destination) = (mapped(source), mapped(destination));
    }
    let addresses = Addresses {
        source,
        destination,
    };
    match version {
        ProxyVersion::V1 => v1::write(out, addresses),
        ProxyVersion::V2 => v2::write(out, addresses, tlvs),
    }
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        v6 => v6,
    }
}

#[cfg(test)]
mod tests;
