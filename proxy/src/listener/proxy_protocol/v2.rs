//! Version 2: binary, with extensions (`proxy-protocol.txt`, section 2.2).
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Addresses, Header, HeaderError, MAX_LEN, Start};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// Extensions that are of one hop only: a checksum of the whole header, and padding.
const CRC32C: u8 = 0x03;
const NOOP: u8 = 0x04;

/// Reads a header that begins with the signature.
pub(super) fn read(bytes: &[u8]) -> Result<Start, HeaderError> {
    // Each byte is judged as soon as it is there, so that a peer that errs does not wait for more.
    let local = match bytes.get(12) {
        None => return Ok(Start::Partial),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(HeaderError::Version),
    };
    let family = match bytes.get(13) {
        None => return Ok(Start::Partial),
        Some(family) => Family::of(*family, local)?,
    };
    let (Some(high), Some(low)) = (bytes.get(14), bytes.get(15)) else {
        return Ok(Start::Partial);
    };
    let len = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if len > MAX_LEN {
        return Err(HeaderError::TooLong);
    }
    if len < FIXED + family.len() {
        return Err(HeaderError::Addresses);
    }
    let Some(body) = bytes.get(FIXED..len) else {
        return Ok(Start::Partial);
    };
    let tlvs = match family {
        // What a sender says of itself, or of a family that it does not name, is skipped unread.
        Family::None => len..len,
        _ => FIXED + family.len()..len,
    };
    check_tlvs(bytes.get(tlvs.clone()).unwrap_or_default())?;
    Ok(Start::Header(Header {
        addresses: family.addresses(body),
        tlvs,
        len,
    }))
}

#[derive(Clone, Copy)]
enum Family {
    /// The addresses, if any, mean nothing here.
    None,
    V4,
    V6,
    /// Two paths of 108 bytes.
    Unix,
}

impl Family {
    fn of(byte: u8, local: bool) -> Result<Self, HeaderError> {
        match byte {
            _ if local => Ok(Self::None),
            0x00 => Ok(Self::None),
            0x11 => Ok(Self::V4),
            0x21 => Ok(Self::V6),
            0x31 => Ok(Self::Unix),
            _ => Err(HeaderError::Family),
        }
    }

    /// Bytes of its addresses.
    fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
        }
    }

    /// Splits an address off.
    fn ip(self, bytes: &[u8]) -> Option<(IpAddr, &[u8])> {
        match self {
            Self::None | Self::Unix => None,
            Self::V4 => {
                let (ip, rest) = bytes.split_first_chunk::<4>()?;
                Some((Ipv4Addr::from(*ip).into(), rest))
            }
            Self::V6 => {
                let (ip, rest) = bytes.split_first_chunk::<16>()?;
                Some((Ipv6Addr::from(*ip).into(), rest))
            }
        }
    }

    fn addresses(self, body: &[u8]) -> Option<Addresses> {
        let (source, rest) = self.ip(body)?;
        let (destination, rest) = self.ip(rest)?;
        let (from, rest) = rest.split_first_chunk::<2>()?;
        let (to, _) = rest.split_first_chunk::<2>()?;
        Some(Addresses {
            source: SocketAddr::new(source, u16::from_be_bytes(*from)),
            destination: SocketAddr::new(destination, u16::from_be_bytes(*to)),
        })
    }
}

/// Splits the first extension off: type, the whole of it, and what follows.
fn split_tlv(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, high, low], _) = bytes.split_first_chunk::<3>()?;
    let len = 3 + usize::from(u16::from_be_bytes([high, low]));
    let (whole, rest) = bytes.split_at_checked(len)?;
    Some((kind, whole, rest))
}

fn check_tlvs(mut bytes: &[u8]) -> Result<(), HeaderError> {
    while !bytes.is_empty() {
        (_, _, bytes) = split_tlv(bytes).ok_or(HeaderError::Extensions)?;
    }
    Ok(())
}

/// The extensions of a header that may go on to the next hop: all but its checksum and its padding.
#[must_use]
pub fn passable(mut tlvs: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(tlvs.len());
    while let Some((kind, whole, rest)) = split_tlv(tlvs) {
        if !matches!(kind, CRC32C | NOOP) {
            out.extend_from_slice(whole);
        }
        tlvs = rest;
    }
    out
}

pub(super) fn write(out: &mut Vec<u8>, addresses: Addresses, tlvs: &[u8]) {
    let Addresses {
        source,
        destination,
    } = addresses;
    // An extension came in a header that had room for it and for addresses as long as these: it fits.
    let family = if source.is_ipv4() { 0x11 } else { 0x21 };
    let len = tlvs.len() + if source.is_ipv4() { 12 } else { 36 };
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0x21, family]);
    out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    for ip in [source.ip(), destination.ip()] {
        match ip {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
    }
    out.extend_from_slice(&source.port().to_be_bytes());
    out.extend_from_slice(&destination.port().to_be_bytes());
    out.extend_from_slice(tlvs);
}
