//! What one call asks the origin to do, read from its metadata.
//!
//! Pure, as [`Plan`](super::super::plan) is for requests of HTTP.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::super::plan::Defaults;
use super::status::Status;
use crate::units;

/// What to do with one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// `x-origin-delay`: waits before the answer's head.
    pub(super) delay: Duration,
    /// `x-origin-fail`: this share of calls ends as unavailable; in tenths of a percent.
    pub(super) fail_tenths: u32,
    /// `x-origin-status` and `x-origin-message`: how the call ends.
    pub(super) end: Status,
    /// `x-origin-http-status`: an answer that is no gRPC, with that status of HTTP.
    pub(super) http_status: Option<StatusCode>,
    /// `x-origin-count`: messages of a server stream; 3 unless asked otherwise.
    pub(super) count: u64,
    /// `x-origin-interval`: time between messages of a stream.
    pub(super) interval: Duration,
}

impl Call {
    /// # Errors
    /// A sentence about the value that cannot be read.
    pub(super) fn read(metadata: &HeaderMap, defaults: Defaults) -> Result<Self, String> {
        let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
        let code = text("x-origin-status").map_or(Ok(0), |text| {
            let code = text.parse().ok().filter(|code| *code <= 16);
            code.ok_or_else(|| format!("{text:?} is not a gRPC status from 0 to 16"))
        });
        let http_status = |text: &str| {
            let status = text.parse().ok();
            status.ok_or_else(|| format!("{text:?} is not a status of HTTP"))
        };
        let count = |text: &str| text.parse().map_err(|_| format!("{text:?} is not a count"));
        Ok(Self {
            delay: text("x-origin-delay").map_or(Ok(defaults.delay), units::duration)?,
            fail_tenths: text("x-origin-fail")
                .map_or(Ok(defaults.fail_tenths), units::tenths_of_percent)?,
            end: Status {
                code: code?,
                message: text("x-origin-message")
                    .unwrap_or_default()
                    .to_owned()
                    .into(),
            },
            http_status: text("x-origin-http-status").map(http_status).transpose()?,
            count: text("x-origin-count").map_or(Ok(3), count)?,
            interval: text("x-origin-interval").map_or(Ok(Duration::ZERO), units::duration)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[(&'static str, &'static str)]) -> Result<Call, String> {
        let pairs = metadata
            .iter()
            .map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap()));
        Call::read(&pairs.collect(), Defaults::default())
    }

    #[test]
    fn metadata_says_what_a_call_shall_do() {
        let call = read(&[
            ("x-origin-delay", "250ms"),
            ("x-origin-status", "14"),
            ("x-origin-message", "later"),
            ("x-origin-count", "5"),
            ("x-origin-interval", "1s"),
            ("x-origin-fail", "10%"),
            ("x-origin-http-status", "503"),
        ])
        .unwrap();
        assert_eq!(call.delay, Duration::from_millis(250));
        assert_eq!((call.end.code, &*call.end.message), (14, "later"));
        assert_eq!((call.count, call.interval), (5, Duration::from_secs(1)));
        assert_eq!(call.fail_tenths, 100);
        assert_eq!(call.http_status, Some(StatusCode::SERVICE_UNAVAILABLE));
    }

    #[test]
    fn a_call_that_asks_nothing_succeeds_at_once() {
        let call = read(&[]).unwrap();
        assert_eq!((call.delay, call.count), (Duration::ZERO, 3));
        assert_eq!(call.end, Status::ok());
        let defaults = Defaults {
            delay: Duration::from_secs(2),
            fail_tenths: 5,
        };
        let call = Call::read(&HeaderMap::new(), defaults).unwrap();
        assert_eq!((call.delay, call.fail_tenths), (defaults.delay, 5));
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        for pair in [
            ("x-origin-delay", "soon"),
            ("x-origin-status", "17"),
            ("x-origin-count", "-1"),
            ("x-origin-http-status", "up"),
        ] {
            assert!(read(&[pair]).unwrap_err().contains(pair.1), "{pair:?}");
        }
    }
}
