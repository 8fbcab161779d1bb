//! Notes of routes, HTTP's and others'.

use regex::{Regex, bytes};
use weir_config::model::{
    Abort, BackendRef, Delay, Fault, Filter, GrpcCondition, HeaderEdits, HostPattern, Match,
    Mirror, PathMatch, PathModifier, Percent, RateLimit, RateLimitKey, Redirect, Retry, RetryOn,
    Rewrite, Route, RouteName, Rule, Sticky, StickyKey, StreamRoute, Timeouts, ValueMatch,
};

use super::{noted_enum, noted_struct, noted_text};
use crate::pattern;

noted_struct!(Route {
    name,
    listeners,
    hostnames,
    rules,
    age,
    source
});
noted_struct!(StreamRoute {
    name,
    listeners,
    hostnames,
    backends,
    age,
    source
});
noted_struct!(Rule {
    matches,
    filters,
    backends,
    sticky,
    timeouts,
    retry
});
noted_struct!(Match {
    path,
    headers,
    query,
    method
});
noted_struct!(BackendRef {
    service,
    version,
    weight
});
noted_struct!(HeaderEdits { set, add, remove });
noted_struct!(Redirect {
    scheme,
    hostname,
    path,
    port,
    status
});
noted_struct!(Rewrite { hostname, path });
noted_struct!(Sticky { key });
noted_struct!(Timeouts {
    request,
    backend_request
});
noted_struct!(Retry {
    attempts,
    on,
    backoff_base,
    backoff_max,
    hedge
});
noted_struct!(RateLimit {
    requests,
    per,
    burst,
    key,
    max_keys
});
noted_struct!(Fault { delay, abort });
noted_struct!(Delay { duration, percent });
noted_struct!(Abort { status, percent });
noted_struct!(Mirror {
    service,
    version,
    percent
});

noted_enum!(PathMatch { units [] values [Exact, Prefix, Regex] structs [] });
noted_enum!(ValueMatch { units [] values [Exact, Regex] structs [] });
noted_enum!(PathModifier { units [] values [Full, Prefix] structs [] });
noted_enum!(StickyKey {
    units [ClientIp]
    values [Header]
    structs [Cookie { name, max_age }]
});
noted_enum!(RetryOn {
    units [ConnectFailure, RefusedStream, ResetBeforeRequest, FiveXx, GatewayError]
    values [Status, Grpc]
    structs []
});
noted_enum!(GrpcCondition {
    units [Cancelled, DeadlineExceeded, ResourceExhausted, Internal, Unavailable]
    values []
    structs []
});
noted_enum!(RateLimitKey { units [Route, ClientIp] values [Header] structs [] });
noted_enum!(Filter {
    units [GrpcWeb]
    values [RequestHeaders, ResponseHeaders, Redirect, Rewrite, RateLimit, Fault, Mirror, Hsts]
    structs [DirectResponse { status, body, content_type }]
});

noted_text!(RouteName, name => name.to_string(), text => Self::new(text).ok());
noted_text!(Percent, percent => percent.to_string(), text => text.parse().ok());
noted_text!(HostPattern, host => host.text(), text => Self::parse(text).ok().flatten());

noted_text!(Regex, regex => regex.as_str().to_owned(), text => pattern::text(text).ok());
noted_text!(bytes::Regex, regex => regex.as_str().to_owned(), text => pattern::bytes(text).ok());
