//! Version 1: one line of text (`proxy-protocol.txt`, section 2.1).
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::{Addresses, Header, HeaderError, Start};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line there can be, its end included.
const MAX_LINE: usize = 107;

/// Reads a line that begins with the signature.
pub(super) fn read(bytes: &[u8]) -> Result<Start, HeaderError> {
    let within = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', within) else {
        return match bytes.len() < MAX_LINE {
            true => Ok(Start::Partial),
            false => Err(HeaderError::Line),
        };
    };
    let line = within.get(SIGNATURE.len()..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(HeaderError::Line)?;
    let line = std::str::from_utf8(line).map_err(|_| HeaderError::Line)?;
    Ok(Start::Header(Header {
        addresses: addresses(line)?,
        tlvs: 0..0,
        len: end + 1,
    }))
}

fn addresses(line: &str) -> Result<Option<Addresses>, HeaderError> {
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        // What follows is to be ignored.
        return Ok(None);
    }
    let mut word = || words.next().ok_or(HeaderError::Line);
    let (source, destination) = (ip(family, word()?)?, ip(family, word()?)?);
    let (from, to) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(HeaderError::Line);
    }
    Ok(Some(Addresses {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
    }))
}

fn ip(family: &str, text: &str) -> Result<IpAddr, HeaderError> {
    let ip = match family {
        "TCP4" => text.parse().map(IpAddr::V4),
        "TCP6" => text.parse().map(IpAddr::V6),
        _ => return Err(HeaderError::Line),
    };
    ip.map_err(|_| HeaderError::Line)
}

/// Decimal, without zeros in front.
fn port(text: &str) -> Result<u16, HeaderError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    match text.parse() {
        Ok(port) if plain => Ok(port),
        _ => Err(HeaderError::Line),
    }
}

pub(super) fn write(out: &mut Vec<u8>, addresses: Addresses) {
    let Addresses {
        source,
        destination,
    } = addresses;
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    // Writing to a Vec does not fail.
    drop(write!(
        out,
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    ));
}
