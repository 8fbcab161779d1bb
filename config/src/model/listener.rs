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
    /// Who may say, in a PROXY header, for whom a connection is made. `None`: nobody. Never on UDP.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Bounds of UDP; of no meaning for other protocols.
    pub udp: UdpLimits,
    pub source: Source,
}

impl Listener {
    /// A listener with every setting at its default.
    #[must_use]
    pub fn new(name: ListenerName, bind: SocketAddr, protocol: Protocol) -> Self {
        Self {
            name,
            bind,
            protocol,
            trusted_hops: TrustedHops::None,
            path_policy: PathPolicy::default(),
            limits: Limits::default(),
            via: false,
            proxy_protocol: None,
            udp: UdpLimits::default(),
            source: Source::default(),
        }
    }
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in plain text.
    Http,
    /// Whatever the two ends speak: connections are passed on as they are.
    Tcp,
    /// Datagrams, passed on in sessions by the client's address.
    Udp,
    /// TLS that is not ended here: the name that the client asks for is read, and the connection passed on.
    TlsPassthrough,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http, Self::Tcp, Self::Udp, Self::TlsPassthrough];

    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::TlsPassthrough => "tls-passthrough",
        }
    }

    /// Whether what arrives is passed on without a look at what it says.
    #[must_use]
    pub fn is_stream(self) -> bool {
        self != Self::Http
    }

    /// Whether two protocols can be bound to one address and port: TCP and UDP have ports of their own.
    #[must_use]
    pub fn shares_ports_with(self, other: Self) -> bool {
        (self == Self::Udp) == (other == Self::Udp)
    }
}

/// Who may send a PROXY header (haproxy, `proxy-protocol.txt`, versions 1 and 2), and what is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// From peers outside of these networks a header is never believed: a connection that starts with one is refused.
    pub from: Vec<IpNet>,
    /// Whether a listed peer must send one. Default yes.
    pub required: bool,
    /// Whether the extensions of a version 2 header go on to endpoints that are sent one. Default no.
    pub pass_tlvs: bool,
}

impl ProxyProtocol {
    /// Whether a header from this peer is believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.from.iter().any(|n| n.contains(&peer.to_canonical()))
    }
}

/// Version of a PROXY header that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary; carries extensions.
    V2,
}

/// Bounds of the sessions of a UDP listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpLimits {
    /// A session on which nothing moves in either direction ends after this. Default 30 s.
    pub idle_timeout: Duration,
    /// Sessions of one worker; datagrams that would begin another are dropped. Default 10,000.
    pub max_sessions: usize,
    /// Bytes of one datagram; longer ones are dropped. Default 65,507, the most that IPv4 carries.
    pub max_packet: usize,
}

impl Default for UdpLimits {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(30),
            max_sessions: 10_000,
            max_packet: 65_507,
        }
    }
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
