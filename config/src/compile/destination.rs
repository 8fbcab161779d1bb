//! Istio's DestinationRules: which service each is for, and what of it applies there.
//!
//! A rule is checked as a whole whether or not its service is there, so that a mistake shows when it is made. What it
//! asks for and Weir does not do is named. A rule with an error takes its service with it, as an error in the service's
//! own entry would: the rule may have asked for TLS.

use std::collections::{BTreeMap, BTreeSet};

use super::policy::Policies;
use super::protect;
use super::report::Report;
use super::tls::{Keyring, client_tls};
use crate::diagnostic::{Place, suggest};
use crate::model::{Endpoint, ServiceName, VersionName};
use crate::raw::{self, At, Later};

/// A rule for one service.
pub(super) struct Rule {
    /// Its own name and place, for messages.
    title: String,
    place: Place,
    policies: Policies,
    ports: Vec<PortPolicies>,
    /// Versions that its subsets name.
    pub(super) versions: Vec<VersionName>,
    /// Nothing in it is wrong.
    pub(super) holds: bool,
}

struct PortPolicies {
    port: u16,
    place: Place,
    policies: Policies,
}

/// The rules by the service that each is for.
pub(super) fn compile<'a>(
    all: impl Iterator<Item = &'a raw::DestinationRule>,
    services: &BTreeSet<&str>,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> BTreeMap<String, Rule> {
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for raw in all {
        let errors = report.errors();
        let Some(spec) = report.required(&raw.spec, &raw.meta, "the spec of the DestinationRule")
        else {
            continue;
        };
        let Some(host) = report.required(&spec.host, &spec.meta, "the host of the DestinationRule")
        else {
            continue;
        };
        let mut rule = self::rule(raw, spec, &host.value, keyring, report);
        let Some(service) = service(host, services, report) else {
            continue;
        };
        if let Some(first) = rules.get(&service) {
            let message = format!(
                "the service {service} has two DestinationRules: {} at {}, and {}",
                first.title, first.place.source, rule.title
            );
            let help = "the first is kept; put what both say into one";
            report.error_help(&host.place, message, help);
            continue;
        }
        if !services.contains(service.as_str()) {
            let message = format!(
                "there is no service named {service:?}; the DestinationRule {} for the host {:?} waits for it",
                rule.title, host.value
            );
            let help = match services.is_empty() {
                true => "write it under services, or start a container that is one".to_owned(),
                false => suggest(&service, &services.iter().copied().collect::<Vec<_>>()),
            };
            report.warn(&host.place, message, help);
        }
        rule.holds = report.errors() == errors && !raw.meta.broken;
        rules.insert(service, rule);
    }
    rules
}

/// A host is the name of a service, or a name in a cluster that begins with it: `api.shop.svc.cluster.local` is `api`.
/// A service whose own name has dots is found by its whole name first.
fn service(host: &At<String>, services: &BTreeSet<&str>, report: &mut Report) -> Option<String> {
    let name = host.value.as_str();
    if name.contains('*') {
        let message = format!("the host {name:?} has a star, which is not supported");
        report.error_help(&host.place, message, "write a rule for each service");
        return None;
    }
    let name = match services.contains(name) {
        true => name,
        false => name.split('.').next().unwrap_or(name),
    };
    report
        .valid(ServiceName::new(name), &host.place)
        .map(|name| name.to_string())
}

fn rule(
    raw: &raw::DestinationRule,
    spec: &raw::Spec,
    host: &str,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Rule {
    for (later, name) in [
        (&spec.export_to, "exportTo"),
        (&spec.workload_selector, "workloadSelector"),
    ] {
        not_applied(later, name, report);
    }
    let name = raw.metadata.as_ref().and_then(|meta| meta.name.as_ref());
    let traffic = spec.traffic_policy.as_ref();
    let ports = traffic.and_then(|raw| raw.port_level_settings.as_ref());
    Rule {
        title: name.map_or("without a name".to_owned(), |at| format!("{:?}", at.value)),
        place: raw.meta.place.clone(),
        policies: traffic.map_or_else(Policies::default, |raw| {
            policies(raw, host, keyring, report)
        }),
        ports: port_policies(ports.into_iter().flatten(), host, keyring, report),
        versions: versions(spec.subsets.iter().flatten(), report),
        holds: true,
    }
}

fn policies(
    raw: &raw::TrafficPolicy,
    host: &str,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Policies {
    for (later, name) in [
        (&raw.tunnel, "tunnel"),
        (&raw.proxy_protocol, "proxyProtocol"),
    ] {
        not_applied(later, &format!("trafficPolicy.{name}"), report);
    }
    let tls = raw.tls.as_ref();
    let tls = tls.and_then(|raw| client_tls(raw, host, keyring, report));
    let pool = raw.connection_pool.as_ref();
    let mut policies = Policies::compile(
        raw.load_balancer.as_ref(),
        pool,
        raw.outlier_detection.as_ref(),
        report,
    );
    policies.tls = tls;
    if let Some(budget) = &raw.retry_budget {
        let http = pool.and_then(|pool| pool.http.as_ref());
        protect::one_retry_limit(http.and_then(|http| http.max_retries.as_ref()), report);
        let retries = protect::retry_budget(budget, report);
        policies.pool.get_or_insert_default().retries = retries;
    }
    policies
}

fn not_applied(later: &Option<Later>, name: &str, report: &mut Report) {
    if let Some(later) = later {
        report.not_enforced(&later.place, &format!("{name} of a DestinationRule"));
    }
}

fn port_policies<'a>(
    all: impl Iterator<Item = &'a raw::PortPolicy>,
    host: &str,
    keyring: &mut Keyring<'_>,
    report: &mut Report,
) -> Vec<PortPolicies> {
    let mut out: Vec<PortPolicies> = Vec::new();
    for raw in all {
        let mut policies = Policies::compile(
            raw.load_balancer.as_ref(),
            raw.connection_pool.as_ref(),
            raw.outlier_detection.as_ref(),
            report,
        );
        let tls = raw.tls.as_ref();
        policies.tls = tls.and_then(|raw| client_tls(raw, host, keyring, report));
        let number = report
            .required(&raw.port, &raw.meta, "the port of portLevelSettings")
            .and_then(|port| report.required(&port.number, &port.meta, "the number of the port"));
        let Some(number) = number else {
            continue;
        };
        if out.iter().any(|other| other.port == number.value) {
            let message = format!(
                "portLevelSettings has two entries for port {}",
                number.value
            );
            report.error(&number.place, message);
            continue;
        }
        out.push(PortPolicies {
            port: number.value,
            place: number.place.clone(),
            policies,
        });
    }
    out
}

/// A subset is the version that its label `version` names, else the version of its own name.
fn versions<'a>(
    all: impl Iterator<Item = &'a raw::Subset>,
    report: &mut Report,
) -> Vec<VersionName> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut out = Vec::new();
    for raw in all {
        let Some(name) = report.required(&raw.name, &raw.meta, "the name of the subset") else {
            continue;
        };
        if !names.insert(&name.value) {
            let message = format!("the subset {:?} is given twice", name.value);
            report.error(&name.place, message);
        }
        if let Some(later) = &raw.traffic_policy {
            let message = format!(
                "the trafficPolicy of the subset {:?} is not applied: a service has one policy for all its versions",
                name.value
            );
            let help = "say it in the rule's own trafficPolicy, or make a service of the subset";
            report.warn(&later.place, message, help);
        }
        let labels = raw.labels.as_ref().map_or(&[][..], |labels| &labels.0);
        let mut version = name;
        for (label, value) in labels {
            if label.value == "version" {
                version = value;
                continue;
            }
            let message = format!(
                "the label {:?} of the subset {:?} is not applied",
                label.value, name.value
            );
            let help = "a subset is chosen by the label version alone";
            report.warn(&label.place, message, help);
        }
        out.extend(report.valid(VersionName::new(&version.value), &version.place));
    }
    out
}

impl Rule {
    /// What the rule says for a service with these endpoints.
    ///
    /// The settings of a port replace the rule's own whole: what they leave out is at its default (Istio,
    /// `TrafficPolicy.port_level_settings`).
    pub(super) fn policies(self, endpoints: &[Endpoint], report: &mut Report) -> Policies {
        if self.ports.len() < 2 {
            let only = self.ports.into_iter().next();
            return only.map_or(self.policies, |port| port.policies);
        }
        let ports: BTreeSet<u16> = endpoints.iter().map(|e| e.address.port()).collect();
        let mut applied = self.policies;
        for settings in self.ports {
            if ports.len() == 1 && ports.contains(&settings.port) {
                applied = settings.policies;
                continue;
            }
            let (message, help) = match ports.contains(&settings.port) {
                true => (
                    "the service's endpoints are on several ports, and it has one policy for all",
                    "make a service of the endpoints of each port",
                ),
                false => (
                    "no endpoint of the service is on that port",
                    "the port is that of the endpoints' addresses; of several entries the one that fits is applied",
                ),
            };
            let message = format!(
                "portLevelSettings for port {} are not applied: {message}",
                settings.port
            );
            report.warn(&settings.place, message, help);
        }
        applied
    }
}
