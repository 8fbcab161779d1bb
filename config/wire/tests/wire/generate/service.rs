//! Services, their policies and endpoints.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use weir_config::model::*;

use super::{address, duration, source, text, tls, version_name, weight};

fn place() -> impl Strategy<Value = Locality> {
    select(vec!["eu", "eu/a", "eu/a/1", "us/b"]).prop_map(|text| Locality::parse(text).unwrap())
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let admission = prop_oneof![
        4 => Just(Admission::Ready),
        1 => Just(Admission::Probe),
        1 => Just(Admission::Draining),
        1 => text(&["starting", "unhealthy", "paused"]).prop_map(Admission::NotReady),
    ];
    let first = ("[a-z0-9]{12}", address(), version_name(), weight());
    let priority = prop_oneof![Just(0u8), any::<u8>()];
    (
        first,
        priority,
        of(place()),
        admission,
        source(),
        any::<bool>(),
    )
        .prop_map(
            |((id, address, version, weight), priority, locality, admission, source, plain)| {
                let mut own = Endpoint::new(
                    EndpointId::new(&format!("{id}:{}", address.port())).unwrap(),
                    address,
                );
                if !plain {
                    own.version = version;
                    own.weight = weight;
                    own.priority = priority;
                    own.locality = locality;
                    own.admission = admission;
                    own.source = source;
                }
                own
            },
        )
}

fn balancer() -> impl Strategy<Value = LoadBalancer> {
    let key = prop_oneof![
        text(&["x-user"]).prop_map(HashKey::Header),
        text(&["q"]).prop_map(HashKey::Query),
        Just(HashKey::SourceIp),
        (text(&["sid"]), text(&["/", "/shop"]), of(duration())).prop_map(
            |(name, path, max_age)| HashKey::Cookie {
                name,
                path,
                max_age
            }
        ),
    ];
    let table = prop_oneof![
        (1u32..8_000_000).prop_map(|min_size| HashTable::Ring { min_size }),
        select(vec![2u32, 65_537, 5_000_011]).prop_map(|size| HashTable::Maglev { size }),
    ];
    let balancer = prop_oneof![
        Just(Balancer::LeastRequest),
        Just(Balancer::RoundRobin),
        Just(Balancer::Random),
        Just(Balancer::PeakEwma),
        (key, table)
            .prop_map(|(key, table)| Balancer::ConsistentHash(ConsistentHash { key, table })),
    ];
    let warmup = (duration(), 0u8..=100, 1.0f64..10.0).prop_map(
        |(duration, minimum_percent, aggression)| Warmup {
            duration,
            minimum_percent,
            aggression,
        },
    );
    let region = || text(&["eu", "us"]);
    let distribute =
        (place(), place(), place(), 0u8..=100).prop_map(|(from, near, far, share)| Distribute {
            from,
            to: std::vec![(near, share), (far, 100 - share)],
        });
    let locality = (vec(distribute, 0..3), vec((region(), region()), 0..2)).prop_map(
        |(distribute, failover)| LocalityPolicy {
            distribute,
            failover,
        },
    );
    (balancer, of(warmup), of(locality)).prop_map(|(balancer, warmup, locality)| LoadBalancer {
        balancer,
        warmup,
        locality,
    })
}

fn pool() -> impl Strategy<Value = ConnectionPool> {
    let retries = prop_oneof![
        any::<u32>().prop_map(RetryLimit::Fixed),
        (0u8..=100, any::<u32>()).prop_map(|(percent, min)| RetryLimit::Budget { percent, min }),
    ];
    let counts = (
        any::<u32>(),
        of(any::<u32>()),
        any::<u32>(),
        any::<u32>(),
        of(any::<u32>()),
    );
    let more = (any::<u32>(), any::<u32>(), 0usize..10_000);
    (counts, more, (duration(), duration(), duration()), retries).prop_map(
        |(counts, more, times, retries)| ConnectionPool {
            max_connections: counts.0,
            max_connections_per_endpoint: counts.1,
            connect_timeout: times.0,
            stream_idle_timeout: times.1,
            max_pending: counts.2,
            max_requests: counts.3,
            max_requests_per_endpoint: counts.4,
            idle_timeout: times.2,
            max_requests_per_connection: more.0,
            max_concurrent_streams: more.1,
            max_idle_per_endpoint: more.2,
            retries,
        },
    )
}

fn outlier() -> impl Strategy<Value = OutlierDetection> {
    let rate = (any::<u32>(), any::<u32>(), 0.0f64..10.0).prop_map(
        |(minimum_hosts, request_volume, stdev_factor)| SuccessRate {
            minimum_hosts,
            request_volume,
            stdev_factor,
        },
    );
    let share = (0u8..=100, any::<u32>(), any::<u32>()).prop_map(
        |(threshold, minimum_hosts, request_volume)| FailurePercentage {
            threshold,
            minimum_hosts,
            request_volume,
        },
    );
    let counts = (0u32..20, 0u32..20, 0u32..20);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let percents = (of(0u8..=100), 0u8..=100);
    let times = (duration(), duration(), duration());
    (counts, flags, percents, times, of(rate), of(share)).prop_map(
        |(counts, flags, percents, times, rate, share)| OutlierDetection {
            consecutive_5xx: counts.0,
            consecutive_gateway: counts.1,
            split_local_origin: flags.0,
            consecutive_local_origin: counts.2,
            interval: times.0,
            base_ejection_time: times.1,
            max_ejection_time: times.2,
            max_ejection_percent: percents.0,
            always_eject_one: flags.1,
            min_health_percent: percents.1,
            success_rate: rate,
            failure_percentage: share,
            check_ends_ejection: flags.2,
            observe_only: flags.3,
        },
    )
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let bytes = || of(vec(any::<u8>(), 1..8).prop_map(Arc::<[u8]>::from));
    let body = prop_oneof![
        text(&["ok", "\"status\": 5%"]).prop_map(BodyMatch::Contains),
        Just(BodyMatch::Regex(
            regex::bytes::Regex::new("(?-u)^ok.*\\xff").unwrap()
        )),
    ];
    let statuses = vec((100u16..=599, 0u16..100), 1..3).prop_map(|all| {
        all.into_iter()
            .map(|(low, more)| StatusRange {
                low,
                high: (low + more).min(599),
            })
            .collect::<Vec<_>>()
    });
    let http = (
        any::<bool>(),
        text(&["/", "/healthz?deep=1"]),
        of(text(&["shop.example.com"])),
        statuses,
        of(body),
    )
        .prop_map(|(get, path, host, expected, body)| HttpProbe {
            method: if get {
                ProbeMethod::Get
            } else {
                ProbeMethod::Head
            },
            path,
            host,
            headers: vec![(Arc::from("x-probe"), Arc::from("50%"))],
            expected,
            body,
        });
    let probe = prop_oneof![
        (bytes(), bytes()).prop_map(|(send, expect)| HealthProbe::Tcp(TcpProbe { send, expect })),
        http.prop_map(HealthProbe::Http),
        (text(&["", "shop.v1"]), of(text(&["shop"])))
            .prop_map(|(service, authority)| HealthProbe::Grpc(GrpcProbe { service, authority })),
    ];
    let port = of(any::<NonZeroU16>());
    (probe, port, duration(), duration(), 1u32.., 1u32..).prop_map(
        |(probe, port, interval, timeout, unhealthy_threshold, healthy_threshold)| HealthCheck {
            probe,
            port,
            interval,
            timeout,
            unhealthy_threshold,
            healthy_threshold,
        },
    )
}

pub(super) fn service(name: ServiceName) -> impl Strategy<Value = Service> {
    let protocol = select(vec![
        AppProtocol::Http,
        AppProtocol::Http1,
        AppProtocol::H2c,
    ]);
    let header = of(select(vec![ProxyVersion::V1, ProxyVersion::V2]));
    let first = (
        vec(endpoint(), 0..6),
        balancer(),
        pool(),
        outlier(),
        of(health_check()),
    );
    let second = (
        duration(),
        header,
        protocol,
        of(tls::backend()),
        source(),
        vec((version_name(), weight()), 0..4),
    );
    (first, second, any::<bool>()).prop_map(move |(first, second, defaults)| {
        let (endpoints, load_balancer, pool, outlier, health_check) = first;
        let (drain_timeout, proxy_protocol, protocol, tls, source, versions) = second;
        let mut own = Service::new(name.clone());
        let by_id: BTreeMap<_, _> = endpoints
            .into_iter()
            .map(|endpoint| (endpoint.id.clone(), endpoint))
            .collect();
        own.endpoints = by_id.into_values().collect();
        let mut weights: BTreeMap<VersionName, Weight> = versions.into_iter().collect();
        for endpoint in &own.endpoints {
            weights
                .entry(endpoint.version.clone())
                .or_insert(Weight::ONE);
        }
        own.versions = weights
            .into_iter()
            .map(|(name, weight)| Version { name, weight })
            .collect();
        own.tls = tls.map(Arc::new);
        own.protocol = protocol;
        if !defaults {
            own.load_balancer = load_balancer;
            own.pool = pool;
            own.outlier = outlier;
            own.health_check = health_check;
            own.drain_timeout = drain_timeout;
            own.proxy_protocol = proxy_protocol;
            own.source = source;
        }
        own
    })
}
