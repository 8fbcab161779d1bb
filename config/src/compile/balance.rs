//! Load balancing: which balancer, and what bends its choice.

use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::{header, locality};
use crate::model::{Balancer, ConsistentHash, HashKey, HashTable, LoadBalancer, Warmup};
use crate::raw::{self, At, Decimal, Simple, millis_or_more};

/// Points on a ring unless told otherwise (Envoy, `RingHashLbConfig.minimum_ring_size`).
const RING: u32 = 1024;
/// Most points on a ring (Envoy's bound).
const RING_MAX: u32 = 8 << 20;
/// Slots of a Maglev table unless told otherwise (Envoy, `MaglevLbConfig.table_size`).
const MAGLEV: u32 = 65_537;
/// Largest Maglev table (Envoy's bound).
const MAGLEV_MAX: u32 = 5_000_011;
/// Where a ramp begins, in percent of the weight.
const WARMUP_MINIMUM: u8 = 10;

pub(crate) fn load_balancer(raw: &raw::LoadBalancer, report: &mut Report) -> LoadBalancer {
    if let (Some(simple), Some(_)) = (&raw.simple, &raw.consistent_hash) {
        report.error_help(
            &simple.place,
            "simple and consistentHash are both given",
            "consistentHash is a balancer of its own; keep one of them",
        );
    }
    let balancer = match (&raw.consistent_hash, &raw.simple) {
        (Some(hash), _) => consistent_hash(hash, report).map(Balancer::ConsistentHash),
        (None, Some(at)) => Some(simple(at.value)),
        (None, None) => None,
    };
    LoadBalancer {
        balancer: balancer.unwrap_or_default(),
        warmup: warmup(raw, report),
        locality: raw
            .locality
            .as_ref()
            .and_then(|raw| locality::policy(raw, report)),
    }
}

fn simple(simple: Simple) -> Balancer {
    match simple {
        Simple::LeastRequest => Balancer::LeastRequest,
        Simple::RoundRobin => Balancer::RoundRobin,
        Simple::Random => Balancer::Random,
        Simple::PeakEwma => Balancer::PeakEwma,
    }
}

fn consistent_hash(raw: &raw::ConsistentHash, report: &mut Report) -> Option<ConsistentHash> {
    if raw.meta.broken {
        return None;
    }
    let table = table(raw, report);
    let by_address = raw.use_source_ip.as_ref().filter(|at| at.value);
    let given = [
        raw.http_header_name.is_some(),
        raw.http_cookie.is_some(),
        by_address.is_some(),
        raw.http_query_parameter_name.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        report.error_help(
            &raw.meta.place,
            "consistentHash has one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName",
            "as in consistentHash: { httpHeaderName: x-user }",
        );
        return None;
    }
    let key = if let Some(name) = &raw.http_header_name {
        HashKey::Header(header::name(name, report)?)
    } else if let Some(cookie) = &raw.http_cookie {
        hash_cookie(cookie, report)?
    } else if let Some(name) = &raw.http_query_parameter_name {
        if name.value.is_empty() {
            report.error(&name.place, "the name of the query parameter is empty");
            return None;
        }
        HashKey::Query(Arc::from(name.value.as_str()))
    } else {
        HashKey::SourceIp
    };
    table.map(|table| ConsistentHash { key, table })
}

fn hash_cookie(raw: &raw::HttpCookie, report: &mut Report) -> Option<HashKey> {
    if let Some(later) = &raw.attributes {
        report.not_enforced(&later.place, "httpCookie.attributes");
    }
    let name = report.required(&raw.name, &raw.meta, "the name of the cookie")?;
    let path = match &raw.path {
        Some(at) => cookie_path(at, report)?,
        None => Arc::from("/"),
    };
    Some(HashKey::Cookie {
        name: header::cookie_name(name, report)?,
        path,
        max_age: raw.ttl.as_ref().map(|at| at.value),
    })
}

/// A cookie's path goes into a `Set-Cookie` field (RFC 6265, section 4.1.1): no control character, no semicolon.
fn cookie_path(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let fits = |b: u8| (b'!'..=b'~').contains(&b) && b != b';';
    if !at.value.starts_with('/') || at.value.len() > 1024 || !at.value.bytes().all(fits) {
        report.error_help(
            &at.place,
            format!("{:?} is not the path of a cookie", at.value),
            "it begins with / and holds no space and no semicolon",
        );
        return None;
    }
    Some(Arc::from(at.value.as_str()))
}

fn table(raw: &raw::ConsistentHash, report: &mut Report) -> Option<HashTable> {
    let old = raw.minimum_ring_size.as_ref();
    let ring = raw.ring_hash.as_ref();
    let nested = ring.and_then(|ring| ring.minimum_ring_size.as_ref());
    if let (Some(old), Some(_)) = (old, ring) {
        report.error_help(
            &old.place,
            "minimumRingSize and ringHash are both given",
            "write ringHash: { minimumRingSize: .. } alone",
        );
        return None;
    }
    if let (Some(maglev), true) = (&raw.maglev, ring.is_some() || old.is_some()) {
        report.error_help(
            &maglev.meta.place,
            "a table is a ring or Maglev, not both",
            "keep ringHash or maglev",
        );
        return None;
    }
    let Some(maglev) = &raw.maglev else {
        let Some(at) = old.or(nested) else {
            return Some(HashTable::Ring { min_size: RING });
        };
        let fits = |n| (1..=RING_MAX).contains(&n);
        let min_size = report.bounded(at, fits, "a ring has from 1 to 8388608 points")?;
        return Some(HashTable::Ring { min_size });
    };
    match &maglev.table_size {
        None => Some(HashTable::Maglev { size: MAGLEV }),
        Some(at) => table_size(at, report).map(|size| HashTable::Maglev { size }),
    }
}

/// Steps through the table reach every slot only if its size is prime (the Maglev paper, section 3.4).
fn table_size(at: &At<u32>, report: &mut Report) -> Option<u32> {
    let size = at.value;
    if size > MAGLEV_MAX {
        let message = format!("a Maglev table has at most {MAGLEV_MAX} slots");
        report.error(&at.place, message);
        return None;
    }
    if is_prime(size) {
        return Some(size);
    }
    let next = (size..=MAGLEV_MAX).find(|n| is_prime(*n));
    report.error_help(
        &at.place,
        format!("the size of a Maglev table is a prime number, {size} is none"),
        format!("the next one is {}", next.unwrap_or(MAGLEV)),
    );
    None
}

fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

fn warmup(raw: &raw::LoadBalancer, report: &mut Report) -> Option<Warmup> {
    let empty = raw::Warmup::default();
    let (settings, duration) = match (&raw.warmup, &raw.warmup_duration_secs) {
        (Some(_), Some(old)) => {
            report.error_help(
                &old.place,
                "warmup and warmupDurationSecs are both given",
                "warmupDurationSecs is the old name of warmup.duration; keep warmup",
            );
            return None;
        }
        (Some(new), None) => (
            new,
            report.required(&new.duration, &new.meta, "the duration of the warm-up")?,
        ),
        (None, Some(old)) => (&empty, old),
        (None, None) => return None,
    };
    Some(Warmup {
        duration: positive(duration, report)?,
        minimum_percent: match &settings.minimum_percent {
            Some(at) => minimum_percent(at, report)?,
            None => WARMUP_MINIMUM,
        },
        aggression: match &settings.aggression {
            Some(at) => aggression(at, report)?,
            None => 1.0,
        },
    })
}

fn positive(at: &At<Duration>, report: &mut Report) -> Option<Duration> {
    if !millis_or_more(at.value) {
        report.error_help(
            &at.place,
            "a warm-up takes at least 1ms",
            "leave it out for none",
        );
        return None;
    }
    Some(at.value)
}

fn minimum_percent(at: &At<u8>, report: &mut Report) -> Option<u8> {
    let want = "minimumPercent is from 1 to 100";
    if !(1..=100).contains(&at.value) {
        let help = "with 0 a new endpoint would get nothing, however few there are";
        report.error_help(&at.place, want, help);
        return None;
    }
    Some(at.value)
}

/// Less than 1 would hold load back longer than the ramp says (Istio refuses it, too).
fn aggression(at: &At<Decimal>, report: &mut Report) -> Option<f64> {
    let fits = |n: Decimal| (1.0..=100.0).contains(&n.0);
    report
        .bounded(at, fits, "aggression is from 1 to 100")
        .map(|n| n.0)
}
