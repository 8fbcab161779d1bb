//! How endpoints are picked, as a file writes it: Istio's `loadBalancer`.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::object::object;
use super::read::{Read, Reader};
use super::scalar::Refused;
use super::{At, Decimal, Later, Scalar};
use crate::model::Locality;
use crate::yaml::Node;

object! {
    /// How an endpoint is picked.
    LoadBalancer = "loadBalancer" {
        /// LEAST_REQUEST, ROUND_ROBIN, RANDOM or PEAK_EWMA.
        simple: At<Simple> = "simple",
        /// The same key goes to the same endpoint. Instead of simple.
        consistent_hash: ConsistentHash = "consistentHash",
        /// A ramp for endpoints that join warm ones.
        warmup: Warmup = "warmup",
        /// The old name of warmup.duration.
        warmup_duration_secs: At<Duration> = "warmupDurationSecs",
        /// Keeps requests near the proxy.
        locality: LocalityLb = "localityLbSetting",
    }
}

/// A balancer without settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simple {
    LeastRequest,
    RoundRobin,
    Random,
    PeakEwma,
}

impl Scalar for Simple {
    const WHAT: &'static str = "a balancer";

    /// Istio's older `LEAST_CONN` and its `UNSPECIFIED` are `LEAST_REQUEST`.
    fn parse(text: &str) -> Result<Self, Refused> {
        match text {
            "LEAST_REQUEST" | "LEAST_CONN" | "UNSPECIFIED" => Ok(Self::LeastRequest),
            "ROUND_ROBIN" => Ok(Self::RoundRobin),
            "RANDOM" => Ok(Self::Random),
            "PEAK_EWMA" => Ok(Self::PeakEwma),
            "PASSTHROUGH" => Err(Refused {
                message:
                    "PASSTHROUGH is not supported: it calls the address that the client asked for"
                        .to_owned(),
                help: Some(
                    "leave it out for LEAST_REQUEST among the service's endpoints".to_owned(),
                ),
            }),
            _ => Err(Refused::word(Self::WHAT, text, &BALANCERS)),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "enum": BALANCERS.iter().chain(&["LEAST_CONN", "UNSPECIFIED"]).collect::<Vec<_>>() })
    }
}

/// What a person may choose from.
const BALANCERS: [&str; 4] = ["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM", "PEAK_EWMA"];

object! {
    /// A balancer by key.
    ConsistentHash = "loadBalancer.consistentHash" {
        /// The key is a request header.
        http_header_name: At<String> = "httpHeaderName",
        /// The key is a cookie.
        http_cookie: HttpCookie = "httpCookie",
        /// true: the key is the client's address.
        use_source_ip: At<bool> = "useSourceIp",
        /// The key is a query parameter.
        http_query_parameter_name: At<String> = "httpQueryParameterName",
        /// A ring, the default.
        ring_hash: RingHash = "ringHash",
        /// A Maglev table.
        maglev: Maglev = "maglev",
        /// The old name of ringHash.minimumRingSize.
        minimum_ring_size: At<u32> = "minimumRingSize",
    }
}

object! {
    /// A cookie as the key.
    HttpCookie = "loadBalancer.consistentHash.httpCookie" {
        #[schemars(required)]
        name: At<String> = "name",
        /// Of the cookie that Weir sets. Default /.
        path: At<String> = "path",
        /// With it Weir sets the cookie where a client has none; 0s is for the session.
        ttl: At<Duration> = "ttl",
        /// Read, but not enforced by this version.
        attributes: Later = "attributes",
    }
}

object! {
    /// A hash ring.
    RingHash = "loadBalancer.consistentHash.ringHash" {
        /// Points on the ring, at least. Default 1024.
        minimum_ring_size: At<u32> = "minimumRingSize",
    }
}

object! {
    /// A Maglev table.
    Maglev = "loadBalancer.consistentHash.maglev" {
        /// A prime number of slots. Default 65537.
        table_size: At<u32> = "tableSize",
    }
}

object! {
    /// A ramp for endpoints that join warm ones.
    Warmup = "loadBalancer.warmup" {
        /// From admission to full weight.
        #[schemars(required)]
        duration: At<Duration> = "duration",
        /// Where the ramp begins, in percent of the weight. Default 10.
        minimum_percent: At<u8> = "minimumPercent",
        /// 1 is a straight line, more takes load sooner. Default 1.
        aggression: At<Decimal> = "aggression",
    }
}

object! {
    /// Keeps requests near the proxy, which must know its own locality.
    LocalityLb = "loadBalancer.localityLbSetting" {
        /// Default true.
        enabled: At<bool> = "enabled",
        /// Shares by place. Default: the nearest first.
        distribute: Vec<Distribute> = "distribute",
        /// Which region takes over from which.
        failover: Vec<Failover> = "failover",
        /// Read, but not enforced by this version.
        failover_priority: Later = "failoverPriority",
    }
}

object! {
    /// Shares for proxies of one place.
    Distribute = "localityLbSetting.distribute" {
        /// Where the proxy is: region/zone/subzone, with * for the rest.
        #[schemars(required)]
        from: At<Locality> = "from",
        /// Percent by locality; 100 in all.
        #[schemars(required)]
        to: Shares = "to",
    }
}

object! {
    /// A region and the one that takes over from it.
    Failover = "localityLbSetting.failover" {
        #[schemars(required)]
        from: At<String> = "from",
        #[schemars(required)]
        to: At<String> = "to",
    }
}

/// Percent by locality: `{ "eu/a/*": 80, "eu/b/*": 20 }`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shares(pub Vec<(At<Locality>, At<u8>)>);

impl Read for Shares {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut shares = Vec::new();
        for (key, value) in reader.mapping(node, "localityLbSetting.distribute.to")? {
            let percent = At::<u8>::read(value, reader);
            match Locality::parse(&key.text) {
                Ok(locality) => {
                    let at = At::new(locality, reader.place(key.mark));
                    shares.extend(percent.map(|percent| (at, percent)));
                }
                Err(invalid) => reader.error(key.mark, invalid.to_string(), None),
            }
        }
        Some(Self(shares))
    }
}

impl JsonSchema for Shares {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Shares".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": u8::schema() })
    }
}

impl Scalar for Locality {
    const WHAT: &'static str = "a locality such as region/zone/subzone";

    fn parse(text: &str) -> Result<Self, Refused> {
        Self::parse(text).map_err(Refused::from)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "examples": ["eu", "eu/a", "eu/a/rack1"] })
    }
}
