//! A listener: one bound address and the rules for reading what arrives there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::{ListenerName, Source};

/// One bound address.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: ListenerName,
    pub bind: SocketAddr,
    pub protocol: Protocol,
    /// Which peers may speak for a client in `X-Forwarded-*`.
    pub trusted_hops: TrustedHops,
    pub path_policy: PathPolicy,
    pub limits: Limits,
    /// Adds `Via: 1.1 weir` both ways. Off by default: it tells strangers what runs here.
    pub via: bool,
    pub source: Source,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in plain text.
    Http,
}

/// Who may name the client in `X-Forwarded-For`, `-Proto`, `-Host`, `Forwarded`, `X-Real-IP`, `X-Request-Id`.
///
/// From anybody else these headers are overwritten with what Weir saw itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TrustedHops {
    /// Nobody: the default.
    #[default]
    None,
    /// That many proxies stand in front; the client is that many entries from the right.
    Count(u8),
    /// Peers in these networks; the client is the right-most entry outside of them.
    Networks(Vec<IpNet>),
}

impl TrustedHops {
    /// Whether headers sent by this peer are believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        match self {
            Self::None => false,
            Self::Count(count) => *count > 0,
            Self::Networks(networks) => networks.iter().any(|n| n.contains(&peer.to_canonical())),
        }
    }
}

/// What happens to a path that two parties could read in two ways (`%2f`, `%5c`, `..`, `//`, `;`, `\`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathPolicy {
    /// Unreserved characters are decoded, `.` and `..` resolved, `//` merged; what stays
    /// ambiguous (`%2f`, `%5c`, `\`, `%00`, doubly encoded) is refused with 400.
    #[default]
    Canonicalize,
    /// Only a path that is already canonical passes; anything else is 400.
    Strict,
}

/// Sizes and times that bound one downstream connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Header fields in one head; 431 above. Default 100.
    pub max_headers: usize,
    /// Bytes of one head after the request line; 431 above. Default 60 KiB.
    pub max_header_bytes: usize,
    /// Bytes of one field, name and value; 431 above. Default 16 KiB.
    pub max_field_bytes: usize,
    /// Bytes of the request line; 414 above. Default 8 KiB.
    pub max_request_line_bytes: usize,
    /// Whether a GET or HEAD may have a body; 400 otherwise. Default no: requests are smuggled that way.
    pub get_body: bool,
    /// From the first byte of a head to its end; 408 after. Default 10 s.
    pub head_timeout: Duration,
    /// A keep-alive connection without a request is closed after this. Default 60 s.
    pub idle_timeout: Duration,
    /// A body or tunnel on which nothing moves in either direction is closed after this. Default 5 min.
    pub stream_idle_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_headers: 100,
            max_header_bytes: 60 * 1024,
            max_field_bytes: 16 * 1024,
            max_request_line_bytes: 8 * 1024,
            get_body: false,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
        }
    }
}
