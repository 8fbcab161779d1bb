//! Who may call which service of the mesh: what files, documents and people say, by service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Context, finished, name, policy, rule};
use crate::compile::report::Report;
use crate::compile::service::Services;
use crate::diagnostic::{Place, suggest};
use crate::model::{
    AccessAction, AccessPolicy, Authorization, Endpoint, MeshAccess, PeerMode, ServiceAccess,
    ServiceName, TrustDomain,
};
use crate::raw::{self, At};

/// All that is said.
pub(in crate::compile) struct Said<'a> {
    pub(in crate::compile) own: Vec<&'a raw::Authorization>,
    pub(in crate::compile) policies: Vec<&'a raw::AuthorizationPolicy>,
    pub(in crate::compile) peers: Vec<&'a raw::PeerAuthentication>,
}

/// Which services something is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    Every,
    One(ServiceName),
}

/// What is said of one target.
#[derive(Default)]
struct Collected {
    policies: Vec<AccessPolicy>,
    peers: Option<PeerMode>,
    ports: BTreeMap<u16, PeerMode>,
    /// The first that says what is asked of peers, and where.
    asked_by: Option<Place>,
}

/// By service. Services need not be there, as they may come in a moment; `known` are those that are.
pub(in crate::compile) fn compile(
    said: &Said<'_>,
    trust_domain: &TrustDomain,
    known: &Services,
    report: &mut Report,
) -> MeshAccess {
    let services = &known.names();
    let mut all: BTreeMap<Target, Collected> = BTreeMap::new();
    for raw in &said.own {
        let target = own_target(raw, services, report);
        let mut policy = policy(raw, trust_domain, report);
        if raw.service.is_none() || target.is_none() {
            policy = closed_to_all(policy, &Target::Every, &raw.meta.place, report);
        }
        let target = target.unwrap_or(Target::Every);
        all.entry(target).or_default().policies.push(policy);
    }
    for raw in &said.policies {
        let (target, policy) = istio_policy(raw, services, report);
        let policies = &mut all.entry(target).or_default().policies;
        policies.push(policy);
    }
    for raw in &said.peers {
        let errors = report.errors();
        let (target, modes) = peer_authentication(raw, services, report);
        if report.errors() == errors {
            modes.warn_idle(&target, known, report);
        }
        modes.join(all.entry(target).or_default(), raw, report);
    }
    finish(all, trust_domain)
}

/// What is about every service is in each of them.
fn finish(mut all: BTreeMap<Target, Collected>, trust_domain: &TrustDomain) -> MeshAccess {
    let every = all.remove(&Target::Every).unwrap_or_default();
    let access = |own: Collected| {
        let mut policies = own.policies;
        policies.extend(every.policies.iter().cloned());
        ServiceAccess {
            authorization: (!policies.is_empty()).then(|| Arc::new(Authorization::new(policies))),
            peers: own.peers.or(every.peers),
            port_peers: own.ports.into_iter().collect(),
        }
    };
    let named = all.into_iter().filter_map(|(target, own)| match target {
        Target::One(name) => Some((name, access(own))),
        Target::Every => None,
    });
    MeshAccess {
        trust_domain: trust_domain.clone(),
        services: named.collect(),
        others: access(Collected::default()),
    }
}

fn own_target(
    raw: &raw::Authorization,
    services: &BTreeSet<&str>,
    report: &mut Report,
) -> Option<Target> {
    let service = report.required(&raw.service, &raw.meta, "the service that is called,")?;
    match service.value.as_str() {
        "*" => Some(Target::Every),
        _ => named(service, services, report),
    }
}

fn named(service: &At<String>, services: &BTreeSet<&str>, report: &mut Report) -> Option<Target> {
    let name = report.valid(ServiceName::new(&service.value), &service.place)?;
    if !services.contains(name.as_str()) {
        let message = format!(
            "there is no service named {:?}; who may call it is settled for when it comes",
            service.value
        );
        let help = match services.is_empty() {
            true => "write it under services, or start a container that is one".to_owned(),
            false => suggest(name.as_str(), &services.iter().copied().collect::<Vec<_>>()),
        };
        report.warn(&service.place, message, help);
    }
    Some(Target::One(name))
}

/// Whom it was meant for is not known, so it is for everybody; an ALLOW that admits would open what it was not meant for.
fn closed_to_all(
    policy: AccessPolicy,
    target: &Target,
    place: &Place,
    report: &mut Report,
) -> AccessPolicy {
    let message = format!(
        "whom the policy {} is for cannot be read, so until that is mended it closes {}",
        policy.name,
        match target {
            Target::Every => "every service".to_owned(),
            Target::One(service) => format!("all of {service}"),
        }
    );
    let help = "a policy that is left out would leave open what it was to close";
    report.warn(place, message, help);
    AccessPolicy {
        log_only: policy.log_only,
        ..AccessPolicy::closed(policy.name, policy.action, policy.source)
    }
}

/// The policy, with the services that it is for.
fn istio_policy(
    raw: &raw::AuthorizationPolicy,
    services: &BTreeSet<&str>,
    report: &mut Report,
) -> (Target, AccessPolicy) {
    let errors = report.errors();
    let meta = raw.metadata.as_ref();
    let name = name(meta.and_then(|meta| meta.name.as_ref()), &raw.meta, report);
    let spec = raw.spec.clone().unwrap_or_default();
    for (later, field) in [
        (&spec.target_ref, "targetRef"),
        (&spec.target_refs, "targetRefs"),
        (&spec.provider, "provider"),
    ] {
        if let Some(later) = later {
            let message = format!("{field} of an AuthorizationPolicy is not supported");
            let help =
                "select workloads by selector.matchLabels.app; actions are ALLOW, DENY and AUDIT";
            report.error_help(&later.place, message, help);
        }
    }
    let unselected = spec.target_ref.is_some() || spec.target_refs.is_some();
    let action = action(spec.action.as_ref(), report);
    let context = Context { trust_domain: None };
    let rules = spec.rules.as_deref().unwrap_or_default();
    let rules = rule::rules(rules, &context, report);
    let broken = raw.meta.broken || report.errors() > errors;
    let target = selected(spec.selector.as_ref(), services, report);
    let log_only = meta.and_then(|meta| meta.dry_run.as_ref());
    let policy = AccessPolicy {
        name,
        action: action.unwrap_or(AccessAction::Deny),
        log_only: log_only.is_some_and(|at| at.value),
        rules,
        source: raw.meta.place.source.clone(),
    };
    let place = &raw.meta.place;
    match target {
        Ok(target) if !unselected => (target, finished(policy, broken, place, report)),
        Ok(target) | Err(target) => {
            let closed = closed_to_all(policy, &target, place, report);
            (target, closed)
        }
    }
}

/// Istio, `AuthorizationPolicy.Action`. An action of another is none that could be taken for one of ours.
fn action(action: Option<&At<String>>, report: &mut Report) -> Option<AccessAction> {
    let Some(action) = action else {
        return Some(AccessAction::Allow);
    };
    match action.value.as_str() {
        "ALLOW" => Some(AccessAction::Allow),
        "DENY" => Some(AccessAction::Deny),
        "AUDIT" => Some(AccessAction::Audit),
        other => {
            let message = format!("the action {other:?} is not supported");
            report.error_help(&action.place, message, "supported: ALLOW, DENY, AUDIT");
            None
        }
    }
}

/// Labels that name the service of a workload.
const LABELS: [&str; 3] = ["app", "service", "app.kubernetes.io/name"];

/// The services that a selector means; `Err`: those that it is for at most, as it is not known for which.
fn selected(
    selector: Option<&raw::Selector>,
    services: &BTreeSet<&str>,
    report: &mut Report,
) -> Result<Target, Target> {
    let Some(selector) = selector else {
        return Ok(Target::Every);
    };
    let labels = selector
        .match_labels
        .as_ref()
        .map_or(&[][..], |labels| &labels.0);
    let mut found: Option<Target> = None;
    let mut sure = !selector.meta.broken;
    for (label, value) in labels {
        if !LABELS.contains(&label.value.as_str()) {
            let message = format!("the label {:?} of a selector is not supported", label.value);
            let help = format!(
                "workloads are chosen by their service: {}",
                LABELS.join(", ")
            );
            report.error_help(&label.place, message, help);
            sure = false;
            continue;
        }
        match named(value, services, report) {
            Some(target) if found.as_ref().is_none_or(|known| *known == target) => {
                found = Some(target);
            }
            Some(_) => {
                let message = "the selector names two services, and no workload is of both";
                report.error_help(&value.place, message, "write a policy for each");
                return Err(Target::Every);
            }
            None => sure = false,
        }
    }
    match (sure, found) {
        // An empty selector is for every workload (Istio, `WorkloadSelector`).
        (true, found) => Ok(found.unwrap_or(Target::Every)),
        (false, found) => Err(found.unwrap_or(Target::Every)),
    }
}

/// What one document asks of peers.
struct Modes {
    peers: Option<PeerMode>,
    /// With where each of them is stated.
    ports: Vec<(At<u16>, PeerMode)>,
    place: Place,
}

fn peer_authentication(
    raw: &raw::PeerAuthentication,
    services: &BTreeSet<&str>,
    report: &mut Report,
) -> (Target, Modes) {
    let errors = report.errors();
    let spec = raw.spec.clone().unwrap_or_default();
    let target = selected(spec.selector.as_ref(), services, report);
    let mut modes = Modes {
        peers: spec.mtls.as_ref().and_then(|mtls| mode(mtls, report)),
        ports: Vec::new(),
        place: raw.meta.place.clone(),
    };
    if let Some(ports) = &spec.port_level_mtls {
        if target == Ok(Target::Every) {
            let message = "portLevelMtls is for workloads that are selected";
            report.error_help(&modes.place, message, "give the document a selector");
        }
        for (port, mtls) in &ports.0 {
            let number = port.value.parse::<u16>().ok().filter(|port| *port > 0);
            let Some(number) = number else {
                let message = format!("{:?} is no port", port.value);
                report.error(&port.place, message);
                continue;
            };
            let number = At::new(number, port.place.clone());
            modes
                .ports
                .extend(mode(mtls, report).map(|mode| (number, mode)));
        }
    }
    let target = target.unwrap_or_else(|target| target);
    if report.errors() > errors || raw.meta.broken {
        let message = "until that is mended, STRICT is in force where this is for";
        let help = "plain text that was not meant to be taken would come from anybody";
        report.warn(&modes.place, message, help);
        modes.peers = Some(PeerMode::Strict);
        modes.ports.clear();
    }
    (target, modes)
}

/// `None`: what is above holds.
fn mode(mtls: &raw::MutualTls, report: &mut Report) -> Option<PeerMode> {
    let mode = mtls.mode.as_ref()?;
    match mode.value.as_str() {
        "STRICT" => Some(PeerMode::Strict),
        "PERMISSIVE" => Some(PeerMode::Permissive),
        "DISABLE" => Some(PeerMode::Off),
        "UNSET" => None,
        other => {
            let message = format!("the mode {other:?} is not supported");
            let help = "supported: STRICT, PERMISSIVE, DISABLE, UNSET";
            report.error_help(&mode.place, message, help);
            None
        }
    }
}

impl Modes {
    /// Of two that are for the same, the stricter holds.
    fn join(self, into: &mut Collected, raw: &raw::PeerAuthentication, report: &mut Report) {
        if let Some(first) = &into.asked_by {
            let message = format!(
                "this and the PeerAuthentication at {} are for the same workloads",
                first.source
            );
            let help = "of what they ask the stricter is in force; put both into one";
            report.error_help(&raw.meta.place, message, help);
        }
        into.asked_by.get_or_insert(self.place);
        into.peers = stricter(into.peers, self.peers);
        for (At { value: port, .. }, mode) in self.ports {
            let known = into.ports.get(&port).copied();
            into.ports
                .extend(stricter(known, Some(mode)).map(|mode| (port, mode)));
        }
    }

    /// Says what of it changes nothing. Services that are not there yet may come.
    fn warn_idle(&self, target: &Target, services: &Services, report: &mut Report) {
        if self.peers.is_none() && self.ports.is_empty() {
            let message = "it has no mode, so it changes nothing";
            let help = "write mtls: { mode: STRICT }, PERMISSIVE or DISABLE";
            report.warn(&self.place, message, help);
            return;
        }
        let all = match target {
            Target::Every => services.valid.iter().collect(),
            Target::One(name) => Vec::from_iter(services.get(name)),
        };
        if !all.is_empty() && all.iter().all(|service| service.mesh.is_none()) {
            let whom = match target {
                Target::Every => "no service is in the mesh",
                Target::One(_) => "the service is not in the mesh",
            };
            let message = format!(
                "{whom}: callers speak plain text whatever this says, and a sidecar that STRICT is for takes none"
            );
            let help = "write mesh: {} at the service, or the label weir.mesh=strict";
            report.warn(&self.place, message, help);
        }
        let endpoints = || all.iter().flat_map(|service| &service.endpoints);
        for (port, _) in &self.ports {
            let is_it = |endpoint: &Endpoint| endpoint.address.port() == port.value;
            if endpoints().next().is_some() && !endpoints().any(is_it) {
                let message = format!(
                    "no endpoint has port {}, so this changes nothing",
                    port.value
                );
                let help = "a port is the app's, as endpoints have it";
                report.warn(&port.place, message, help);
            }
        }
    }
}

fn stricter(a: Option<PeerMode>, b: Option<PeerMode>) -> Option<PeerMode> {
    let rank = |mode: PeerMode| match mode {
        PeerMode::Strict => 0,
        PeerMode::Permissive => 1,
        PeerMode::Off => 2,
    };
    [a, b].into_iter().flatten().min_by_key(|mode| rank(*mode))
}
