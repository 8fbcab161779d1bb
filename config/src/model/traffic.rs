//! Filters that hold traffic back, copy it, or spoil it on purpose.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::names::Invalid;
use super::{ServiceName, VersionName};

/// A part of a hundred in steps of 0.1, from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// Everything.
    pub const ALL: Self = Self(1000);

    /// In thousandths of the whole: 0 to 1000.
    #[must_use]
    pub fn tenths(self) -> u16 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = Invalid;

    /// Reads `5`, `0.1` or `100`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str, most: usize| {
            !s.is_empty() && s.len() <= most && s.bytes().all(|b| b.is_ascii_digit())
        };
        let read = || {
            let whole: u16 = whole.parse().ok()?;
            let tenth: u16 = tenth.parse().ok()?;
            Some(whole * 10 + tenth).filter(|tenths| *tenths <= Self::ALL.0)
        };
        (digits(whole, 3) && digits(tenth, 1))
            .then(read)
            .flatten()
            .map(Self)
            .ok_or_else(|| {
                Invalid(format!(
                    "{text:?} is not a percentage from 0 to 100 in steps of 0.1"
                ))
            })
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenth => write!(f, "{}.{tenth}", self.0 / 10),
        }
    }
}

/// A token bucket: `burst` requests at once, and `requests` more in each `per`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// 1 to 1,000,000.
    pub requests: u32,
    /// 1 s to 1 h. Default 1 s.
    pub per: Duration,
    /// 1 to 1,000,000. Default `requests`.
    pub burst: u32,
    pub key: RateLimitKey,
    /// Most buckets of a limit that has one for each client or value: 100 to 1,000,000. Default 10,000.
    pub max_keys: u32,
}

/// What has a bucket of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RateLimitKey {
    /// All requests of the rule share one. The default.
    Route,
    /// Each client by its address; IPv6 by its /64, which is what one client is given.
    ClientIp,
    /// Each value of this header. Requests without it share one, and so do those that have it several times.
    Header(Arc<str>),
}

/// Fails or delays requests on purpose (Istio, `HTTPFaultInjection`); each of the two by its own chance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub delay: Option<Delay>,
    pub abort: Option<Abort>,
}

/// Holds a request before it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// 1 ms to 1 h; the request's own time runs meanwhile.
    pub duration: Duration,
    pub percent: Percent,
}

/// Answers in place of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// 400 to 599.
    pub status: u16,
    pub percent: Percent,
}

/// Sends a copy of a request to another service and throws its answer away (Gateway API, `HTTPRequestMirrorFilter`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub service: ServiceName,
    /// `None`: every version of the service, by the service's own split.
    pub version: Option<VersionName>,
    /// Default 100.
    pub percent: Percent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_reads_tenths_and_writes_them_back() {
        for (text, tenths) in [("0", 0), ("0.1", 1), ("12.5", 125), ("100", 1000)] {
            let percent: Percent = text.parse().unwrap();
            assert_eq!(percent.tenths(), tenths, "{text}");
            assert_eq!(percent.to_string(), text);
        }
        for text in [
            "", "-1", "100.1", "101", "1.55", ".5", "5.", "5%", "1e1", "9999",
        ] {
            assert!(
                text.parse::<Percent>().is_err(),
                "{text} was read as a percentage"
            );
        }
    }
}
