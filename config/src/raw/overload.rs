//! What a file says of overload.

use schemars::{Schema, json_schema};

use super::object::object;
use super::{At, Refused, Scalar};

object! {
    /// What the process does when there is more to do than it can hold.
    Overload = "overload" {
        /// How much memory the process may use, and what it does about it.
        memory: OverloadMemory = "memory",
        /// Most requests at once in the whole process; 503 above. Default none.
        max_requests: At<u32> = "maxRequests",
    }
}

object! {
    /// Marks in the memory of the process.
    OverloadMemory = "overload.memory" {
        /// What the marks are shares of. Default: the limit of the process's cgroup; without one, memory is not watched.
        limit: At<Bytes> = "limit",
        /// From here on new requests are answered 503. Default 90%.
        shed_at: At<Share> = "shedAt",
        /// From here on connections close with their answer, and free buffers are given back. Default 80%.
        close_idle_at: At<Share> = "closeIdleAt",
    }
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes(pub u64);

impl Scalar for Bytes {
    const WHAT: &'static str = "an amount of memory such as 512MiB";

    /// A whole number and one of the units KiB, MiB, GiB (IEC 80000-13), without a space.
    fn parse(text: &str) -> Result<Self, Refused> {
        let refused = || Refused {
            message: format!("{text:?} is not {}", Self::WHAT),
            help: Some("write a whole number with KiB, MiB or GiB".to_owned()),
        };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit: u64 = match unit {
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(refused()),
        };
        let bytes = number.parse().ok().and_then(|n: u64| n.checked_mul(unit));
        bytes.map(Self).ok_or_else(refused)
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^([0-9]+(KiB|MiB|GiB)|.*\$\{.+\}.*)$",
            "examples": ["512MiB", "2GiB"],
        })
    }
}

/// A share in whole percent, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(pub u8);

impl Scalar for Share {
    const WHAT: &'static str = "a share from 1% to 100%";

    /// `90%`, or `90` as other percentages of a file are written.
    fn parse(text: &str) -> Result<Self, Refused> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let share = digits.then(|| number.parse().ok()).flatten();
        share
            .filter(|share| (1..=100).contains(share))
            .map(Self)
            .ok_or_else(|| Refused {
                message: format!("{text:?} is not {}", Self::WHAT),
                help: None,
            })
    }

    fn schema() -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "minimum": 1,
            "maximum": 100,
            "pattern": r"^([0-9]+%?|.*\$\{.+\}.*)$",
            "examples": ["90%"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_whole_number_with_its_unit() {
        for (text, bytes) in [
            ("1KiB", 1 << 10),
            ("512MiB", 512 << 20),
            ("2GiB", 2 << 30),
            ("0MiB", 0),
        ] {
            assert_eq!(Bytes::parse(text), Ok(Bytes(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "512",
            "1.5GiB",
            "-1MiB",
            "512 MiB",
            "512MB",
            "99999999999GiB",
        ] {
            assert!(Bytes::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_a_whole_percentage_above_zero() {
        for (text, share) in [("90%", 90), ("90", 90), ("1%", 1), ("100%", 100)] {
            assert_eq!(Share::parse(text), Ok(Share(share)), "{text}");
        }
        for text in ["", "%", "0%", "101%", "9.5%", "+5", "90 %", "90%%"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }
}
