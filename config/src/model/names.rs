//! Names, identities and weights: the small types that everything else is keyed by.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a name, a weight or a pattern was refused. The text is meant for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

macro_rules! name {
    ($(#[$doc:meta])* $ty:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $ty(Arc<str>);

        impl $ty {
            /// Takes 1 to 253 characters of letters, digits, `-`, `_`, `.`, `/`, `:` and `@`.
            ///
            /// # Errors
            /// [`Invalid`] names the first character that does not fit, or the length.
            pub fn new(text: &str) -> Result<Self, Invalid> {
                check_name($what, text).map(|()| Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as a shared string.
            #[must_use]
            pub fn shared(&self) -> Arc<str> {
                Arc::clone(&self.0)
            }
        }

        impl fmt::Display for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $ty {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $ty {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::new(text)
            }
        }
    };
}

name!(
    /// Names a listener, unique in a [`super::Model`].
    ListenerName, "listener name"
);
name!(
    /// Names a route, unique in a [`super::Model`].
    RouteName, "route name"
);
name!(
    /// Names a service, unique in a [`super::Model`].
    ServiceName, "service name"
);
name!(
    /// Names a version of a service: `stable`, `canary`, `blue`, `v2`.
    VersionName, "version name"
);
name!(
    /// Names rules about who may call what; metrics and logs show it.
    PolicyName, "policy name"
);
name!(
    /// Identifies one endpoint for as long as it lives.
    ///
    /// A container's is its id and port, so that a recycled address is another endpoint; a file's
    /// is its service and address. Observed state (health, load) is keyed by this alone.
    EndpointId, "endpoint id"
);

impl PolicyName {
    /// Of a policy whose own name cannot be read.
    #[must_use]
    pub fn unnamed() -> Self {
        Self(Arc::from("unnamed"))
    }
}

impl VersionName {
    /// The version of a container or endpoint that names none.
    #[must_use]
    pub fn stable() -> Self {
        Self(Arc::from("stable"))
    }
}

fn check_name(what: &str, text: &str) -> Result<(), Invalid> {
    if text.is_empty() || text.len() > 253 {
        return Err(Invalid(format!(
            "a {what} has 1 to 253 characters, this one has {}",
            text.len()
        )));
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_./:@".contains(c);
    match text.chars().find(|&c| !fits(c)) {
        None => Ok(()),
        Some(c) => Err(Invalid(format!(
            "a {what} holds letters, digits and -_./:@ only; {text:?} has {c:?}"
        ))),
    }
}

/// A share of traffic relative to its siblings, in steps of 0.1.
///
/// Weights need not add up to 100, though those of a person usually do; `0` is never picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Weight(u32);

impl Weight {
    /// Nothing is sent here.
    pub const ZERO: Self = Self(0);
    /// The weight of a reference that gives none, as in the Gateway API.
    pub const ONE: Self = Self(10);
    /// The largest weight, as in the Gateway API: 1,000,000.
    pub const MAX: Self = Self(10_000_000);

    /// A weight counted in tenths: `Weight::from_tenths(5)` is 0.5.
    ///
    /// # Errors
    /// [`Invalid`] above [`Weight::MAX`].
    pub fn from_tenths(tenths: u32) -> Result<Self, Invalid> {
        if tenths > Self::MAX.0 {
            return Err(Invalid("a weight is at most 1000000".into()));
        }
        Ok(Self(tenths))
    }

    /// The weight in tenths.
    #[must_use]
    pub fn tenths(self) -> u32 {
        self.0
    }

    /// The weight as a number, for people and metrics.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

impl FromStr for Weight {
    type Err = Invalid;

    /// Reads `25`, `0.5` or `25%`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bad = || {
            Invalid(format!(
                "{text:?} is not a weight; write a number from 0 to 1000000 with at most one decimal"
            ))
        };
        let digits = text.strip_suffix('%').unwrap_or(text);
        let (whole, tenth) = digits.split_once('.').unwrap_or((digits, "0"));
        let numeric = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !numeric(whole) || !numeric(tenth) || tenth.len() > 1 {
            return Err(bad());
        }
        let whole: u32 = whole.parse().map_err(|_| bad())?;
        let tenth: u32 = tenth.parse().map_err(|_| bad())?;
        let tenths = whole
            .checked_mul(10)
            .and_then(|w| w.checked_add(tenth))
            .ok_or_else(bad)?;
        Self::from_tenths(tenths).map_err(|_| bad())
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenth => write!(f, "{}.{tenth}", self.0 / 10),
        }
    }
}

/// Where a piece of configuration came from, for messages: `weir.yaml:12:5`, `container shop-1 label weir.host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A place in a file; line and column count from 1.
    File {
        path: Arc<str>,
        line: u32,
        column: u32,
    },
    /// A label of a container (or of a Swarm service), with the container's name and id.
    Label {
        container: Arc<str>,
        id: Arc<str>,
        label: Arc<str>,
    },
    /// The command line, the admin API, a default: the text says which.
    Other(Arc<str>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Other(Arc::from("built in"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{path}:{line}:{column}"),
            Self::Label {
                container, label, ..
            } if label.is_empty() => write!(f, "container {container}"),
            Self::Label {
                container, label, ..
            } => write!(f, "container {container} label {label}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_reads_tenths_and_writes_them_back() {
        for (text, tenths) in [
            ("0", 0),
            ("25", 250),
            ("0.5", 5),
            ("12.5%", 125),
            ("1000000", 10_000_000),
        ] {
            let weight: Weight = text.parse().unwrap();
            assert_eq!(weight.tenths(), tenths, "{text}");
            assert_eq!(weight.to_string(), text.trim_end_matches('%'));
        }
        for text in [
            "",
            "-1",
            "+1",
            "1.55",
            "1000001",
            ".5",
            "5.",
            "1e3",
            "99999999999",
        ] {
            assert!(
                text.parse::<Weight>().is_err(),
                "{text} was read as a weight"
            );
        }
    }

    #[test]
    fn a_name_refuses_what_could_break_a_log_line_or_a_label() {
        for text in ["shop", "shop_v2.eu/1", "a:b@c"] {
            assert!(ServiceName::new(text).is_ok(), "{text}");
        }
        for text in ["", "a b", "a\nb", "a\"b", "é", &"x".repeat(254)] {
            assert!(ServiceName::new(text).is_err(), "{text}");
        }
    }
}
