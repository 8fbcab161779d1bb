//! Why a datagram went nowhere.

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// The worker has as many sessions as it may, or no descriptor is left for another.
    Sessions,
    /// Longer than the listener takes.
    TooLong,
    /// No route takes it, or the route leads to no service.
    NoRoute,
    NoEndpoint,
    /// The client may not connect.
    Forbidden,
    /// The service has as many sessions and connections as it may.
    Overloaded,
    /// The endpoint's side does not keep up, or refuses.
    Endpoint,
    /// The client's side does not keep up, or refuses.
    Client,
}

impl Dropped {
    /// As it stands in the metric.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::TooLong => "too-long",
            Self::NoRoute => "no-route",
            Self::NoEndpoint => "no-endpoint",
            Self::Forbidden => "forbidden",
            Self::Overloaded => "overloaded",
            Self::Endpoint => "endpoint",
            Self::Client => "client",
        }
    }
}
