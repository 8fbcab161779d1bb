//! Listeners as a file writes them.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::object::{object, words};
use super::read::{Read, Reader};
use super::scalar::Refused;
use super::tls::ListenerTls;
use super::{At, Authorization, Scalar};
use crate::yaml::{Kind, Node};

object! {
    /// One address that is served.
    Listener = "a listener" {
        /// Unique; routes and metrics name it.
        #[schemars(required)]
        name: At<String> = "name",
        /// IP:port; 0.0.0.0 is every IPv4 address of this machine, [::] every address.
        #[schemars(required)]
        bind: At<SocketAddr> = "bind",
        /// http (default), https, tcp, udp or tls-passthrough. Others are refused.
        protocol: At<String> = "protocol",
        /// How TLS is ended; with protocol https, and only then.
        tls: Box<ListenerTls> = "tls",
        /// HTTP/2, with protocol http or https.
        http2: Http2 = "http2",
        /// How many proxies stand in front (a count), or their networks (a list). Default none.
        trusted_hops: Hops = "trustedHops",
        /// canonicalize (default) or strict.
        path_policy: At<Policy> = "pathPolicy",
        /// Lets a GET or HEAD have a body, which is 400 otherwise. Default false.
        allow_get_body: At<bool> = "allowGetBody",
        /// Sizes and times that bound a connection.
        limits: Limits = "limits",
        /// Adds Via headers. Default false.
        via: At<bool> = "via",
        /// Takes PROXY headers, versions 1 and 2, from the peers listed. Default from nobody.
        proxy_protocol: ProxyProtocol = "proxyProtocol",
        /// Bounds of the sessions of a UDP listener.
        udp: Udp = "udp",
        /// Who may call. Default everybody.
        authorization: Vec<Authorization> = "authorization",
        /// What endpoints are told of a client's certificate, in x-forwarded-client-cert: sanitize (default: nothing, unless a
        /// trusted hop says it), sanitizeSet or appendForward.
        forward_client_cert: At<ForwardClientCert> = "forwardClientCert",
    }
}

object! {
    /// Who may say for whom a connection is made.
    ProxyProtocol = "proxyProtocol" {
        /// Networks of the proxies in front. A PROXY header from anybody else is refused.
        #[schemars(required)]
        from: Vec<At<IpNet>> = "from",
        /// Whether they must send one. Default true.
        required: At<bool> = "required",
        /// drop (default), or pass: the extensions of a version 2 header go on to services with proxyProtocol: v2.
        tlvs: At<Tlvs> = "tlvs",
    }
}

words! {
    /// What happens to the extensions of a PROXY header.
    Tlvs = "what to do with extensions" { Drop = "drop", Pass = "pass" }
}

object! {
    /// Bounds of the sessions of a UDP listener.
    Udp = "udp" {
        /// A session on which nothing moves ends after this. Default 30s.
        idle_timeout: At<Duration> = "idleTimeout",
        /// Sessions of one worker. Default 10000.
        max_sessions: At<u32> = "maxSessions",
        /// Bytes of one datagram; longer ones are dropped. Default 65507.
        max_packet: At<u32> = "maxPacket",
    }
}

object! {
    /// HTTP/2, and what bounds a connection of it.
    Http2 = "http2" {
        /// Default true.
        enabled: At<bool> = "enabled",
        /// Streams that a client may have open at once. Default 100.
        max_concurrent_streams: At<u32> = "maxConcurrentStreams",
        /// Bytes of a body that are taken before somebody reads them, for each stream. Default 65536.
        initial_stream_window: At<u32> = "initialStreamWindow",
        /// The same for all streams of a connection together. Default 1048576.
        initial_connection_window: At<u32> = "initialConnectionWindow",
        /// A connection is told to go at this age, 10% sooner or later. 0s is at none. Default 0s.
        max_connection_age: At<Duration> = "maxConnectionAge",
        /// Its requests may go on for that long then. Default 30s.
        max_connection_age_grace: At<Duration> = "maxConnectionAgeGrace",
    }
}

object! {
    /// Bounds of one downstream connection.
    Limits = "limits" {
        /// Header fields in a request. Default 100.
        max_headers: At<u32> = "maxHeaders",
        /// Bytes of all header fields. Default 61440.
        max_header_bytes: At<u32> = "maxHeaderBytes",
        /// Bytes of one header field. Default 16384.
        max_field_bytes: At<u32> = "maxFieldBytes",
        /// Bytes of the request line. Default 8192.
        max_request_line_bytes: At<u32> = "maxRequestLineBytes",
        /// To receive a whole request head, PROXY header or TLS ClientHello. Default 10s.
        head_timeout: At<Duration> = "headTimeout",
        /// To finish a TLS handshake. Default 5s.
        handshake_timeout: At<Duration> = "handshakeTimeout",
        /// Between requests on a connection. Default 60s.
        idle_timeout: At<Duration> = "idleTimeout",
        /// Without any byte of a body, tunnel or TCP stream. Default 5m.
        stream_idle_timeout: At<Duration> = "streamIdleTimeout",
    }
}

words! {
    /// What becomes of x-forwarded-client-cert.
    ForwardClientCert = "what to do with x-forwarded-client-cert" {
        Sanitize = "sanitize", SanitizeSet = "sanitizeSet", AppendForward = "appendForward"
    }
}

words! {
    /// What happens to ambiguous paths.
    Policy = "a path policy" { Canonicalize = "canonicalize", Strict = "strict" }
}

/// Trusted hops: a count, or networks.
#[derive(Debug, Clone, PartialEq)]
pub enum Hops {
    Count(At<u8>),
    Networks(Vec<At<IpNet>>),
}

impl Read for Hops {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match node.kind {
            Kind::Sequence(_) => Read::read(node, reader).map(Self::Networks),
            _ => Read::read(node, reader).map(Self::Count),
        }
    }
}

impl JsonSchema for Hops {
    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("TrustedHops")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "type": "integer", "minimum": 0, "maximum": 255 },
            { "type": "array", "items": { "type": "string", "examples": ["10.0.0.0/8"] } },
        ] })
    }
}

impl Scalar for IpNet {
    const WHAT: &'static str = "a network such as 10.0.0.0/8";

    fn parse(text: &str) -> Result<Self, Refused> {
        let single = || text.parse::<std::net::IpAddr>().map(Self::from);
        text.parse().or_else(|_| single()).map_err(|_| Refused {
            message: format!("{text:?} is not {}", Self::WHAT),
            help: None,
        })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}
