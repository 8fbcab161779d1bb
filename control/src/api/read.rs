//! What there is to see.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use weir_config::model::{Life, Source};
use weir_config::{Diagnostic, Kept, Severity};
use weir_plan::{Rollout, VersionSplit};

use super::types::{
    self, Cert, CertState, Certs, ConfigStatus, Discovery, Events, OverrideInfo, Reply, Rollouts,
    Status,
};
use crate::board::{Baseline, Facts, problem};
use crate::certs::{self, InUse};
use crate::clock::{now_ms, now_seconds, rfc3339};
use crate::control::{Control, Shared};

/// Diagnostics in one reply; a broken template can make thousands of the same.
const MAX_DIAGNOSTICS: usize = 500;

pub(super) async fn status(State(control): State<Control>) -> Json<Reply<Status>> {
    let shared = &control.shared;
    let (ready, ready_reason) = (shared.ready)();
    let applied = shared.applied.borrow().clone();
    let generation = shared.models.borrow().generation;
    let (embedded, apart): (Vec<types::Proxy>, Vec<types::Proxy>) = crate::xds::proxies(shared)
        .into_iter()
        .partition(|proxy| proxy.embedded);
    // Without a data plane in this process there is nothing here that could lag behind.
    let applied_generation = match embedded.is_empty() {
        true => generation,
        false => applied.generation,
    };
    let facts = shared.board.lock();
    let config = config_status(&facts);
    Json(Reply::new(Status {
        version: shared.version.into(),
        started: rfc3339(facts.started_ms),
        uptime_seconds: now_ms().saturating_sub(facts.started_ms) / 1000,
        generation,
        applied_generation,
        apply_errors: applied.errors,
        ready,
        ready_reason,
        warnings: config.warnings,
        config,
        providers: facts.providers.values().cloned().collect(),
        proxies: types::ProxyCounts::of(&apart),
        overrides: facts.overrides.services.len(),
        documents: facts.documents.len(),
        pinned: facts.pin.clone(),
        state_dir: shared
            .state_dir
            .as_ref()
            .map(|dir| dir.display().to_string()),
        state_problem: shared.state_problem(),
    }))
}

pub(super) async fn discovery(State(control): State<Control>) -> Json<Reply<Discovery>> {
    let facts = control.shared.board.lock();
    let of_label = |diagnostic: &&Diagnostic| matches!(diagnostic.source, Source::Label { .. });
    let labels = facts.config.diagnostics.iter().filter(of_label);
    let others = facts.discovered.iter().filter(|d| !of_label(d));
    let problems = labels.chain(others).map(problem);
    Json(Reply::new(Discovery {
        providers: facts.providers.values().cloned().collect(),
        containers: facts.containers.clone(),
        problems: problems.take(MAX_DIAGNOSTICS).collect(),
    }))
}

pub(super) async fn rollouts(State(control): State<Control>) -> Json<Reply<Rollouts>> {
    let (configured, overrides) = {
        let facts = control.shared.board.lock();
        (Arc::clone(&facts.configured), facts.overrides.clone())
    };
    let rollouts = weir_plan::rollouts(&configured, &overrides);
    let rollouts = rollouts
        .iter()
        .map(|rollout| show(&control.shared, rollout))
        .collect();
    Json(Reply::new(Rollouts { rollouts }))
}

pub(super) async fn certs(State(control): State<Control>) -> Json<Reply<Certs>> {
    let model = Arc::clone(&control.shared.models.borrow().model);
    let facts = control.shared.board.lock();
    let (now, kept) = (now_seconds(), facts.kept.clone());
    drop(facts);
    let certs = certs::in_use(&model);
    let certs = certs.iter().map(|used| cert(used, &kept, now)).collect();
    Json(Reply::new(Certs { certs }))
}

fn cert(used: &InUse<'_>, kept: &[Kept], now: i64) -> Cert {
    let certificate = used.certificate;
    let time =
        |seconds| u64::try_from(seconds).map_or_else(|_| String::new(), |s: u64| rfc3339(s * 1000));
    let text = |all: &[&str]| all.iter().map(ToString::to_string).collect();
    let problem = kept
        .iter()
        .find(|kept| kept.source == certificate.source || kept.name == certificate.name);
    Cert {
        name: certificate.name.clone(),
        names: certificate.names.clone(),
        listeners: text(&used.listeners),
        services: text(&used.services),
        not_before: time(certificate.not_before),
        not_after: time(certificate.not_after),
        days_left: certificate.days_left(now),
        state: match certificate.life(now) {
            Life::Valid => CertState::Valid,
            Life::Expiring => CertState::Expiring,
            Life::Expired => CertState::Expired,
            Life::NotYetValid => CertState::NotYetValid,
        },
        problem: problem.map(|kept| kept.reason.clone()),
        issuer: certificate.issuer.clone(),
        serial: certificate.serial.clone(),
        fingerprint: certificate.fingerprint_text(),
        ocsp: certificate.ocsp.is_some(),
        source: certificate.source.to_string(),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct EventQuery {
    /// Only events after this number.
    #[serde(default)]
    since: u64,
    #[serde(default = "all")]
    limit: usize,
}

fn all() -> usize {
    usize::MAX
}

pub(super) async fn events(
    State(control): State<Control>,
    Query(query): Query<EventQuery>,
) -> Json<Reply<Events>> {
    let events = control.shared.events.since(query.since, query.limit);
    Json(Reply::new(Events { events }))
}

pub(super) async fn edges(State(control): State<Control>) -> Json<Reply<types::Edges>> {
    Json(Reply::new(types::Edges {
        edges: crate::xds::edges(&control.shared),
    }))
}

pub(super) async fn proxies(State(control): State<Control>) -> Json<Reply<types::Proxies>> {
    Json(Reply::new(types::Proxies {
        generation: control.shared.models.borrow().generation,
        proxies: crate::xds::proxies(&control.shared),
    }))
}

pub(super) async fn config(State(control): State<Control>) -> Json<Reply<serde_json::Value>> {
    let published = control.shared.models.borrow().clone();
    let mut dump = weir_config::dump(&published.model);
    if let Some(fields) = dump.as_object_mut() {
        fields.remove("apiVersion");
        fields.insert("generation".into(), published.generation.into());
    }
    Json(Reply::new(dump))
}

/// A split with what was observed of it.
pub(super) fn show(shared: &Shared, rollout: &Rollout) -> types::Rollout {
    let service = rollout.service.as_str();
    let (baseline, started_ms) = {
        let facts = shared.board.lock();
        (facts.baselines.get(service).cloned(), facts.started_ms)
    };
    let baseline = baseline.unwrap_or(Baseline {
        since_ms: started_ms,
        ..Baseline::default()
    });
    // A counter below its baseline was reset: it counts from nothing then.
    let count = |(version, total): (String, u64)| {
        let before = baseline.requests.get(&version).copied().unwrap_or(0);
        (version, total.checked_sub(before).unwrap_or(total))
    };
    let counts: Vec<(String, u64)> = (shared.observed)(service).into_iter().map(count).collect();
    let total: u64 = counts.iter().map(|(_, requests)| requests).sum();
    let observed = |version: &str| {
        let requests = counts
            .iter()
            .filter(|(name, _)| name == version)
            .map(|(_, requests)| requests)
            .sum();
        (total > 0).then(|| percentage(requests, total))
    };
    let version = |split: &VersionSplit| types::VersionSplit {
        version: split.version.to_string(),
        configured: split.configured.as_f64(),
        told: split.told.map(|weight| weight.as_f64()),
        effective: split.effective.as_f64(),
        observed: observed(split.version.as_str()),
        endpoints: split.endpoints,
        admitted: split.admitted,
    };
    types::Rollout {
        service: service.to_owned(),
        origin: rollout.origin.clone(),
        overridden: rollout
            .overridden
            .as_ref()
            .map(|(by, since_ms)| OverrideInfo {
                by: by.clone(),
                since: rfc3339(*since_ms),
            }),
        versions: rollout.versions.iter().map(version).collect(),
        observed_requests: total,
        observed_since: rfc3339(baseline.since_ms),
    }
}

/// In percent, rounded to one decimal.
fn percentage(part: u64, total: u64) -> f64 {
    let tenths = (u128::from(part) * 2000 / u128::from(total)).div_ceil(2);
    f64::from(u32::try_from(tenths).unwrap_or(u32::MAX)) / 10.0
}

fn config_status(facts: &Facts) -> ConfigStatus {
    let count = |severity| {
        facts
            .config
            .diagnostics
            .iter()
            .filter(|d| d.severity == severity)
            .count()
    };
    ConfigStatus {
        state: facts.config.state,
        since: rfc3339(facts.config.since_ms),
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        diagnostics: facts
            .config
            .diagnostics
            .iter()
            .take(MAX_DIAGNOSTICS)
            .map(problem)
            .collect(),
        rendered: facts.config.rendered.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observed_share_is_rounded_to_tenths() {
        for (part, total, expected) in [
            (0, 7, 0.0),
            (7, 7, 100.0),
            (1, 3, 33.3),
            (2, 3, 66.7),
            (1, 2000, 0.1),
        ] {
            assert!(
                (percentage(part, total) - expected).abs() < 1e-9,
                "{part}/{total}"
            );
        }
        assert!((percentage(u64::MAX, u64::MAX) - 100.0).abs() < 1e-9);
    }
}
