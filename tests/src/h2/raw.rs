//! HTTP/2 byte by byte: frames as a test writes them, and frames as they arrive.
//!
//! Field blocks are written as literals without indexing and without Huffman (RFC 7541, section
//! 6.2.2), so any byte can stand in a name or a value.

use std::io;
use std::net::SocketAddr;

use crate::client::Client;
use crate::wire::{Wire, is_timeout};

/// What a client says first (RFC 9113, section 3.4), without its SETTINGS.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113, section 6).
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    pub const END_STREAM: u8 = 0x1;
    pub const ACK: u8 = 0x1;
    pub const END_HEADERS: u8 = 0x4;
    pub const PADDED: u8 = 0x8;
    pub const PRIORITY: u8 = 0x20;
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The bytes of a frame whose length is that of its payload.
    ///
    /// # Panics
    /// When the payload is longer than any frame can be.
    #[must_use]
    pub fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("a payload below 16 MiB");
        assert!(length < 1 << 24, "a payload below 16 MiB");
        let mut out = length.to_be_bytes()[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend_from_slice(payload);
        out
    }

    /// Reads the next frame; `None` when the peer closed in front of it.
    ///
    /// # Errors
    /// When it is cut short, or does not come in time.
    pub fn read(wire: &mut Wire) -> io::Result<Option<Self>> {
        let head = match wire.exactly(9) {
            Ok(head) => head,
            Err(e) if is_timeout(&e) => return Err(e),
            // The end, in whatever way it came.
            Err(_) => return Ok(None),
        };
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = wire.exactly(length as usize)?;
        Ok(Some(Self {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff,
            payload,
        }))
    }

    /// The error code of a RST_STREAM or GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        let bytes = self.payload.get(at..at + 4)?;
        Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

/// A field block of literals.
///
/// # Panics
/// When a name or value is longer than 16 KiB.
#[must_use]
pub fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            length(&mut out, text.len());
            out.extend_from_slice(text);
        }
    }
    out
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1), no Huffman.
fn length(out: &mut Vec<u8>, length: usize) {
    let small = |n: usize| u8::try_from(n).expect("seven bits");
    if length < 127 {
        out.push(small(length));
        return;
    }
    out.push(127);
    let mut left = length - 127;
    while left >= 128 {
        out.push(small(left % 128) | 128);
        left /= 128;
    }
    out.push(small(left));
}

/// Connects in clear and says the preface with empty SETTINGS.
#[must_use]
pub fn connect(addr: SocketAddr) -> Client {
    let mut client = Client::connect(addr);
    client.send(PREFACE);
    client.send(Frame::bytes(kind::SETTINGS, 0, 0, b""));
    client
}

/// Reads up to a frame that fits.
///
/// # Panics
/// When the connection ends, or stays silent, without one.
pub fn until(client: &mut Client, fits: impl Fn(&Frame) -> bool) -> Frame {
    loop {
        match Frame::read(&mut client.wire) {
            Ok(Some(frame)) if fits(&frame) => return frame,
            Ok(Some(_)) => {}
            Ok(None) => panic!("the connection ended without such a frame"),
            Err(e) => panic!("no such frame: {e}"),
        }
    }
}

/// RFC 9113, section 7.
const REFUSED_STREAM: u32 = 7;

/// How many of that many streams that have begun are answered, and how many refused (REFUSED_STREAM).
///
/// # Panics
/// When one is reset for another reason, or nothing comes of one.
pub fn answered_or_refused(client: &mut Client, streams: usize) -> (usize, usize) {
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < streams {
        let frame = until(client, |frame| {
            frame.kind == kind::RST_STREAM || frame.kind == kind::HEADERS
        });
        match frame.code() {
            Some(code) => {
                assert_eq!(code, REFUSED_STREAM);
                refused += 1;
            }
            None => answered += 1,
        }
    }
    (answered, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_nine_bytes_and_its_payload() {
        let ping = Frame::bytes(kind::PING, flag::ACK, 0, b"01234567");
        assert_eq!(ping, b"\0\0\x08\x06\x01\0\0\0\x0001234567");
    }

    #[test]
    fn long_literals_carry_their_length_in_more_bytes() {
        // RFC 7541, appendix C.1.2 for five bits; the same arithmetic for seven.
        for (len, want) in [
            (10, vec![10]),
            (126, vec![126]),
            (127, vec![127, 0]),
            (1337, vec![127, 0xba, 0x09]),
        ] {
            let mut out = Vec::new();
            length(&mut out, len);
            assert_eq!(out, want, "{len}");
        }
    }
}
