//! A listener: one bound address and the rules for reading what arrives there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::{Authorization, Capture, ListenerName, ListenerTls, MeshMode, Source};

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
    /// There with [`Protocol::Https`]; may be there with [`Protocol::Tcp`], which then passes on what is inside; never else.
    pub tls: Option<Arc<ListenerTls>>,
    /// Of no meaning for what is passed on as it is.
    pub http2: Http2,
    /// It is where a sidecar takes connections for its service, and from whom. Before the sidecar adds its identity it is
    /// in plain text.
    pub mesh: Option<MeshMode>,
    pub capture: Option<Capture>,
    /// Who may call. `None`: everybody, and nothing is asked.
    pub authorization: Option<Arc<Authorization>>,
    /// What endpoints are told of the certificate that a client has shown. Of no meaning for what is passed on as it is.
    pub client_cert: ForwardClientCert,
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
            tls: None,
            http2: Http2::default(),
            mesh: None,
            capture: None,
            authorization: None,
            client_cert: ForwardClientCert::default(),
            source: Source::default(),
        }
    }
}

/// What is spoken on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 and, with prior knowledge, HTTP/2 in plain text.
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS, as ALPN decides.
    Https,
    /// Whatever the two ends speak: connections are passed on as they are.
    Tcp,
    /// Datagrams, passed on in sessions by the client's address.
    Udp,
    /// TLS that is not ended here: the name that the client asks for is read, and the connection passed on.
    TlsPassthrough,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Http,
        Self::Https,
        Self::Tcp,
        Self::Udp,
        Self::TlsPassthrough,
    ];

    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::TlsPassthrough => "tls-passthrough",
        }
    }

    /// Whether requests are read and routed one by one.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Whether what arrives is passed on without a look at what it says.
    #[must_use]
    pub fn is_stream(self) -> bool {
        !self.is_http()
    }

    /// Whether two protocols can be bound to one address and port: TCP and UDP have ports of their own.
    #[must_use]
    pub fn shares_ports_with(self, other: Self) -> bool {
        (self == Self::Udp) == (other == Self::Udp)
    }
}

/// What becomes of `x-forwarded-client-cert` (Envoy, `forward_client_cert_details`). A stranger's is always removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardClientCert {
    /// A trusted hop's is kept, and nothing is said of this connection's own client.
    #[default]
    Sanitize,
    /// In its place what this connection's own client has proved, also where a trusted hop says otherwise.
    SanitizeSet,
    /// That behind what a trusted hop says.
    AppendForward,
}

impl ForwardClientCert {
    /// As a configuration writes it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Sanitize => "sanitize",
            Self::SanitizeSet => "sanitizeSet",
            Self::AppendForward => "appendForward",
        }
    }
}

/// HTTP/2 on a listener, and what bounds a connection of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Whether it is spoken at all. Default yes.
    pub enabled: bool,
    /// Streams that a client may have open at once (`SETTINGS_MAX_CONCURRENT_STREAMS`). Default 100.
    pub max_concurrent_streams: u32,
    /// Bytes of a request's body that are taken before somebody reads them, for each stream. Default 64 KiB.
    pub stream_window: u32,
    /// The same for all streams of a connection together. Default 1 MiB.
    pub connection_window: u32,
    /// A connection is told to go (GOAWAY) at this age, 10% sooner or later. `None`: at none, the default.
    pub max_age: Option<Duration>,
    /// Its requests may go on for that long then. Default 30 s.
    pub max_age_grace: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            enabled: true,
            max_concurrent_streams: 100,
            stream_window: 64 * 1024,
            connection_window: 1024 * 1024,
            max_age: None,
            max_age_grace: Duration::from_secs(30),
        }
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
    /// From the first byte of a TLS handshake to its end. Default 5 s.
    pub handshake_timeout: Duration,
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
            handshake_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            stream_idle_timeout: Duration::from_secs(300),
        }
    }
}
