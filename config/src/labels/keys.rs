//! The labels that are known, and a container's own in their known spelling.

use std::collections::BTreeMap;

use super::Container;
use super::traefik::label_of;
use crate::diagnostic::{Diagnostic, Place, suggest};
use crate::raw::{At, Scalar};

/// What every label of ours begins with.
const PREFIX: &str = "weir.";

/// Every label, as the documentation spells it. `weir.canary.*` is known whatever follows.
pub(super) const KNOWN: [&str; 89] = [
    "weir.enable",
    "weir.service",
    "weir.version",
    "weir.port",
    "weir.host",
    "weir.path",
    "weir.listener",
    "weir.protocol",
    "weir.weight",
    "weir.network",
    "weir.priority",
    "weir.locality",
    "weir.balancer",
    "weir.balancer.hashHeader",
    "weir.balancer.hashCookie",
    "weir.balancer.hashCookiePath",
    "weir.balancer.hashCookieTtl",
    "weir.balancer.hashQuery",
    "weir.balancer.hashSourceIp",
    "weir.balancer.ringSize",
    "weir.balancer.maglevSize",
    "weir.balancer.warmup",
    "weir.balancer.warmupMinimumPercent",
    "weir.balancer.warmupAggression",
    "weir.balancer.locality",
    "weir.sticky",
    "weir.timeout",
    "weir.drain",
    "weir.mesh",
    "weir.mesh.port",
    "weir.mesh.protocol",
    "weir.mesh.listen",
    "weir.retry.attempts",
    "weir.retry.on",
    "weir.ratelimit.requests",
    "weir.ratelimit.per",
    "weir.ratelimit.burst",
    "weir.ratelimit.key",
    "weir.ratelimit.header",
    "weir.healthcheck.path",
    "weir.healthcheck.host",
    "weir.healthcheck.method",
    "weir.healthcheck.status",
    "weir.healthcheck.body",
    "weir.healthcheck.bodyRegex",
    "weir.healthcheck.grpc",
    "weir.healthcheck.tcp",
    "weir.healthcheck.send",
    "weir.healthcheck.expect",
    "weir.healthcheck.port",
    "weir.healthcheck.interval",
    "weir.healthcheck.timeout",
    "weir.healthcheck.unhealthyThreshold",
    "weir.healthcheck.healthyThreshold",
    "weir.pool.connectTimeout",
    "weir.pool.idleTimeout",
    "weir.pool.maxRequestsPerConnection",
    "weir.pool.maxIdlePerEndpoint",
    "weir.pool.tcpIdleTimeout",
    "weir.pool.maxConnections",
    "weir.pool.maxConnectionsPerEndpoint",
    "weir.pool.http1MaxPendingRequests",
    "weir.pool.http2MaxRequests",
    "weir.pool.maxRequestsPerEndpoint",
    "weir.pool.maxRetries",
    "weir.pool.retryBudget.percent",
    "weir.pool.retryBudget.minRetryConcurrency",
    "weir.outlier.consecutive5xxErrors",
    "weir.outlier.consecutiveErrors",
    "weir.outlier.consecutiveGatewayErrors",
    "weir.outlier.splitExternalLocalOriginErrors",
    "weir.outlier.consecutiveLocalOriginFailures",
    "weir.outlier.interval",
    "weir.outlier.baseEjectionTime",
    "weir.outlier.maxEjectionTime",
    "weir.outlier.maxEjectionPercent",
    "weir.outlier.minHealthPercent",
    "weir.outlier.alwaysEjectOneHost",
    "weir.outlier.successfulActiveHealthCheckUnejectHost",
    "weir.outlier.observeOnly",
    "weir.outlier.successRate.enabled",
    "weir.outlier.successRate.minimumHosts",
    "weir.outlier.successRate.requestVolume",
    "weir.outlier.successRate.stdevFactor",
    "weir.outlier.failurePercentage.threshold",
    "weir.outlier.failurePercentage.minimumHosts",
    "weir.outlier.failurePercentage.requestVolume",
    "weir.canary.steps",
    "weir.canary.interval",
];

/// The labels of one container that opted in.
pub(super) struct Labels<'c> {
    pub(super) container: &'c Container,
    /// Known name -> the name as written and its trimmed value.
    values: BTreeMap<&'static str, (&'c str, &'c str)>,
}

/// Case and hyphens do not matter: `weir.pool.connect-timeout` is `weir.pool.connectTimeout`.
fn folded(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Whether two spellings name the same label: case, hyphens and underscores do not matter.
#[must_use]
pub fn same_label(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

impl<'c> Labels<'c> {
    /// Sorts a container's labels, and reports those that are unknown, empty, given twice, or without effect.
    pub(super) fn of(container: &'c Container, found: &mut Vec<Diagnostic>) -> Self {
        let mut labels = Self {
            container,
            values: BTreeMap::new(),
        };
        for (written, value) in container.labels.iter().filter(|(name, _)| is_ours(name)) {
            let place = container.place(&printable(written));
            let name = folded(written);
            if name.starts_with("weir.canary.") {
                found.push(crate::settings::not_enforced(&place, &printable(written)));
                continue;
            }
            if name.starts_with("weir.tls.") || name.contains("cert") {
                found.push(no_files(&place, written));
                continue;
            }
            let Some(known) = KNOWN.iter().find(|known| folded(known) == name) else {
                let help = suggest(written, &KNOWN);
                found.push(
                    Diagnostic::error(&place, format!("unknown label {written:?}")).help(help),
                );
                continue;
            };
            if value.trim().is_empty() {
                let message = format!("{known} has no value, so it is as if it were not there");
                found.push(
                    Diagnostic::warning(&place, message).help("give it a value or remove it"),
                );
            }
            if let Some((other, _)) = labels.values.get(known) {
                let message = format!("{written:?} and {other:?} are the same label");
                found.push(Diagnostic::error(&place, message).help(format!("keep {known}")));
                continue;
            }
            labels.values.insert(known, (written, value.trim()));
        }
        labels
    }

    /// As if the container had these labels of ours alone; each has its place and its value from another label.
    pub(super) fn translated(
        container: &'c Container,
        said: &'c [(&'static str, At<String>)],
    ) -> Self {
        let values = said
            .iter()
            .map(|(known, at)| (*known, (label_of(at), at.value.as_str())));
        Self {
            container,
            values: values.collect(),
        }
    }

    /// The value of a label and its place; an empty one is none.
    pub(super) fn text(&self, known: &str) -> Option<At<String>> {
        let (written, value) = self
            .values
            .get(known)
            .filter(|(_, value)| !value.is_empty())?;
        Some(At::new((*value).to_owned(), self.container.place(written)))
    }

    /// Whether the label is there, be it empty or wrong.
    pub(super) fn has(&self, known: &str) -> bool {
        self.values.contains_key(known)
    }

    /// Whether any label that begins so is there.
    pub(super) fn has_any(&self, prefix: &str) -> bool {
        self.values.keys().any(|known| known.starts_with(prefix))
    }

    /// Where the first label that begins so is, as it is written.
    pub(super) fn first_place(&self, prefix: &str) -> Place {
        let written = self
            .values
            .iter()
            .find(|(known, _)| known.starts_with(prefix))
            .map_or(prefix, |(_, (written, _))| written);
        self.container.place(written)
    }

    /// The value as its type; what cannot be read is reported, and is then as if it were not there.
    pub(super) fn get<T: Scalar>(&self, known: &str, found: &mut Vec<Diagnostic>) -> Option<At<T>> {
        let At { value, place } = self.text(known)?;
        match T::parse(&value) {
            Ok(value) => Some(At::new(value, place)),
            Err(refused) => {
                let mut diagnostic = Diagnostic::error(&place, refused.message);
                diagnostic.help = refused.help;
                found.push(diagnostic);
                None
            }
        }
    }
}

/// Whoever may start a container is not trusted with this machine's files, nor to say whom to believe.
fn no_files(place: &Place, written: &str) -> Diagnostic {
    let message =
        format!("{written:?} is not read: labels name no certificates, keys or authorities");
    let help = "write tls under a listener or a service of the configuration file";
    Diagnostic::error(place, message).help(help)
}

/// Whether Weir reads the label.
pub fn is_ours(name: &str) -> bool {
    name.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether Traefik reads the label.
#[must_use]
pub fn is_traefik(name: &str) -> bool {
    const TRAEFIK: &str = "traefik.";
    name.get(..TRAEFIK.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(TRAEFIK))
}

/// Whether the label opts a container in, or out.
#[must_use]
pub fn is_enable(name: &str, traefik: bool) -> bool {
    name.eq_ignore_ascii_case("weir.enable")
        || (traefik && name.eq_ignore_ascii_case("traefik.enable"))
}

/// A label's name without anything that could move a terminal's cursor.
pub(super) fn printable(name: &str) -> String {
    let safe = name.chars().map(|c| if c.is_control() { '?' } else { c });
    safe.take(128).collect()
}

/// The parts of a comma list, trimmed, without empty ones.
pub(super) fn list(at: &At<String>) -> impl Iterator<Item = At<String>> {
    let parts = at
        .value
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts.map(|part| At::new(part.to_owned(), at.place.clone()))
}
