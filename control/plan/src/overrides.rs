//! Weights set by hand, laid over a compiled model.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_config::model::{
    Admission, BackendRef, Endpoint, Model, Service, ServiceName, Version, VersionName, Weight,
};

use crate::shares::{WHOLE, apportion, overlay, overlay_awake, percent, weight};

/// Every override there is, by service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    pub services: BTreeMap<ServiceName, Override>,
}

/// What a person said about one service's split. It stays until it is cleared, also over restarts and
/// while the service or one of its versions is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Never empty.
    pub weights: BTreeMap<VersionName, Weight>,
    /// Who said it: `cli`, `api`, the name a client gave itself.
    pub by: String,
    /// Milliseconds since 1970.
    pub since_ms: u64,
}

impl Overrides {
    /// What was said of that service.
    #[must_use]
    pub fn get(&self, service: &ServiceName) -> Option<&Override> {
        self.services.get(service)
    }
}

/// Lays the overrides over a model: the services' own splits, and every rule that splits between two or
/// more versions of an overridden service. A rule that names one version only (a header that always goes to the
/// canary) stays as it is.
pub fn apply(model: &mut Model, overrides: &Overrides) {
    if overrides.services.is_empty() {
        return;
    }
    for service in &mut model.services {
        if let Some(told) = overrides.get(&service.name) {
            apply_to_service(service, told);
        }
    }
    for route in &mut model.routes {
        let touched = route
            .rules
            .iter()
            .any(|rule| is_touched(&rule.backends, overrides));
        if !touched {
            continue;
        }
        for rule in &mut Arc::make_mut(route).rules {
            apply_to_backends(&mut rule.backends, overrides);
        }
    }
    for route in &mut model.streams {
        if is_touched(&route.backends, overrides) {
            apply_to_backends(&mut Arc::make_mut(route).backends, overrides);
        }
    }
}

fn is_touched(backends: &[BackendRef], overrides: &Overrides) -> bool {
    let mut names = overrides.services.keys();
    names.any(|name| splits(backends, name))
}

fn apply_to_backends(backends: &mut [BackendRef], overrides: &Overrides) {
    for (name, told) in &overrides.services {
        if splits(backends, name) {
            apply_to_group(backends, name, told);
        }
    }
}

/// Whether a rule's destinations themselves split between two or more versions of that service.
#[must_use]
pub fn splits(backends: &[BackendRef], service: &ServiceName) -> bool {
    group(backends, service).len() >= 2
}

/// The versions of a service that a rule's destinations name, with their weights added up, in the order of first mention.
#[must_use]
pub fn group(backends: &[BackendRef], service: &ServiceName) -> Vec<(VersionName, Weight)> {
    let mut out: Vec<(VersionName, Weight)> = Vec::new();
    for backend in backends.iter().filter(|b| b.service == *service) {
        let Some(version) = &backend.version else {
            continue;
        };
        match out.iter_mut().find(|(name, _)| name == version) {
            Some((_, sum)) => {
                *sum = weight(u64::from(sum.tenths()) + u64::from(backend.weight.tenths()));
            }
            None => out.push((version.clone(), backend.weight)),
        }
    }
    out
}

/// Whether a version is coming or going as a whole: it has containers, and all of them are starting or stopping. The label
/// reader gives such a version no share of its own service, and an override must not either.
#[must_use]
pub fn is_dormant(service: &Service, version: &VersionName) -> bool {
    let mut endpoints = service
        .endpoints
        .iter()
        .filter(|e| e.version == *version)
        .peekable();
    let passing = |endpoint: &Endpoint| match &endpoint.admission {
        Admission::Draining => true,
        Admission::NotReady(reason) => &**reason == "starting",
        Admission::Ready | Admission::Probe => false,
    };
    endpoints.peek().is_some() && endpoints.all(passing)
}

fn apply_to_service(service: &mut Arc<Service>, told: &Override) {
    let configured: Vec<_> = service
        .versions
        .iter()
        .map(|v| (v.name.clone(), v.weight))
        .collect();
    let weights = percent(&overlay_awake(&configured, &told.weights, |version| {
        is_dormant(service, version)
    }));
    let versions: Vec<Version> = configured
        .into_iter()
        .zip(weights)
        .map(|((name, _), weight)| Version { name, weight })
        .collect();
    if versions != service.versions {
        Arc::make_mut(service).versions = versions;
    }
}

/// Gives the group of this service new shares of the group's own total, so that what other services get
/// of the same rule stays what it was.
fn apply_to_group(backends: &mut [BackendRef], service: &ServiceName, told: &Override) {
    let configured = group(backends, service);
    let total: u64 = configured.iter().map(|(_, w)| u64::from(w.tenths())).sum();
    let shares = overlay(&configured, &told.weights);
    let unchanged = shares
        .iter()
        .zip(&configured)
        .all(|(share, (_, was))| share == was);
    if total == 0 || unchanged {
        return;
    }
    // Weights of 1 and 1 could not express 99.9 to 0.1: scale the whole rule up until the group can.
    let factor = WHOLE.div_ceil(total);
    let parts: Vec<u64> = shares.iter().map(|w| u64::from(w.tenths())).collect();
    let mut new: BTreeMap<&VersionName, u64> = configured
        .iter()
        .map(|(name, _)| name)
        .zip(apportion(total * factor, &parts))
        .collect();
    let weights = backends
        .iter()
        .map(|backend| match &backend.version {
            // Removed once given: a version named twice gets its share once.
            Some(version) if backend.service == *service => new.remove(version).unwrap_or(0),
            _ => u64::from(backend.weight.tenths()) * factor,
        })
        .collect();
    for (backend, weight) in backends.iter_mut().zip(fit(weights)) {
        backend.weight = weight;
    }
}

/// Scales weights down together where one of them passes the largest weight there is; what had a share
/// keeps one.
fn fit(weights: Vec<u64>) -> Vec<Weight> {
    let largest = weights.iter().copied().max().unwrap_or(0);
    let divisor = largest.div_ceil(u64::from(Weight::MAX.tenths())).max(1);
    weights
        .into_iter()
        .map(|w| weight((w / divisor).max(u64::from(w > 0))))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
