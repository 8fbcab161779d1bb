//! Services: what a file says and what containers add, put together by name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::destination::{self, Rule};
use super::policy::Policies;
use super::report::Report;
use super::tls::{ClientTls, Keyring};
use super::{health, locality, mesh, share};
use crate::model::{
    Admission, Endpoint, EndpointId, Service, ServiceName, Version, VersionName, Weight,
};
use crate::raw::{self, At};

/// The services that hold, and the names of all that were written.
pub(super) struct Services {
    /// Sorted by name.
    pub(super) valid: Vec<Arc<Service>>,
    /// With those left out: a route that names one needs no second report.
    pub(super) known: BTreeSet<String>,
}

impl Services {
    /// The names of all that were written.
    pub(super) fn names(&self) -> BTreeSet<&str> {
        self.known.iter().map(String::as_str).collect()
    }

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
    rules: impl Iterator<Item = &'a raw::DestinationRule>,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Services {
    let groups = by_name(all, report);
    let names = groups.iter().map(|(name, _)| name.value.as_str()).collect();
    let mut rules = destination::compile(rules, &names, keyring, report);
    let mut services = Services {
        valid: Vec::new(),
        known: BTreeSet::new(),
    };
    for (name, parts) in groups {
        let errors = report.errors();
        let rule = rules.remove(&name.value);
        let broken = parts.iter().any(|part| part.meta.broken)
            || rule.as_ref().is_some_and(|rule| !rule.holds);
        let service = compile_one(&name, &parts, rule, keyring, report);
        let holds = report.errors() == errors && !broken;
        services
            .valid
            .extend(service.filter(|_| holds).map(Arc::new));
        services.known.insert(name.value);
    }
    services
}

/// Whether a part adds to what a file says: labels and what a provider found. A file's own part stands alone and first.
fn adds(part: &raw::Service) -> bool {
    part.discovered || part.meta.place.is_label()
}

/// The parts of each service, its file first. A file's part twice is a mistake; parts that were discovered add up.
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
        let adds_up = adds(part);
        match parts.iter().position(|other| !adds(other)) {
            Some(_) if !adds_up => {
                let message = format!(
                    "the service {} is given twice, first at {}",
                    name.value, first.place.source
                );
                report.error(&name.place, message);
            }
            None if !adds_up => {
                *first = name.clone();
                parts.insert(0, part);
            }
            _ => parts.push(part),
        }
    }
    groups.into_values().collect()
}

fn compile_one(
    name: &At<String>,
    parts: &[&raw::Service],
    rule: Option<Rule>,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Option<Service> {
    let service_name = report.valid(ServiceName::new(&name.value), &name.place)?;
    let health_check = first(parts, |part| part.health_check.as_ref())
        .and_then(|raw| health::health_check(raw, report));
    let endpoints = endpoints(&service_name, parts, health_check.is_some(), report);
    let subsets: Vec<VersionName> = rule.as_ref().map_or(Vec::new(), |r| r.versions.clone());
    let policies = policies(parts, rule, &endpoints, keyring, report);
    Some(Service {
        versions: versions(parts, &endpoints, &subsets, report),
        endpoints,
        load_balancer: policies.load_balancer.unwrap_or_default(),
        pool: policies.pool.unwrap_or_default(),
        outlier: policies.outlier.unwrap_or_default(),
        health_check,
        drain_timeout: first(parts, |part| part.drain_timeout.as_ref())
            .map_or(DRAIN, |at| at.value),
        proxy_protocol: first(parts, |part| part.proxy_protocol.as_ref()).map(|at| at.value.into()),
        protocol: policies.protocol.unwrap_or_default(),
        tls: match policies.tls {
            Some(ClientTls::Tls(tls)) => Some(tls),
            Some(ClientTls::Plain) | None => None,
        },
        mesh: first(parts, |part| part.mesh.as_ref()).and_then(|raw| mesh::of_service(raw, report)),
        source: parts
            .first()
            .map(|part| part.meta.place.source.clone())
            .unwrap_or_default(),
        name: service_name,
    })
}

/// The service's own entry stands before a DestinationRule for it, and that before labels: a file before containers.
fn policies(
    parts: &[&raw::Service],
    rule: Option<Rule>,
    endpoints: &[Endpoint],
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Policies {
    let mut file = Policies::default();
    let mut labels = Policies::default();
    for part in parts {
        let stated = Policies::of(part, keyring, report);
        match adds(part) {
            true => labels = labels.or(stated),
            false => file = file.or(stated),
        }
    }
    let rule = rule.map_or_else(Policies::default, |rule| rule.policies(endpoints, report));
    file.or(rule).or(labels)
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
    let all = parts.iter().flat_map(|part| {
        let endpoints = part.endpoints.iter().flatten();
        endpoints.map(move |raw| (raw, part.discovered))
    });
    for (raw, discovered) in all {
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
            // What a provider finds must not take down what a person wrote: the first holds.
            match discovered {
                true => report.warn(&raw.meta.place, message, help),
                false => report.error_help(&raw.meta.place, message, help),
            }
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
        priority: raw.priority.as_ref().map_or(0, |at| at.value),
        locality: raw
            .locality
            .as_ref()
            .and_then(|at| locality::place(at, report)),
        admission,
        source: place.source.clone(),
        ..Endpoint::new(id, address.value)
    })
}

/// An IPv6 address without its brackets, which names do not hold.
fn id_address(address: std::net::SocketAddr) -> String {
    format!("{}:{}", address.ip(), address.port())
}

/// Stated and observed versions, sorted by name, each with its share. One that only a subset names has none: a subset
/// says that a version may be asked for, not that there is one.
fn versions(
    parts: &[&raw::Service],
    endpoints: &[Endpoint],
    subsets: &[VersionName],
    report: &mut Report,
) -> Vec<Version> {
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
    for subset in subsets {
        stated.entry(subset.clone()).or_insert(Some(Weight::ZERO));
    }
    let stated: Vec<_> = stated.into_iter().collect();
    let weights = share::spread(&stated);
    stated
        .into_iter()
        .zip(weights)
        .map(|((name, _), weight)| Version { name, weight })
        .collect()
}
