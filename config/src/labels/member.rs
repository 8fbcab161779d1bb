//! One container that opted in: its service, version, endpoint and settings.

use std::net::SocketAddr;

use super::keys::{Labels, is_ours, list};
use super::policy::{self, Policy};
use super::protocol::Spoken;
use super::{Container, ContainerReport, ContainerState, Health, LabelOptions, endpoint};
use crate::compile::{self, path, report::Report};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::{
    Admission, EndpointId, HostPattern, ListenerName, Locality, Protocol, RouteName, ServiceName,
    VersionName, Weight,
};
use crate::raw::{At, MeshMode, Scalar, ServiceMesh};

/// Why a container is left out.
pub(super) type Refusal = Box<Diagnostic>;

/// Whose a service's name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// `weir.service` says it: whoever says the same name joins.
    Stated,
    /// A Compose project, by its name.
    Project(String),
    /// A Swarm service or a container's own name: unique in an engine.
    Engine(&'static str),
}

/// A container that is an endpoint.
pub(super) struct Member<'c> {
    pub(super) container: &'c Container,
    pub(super) service: At<String>,
    pub(super) owner: Owner,
    pub(super) version: VersionName,
    pub(super) id: EndpointId,
    pub(super) address: SocketAddr,
    pub(super) admission: Admission,
    pub(super) weight: Option<At<Weight>>,
    pub(super) priority: Option<At<u8>>,
    pub(super) locality: Option<At<Locality>>,
    pub(super) claim: Claim,
    pub(super) policy: Policy,
}

/// What a container asks to answer for.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// Valid hosts; `*` is every host.
    pub(super) hosts: Vec<At<String>>,
    /// It names a path or a protocol of streams, and no host at all.
    pub(super) every_host: Option<Place>,
    pub(super) path: Option<At<String>>,
    /// Empty: all.
    pub(super) listeners: Vec<At<String>>,
    /// What it speaks, if not HTTP.
    pub(super) protocol: Option<At<Protocol>>,
    /// It asks for something, though perhaps nothing of that was right.
    pub(super) asked: bool,
}

/// Reads one container.
///
/// # Errors
/// The report of a container that is left out; diagnostics go to `found`.
pub(super) fn read<'c>(
    container: &'c Container,
    options: LabelOptions,
    found: &mut Vec<Diagnostic>,
) -> Result<Member<'c>, Box<ContainerReport>> {
    let out = |reason: String| Err(Box::new(report(container, false, reason)));
    match opted_in(container, found) {
        Ok(true) => {}
        Ok(false) if container.labels.keys().any(|name| is_ours(name)) => {
            return out("it has weir labels, but not weir.enable=true".to_owned());
        }
        Ok(false) if options.traefik => {
            return out(
                "it does not opt in; weir.enable=true or traefik.enable=true does".to_owned(),
            );
        }
        Ok(false) => return out("it does not opt in; weir.enable=true does".to_owned()),
        Err(reason) => return out(reason),
    }
    assembled(&Labels::of(container, found), options, found)
}

/// Reads one container that opted in, by these labels.
///
/// # Errors
/// As [`read`].
pub(super) fn assembled<'c>(
    labels: &Labels<'c>,
    options: LabelOptions,
    found: &mut Vec<Diagnostic>,
) -> Result<Member<'c>, Box<ContainerReport>> {
    assemble(labels, options, found).map_err(|diagnostic| {
        let reason = match &diagnostic.help {
            Some(help) => format!("{}; {help}", diagnostic.message),
            None => diagnostic.message.clone(),
        };
        found.push(*diagnostic);
        Box::new(report(labels.container, false, reason))
    })
}

fn opted_in(container: &Container, found: &mut Vec<Diagnostic>) -> Result<bool, String> {
    let written = container
        .labels
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("weir.enable"));
    let Some((name, value)) = written else {
        return Ok(false);
    };
    bool::parse(value.trim()).map_err(|refused| {
        found.push(
            Diagnostic::error(&container.place(name), refused.message.clone())
                .help("write weir.enable=true"),
        );
        format!("weir.enable: {}", refused.message)
    })
}

fn assemble<'c>(
    labels: &Labels<'c>,
    options: LabelOptions,
    found: &mut Vec<Diagnostic>,
) -> Result<Member<'c>, Refusal> {
    let container = labels.container;
    let (service, owner) = service(labels)?;
    let version = match labels.text("weir.version") {
        Some(At { value, place }) => VersionName::new(&value)
            .map_err(|invalid| Diagnostic::error(&place, invalid.to_string()))?,
        None => VersionName::stable(),
    };
    let address = endpoint::address(labels, options)?;
    let id = EndpointId::new(&format!("{}:{}", container.short_id(), address.port()))
        .map_err(|invalid| Diagnostic::error(&container.place(""), invalid.to_string()))?;
    let weight = labels.get("weir.weight", found);
    let priority = labels.get("weir.priority", found);
    let locality = locality(labels, found);
    let claim = claim(labels, found);
    let speaks_udp = claim
        .protocol
        .as_ref()
        .is_some_and(|at| at.value == Protocol::Udp);
    Ok(Member {
        container,
        service,
        owner,
        version,
        id,
        address,
        admission: match endpoint::admission(container.state) {
            // What does not listen on TCP would never pass a probe by connecting.
            Admission::Probe if speaks_udp => Admission::Ready,
            admission => admission,
        },
        weight,
        priority,
        locality,
        claim,
        policy: policy::read(labels, found),
    })
}

/// One that is no place is reported and left out: it must not take the whole service with it.
fn locality(labels: &Labels<'_>, found: &mut Vec<Diagnostic>) -> Option<At<Locality>> {
    let at = labels.get("weir.locality", found)?;
    let mut report = Report::default();
    let place = compile::locality::place(&at, &mut report);
    found.append(&mut report.found);
    place.map(|_| at)
}

fn service(labels: &Labels<'_>) -> Result<(At<String>, Owner), Refusal> {
    let container = labels.container;
    let derived = |name: &str, owner: Owner| (At::new(name.to_owned(), container.place("")), owner);
    let (name, owner) = match (
        labels.text("weir.service"),
        container.compose_service(),
        container.swarm_service(),
    ) {
        (Some(name), _, _) => (name, Owner::Stated),
        (None, Some(name), _) => derived(
            name,
            Owner::Project(container.compose_project().unwrap_or_default().to_owned()),
        ),
        (None, None, Some(name)) => derived(name, Owner::Engine("Swarm")),
        (None, None, None) => derived(&container.name, Owner::Engine("the container's name")),
    };
    // The route takes the service's name, so it must do as both.
    let valid = ServiceName::new(&name.value)
        .map(|_| ())
        .and_then(|()| RouteName::new(&name.value).map(|_| ()));
    valid.map_err(|invalid| {
        Diagnostic::error(&name.place, invalid.to_string()).help("name it with weir.service")
    })?;
    Ok((name, owner))
}

/// A host, path or listener that is wrong takes the container's own claim with it as far as it
/// would otherwise widen: without its path a container would answer for the whole host.
fn claim(labels: &Labels<'_>, found: &mut Vec<Diagnostic>) -> Claim {
    let mut claim = Claim::default();
    let mut narrow = true;
    if let Some(at) = labels.text("weir.path") {
        let mut report = Report::default();
        narrow = path::prefix(&at, &mut report).is_some();
        found.append(&mut report.found);
        claim.path = Some(at).filter(|_| narrow);
    }
    for at in labels.text("weir.listener").iter().flat_map(list) {
        match ListenerName::new(&at.value) {
            Ok(_) => claim.listeners.push(at),
            Err(invalid) => {
                narrow = false;
                found.push(Diagnostic::error(&at.place, invalid.to_string()));
            }
        }
    }
    for at in labels.text("weir.host").iter().flat_map(list) {
        match HostPattern::parse(&at.value) {
            Ok(_) => claim.hosts.push(at),
            Err(invalid) => found.push(Diagnostic::error(&at.place, invalid.to_string())),
        }
    }
    if !labels.has("weir.host") {
        claim.every_host = claim.path.as_ref().map(|path| path.place.clone());
    }
    narrow &= stream_claim(labels, &mut claim, found);
    if !narrow {
        claim = Claim {
            protocol: claim.protocol,
            ..Claim::default()
        };
    }
    claim.asked = ["weir.host", "weir.path"]
        .iter()
        .any(|label| labels.has(label))
        || claim.protocol.is_some()
        || !narrow;
    claim
}

/// What a container that does not speak HTTP asks for; `false` if it cannot have it. Such a container takes all that
/// arrives on a listener, so it has to name one.
fn stream_claim(labels: &Labels<'_>, claim: &mut Claim, found: &mut Vec<Diagnostic>) -> bool {
    if !labels.has("weir.protocol") {
        return true;
    }
    let Some(spoken) = labels.get::<Spoken>("weir.protocol", found) else {
        return false;
    };
    let at = match spoken.value {
        Spoken::Requests(_) => return true,
        Spoken::Stream(protocol) => At::new(protocol, spoken.place),
    };
    let what = at.value.text();
    let errors = found.len();
    if !labels.has("weir.listener") {
        let message = format!("weir.protocol={what} needs weir.listener");
        let help = format!("name a listener with protocol: {what} of the configuration file");
        found.push(Diagnostic::error(&at.place, message).help(help));
    }
    for (label, fits) in [
        ("weir.path", false),
        ("weir.host", at.value == Protocol::TlsPassthrough),
    ] {
        if let Some(other) = labels.text(label).filter(|_| !fits) {
            let message = format!("{what} carries nothing that {label} could match");
            found.push(Diagnostic::error(&other.place, message).help("remove it"));
        }
    }
    if !labels.has("weir.host") {
        claim.every_host = Some(at.place.clone());
    }
    claim.protocol = Some(at);
    found.len() == errors
}

impl Member<'_> {
    /// Whether it can take no request yet, or no new one any more.
    pub(super) fn is_dormant(&self) -> bool {
        let starting = ContainerState::Running {
            health: Some(Health::Starting),
        };
        self.container.state == starting || self.is_leaving()
    }

    /// Whether it was told to stop.
    pub(super) fn is_leaving(&self) -> bool {
        self.container.state == ContainerState::Stopping
    }

    /// What became of it.
    pub(super) fn report(&self, has_route: bool) -> ContainerReport {
        let state = match &self.admission {
            Admission::Ready => "ready",
            Admission::Probe => "takes requests once a probe succeeds",
            Admission::NotReady(reason) => reason,
            Admission::Draining => "draining",
        };
        let reason = match has_route {
            true => state.to_owned(),
            false if self.claim.asked => {
                format!("{state}; no route: what its labels ask for was refused")
            }
            false if self.is_in_the_mesh() => {
                format!(
                    "{state}; called by its name in the mesh: no label makes a route from outside"
                )
            }
            false => format!(
                "{state}; no label makes a route: add weir.host or weir.path, or name the service in a file"
            ),
        };
        ContainerReport {
            service: Some(self.service.value.clone()),
            version: Some(self.version.to_string()),
            address: Some(self.address),
            ..report(self.container, true, reason)
        }
    }

    fn is_in_the_mesh(&self) -> bool {
        let mode = |mesh: &ServiceMesh| mesh.mode.as_ref().map(|mode| mode.value);
        (self.policy.mesh.as_ref()).is_some_and(|mesh| mode(mesh) != Some(MeshMode::Off))
    }

    /// The report of a container that was left out after all.
    pub(super) fn left_out(&self, reason: String) -> ContainerReport {
        ContainerReport {
            included: false,
            reason,
            ..self.report(true)
        }
    }
}

pub(super) fn report(container: &Container, included: bool, reason: String) -> ContainerReport {
    ContainerReport {
        container: container.name.clone(),
        id: container.short_id().to_owned(),
        service: None,
        version: None,
        address: None,
        included,
        reason,
    }
}
