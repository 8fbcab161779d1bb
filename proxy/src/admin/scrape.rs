//! One scrape: the counters, and what is looked up at that moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use weir_decide::breaker::retry_limit;

use super::View;
use crate::snapshot::{LabelId, SeriesIds, ServiceTable, Snapshot};
use crate::telemetry::metrics::{Gauges, ServiceGauges, VersionGauges};
use crate::upstream::service::Limit;

/// The states an endpoint of a snapshot can be in; each is written, so that an alert on one that is not there works.
const STATES: [&str; 7] = [
    "ready",
    "probing",
    "failing",
    "ejected",
    "not-ready",
    "draining",
    "maintenance",
];

/// The text of a scrape. Forgets idle series on the way, since a scrape is what they would clutter.
pub(super) fn text(view: &impl View, extra: &str) -> String {
    let snapshot = view.snapshot();
    let in_use = InUse::of(&snapshot);
    view.metrics()
        .sweep(Instant::now(), |ids| in_use.holds(ids));
    let gauges = Gauges {
        draining: view.draining(),
        pressure: view.pressure(),
        endpoints: endpoints(&snapshot),
        services: snapshot.services.iter().map(service).collect(),
    };
    view.metrics().encode(extra, &gauges)
}

fn service(table: &Arc<ServiceTable>) -> ServiceGauges {
    let (pool, breakers) = (&table.service.pool, &table.state.breakers);
    let reached = |limit| match limit {
        Limit::Connections => breakers.connections.taken() >= pool.max_connections,
        Limit::Pending => breakers.pending.taken() >= pool.max_pending,
        Limit::Requests => breakers.requests.taken() >= pool.max_requests,
        Limit::Retries => {
            let active = breakers.requests.taken();
            breakers.retries.taken() >= retry_limit(pool.retries, active)
        }
    };
    let limits = Limit::ALL.map(|limit| (limit.text(), reached(limit), breakers.refused(limit)));
    let versions = table.state.ejections().into_iter().map(|ejections| {
        let at = table
            .service
            .versions
            .iter()
            .position(|version| version.name == ejections.version);
        VersionGauges {
            version: ejections.version.shared(),
            ejections: ejections
                .detected
                .into_iter()
                .map(|((kind, enforced), count)| (kind, enforced, count))
                .collect(),
            active: ejections.active as u64,
            overflow: ejections.overflow,
            panic: at.is_some_and(|at| table.levels(at).any_panic()),
        }
    });
    ServiceGauges {
        service: table.service.name.shared(),
        limits: limits.into(),
        retries_refused: breakers.refused(Limit::Retries),
        versions: versions.collect(),
    }
}

fn endpoints(snapshot: &Snapshot) -> Vec<(Arc<str>, &'static str, u64)> {
    let mut counts = Vec::with_capacity(snapshot.services.len() * STATES.len());
    for table in &snapshot.services {
        let states: Vec<_> = table
            .endpoints
            .iter()
            .map(|endpoint| endpoint.standing().state)
            .collect();
        for state in STATES {
            let count = states.iter().filter(|s| **s == state).count() as u64;
            counts.push((table.service.name.shared(), state, count));
        }
    }
    counts
}

/// The labels that the configuration has now.
pub(super) struct InUse {
    listeners: HashSet<LabelId>,
    routes: HashSet<LabelId>,
    versions: HashSet<(LabelId, LabelId)>,
}

impl InUse {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        // The label of the empty text, for requests that got no further.
        let none = LabelId::default();
        let tables = || snapshot.listeners.iter().flatten();
        let listeners = tables().map(|table| table.label).chain([none]).collect();
        let routes = tables()
            .flat_map(|table| table.rules.iter().map(|rule| rule.label))
            .chain([none])
            .collect();
        let versions = snapshot.services.iter().flat_map(|table| {
            let versions = table.versions.iter().map(|version| version.label);
            versions.chain([none]).map(|version| (table.label, version))
        });
        Self {
            listeners,
            routes,
            versions: versions.chain([(none, none)]).collect(),
        }
    }

    pub(super) fn holds(&self, ids: &SeriesIds) -> bool {
        self.listeners.contains(&ids.listener)
            && self.routes.contains(&ids.route)
            && self.versions.contains(&(ids.service, ids.version))
    }
}
