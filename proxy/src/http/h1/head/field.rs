//! Fields, and which of them a proxy has to know.

use super::{HeadError, Span};

/// One field line.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: Span,
    pub value: Span,
    pub known: Known,
    /// Not to be forwarded: hop-by-hop, or named by `Connection`.
    pub drop: bool,
}

impl Field {
    /// One that we wrote down, and that is not looked at yet.
    pub(in crate::http) fn written(name: Span, value: Span) -> Self {
        Self {
            name,
            value,
            known: Known::Other,
            drop: false,
        }
    }

    /// The whole line: from the name to the next field, its CR LF included.
    #[must_use]
    pub fn line_start(&self) -> usize {
        self.name.start as usize
    }
}

/// The fields that a proxy acts upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Other,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    /// Keep-Alive, Proxy-Connection, TE, HTTP2-Settings: for this hop alone.
    HopByHop,
    Upgrade,
    Expect,
    Cookie,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    /// Forwarded, X-Real-IP, Client-Cert, Client-Cert-Chain, and the X-Forwarded-* that we do not set ourselves.
    ForwardedOther,
    /// X-Forwarded-Client-Cert.
    ForwardedClientCert,
    /// `Client-Cert` and its chain.
    ClientCert,
    RequestId,
    TraceParent,
    Via,
}

impl Known {
    /// Which field this name is, by length first: most names cost one comparison of a number.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        // The length and the first letter rule out nearly every name before any text is compared.
        let Some(first) = name.first() else {
            return Self::Other;
        };
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        match (name.len(), first | 0x20) {
            (2, b't') if is("te") => Self::HopByHop,
            (3, b'v') if is("via") => Self::Via,
            (4, b'h') if is("host") => Self::Host,
            (6, b'c') if is("cookie") => Self::Cookie,
            (6, b'e') if is("expect") => Self::Expect,
            (7, b'u') if is("upgrade") => Self::Upgrade,
            (9, b'f') if is("forwarded") => Self::ForwardedOther,
            (9, b'x') if is("x-real-ip") => Self::ForwardedOther,
            (10, b'c') if is("connection") => Self::Connection,
            (10, b'k') if is("keep-alive") => Self::HopByHop,
            // RFC 9440: what a proxy says of its client's certificate.
            (11, b'c') if is("client-cert") => Self::ClientCert,
            (11, b't') if is("traceparent") => Self::TraceParent,
            (12, b'x') if is("x-request-id") => Self::RequestId,
            (14, b'c') if is("content-length") => Self::ContentLength,
            (14, b'h') if is("http2-settings") => Self::HopByHop,
            (15, b'x') if is("x-forwarded-for") => Self::ForwardedFor,
            (16, b'p') if is("proxy-connection") => Self::HopByHop,
            (16, b'x') if is("x-forwarded-host") => Self::ForwardedHost,
            (17, b'c') if is("client-cert-chain") => Self::ClientCert,
            (17, b't') if is("transfer-encoding") => Self::TransferEncoding,
            (17, b'x') if is("x-forwarded-proto") => Self::ForwardedProto,
            (23, b'x') if is("x-forwarded-client-cert") => Self::ForwardedClientCert,
            (13.., b'x') if name[..12].eq_ignore_ascii_case(b"x-forwarded-") => {
                Self::ForwardedOther
            }
            _ => Self::Other,
        }
    }

    /// Whether the field is meant for this connection alone (RFC 9110, section 7.6.1).
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection | Self::HopByHop | Self::TransferEncoding | Self::Upgrade
        )
    }

    /// Whether a stranger could use the field to speak for somebody else.
    #[must_use]
    pub fn is_identity(self) -> bool {
        matches!(
            self,
            Self::ForwardedFor
                | Self::ForwardedProto
                | Self::ForwardedHost
                | Self::ForwardedOther
                | Self::ForwardedClientCert
                | Self::ClientCert
                | Self::RequestId
        )
    }
}

/// Refuses a name that an origin may read as one of ours: `X_Forwarded_For`, `Content.Length`,
/// `Transfer--Encoding`.
///
/// CGI and its descendants turn `-` into `_`, so both spellings meet in one variable there.
pub(in crate::http::h1) fn check_alias(name: &[u8]) -> Result<(), HeadError> {
    // Only names with a hyphen can be passed for, and folding keeps the first letter and never lengthens: these are
    // the first letters of those names, and the shortest of them is `x-real-ip`.
    let first = name.first().map_or(0, |first| first | 0x20);
    let may_pass = matches!(first, b'c' | b'h' | b'k' | b'p' | b't' | b'x');
    if !may_pass || !(9..=32).contains(&name.len()) || !is_suspicious(name) {
        return Ok(());
    }
    let mut folded = [0u8; 32];
    let mut len = 0;
    for byte in name {
        let byte = if matches!(byte, b'_' | b'.') {
            b'-'
        } else {
            *byte
        };
        let repeats = byte == b'-' && len > 0 && folded[len - 1] == b'-';
        if !repeats {
            folded[len] = byte;
            len += 1;
        }
    }
    match Known::of(&folded[..len]) {
        Known::Other | Known::Cookie | Known::Via | Known::TraceParent => Ok(()),
        _ => Err(HeadError::Syntax(
            "a field name passes for one that the proxy sets or acts upon",
        )),
    }
}

fn is_suspicious(name: &[u8]) -> bool {
    let mut last = 0;
    name.iter().any(|byte| {
        let suspicious = matches!(byte, b'_' | b'.') || (*byte == b'-' && last == b'-');
        last = *byte;
        suspicious
    })
}

/// Calls `each` with every member of a comma separated list, trimmed; empty members are skipped
/// (RFC 9110, section 5.6.1.2).
pub(super) fn list_members<'a>(value: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    for member in value.split(|b| *b == b',') {
        let member = member.trim_ascii();
        if !member.is_empty() {
            each(member);
        }
    }
}
