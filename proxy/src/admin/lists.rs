//! Listeners, routes, services and endpoints as rows.

use std::collections::HashMap;
use std::sync::Arc;

use weir_config::model::{self, BackendRef, Model};

use super::types::{
    Backend, Endpoint, Endpoints, Listener, Listeners, Route, Routes, Rule, Service, Services,
    Version,
};
use super::{View, text};
use crate::snapshot::{ServiceTable, Snapshot};
use crate::telemetry::metrics::Metrics;
use crate::upstream::endpoint::EndpointState;

pub(super) fn listeners(view: &impl View) -> Listeners {
    let snapshot = view.snapshot();
    let connections = view.metrics().connections_by_listener();
    let rows = view.listeners().into_iter().map(|state| {
        let table = snapshot.listener(state.id);
        let open = table.and_then(|table| connections.get(&table.label));
        let source = snapshot
            .model
            .listener(state.name.as_str())
            .map(|listener| listener.source.to_string());
        Listener {
            name: state.name.to_string(),
            bind: state.bind.to_string(),
            protocol: state.protocol.text().to_owned(),
            state: if state.error.is_some() {
                "failed"
            } else {
                "bound"
            }
            .to_owned(),
            error: state.error,
            rules: table.map_or(0, |table| table.rules.len()),
            connections: open.copied().unwrap_or(0),
            source: source.unwrap_or_default(),
        }
    });
    let mut listeners: Vec<_> = rows.collect();
    listeners.sort_by(|a, b| a.name.cmp(&b.name));
    Listeners { listeners }
}

pub(super) fn routes(snapshot: &Snapshot) -> Routes {
    let route = |route: &Arc<model::Route>| Route {
        name: route.name.to_string(),
        hostnames: route
            .hostnames
            .iter()
            .map(model::HostPattern::text)
            .collect(),
        listeners: route.listeners.iter().map(ToString::to_string).collect(),
        rules: route
            .rules
            .iter()
            .map(|r| rule(&snapshot.model, r))
            .collect(),
        source: route.source.to_string(),
    };
    let model = &snapshot.model;
    let streams = model.streams.iter().map(|route| stream(model, route));
    let mut routes: Vec<_> = model.routes.iter().map(route).chain(streams).collect();
    routes.sort_by(|a, b| a.name.cmp(&b.name));
    Routes { routes }
}

/// A route of streams: one rule, which takes everything.
fn stream(model: &Model, stream: &model::StreamRoute) -> Route {
    let rule = model::Rule::every(stream.backends.clone());
    let on = stream.listeners.first();
    let protocol = on.and_then(|name| Some(model.listener(name.as_str())?.protocol));
    let what = protocol.map_or("stream", |protocol| protocol.text());
    Route {
        name: stream.name.to_string(),
        hostnames: stream
            .hostnames
            .iter()
            .map(model::HostPattern::text)
            .collect(),
        listeners: stream.listeners.iter().map(ToString::to_string).collect(),
        rules: vec![Rule {
            matches: vec![format!("all of {what}")],
            timeout: None,
            retry: None,
            ..self::rule(model, &rule)
        }],
        source: stream.source.to_string(),
    }
}

fn rule(model: &Model, rule: &model::Rule) -> Rule {
    let total: f64 = rule
        .backends
        .iter()
        .map(|backend| backend.weight.as_f64())
        .sum();
    Rule {
        matches: rule.matches.iter().map(text::condition).collect(),
        filters: rule.filters.iter().map(text::filter).collect(),
        backends: rule
            .backends
            .iter()
            .map(|b| backend(model, b, total))
            .collect(),
        sticky: rule.sticky.as_ref().map(|sticky| text::sticky(&sticky.key)),
        timeout: rule.timeouts.request.map(text::duration),
        backend_timeout: rule.timeouts.backend_request.map(text::duration),
        retry: text::retry(&rule.retry),
    }
}

fn backend(model: &Model, backend: &BackendRef, total: f64) -> Backend {
    let service = model.service(backend.service.as_str());
    let problem = match (service, &backend.version) {
        (None, _) => Some(format!("there is no service {}", backend.service)),
        (Some(service), Some(version)) if service.versions.iter().all(|v| v.name != *version) => {
            Some(format!(
                "service {} has no version {version}",
                backend.service
            ))
        }
        _ => None,
    };
    Backend {
        service: backend.service.to_string(),
        version: backend.version.as_ref().map(ToString::to_string),
        weight: backend.weight.as_f64(),
        share: share(backend.weight.as_f64(), total),
        problem,
    }
}

/// In percent of the total.
pub(super) fn share(weight: f64, total: f64) -> f64 {
    if total > 0.0 {
        text::percent(weight / total)
    } else {
        0.0
    }
}

pub(super) fn services(snapshot: &Snapshot, metrics: &Metrics) -> Services {
    let service = |table: &Arc<ServiceTable>| {
        let service = &table.service;
        let requests: HashMap<_, _> = metrics
            .requests_by_version(service.name.as_str())
            .into_iter()
            .collect();
        let total: f64 = service
            .versions
            .iter()
            .map(|version| version.weight.as_f64())
            .sum();
        let versions = service
            .versions
            .iter()
            .zip(&table.versions)
            .map(|(version, members)| {
                let states = members
                    .members
                    .iter()
                    .filter_map(|at| table.endpoints.get(*at));
                Version {
                    name: version.name.to_string(),
                    weight: version.weight.as_f64(),
                    share: share(version.weight.as_f64(), total),
                    endpoints: members.members.len(),
                    available: states.filter(|state| state.is_available()).count(),
                    requests: requests.get(version.name.as_str()).copied().unwrap_or(0),
                }
            });
        Service {
            name: service.name.to_string(),
            versions: versions.collect(),
            endpoints: table.endpoints.len(),
            available: table
                .endpoints
                .iter()
                .filter(|state| state.is_available())
                .count(),
            balancer: text::balancer(&service.load_balancer.balancer).to_owned(),
            health_check: service.health_check.as_ref().map(text::health_check),
            source: service.source.to_string(),
        }
    };
    Services {
        services: snapshot.services.iter().map(service).collect(),
    }
}

pub(super) fn endpoints(snapshot: &Snapshot) -> Endpoints {
    let rows = snapshot.services.iter().flat_map(|table| {
        let pairs = table.service.endpoints.iter().zip(&table.endpoints);
        pairs.map(|(endpoint, state)| row(endpoint, state))
    });
    Endpoints {
        endpoints: rows.collect(),
    }
}

fn row(endpoint: &model::Endpoint, state: &EndpointState) -> Endpoint {
    let standing = state.standing();
    let judgement = state.home.judgement(&state.id).unwrap_or_default();
    // Why one that fails is in all the same is worth as much as why one is out.
    let refused = judgement.refused.filter(|_| standing.state == "ready");
    Endpoint {
        service: state.service.to_string(),
        id: endpoint.id.to_string(),
        address: endpoint.address.to_string(),
        version: endpoint.version.to_string(),
        weight: endpoint.weight.as_f64(),
        state: standing.state.to_owned(),
        reason: refused.map_or_else(|| standing.reason.to_string(), |it| text::refused(&it)),
        since: text::time(standing.since),
        until: standing.until.map(text::time),
        available: standing.available,
        in_flight: state.in_flight(),
        requests: state.requests(),
        errors: state.errors(),
        ejections: judgement.ejections,
        source: endpoint.source.to_string(),
    }
}
