//! Answers of OCSP responders (RFC 6960, section 4.2), to be stapled: as much of them as says about what and until when they
//! are.
//!
//! Their signature is left to clients, who know by whom it must be. What is refused here would have clients refuse a certificate
//! that is good.

use std::fmt::Write as _;

use sha1::{Digest as _, Sha1};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use super::pem::Complaint;
use crate::model::{OcspAnswer, OcspStatus};

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1.
const BASIC: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 48, 1, 1];
/// id-sha1, 1.3.14.3.2.26.
const SHA1: &[u8] = &[0x2b, 14, 3, 2, 26];
/// id-sha256, 2.16.840.1.101.3.4.2.1.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];

const ENUMERATED: u8 = 0x0a;
const OID: u8 = 0x06;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const BITS: u8 = 0x03;
const SEQUENCE: u8 = 0x30;
const TIME: u8 = 0x18;
/// `[0]`, `[1]` and `[2]`, with something inside.
const TAGGED: [u8; 3] = [0xa0, 0xa1, 0xa2];
/// `[0]` and `[2]`, empty.
const GOOD: u8 = 0x80;
const UNKNOWN: u8 = 0x82;

/// Most bytes of a serial number (RFC 5280, section 4.1.2.2), and one for its sign.
const MAX_SERIAL: usize = 21;

/// Seconds that the clock of a responder may be ahead of ours, as OpenSSL's tools have it.
const AHEAD: i64 = 300;

/// Reads an answer about that certificate, which is in DER, too.
///
/// Whether it holds now, [`judge`] says.
pub(super) fn read(der: &[u8], certificate: &[u8]) -> Result<OcspAnswer, Complaint> {
    let help =
        "DER is what is stapled; have the responder asked again (openssl ocsp -respout FILE)";
    let complaint = |message: &str| (message.to_owned(), help);
    if der.is_empty() {
        return Err(complaint("it is empty"));
    }
    let response = Response::of(der).ok_or_else(|| {
        complaint(match der.starts_with(b"-----BEGIN") {
            true => "it is PEM text",
            false => "it is no answer of an OCSP responder",
        })
    })?;
    if response.status != 0 {
        let status = status(response.status);
        let message = format!("the OCSP responder had no answer: {status}");
        return Err((message, "ask it again, or for another certificate"));
    }
    let all = response
        .basic
        .and_then(singles)
        .ok_or_else(|| complaint("it is no basic OCSP response that can be read"))?;
    let (_, certificate) = X509Certificate::from_der(certificate)
        .map_err(|_| complaint("its certificate cannot be read"))?;
    let single = all.iter().find(|single| single.id.is_of(&certificate));
    let single = single.ok_or_else(|| {
        (
            another(&all, &certificate),
            "ask the responder about this certificate",
        )
    })?;
    let help = "ask the responder again: it does not know this certificate, or not yet";
    let status = single
        .status
        .ok_or_else(|| ("its status is \"unknown\"".to_owned(), help))?;
    let next_update = single.next_update.ok_or_else(|| {
        let message = "it does not say until when it holds (nextUpdate)".to_owned();
        (
            message,
            "have the responder say so (openssl ocsp -ndays DAYS)",
        )
    })?;
    Ok(OcspAnswer {
        der: der.to_vec(),
        status,
        this_update: single.this_update,
        next_update,
    })
}

/// Whether an answer holds at that time.
pub(super) fn judge(answer: &OcspAnswer, now: i64) -> Result<(), Complaint> {
    let when = |seconds| {
        ASN1Time::from_timestamp(seconds).map_or_else(|_| String::new(), |at| at.to_string())
    };
    if now > answer.next_update {
        let message = format!("its time has passed on {}", when(answer.next_update));
        return Err((message, "ask the OCSP responder again, well before that"));
    }
    if answer.this_update > now.saturating_add(AHEAD) {
        let message = format!("it holds from {} on", when(answer.this_update));
        return Err((message, "check the clock of this machine"));
    }
    Ok(())
}

fn status(number: u8) -> String {
    match number {
        1 => "malformedRequest".to_owned(),
        2 => "internalError".to_owned(),
        3 => "tryLater".to_owned(),
        5 => "sigRequired".to_owned(),
        6 => "unauthorized".to_owned(),
        other => format!("status {other}"),
    }
}

/// What an answer is about that is not about this certificate.
fn another(all: &[Single<'_>], certificate: &X509Certificate<'_>) -> String {
    let own = certificate.raw_serial();
    let Some(first) = all.first() else {
        return "it is about no certificate".to_owned();
    };
    let (first, same) = (
        first.id.serial,
        all.iter().any(|single| single.id.serial == own),
    );
    let own = text(own);
    match same {
        true => format!("it is about the certificate {own} of another authority"),
        false => format!(
            "it is about the certificate {}, and this one is {own}",
            text(first)
        ),
    }
}

/// A serial number as others show it.
fn text(serial: &[u8]) -> String {
    let mut out = String::with_capacity(serial.len() * 3);
    for byte in serial {
        let colon = if out.is_empty() { "" } else { ":" };
        let _ = write!(out, "{colon}{byte:02x}");
    }
    out
}

/// `OCSPResponse`
struct Response<'a> {
    status: u8,
    /// `BasicOCSPResponse`, if it is of that type.
    basic: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    fn of(mut der: &'a [u8]) -> Option<Self> {
        let mut whole = last(&mut der, SEQUENCE)?;
        let &[status] = take(&mut whole, ENUMERATED)? else {
            return None;
        };
        let basic = take(&mut whole, TAGGED[0]).and_then(|mut bytes| {
            let mut bytes = last(&mut bytes, SEQUENCE)?;
            (take(&mut bytes, OID)? == BASIC).then_some(())?;
            last(&mut bytes, OCTETS)
        });
        Some(Self { status, basic })
    }
}

/// `CertID`
struct Id<'a> {
    hash: &'a [u8],
    issuer: &'a [u8],
    serial: &'a [u8],
}

impl Id<'_> {
    /// An authority's serial numbers are its own: two may both begin at 1. Hashes that nobody uses are not looked at.
    fn is_of(&self, certificate: &X509Certificate<'_>) -> bool {
        let issuer = certificate.issuer().as_raw();
        self.serial == certificate.raw_serial()
            && match self.hash {
                SHA1 => Sha1::digest(issuer)[..] == *self.issuer,
                SHA256 => Sha256::digest(issuer)[..] == *self.issuer,
                _ => true,
            }
    }
}

/// `SingleResponse`
struct Single<'a> {
    id: Id<'a>,
    /// `None`: unknown.
    status: Option<OcspStatus>,
    /// Seconds since 1970.
    this_update: i64,
    next_update: Option<i64>,
}

/// What a `BasicOCSPResponse` is about.
fn singles(mut basic: &[u8]) -> Option<Vec<Single<'_>>> {
    let mut basic = last(&mut basic, SEQUENCE)?;
    let mut data = take(&mut basic, SEQUENCE)?;
    take(&mut basic, SEQUENCE)?;
    take(&mut basic, BITS)?;
    // The version is left out where it is the first.
    take(&mut data, TAGGED[0]);
    take(&mut data, TAGGED[1]).or_else(|| take(&mut data, TAGGED[2]))?;
    time(&mut data)?;
    let mut responses = take(&mut data, SEQUENCE)?;
    let mut all = Vec::new();
    while !responses.is_empty() {
        all.push(single(take(&mut responses, SEQUENCE)?)?);
    }
    Some(all)
}

fn single(mut from: &[u8]) -> Option<Single<'_>> {
    let id = id(take(&mut from, SEQUENCE)?)?;
    let good = take(&mut from, GOOD).map(|_| Some(OcspStatus::Good));
    let status = good
        .or_else(|| take(&mut from, TAGGED[1]).map(|_| Some(OcspStatus::Revoked)))
        .or_else(|| take(&mut from, UNKNOWN).map(|_| None))?;
    let this_update = time(&mut from)?;
    let next_update = match take(&mut from, TAGGED[0]) {
        Some(mut inside) => Some(time(&mut inside)?),
        None => None,
    };
    Some(Single {
        id,
        status,
        this_update,
        next_update,
    })
}

fn id(mut from: &[u8]) -> Option<Id<'_>> {
    let hash = take(&mut take(&mut from, SEQUENCE)?, OID)?;
    let issuer = take(&mut from, OCTETS)?;
    // The hash of its key.
    take(&mut from, OCTETS)?;
    let serial = take(&mut from, INTEGER).filter(|serial| serial.len() <= MAX_SERIAL)?;
    Some(Id {
        hash,
        issuer,
        serial,
    })
}

fn time(from: &mut &[u8]) -> Option<i64> {
    let mut rest = *from;
    take(&mut rest, TIME)?;
    let (_, time) = ASN1Time::from_der(from).ok()?;
    *from = rest;
    Some(time.timestamp())
}

/// What is in the element of that tag that comes next. Where another does, nothing is taken.
fn take<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, length], rest) = from.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match length {
        ..=0x7f => (usize::from(length), rest),
        // Files are no larger than three bytes can say.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
            (length, rest)
        }
        _ => return None,
    };
    let (inside, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some(inside)
}

/// The same, with nothing behind it.
fn last<'a>(from: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    take(from, tag).filter(|_| from.is_empty())
}
