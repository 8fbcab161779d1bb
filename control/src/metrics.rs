//! Metric families of the control plane, in the Prometheus text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use weir_config::model::Model;

use crate::api::types::ProviderState;
use crate::certs;
use crate::clock;
use crate::control::Shared;
use crate::{mesh, xds};

/// Counters since the start.
#[derive(Default)]
pub(crate) struct Counters {
    last_apply_ms: AtomicU64,
    config_reads: AtomicU64,
    config_rejected: AtomicU64,
    certificates_rejected: AtomicU64,
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

    pub(crate) fn certificate_rejected(&self) {
        self.certificates_rejected.fetch_add(1, Relaxed);
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
        "weir_certificates_rejected_total",
        "counter",
        "Certificates and authorities that turned bad while the ones read before stayed in force.",
    );
    line(
        &mut out,
        "weir_certificates_rejected_total",
        &[],
        counters.certificates_rejected.load(Relaxed),
    );
    not_after(
        &mut out,
        &shared.models.borrow().model,
        mesh::not_after(shared),
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
    xds::metrics_text(shared, &mut out);
    mesh::metrics_text(shared, &mut out);
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

/// A path may hold characters that the format escapes.
fn not_after(out: &mut String, model: &Model, beside: Vec<(String, i64)>) {
    const NAME: &str = "weir_cert_not_after_seconds";
    family(
        out,
        NAME,
        "gauge",
        "When a certificate in force expires, in seconds since 1970.",
    );
    // Of two of one name, such as self-signed ones, the first to expire counts.
    let mut all: BTreeMap<String, i64> = beside.into_iter().collect();
    for used in certs::in_use(model) {
        let name = used.certificate.name.replace('\\', "\\\\");
        let name = name.replace('"', "\\\"").replace('\n', "\\n");
        let first = all.entry(name).or_insert(i64::MAX);
        *first = used.certificate.not_after.min(*first);
    }
    for (name, at) in all {
        line(out, NAME, &[("certificate", &name)], at);
    }
}

pub(crate) fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

pub(crate) fn line(
    out: &mut String,
    name: &str,
    labels: &[(&str, &str)],
    value: impl std::fmt::Display,
) {
    out.push_str(name);
    for (i, (key, text)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{key}=\"{text}\"", if i == 0 { '{' } else { ',' });
    }
    let close = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(out, "{close} {value}");
}
