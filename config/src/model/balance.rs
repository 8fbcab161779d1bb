//! How an endpoint is picked within a version, with the names of Istio's `loadBalancer`.

use std::sync::Arc;
use std::time::Duration;

use super::names::Invalid;

/// The choice among the endpoints of a version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadBalancer {
    pub balancer: Balancer,
    /// A ramp for endpoints that join warm ones. Default none.
    pub warmup: Option<Warmup>,
    /// Default none: where endpoints run does not matter.
    pub locality: Option<LocalityPolicy>,
}

/// The way to pick.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balancer {
    /// Fewest requests in flight of two drawn at random.
    #[default]
    LeastRequest,
    /// Smooth weighted round robin.
    RoundRobin,
    Random,
    /// Lowest peak-sensitive moving average of latency times load, of two drawn at random.
    PeakEwma,
    /// The same key goes to the same endpoint.
    ConsistentHash(ConsistentHash),
}

/// A balancer by key. A request without the key is served by an endpoint drawn at random.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistentHash {
    pub key: HashKey,
    pub table: HashTable,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A request header, by its lower-case name.
    Header(Arc<str>),
    /// A cookie; where `max_age` is given Weir sets one that is missing (zero: for the session).
    Cookie {
        name: Arc<str>,
        path: Arc<str>,
        max_age: Option<Duration>,
    },
    SourceIp,
    /// A query parameter.
    Query(Arc<str>),
}

/// The table that keys are looked up in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTable {
    /// At least that many points on the ring. Default 1024.
    Ring { min_size: u32 },
    /// A prime number of slots. Default 65537.
    Maglev { size: u32 },
}

/// Slow start (Envoy, `SlowStartConfig`): weight x max(minimum, (time since admission / duration)^(1 / aggression)).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    pub duration: Duration,
    /// Of the full weight, in percent. Default 10.
    pub minimum_percent: u8,
    /// 1 is a straight line; more takes load sooner. Default 1; at least 1.
    pub aggression: f64,
}

/// Keeps requests near (Istio, `localityLbSetting`). Without the proxy's own locality it has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalityPolicy {
    /// The first entry whose `from` covers the proxy's own locality decides. Empty: the nearest first.
    pub distribute: Vec<Distribute>,
    /// When a region has nobody left, the region to go to before all others: from, to.
    pub failover: Vec<(Arc<str>, Arc<str>)>,
}

/// Shares by place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribute {
    pub from: Locality,
    /// Percent; the sum is 100.
    pub to: Vec<(Locality, u8)>,
}

/// `region/zone/subzone`; in policies a part may be `*`, and parts that are left out are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locality {
    pub region: Arc<str>,
    pub zone: Arc<str>,
    pub subzone: Arc<str>,
}

impl Locality {
    /// Reads `region`, `region/zone` or `region/zone/subzone`. A part left out is `*`.
    ///
    /// # Errors
    /// [`Invalid`] for an empty part, more than three, or a part behind a `*` that is not one.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let parts: Vec<&str> = text.split('/').collect();
        let fits = |part: &&str| {
            !part.is_empty()
                && part.len() <= 63
                && (*part == "*"
                    || part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)))
        };
        if parts.len() > 3 || !parts.iter().all(fits) {
            return Err(Invalid(format!(
                "{text:?} is not a locality: write region, region/zone or region/zone/subzone"
            )));
        }
        let part = |at: usize| parts.get(at).copied().unwrap_or("*");
        if (1..3).any(|at| part(at - 1) == "*" && part(at) != "*") {
            return Err(Invalid(format!(
                "{text:?} is not a locality: behind * only * may follow"
            )));
        }
        Ok(Self {
            region: Arc::from(part(0)),
            zone: Arc::from(part(1)),
            subzone: Arc::from(part(2)),
        })
    }

    /// Whether it says where something is: its region is known.
    #[must_use]
    pub fn is_place(&self) -> bool {
        &*self.region != "*"
    }

    /// Whether a place lies in this one, `*` covering all.
    #[must_use]
    pub fn covers(&self, place: &Self) -> bool {
        let one = |own: &str, other: &str| own == "*" || own == other;
        one(&self.region, &place.region)
            && one(&self.zone, &place.zone)
            && one(&self.subzone, &place.subzone)
    }
}

impl std::fmt::Display for Locality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.region)?;
        for part in [&self.zone, &self.subzone] {
            if &**part != "*" {
                write!(f, "/{part}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locality_covers_what_lies_in_it() {
        let place = |text| Locality::parse(text).unwrap();
        for (outer, inner, covers) in [
            ("eu", "eu/a/1", true),
            ("eu/a", "eu/b/1", false),
            ("*", "us", true),
            ("eu/a/1", "eu/a", false),
        ] {
            assert_eq!(
                place(outer).covers(&place(inner)),
                covers,
                "{outer} {inner}"
            );
        }
        assert_eq!(place("eu/a").to_string(), "eu/a");
        for bad in ["", "a//b", "a/b/c/d", "*/a", "eu west", "eu*"] {
            assert!(Locality::parse(bad).is_err(), "{bad}");
        }
    }
}
