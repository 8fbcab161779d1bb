//! Services: what a file says and what containers add, put together by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::report::Report;
use super::{header, path, share};
use crate::model::{
    Admission, Balancer, ConnectionPool, Endpoint, EndpointId, HealthCheck, HealthProbe,
    LoadBalancer, OutlierDetection, Service, ServiceName, Version, VersionName, Weight,
};
use crate::raw::{self, At, millis_or_more};

/// The services that hold, and the names of all that were written.
pub(super) struct Services {
    /// Sorted by name.
    pub(super) valid: Vec<Arc<Service>>,
    /// With those left out: a route that names one needs no second report.
    pub(super) known: BTreeSet<String>,
}

impl Services {
    pub(super) fn get(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        let at = self
            .valid
            .binary_search_by(|service| service.name.cmp(name));
        at.ok().and_then(|at| self.valid.get(at))
    }
}

/// How long requests in flight on a removed endpoint may go on, unless told otherwise.
const DRAIN: Duration = Duration::from_secs(30);

pub(super) fn compile<'a>(
    all: impl Iterator<Item = &'a raw::Service>,
    report: &mut Report,
) -> Services {
    let mut services = Services {
        valid: Vec::new(),
        known: BTreeSet::new(),
    };
    for (name, parts) in by_name(all, report) {
        let errors = report.errors();
        let service = compile_one(&name, &parts, report);
        let holds = report.errors() == errors && !parts.iter().any(|part| part.meta.broken);
        services
            .valid
            .extend(service.filter(|_| holds).map(Arc::new));
        services.known.insert(name.value);
    }
    services
}

/// The parts of each service, its file first. A file's part twice is a mistake; parts of labels add up.
fn by_name<'a>(
    all: impl Iterator<Item = &'a raw::Service>,
    report: &mut Report,
) -> Vec<(At<String>, Vec<&'a raw::Service>)> {
    let mut groups: BTreeMap<&str, (At<String>, Vec<&raw::Service>)> = BTreeMap::new();
    for part in all {
        let Some(name) = &part.name else {
            if !part.meta.broken {
                report.error(&part.meta.place, "the name of the service is missing");
            }
            continue;
        };
        let (first, parts) = groups
            .entry(&name.value)
            .or_insert_with(|| (name.clone(), Vec::new()));
        let is_label = part.meta.place.is_label();
        match parts.iter().position(|other| !other.meta.place.is_label()) {
            Some(_) if !is_label => {
                let message = format!(
                    "the service {} is given twice, first at {}",
                    name.value, first.place.source
                );
                report.error(&name.place, message);
            }
            None if !is_label => {
                *first = name.clone();
                parts.insert(0, part);
            }
            _ => parts.push(part),
        }
    }
    groups.into_values().collect()
}

fn compile_one(name: &At<String>, parts: &[&raw::Service], report: &mut Report) -> Option<Service> {
    let service_name = report.valid(ServiceName::new(&name.value), &name.place)?;
    for outlier in parts
        .iter()
        .filter_map(|part| part.outlier_detection.as_ref())
    {
        report.not_enforced(&outlier.meta.place, "outlierDetection");
    }
    let health_check =
        first(parts, |part| part.health_check.as_ref()).and_then(|raw| health_check(raw, report));
    let endpoints = endpoints(&service_name, parts, health_check.is_some(), report);
    let pool =
        first(parts, |part| part.connection_pool.as_ref()).map(|raw| connection_pool(raw, report));
    Some(Service {
        versions: versions(parts, &endpoints, report),
        endpoints,
        load_balancer: LoadBalancer {
            balancer: first(parts, |part| part.load_balancer.as_ref())
                .map_or(Balancer::default(), |raw| balancer(raw, report)),
            ..LoadBalancer::default()
        },
        outlier: OutlierDetection::default(),
        pool: pool.unwrap_or_default(),
        health_check,
        drain_timeout: first(parts, |part| part.drain_timeout.as_ref())
            .map_or(DRAIN, |at| at.value),
        source: parts
            .first()
            .map(|part| part.meta.place.source.clone())
            .unwrap_or_default(),
        name: service_name,
    })
}

/// The setting of the first part that has it: a file's beats a label's.
fn first<'a, T>(
    parts: &[&'a raw::Service],
    field: impl Fn(&'a raw::Service) -> Option<&'a T>,
) -> Option<&'a T> {
    parts.iter().find_map(|part| field(part))
}

fn endpoints(
    service: &ServiceName,
    parts: &[&raw::Service],
    checked: bool,
    report: &mut Report,
) -> Vec<Endpoint> {
    let mut endpoints: BTreeMap<EndpointId, Endpoint> = BTreeMap::new();
    for raw in parts
        .iter()
        .flat_map(|part| part.endpoints.iter().flatten())
    {
        let Some(endpoint) = endpoint(service, raw, checked, report) else {
            continue;
        };
        if let Some(other) = endpoints.get(&endpoint.id) {
            let message = format!(
                "the endpoint {} is given twice, first at {}",
                endpoint.address, other.source
            );
            let help =
                "an address has one version and one weight; to send it more, raise its weight";
            report.error_help(&raw.meta.place, message, help);
            continue;
        }
        endpoints.insert(endpoint.id.clone(), endpoint);
    }
    endpoints.into_values().collect()
}

fn endpoint(
    service: &ServiceName,
    raw: &raw::Endpoint,
    checked: bool,
    report: &mut Report,
) -> Option<Endpoint> {
    let place = &raw.meta.place;
    let address = report.required(&raw.address, &raw.meta, "the address of the endpoint")?;
    if address.value.port() == 0 || address.value.ip().is_unspecified() {
        let message = format!("{} is not an address that can be called", address.value);
        report.error_help(
            &address.place,
            message,
            "write the address and port that the endpoint listens on",
        );
        return None;
    }
    let version = match &raw.version {
        Some(at) => report.valid(VersionName::new(&at.value), &at.place)?,
        None => VersionName::stable(),
    };
    let id = match &raw.id {
        Some(id) => id.clone(),
        None => report.valid(
            EndpointId::new(&format!("{service}@{}", id_address(address.value))),
            place,
        )?,
    };
    // semantics 13: with a check configured, nothing is sent before the first pass.
    let admission = match raw.admission.clone().unwrap_or(Admission::Ready) {
        Admission::Ready if checked => Admission::Probe,
        other => other,
    };
    Some(Endpoint {
        version,
        weight: raw.weight.as_ref().map_or(Weight::ONE, |at| at.value),
        admission,
        source: place.source.clone(),
        ..Endpoint::new(id, address.value)
    })
}

/// An IPv6 address without its brackets, which names do not hold.
fn id_address(address: std::net::SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

/// Stated and observed versions, sorted by name, each with its share.
fn versions(parts: &[&raw::Service], endpoints: &[Endpoint], report: &mut Report) -> Vec<Version> {
    let mut stated: BTreeMap<VersionName, Option<Weight>> = BTreeMap::new();
    for part in parts {
        let mut here = BTreeSet::new();
        for raw in part.versions.iter().flatten() {
            let Some(at) = report.required(&raw.name, &raw.meta, "the name of the version") else {
                continue;
            };
            let Some(name) = report.valid(VersionName::new(&at.value), &at.place) else {
                continue;
            };
            if !here.insert(name.clone()) {
                report.error(&at.place, format!("the version {name} is given twice"));
            }
            let weight = match raw.dormant {
                true => Some(Weight::ZERO),
                false => raw.weight.as_ref().map(|at| at.value),
            };
            let known = stated.entry(name).or_insert(weight);
            *known = known.or(weight);
        }
    }
    for endpoint in endpoints {
        stated.entry(endpoint.version.clone()).or_insert(None);
    }
    let stated: Vec<_> = stated.into_iter().collect();
    let weights = share::spread(&stated);
    stated
        .into_iter()
        .zip(weights)
        .map(|((name, _), weight)| Version { name, weight })
        .collect()
}

fn balancer(raw: &raw::LoadBalancer, report: &mut Report) -> Balancer {
    for (later, name) in [
        (&raw.consistent_hash, "loadBalancer.consistentHash"),
        (&raw.warmup, "loadBalancer.warmup"),
        (&raw.locality, "loadBalancer.localityLbSetting"),
    ] {
        if let Some(later) = later {
            report.not_enforced(&later.place, name);
        }
    }
    raw.simple
        .as_ref()
        .map_or(Balancer::default(), |at| at.value.into())
}

pub(crate) fn connection_pool(raw: &raw::ConnectionPool, report: &mut Report) -> ConnectionPool {
    let mut pool = ConnectionPool::default();
    let time = |at: &Option<At<Duration>>, into: &mut Duration, report: &mut Report| {
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, millis_or_more, "this timeout is at least 1ms"));
        *into = value.unwrap_or(*into);
    };
    if let Some(tcp) = &raw.tcp {
        time(&tcp.connect_timeout, &mut pool.connect_timeout, report);
        later(
            &tcp.max_connections,
            "connectionPool.tcp.maxConnections",
            report,
        );
        later(&tcp.idle_timeout, "connectionPool.tcp.idleTimeout", report);
    }
    if let Some(http) = &raw.http {
        time(&http.idle_timeout, &mut pool.idle_timeout, report);
        pool.max_requests_per_connection = http
            .max_requests_per_connection
            .as_ref()
            .map_or(0, |at| at.value);
        if let Some(at) = &http.max_idle_per_endpoint {
            let max = report.bounded(at, |n| n <= 65_536, "maxIdlePerEndpoint is at most 65536");
            pool.max_idle_per_endpoint = max.map_or(pool.max_idle_per_endpoint, |n| n as usize);
        }
        later(
            &http.http1_max_pending_requests,
            "connectionPool.http.http1MaxPendingRequests",
            report,
        );
        later(
            &http.http2_max_requests,
            "connectionPool.http.http2MaxRequests",
            report,
        );
        later(&http.max_retries, "connectionPool.http.maxRetries", report);
    }
    pool
}

fn later<T>(at: &Option<At<T>>, name: &str, report: &mut Report) {
    if let Some(at) = at {
        report.not_enforced(&at.place, name);
    }
}

pub(crate) fn health_check(raw: &raw::HealthCheck, report: &mut Report) -> Option<HealthCheck> {
    let mut check = HealthCheck::default();
    if let (Some(_), Some(tcp)) = (&raw.http, &raw.tcp) {
        report.error(&tcp.meta.place, "a health check is http or tcp, not both");
    }
    if let Some(http) = &raw.http {
        let at = report.required(&http.path, &http.meta, "the path of the health check")?;
        let host = http
            .host
            .as_ref()
            .and_then(|host| header::value(host, report));
        check.probe = HealthProbe::Http {
            path: path::target(at, report)?,
            host,
        };
    }
    let time = |at: &Option<At<Duration>>, into: &mut Duration, report: &mut Report| {
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, millis_or_more, "this time is at least 1ms"));
        *into = value.unwrap_or(*into);
    };
    time(&raw.interval, &mut check.interval, report);
    time(&raw.timeout, &mut check.timeout, report);
    let count = |at: &Option<At<u32>>, into: &mut u32, report: &mut Report| {
        let value = at
            .as_ref()
            .and_then(|at| report.bounded(at, |n| n > 0, "a threshold is at least 1"));
        *into = value.unwrap_or(*into);
    };
    count(
        &raw.unhealthy_threshold,
        &mut check.unhealthy_threshold,
        report,
    );
    count(&raw.healthy_threshold, &mut check.healthy_threshold, report);
    Some(check)
}
