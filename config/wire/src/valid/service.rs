//! Services, their policies and endpoints.

use weir_config::model::{
    BackendRoots, Balancer, Endpoint, HashTable, HealthProbe, Locality, LocalityPolicy, Service,
};

use super::route::fields;
use super::{is_target, is_value, must, times};
use crate::refusal::{Refusal, Within as _};

/// Points on a ring, and slots of a Maglev table (Envoy's bounds).
const MAX_RING: u32 = 8 << 20;
const MAX_MAGLEV: u32 = 5_000_011;

pub(crate) fn service(own: &Service) -> Result<(), Refusal> {
    let pool = &own.pool;
    times(&[
        ("connect_timeout", pool.connect_timeout),
        ("idle_timeout", pool.idle_timeout),
        ("stream_idle_timeout", pool.stream_idle_timeout),
        ("outlier_detection.interval", own.outlier.interval),
        (
            "outlier_detection.base_ejection_time",
            own.outlier.base_ejection_time,
        ),
        (
            "outlier_detection.max_ejection_time",
            own.outlier.max_ejection_time,
        ),
    ])?;
    let percents = [
        own.outlier.max_ejection_percent.unwrap_or(0),
        own.outlier.min_health_percent,
    ];
    must(
        percents.iter().all(|percent| *percent <= 100),
        "is more than 100",
    )
    .within("outlier_detection")?;
    must(
        own.outlier
            .failure_percentage
            .is_none_or(|share| share.threshold <= 100),
        "is more than 100",
    )
    .within("failure_percentage_threshold")?;
    let factor = own
        .outlier
        .success_rate
        .map_or(0.0, |rate| rate.stdev_factor);
    must(factor >= 0.0 && factor.is_finite(), "is negative").within("success_rate_stdev_factor")?;
    must(
        own.versions.is_sorted_by(|a, b| a.name < b.name),
        "are not sorted, each once",
    )
    .within("versions")?;
    own.load_balancer.locality.iter().try_for_each(shares)?;
    if let Some(tls) = &own.tls {
        let named = tls.hostname.is_some() || tls.roots == BackendRoots::Insecure;
        must(
            named,
            "is missing: whom a certificate must name is always checked",
        )
        .within("sni")?;
    }
    if let Balancer::ConsistentHash(hash) = &own.load_balancer.balancer {
        table(hash.table)?;
    }
    if let Some(warmup) = &own.load_balancer.warmup {
        times(&[("slow_start_window", warmup.duration)])?;
        must(
            warmup.aggression >= 1.0 && warmup.minimum_percent <= 100,
            "is out of bounds",
        )
        .within("slow_start_config")?;
    }
    if let Some(check) = &own.health_check {
        times(&[
            ("health_checks.interval", check.interval),
            ("health_checks.timeout", check.timeout),
        ])?;
        must(
            check.unhealthy_threshold > 0 && check.healthy_threshold > 0,
            "is 0",
        )
        .within("health_checks.threshold")?;
        if let HealthProbe::Http(http) = &check.probe {
            must(is_target(&http.path), "is no path")
                .within("health_checks.http_health_check.path")?;
            fields(&http.headers)
                .within("health_checks.http_health_check.request_headers_to_add")?;
            must(http.host.iter().all(|host| is_value(host)), "is no host")
                .within("health_checks.http_health_check.host")?;
            must(!http.expected.is_empty(), "is empty")
                .within("health_checks.http_health_check.expected_statuses")?;
        }
        if let HealthProbe::Grpc(grpc) = &check.probe {
            let texts = grpc.authority.iter().chain([&grpc.service]);
            must(
                texts.into_iter().all(|text| is_value(text)),
                "holds what no header field may",
            )
            .within("grpc_health_check")?;
        }
    }
    Ok(())
}

/// Whether it can be called at all.
pub(crate) fn endpoint(own: &Endpoint) -> Result<(), Refusal> {
    let ip = own.address.ip();
    let called = own.address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast();
    if !called {
        let why = format!("is {}, which cannot be called", own.address);
        return Err(Refusal::new(why).within("address"));
    }
    must(
        own.locality.as_ref().is_none_or(Locality::is_place),
        "is no place",
    )
    .within("locality")
}

fn shares(policy: &LocalityPolicy) -> Result<(), Refusal> {
    let whole =
        |to: &[(Locality, u8)]| to.iter().map(|(_, share)| u32::from(*share)).sum::<u32>() == 100;
    let all = policy.distribute.iter().all(|one| whole(&one.to));
    must(all, "holds shares that are not 100 together").within("locality")
}

fn table(table: HashTable) -> Result<(), Refusal> {
    match table {
        HashTable::Ring { min_size } => {
            must((1..=MAX_RING).contains(&min_size), "is not 1 to 8388608")
                .within("minimum_ring_size")
        }
        HashTable::Maglev { size } => must(
            size <= MAX_MAGLEV && is_prime(size),
            "is no prime number up to 5000011",
        )
        .within("table_size"),
    }
}

fn is_prime(n: u32) -> bool {
    n > 1
        && (2u32..)
            .take_while(|d| u64::from(*d) * u64::from(*d) <= n.into())
            .all(|d| !n.is_multiple_of(d))
}
