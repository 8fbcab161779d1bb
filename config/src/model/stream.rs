//! Routes below HTTP: which connections or datagrams go where.

use super::{BackendRef, HostPattern, ListenerName, RouteName, Source};

/// Where what arrives on TCP, UDP or TLS passthrough listeners goes, as a whole: a stream has no requests to tell apart.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamRoute {
    pub name: RouteName,
    /// Never empty, and never an HTTP listener.
    pub listeners: Vec<ListenerName>,
    /// Names that a TLS client asks for (RFC 6066, section 3). Empty: any, or none at all. Always empty unless the
    /// listeners are of [`super::Protocol::TlsPassthrough`].
    pub hostnames: Vec<HostPattern>,
    /// Never empty.
    pub backends: Vec<BackendRef>,
    /// Breaks ties, the lower the older: seconds since 1970 of a container's creation, 0 for files.
    pub age: u64,
    pub source: Source,
}
