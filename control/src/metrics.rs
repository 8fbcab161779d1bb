//! Metric families of the control plane, in the Prometheus text format.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::api::types::ProviderState;
use crate::clock;
use crate::control::Shared;

/// Counters since the start.
#[derive(Default)]
pub(crate) struct Counters {
    last_apply_ms: AtomicU64,
    config_reads: AtomicU64,
    config_rejected: AtomicU64,
    discovery_events: AtomicU64,
    discovery_errors: AtomicU64,
}

impl Counters {
    pub(crate) fn applied_now(&self) {
        self.last_apply_ms.store(clock::now_ms(), Relaxed);
    }

    pub(crate) fn config_read(&self) {
        self.config_reads.fetch_add(1, Relaxed);
    }

    pub(crate) fn config_rejected(&self) {
        self.config_rejected.fetch_add(1, Relaxed);
    }

    pub(crate) fn discovery_event(&self) {
        self.discovery_events.fetch_add(1, Relaxed);
    }

    pub(crate) fn discovery_error(&self) {
        self.discovery_errors.fetch_add(1, Relaxed);
    }
}

/// All families. Service and version names hold no character that would need an escape.
pub(crate) fn text(shared: &Shared) -> String {
    let counters = &shared.counters;
    let generation = shared.models.borrow().generation;
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 fit a double exactly"
    )]
    let applied_at = counters.last_apply_ms.load(Relaxed) as f64 / 1000.0;
    let mut out = String::with_capacity(2048);
    family(
        &mut out,
        "weir_config_generation",
        "gauge",
        "Newest published generation of the configuration.",
    );
    line(&mut out, "weir_config_generation", &[], generation);
    family(
        &mut out,
        "weir_config_last_apply_timestamp_seconds",
        "gauge",
        "When the data plane last reported a generation as applied.",
    );
    line(
        &mut out,
        "weir_config_last_apply_timestamp_seconds",
        &[],
        applied_at,
    );
    family(
        &mut out,
        "weir_config_reads_total",
        "counter",
        "States of the configuration files that were read.",
    );
    line(
        &mut out,
        "weir_config_reads_total",
        &[],
        counters.config_reads.load(Relaxed),
    );
    family(
        &mut out,
        "weir_config_rejected_total",
        "counter",
        "Changes of configuration files that were refused.",
    );
    line(
        &mut out,
        "weir_config_rejected_total",
        &[],
        counters.config_rejected.load(Relaxed),
    );
    family(
        &mut out,
        "weir_discovery_up",
        "gauge",
        "1 while a provider answers and is believed.",
    );
    let facts = shared.board.lock();
    for (name, provider) in &facts.providers {
        let up = u8::from(provider.state == ProviderState::Up);
        line(&mut out, "weir_discovery_up", &[("provider", name)], up);
    }
    family(
        &mut out,
        "weir_discovery_events_total",
        "counter",
        "Events taken from container engines.",
    );
    line(
        &mut out,
        "weir_discovery_events_total",
        &[],
        counters.discovery_events.load(Relaxed),
    );
    family(
        &mut out,
        "weir_discovery_errors_total",
        "counter",
        "Failed exchanges with container engines.",
    );
    line(
        &mut out,
        "weir_discovery_errors_total",
        &[],
        counters.discovery_errors.load(Relaxed),
    );
    let rollouts = weir_plan::rollouts(&facts.configured, &facts.overrides);
    drop(facts);
    family(
        &mut out,
        "weir_route_weight",
        "gauge",
        "Share of a version in force, in percent of its service.",
    );
    for rollout in &rollouts {
        for split in &rollout.versions {
            let labels = [
                ("service", rollout.service.as_str()),
                ("version", split.version.as_str()),
            ];
            line(&mut out, "weir_route_weight", &labels, split.effective);
        }
    }
    out
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (i, (key, text)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{key}=\"{text}\"", if i == 0 { '{' } else { ',' });
    }
    let close = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(out, "{close} {value}");
}
