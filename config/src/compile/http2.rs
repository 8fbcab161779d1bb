//! HTTP/2 on a listener: what bounds a connection of it.

use std::time::Duration;

use super::report::Report;
use crate::model::Http2;
use crate::raw::{self, At};

/// Most streams of a connection: each holds memory.
const MAX_STREAMS: u32 = 10_000;
/// What every peer may send before it has heard of another size (RFC 9113, section 6.9.2).
const MIN_WINDOW: u32 = 65_535;
/// 16 MiB for a stream, and 64 MiB for a connection.
const MAX_STREAM_WINDOW: u32 = 16 << 20;
const MAX_CONNECTION_WINDOW: u32 = 64 << 20;

pub(super) fn compile(raw: &raw::Http2, report: &mut Report) -> Http2 {
    let mut http2 = Http2::default();
    let mut number = |at: &Option<At<u32>>, name: &str, min: u32, max: u32, into: &mut u32| {
        let want = format!("{name} is from {min} to {max}");
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, |n| (min..=max).contains(&n), &want));
        *into = value.unwrap_or(*into);
    };
    let (at, into) = (
        &raw.max_concurrent_streams,
        &mut http2.max_concurrent_streams,
    );
    number(at, "maxConcurrentStreams", 1, MAX_STREAMS, into);
    let (at, into) = (&raw.initial_stream_window, &mut http2.stream_window);
    number(
        at,
        "initialStreamWindow",
        MIN_WINDOW,
        MAX_STREAM_WINDOW,
        into,
    );
    let (at, into) = (&raw.initial_connection_window, &mut http2.connection_window);
    let max = MAX_CONNECTION_WINDOW;
    number(at, "initialConnectionWindow", MIN_WINDOW, max, into);
    if http2.connection_window < http2.stream_window {
        let help = "one stream could never fill its own window; raise initialConnectionWindow";
        report.error_help(
            &raw.meta.place,
            "the window of a connection is smaller than that of a stream",
            help,
        );
    }
    http2.enabled = raw.enabled.as_ref().is_none_or(|at| at.value);
    if let Some(at) = &raw.max_connection_age {
        let fits = |age: Duration| age.is_zero() || age >= Duration::from_secs(1);
        let age = report.bounded(at, fits, "maxConnectionAge is 0s, or at least 1s");
        http2.max_age = age.filter(|age| !age.is_zero());
    }
    if let Some(at) = &raw.max_connection_age_grace {
        http2.max_age_grace = at.value;
    }
    http2
}
