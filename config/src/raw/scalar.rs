//! Single values: how each is read from text, and what it may look like.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::{Schema, json_schema};

use crate::diagnostic::suggest;
use crate::model::{Invalid, Percent, Weight};

/// Longest duration taken: 365 days.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

/// A value that is one word or number in a file or a label.
pub trait Scalar: Sized {
    /// With its article: `a duration such as 250ms`.
    const WHAT: &'static str;

    /// Reads it from text.
    ///
    /// # Errors
    /// [`Refused`] says what is wrong and what to write instead.
    fn parse(text: &str) -> Result<Self, Refused>;

    /// What a file may hold here.
    fn schema() -> Schema;
}

/// Why a value was refused, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub message: String,
    pub help: Option<String>,
}

impl Refused {
    fn new(message: String, help: &str) -> Self {
        Self {
            message,
            help: Some(help.to_owned()),
        }
    }

    fn not<T: Scalar>(text: &str) -> Self {
        Self {
            message: format!("{text:?} is not {}", T::WHAT),
            help: None,
        }
    }

    /// A word outside of a closed set.
    #[must_use]
    pub fn word(what: &str, text: &str, known: &[&str]) -> Self {
        Self {
            message: format!("{text:?} is not {what}"),
            help: Some(suggest(text, known)),
        }
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self {
            message: invalid.0,
            help: None,
        }
    }
}

impl Scalar for String {
    const WHAT: &'static str = "text";

    fn parse(text: &str) -> Result<Self, Refused> {
        Ok(text.to_owned())
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl Scalar for PathBuf {
    const WHAT: &'static str = "a file's path";

    fn parse(text: &str) -> Result<Self, Refused> {
        match text.is_empty() || text.contains('\0') {
            true => Err(Refused::not::<Self>(text)),
            false => Ok(Self::from(text)),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl Scalar for bool {
    const WHAT: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, Refused> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(Refused::not::<Self>(text)),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["boolean", "string"], "pattern": VARIABLE })
    }
}

/// Where a number is expected, a string can only be a variable.
const VARIABLE: &str = r"\$\{.+\}";

macro_rules! number {
    ($ty:ty, $what:literal) => {
        impl Scalar for $ty {
            const WHAT: &'static str = $what;

            fn parse(text: &str) -> Result<Self, Refused> {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let value = digits.then(|| text.parse().ok()).flatten();
                value.ok_or_else(|| Refused::not::<Self>(text))
            }

            fn schema() -> Schema {
                json_schema!({ "type": ["integer", "string"], "minimum": 0, "maximum": <$ty>::MAX, "pattern": VARIABLE })
            }
        }
    };
}

number!(u8, "a whole number from 0 to 255");
number!(u16, "a whole number from 0 to 65535");
number!(u32, "a whole number");

/// A number that need not be whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decimal(pub f64);

impl Scalar for Decimal {
    const WHAT: &'static str = "a number such as 1.9";

    /// Digits with at most one point between them: no sign, no exponent, nothing without end.
    fn parse(text: &str) -> Result<Self, Refused> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let numeric =
            |s: &str| !s.is_empty() && s.len() <= 15 && s.bytes().all(|b| b.is_ascii_digit());
        let value = (numeric(whole) && numeric(fraction)).then(|| text.parse().ok());
        value
            .flatten()
            .map(Self)
            .ok_or_else(|| Refused::not::<Self>(text))
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0, "pattern": VARIABLE })
    }
}

impl Scalar for Weight {
    const WHAT: &'static str = "a weight";

    fn parse(text: &str) -> Result<Self, Refused> {
        text.parse().map_err(|invalid: Invalid| invalid.into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0, "maximum": 1_000_000 })
    }
}

impl Scalar for Percent {
    const WHAT: &'static str = "a percentage";

    fn parse(text: &str) -> Result<Self, Refused> {
        text.parse().map_err(|invalid: Invalid| invalid.into())
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0, "maximum": 100, "pattern": VARIABLE })
    }
}

impl Scalar for SocketAddr {
    const WHAT: &'static str = "an address as IP:port";

    fn parse(text: &str) -> Result<Self, Refused> {
        if let Ok(address) = text.parse::<Self>() {
            return Ok(address);
        }
        let message = format!("{text:?} is not {}", Self::WHAT);
        let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
        let help = if text.parse::<IpAddr>().is_ok() || host.parse::<IpAddr>().is_ok() {
            "write the port too, as in 127.0.0.1:8080; an IPv6 address goes in brackets, as in [::1]:8080"
        } else if host.is_empty() {
            "write the address too: 0.0.0.0 for every IPv4 address of this machine, 127.0.0.1 for this machine only"
        } else {
            "names are not looked up; write the IP address, or let discovery find the container"
        };
        Err(Refused::new(message, help))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["127.0.0.1:8080", "[::1]:8080"] })
    }
}

impl Scalar for Duration {
    const WHAT: &'static str = "a duration such as 250ms, 15s, 5m or 1h30m";

    /// Numbers with the units ms, s, m, h in falling order (Gateway API, GEP-2257); one decimal point is
    /// taken in the last number, as in `1.5s`; `0` needs no unit.
    fn parse(text: &str) -> Result<Self, Refused> {
        let refused = || Refused::not::<Self>(text);
        if text == "0" {
            return Ok(Self::ZERO);
        }
        let mut total = Self::ZERO;
        let mut rest = text;
        let mut last = u64::MAX;
        while !rest.is_empty() {
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .ok_or_else(|| {
                    Refused::new(
                        format!("{text:?} is not {}", Self::WHAT),
                        "a number alone has no meaning; add a unit",
                    )
                })?;
            let (number, tail) = rest.split_at(digits);
            let unit_len = tail
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(tail.len());
            let (unit, after) = tail.split_at(unit_len);
            let unit_ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => return Err(refused()),
            };
            if unit_ms >= last || (number.contains('.') && !after.is_empty()) {
                return Err(refused());
            }
            total = total
                .checked_add(part(number, unit_ms).ok_or_else(refused)?)
                .ok_or_else(refused)?;
            last = unit_ms;
            rest = after;
        }
        match text.is_empty() || total > MAX_DURATION {
            true => Err(refused()),
            false => Ok(total),
        }
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h)){1,4}|.*\$\{.+\}.*)$",
            "examples": ["250ms", "15s", "5m", "1h30m"],
        })
    }
}

/// `number` units of `unit_ms` milliseconds; microseconds are the finest that is kept.
fn part(number: &str, unit_ms: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let numeric = |s: &str| !s.is_empty() && s.len() <= 15 && s.bytes().all(|b| b.is_ascii_digit());
    if !numeric(whole) || !numeric(fraction) || fraction.len() > 6 {
        return None;
    }
    let unit_us = unit_ms.checked_mul(1_000)?;
    let whole_us = whole.parse::<u64>().ok()?.checked_mul(unit_us)?;
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction_us = fraction.parse::<u64>().ok()?.checked_mul(unit_us)? / scale;
    Some(Duration::from_micros(whole_us.checked_add(fraction_us)?))
}

/// A duration as a person writes it, exact to the millisecond: `1h30m`, `250ms`, `0s`.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let mut ms = duration.as_millis();
    let mut out = String::new();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if ms >= size {
            let _ = write!(out, "{}{unit}", ms / size);
            ms %= size;
        }
    }
    match out.is_empty() {
        true => "0s".to_owned(),
        false => out,
    }
}

/// Whether a duration can bound anything: shorter than a millisecond is as good as none.
pub(crate) fn millis_or_more(duration: Duration) -> bool {
    duration >= Duration::from_millis(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_and_the_gateway_api_write_them() {
        for (text, ms) in [
            ("15s", 15_000),
            ("250ms", 250),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("0s", 0),
            ("0", 0),
            ("1.5s", 1500),
            ("1m0.5s", 60_500),
            // As Go and with it Istio's tools print them.
            ("1h0m0s", 3_600_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(
                Duration::parse(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1s1m",
            "1s1s",
            "1.5m1s",
            "1d",
            "1e3s",
            "99999999999999999h",
            "9000h",
            "1..5s",
            "1 s",
        ] {
            assert!(
                Duration::parse(text).is_err(),
                "{text} was read as a duration"
            );
        }
        for text in ["1h30m", "250ms", "0s", "1m500ms"] {
            assert_eq!(duration_text(Duration::parse(text).unwrap()), text);
        }
    }

    #[test]
    fn decimals_are_plain_digits() {
        for (text, want) in [("1.9", 1.9), ("2", 2.0), ("0.05", 0.05)] {
            assert_eq!(Decimal::parse(text), Ok(Decimal(want)), "{text}");
        }
        for text in ["", ".5", "5.", "-1", "1e3", "NaN", "inf", "1.2.3", "+1"] {
            assert!(Decimal::parse(text).is_err(), "{text} was read as a number");
        }
    }

    #[test]
    fn an_address_that_is_a_name_says_so() {
        let help = |text: &str| SocketAddr::parse(text).unwrap_err().help.unwrap();
        assert!(help("localhost:80").contains("names are not looked up"));
        assert!(help("127.0.0.1").contains("write the port"));
        assert!(help("::1").contains("brackets"));
        assert!(help(":8080").contains("0.0.0.0"));
        assert!(SocketAddr::parse("[::1]:80").is_ok());
    }
}
