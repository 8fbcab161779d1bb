//! A generation of the past, laid over what the sources say today.
//!
//! Services and routes are as they were; endpoints that discovery finds are those of today, since those of then may be gone.
//! Listeners, certificates, tracing and who may call whom are the sources' affair: a rollback never brings back an old key,
//! lets in nobody who has been shut out since, and never calls in plain text what was called over TLS.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_config::model::{Admission, Endpoint, Model, Service, Version, Weight};

/// What is laid over the sources.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    /// Services and routes as they were, with the endpoints that were written down.
    pub model: Arc<Model>,
    /// Services that call their endpoints over TLS.
    pub over_tls: BTreeSet<String>,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Laid {
    pub model: Model,
    /// What could not be as it was, for people; each is left out.
    pub left_out: Vec<String>,
}

/// Lays a generation over the live model. `written` tells which of the live endpoints a person wrote down, in a file or a
/// document: those are configuration, and as they were then.
#[must_use]
pub fn lay(pin: &Pin, live: &Model, written: &dyn Fn(&Endpoint) -> bool) -> Laid {
    let mut left_out = Vec::new();
    let mut model = Model {
        listeners: live.listeners.clone(),
        tracing: Arc::clone(&live.tracing),
        access: Arc::clone(&live.access),
        ..Model::default()
    };
    for then in &pin.model.services {
        let now = live.service(then.name.as_str());
        let tls = now.and_then(|now| now.tls.clone());
        if pin.over_tls.contains(then.name.as_str()) && tls.is_none() {
            left_out.push(format!(
                "service {}: it was called over TLS, and no source says any more how",
                then.name
            ));
            continue;
        }
        let mut service = Service::clone(then);
        service.tls = tls.filter(|_| pin.over_tls.contains(then.name.as_str()));
        service.endpoints = endpoints(then, now, written);
        service.versions = versions(then, now, &service.endpoints);
        model.services.push(Arc::new(service));
    }
    let listens = |names: &[weir_config::model::ListenerName]| {
        names.is_empty() || names.iter().any(|n| live.listener(n.as_str()).is_some())
    };
    for route in &pin.model.routes {
        match listens(&route.listeners) {
            true => model.routes.push(Arc::clone(route)),
            false => left_out.push(format!("route {}: its listener is gone", route.name)),
        }
    }
    for route in &pin.model.streams {
        match listens(&route.listeners) {
            true => model.streams.push(Arc::clone(route)),
            false => left_out.push(format!("route {}: its listener is gone", route.name)),
        }
    }
    model.sort();
    Laid { model, left_out }
}

/// Those written down then, and those found now.
fn endpoints(
    then: &Service,
    now: Option<&Arc<Service>>,
    written: &dyn Fn(&Endpoint) -> bool,
) -> Vec<Endpoint> {
    let mut all = then.endpoints.clone();
    let found = now.into_iter().flat_map(|now| &now.endpoints);
    for endpoint in found.filter(|endpoint| !written(endpoint)) {
        if all.iter().any(|known| known.id == endpoint.id) {
            continue;
        }
        let mut endpoint = endpoint.clone();
        // semantics 13: with a check configured, nothing is sent before the first pass.
        if then.health_check.is_some() && endpoint.admission == Admission::Ready {
            endpoint.admission = Admission::Probe;
        }
        all.push(endpoint);
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// The shares of then, as far as somebody can take them: a version whose containers are gone has none. Where that leaves
/// nobody, the shares of now hold.
fn versions(then: &Service, now: Option<&Arc<Service>>, endpoints: &[Endpoint]) -> Vec<Version> {
    let alive = |version: &Version| {
        endpoints.iter().any(|endpoint| {
            endpoint.version == version.name && endpoint.admission != Admission::Draining
        })
    };
    let none = endpoints.is_empty();
    let mut versions = then.versions.clone();
    if !none {
        let shared = versions.iter().any(|v| v.weight > Weight::ZERO && alive(v));
        if let (false, Some(now)) = (shared, now) {
            return now.versions.clone();
        }
        for version in versions.iter_mut().filter(|version| !alive(version)) {
            version.weight = Weight::ZERO;
        }
    }
    for version in now.into_iter().flat_map(|now| &now.versions) {
        if !versions.iter().any(|known| known.name == version.name) {
            versions.push(Version {
                name: version.name.clone(),
                weight: Weight::ZERO,
            });
        }
    }
    versions.sort_by(|a, b| a.name.cmp(&b.name));
    versions
}

#[cfg(test)]
mod tests;
