//! One scrape: the counters, and what is looked up at that moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use super::View;
use crate::snapshot::{LabelId, SeriesIds, Snapshot};
use crate::telemetry::metrics::Gauges;

/// The states an endpoint of a snapshot can be in; each is written, so that an alert on one that is not there works.
const STATES: [&str; 5] = ["ready", "probing", "failing", "not-ready", "draining"];

/// The text of a scrape. Forgets idle series on the way, since a scrape is what they would clutter.
pub(super) fn text(view: &impl View, extra: &str) -> String {
    let snapshot = view.snapshot();
    let in_use = InUse::of(&snapshot);
    view.metrics()
        .sweep(Instant::now(), |ids| in_use.holds(ids));
    let gauges = Gauges {
        draining: view.draining(),
        endpoints: endpoints(&snapshot),
    };
    view.metrics().encode(extra, &gauges)
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
