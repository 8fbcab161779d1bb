//! Labels of Traefik, read as they stand where the operator asks for it.
//!
//! A container becomes endpoints of the services that it defines, by the same reader as one with Weir's labels: what a
//! service says is put into those words first, with the labels of Traefik as their places ([`service`]). Routers become routes
//! ([`router`]), with what middlewares do to requests as filters ([`middleware`]). What is not understood is reported with its
//! container and label; a router of which a condition or a safeguard is not understood is left out whole.

mod clause;
mod headers;
mod middleware;
mod redirect;
mod router;
mod rule;
mod service;
mod shaping;
mod sort;

use std::collections::{BTreeMap, BTreeSet};

use self::middleware::{Middlewares, Refusal};
use self::service::Said;
use self::sort::{Settings, Sorted, flag};
use super::keys::{Labels, is_traefik};
use super::member::{self, Member};
use super::{Container, ContainerReport, ContainerState, LabelOptions};
use crate::diagnostic::{Diagnostic, Place};
use crate::model::EndpointId;
use crate::raw::{At, Route};

/// What all containers together say to Traefik.
#[derive(Default)]
pub(super) struct Translated<'c> {
    stand_ins: Vec<StandIn<'c>>,
    routers: BTreeMap<String, Defined<'c>>,
    middlewares: BTreeMap<String, Defined<'c>>,
}

/// A container in the part that it plays for one service.
struct StandIn<'c> {
    container: &'c Container,
    /// As Traefik calls it; `None`: it defines none, and is one by itself.
    service: Option<String>,
    said: Said,
}

/// A router or a middleware, and the container whose word it is.
struct Defined<'c> {
    name: String,
    container: &'c Container,
    settings: Settings,
    /// Of the oldest container that says so.
    since: u64,
}

impl Defined<'_> {
    fn place(&self) -> Place {
        let first = self.settings.values().next();
        first.map(|at| at.place.clone()).unwrap_or_default()
    }
}

/// Whether a container speaks to Traefik alone. One that opts in for Weir is read by its labels.
pub(super) fn takes(container: &Container) -> bool {
    let has = |label: &str| {
        container
            .labels
            .keys()
            .any(|name| name.eq_ignore_ascii_case(label))
    };
    has("traefik.enable") && !has("weir.enable")
}

/// Warns of labels that are not read because of others.
pub(super) fn overruled(container: &Container, found: &mut Vec<Diagnostic>) {
    let mut names = container.labels.keys();
    let ours = names
        .clone()
        .any(|name| name.eq_ignore_ascii_case("weir.enable"));
    if let Some(name) = names.find(|name| is_traefik(name)).filter(|_| ours) {
        let message = "its labels of Traefik are not read, as it has weir.enable";
        let help = "remove weir.enable to have them read, or the labels of Traefik";
        found.push(Diagnostic::warning(&container.place(name), message).help(help));
    }
}

impl<'c> Translated<'c> {
    /// Takes one more container, from the oldest on.
    ///
    /// # Errors
    /// The report of one that is left out.
    pub(super) fn take(
        &mut self,
        container: &'c Container,
        found: &mut Vec<Diagnostic>,
    ) -> Result<(), Box<ContainerReport>> {
        let out = |reason: &str| {
            Err(Box::new(member::report(
                container,
                false,
                reason.to_owned(),
            )))
        };
        let enable = container
            .labels
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("traefik.enable"));
        let Some((name, value)) = enable else {
            return out("it does not opt in");
        };
        match flag(value.trim()) {
            Some(true) => {}
            Some(false) => return out("traefik.enable is false"),
            None => {
                let message = format!("{value:?} is not true or false");
                found.push(Diagnostic::error(&container.place(name), message));
                return out("traefik.enable is neither true nor false");
            }
        }
        let sorted = sort::sort(container, found);
        let services = sorted
            .services
            .keys()
            .cloned()
            .map(Some)
            .collect::<Vec<_>>();
        let services = match services.is_empty() {
            true => vec![None],
            false => services,
        };
        for service in services {
            match stand_in(container, service, &sorted, found) {
                Ok(stand_in) => self.stand_ins.push(stand_in),
                Err(refusal) => found.push(*refusal),
            }
        }
        for (name, settings) in sorted.routers {
            define(
                &mut self.routers,
                "router",
                name,
                container,
                settings,
                found,
            );
        }
        for (name, settings) in sorted.middlewares {
            define(
                &mut self.middlewares,
                "middleware",
                name,
                container,
                settings,
                found,
            );
        }
        if !self
            .stand_ins
            .iter()
            .any(|s| s.container.id == container.id)
        {
            return out("its services are not read; see the problems");
        }
        Ok(())
    }

    /// The endpoints, by the reader of Weir's own labels.
    pub(super) fn members(
        &'c self,
        options: LabelOptions,
        found: &mut Vec<Diagnostic>,
        reports: &mut Vec<ContainerReport>,
    ) -> Vec<Member<'c>> {
        let mut members: Vec<Member<'c>> = Vec::new();
        for stand_in in &self.stand_ins {
            let labels = Labels::translated(stand_in.container, &stand_in.said);
            match member::assembled(&labels, options, found) {
                Ok(mut member) => {
                    // One port may be of several services: each has an endpoint of its own there.
                    let id = member.id.to_string();
                    let same =
                        |other: &&Member<'_>| other.id.as_str().split('@').next() == Some(&*id);
                    let others = members.iter().filter(same).count();
                    if others > 0
                        && let Ok(own) = EndpointId::new(&format!("{id}@{}", others + 1))
                    {
                        member.id = own;
                    }
                    members.push(member);
                }
                Err(report) => reports.push(*report),
            }
        }
        members
    }

    /// The routes to those of its services that have endpoints; with the names of the services.
    pub(super) fn routes(
        &self,
        members: &[(String, String)],
        found: &mut Vec<Diagnostic>,
    ) -> (Vec<Route>, BTreeSet<String>) {
        let all = self.middlewares.values();
        let middlewares = Middlewares {
            all: all
                .map(|defined| (defined.name.clone(), defined.settings.clone()))
                .collect(),
        };
        let mut routes = Vec::new();
        for router in self.routers.values() {
            let backend = || self.backend(router, members);
            match router::routes(router, &middlewares, &backend, found) {
                Ok(more) => routes.extend(more),
                Err(refusal) => found.push(*refusal),
            }
        }
        let rules = routes.iter().flat_map(|route| route.rules.iter().flatten());
        let backends = rules.flat_map(|rule| rule.backend_refs.iter().flatten());
        let named = backends.filter_map(|backend| Some(backend.name.as_ref()?.value.clone()));
        let named = named.collect();
        (routes, named)
    }

    /// The service that a router sends requests to.
    fn backend(
        &self,
        router: &Defined<'_>,
        members: &[(String, String)],
    ) -> Result<String, Refusal> {
        let known = |service: &str| members.iter().any(|(_, name)| name == service);
        if let Some(at) = router.settings.get("service") {
            let local = local(&at.value).filter(|name| known(name));
            return local.map(str::to_owned).ok_or_else(|| {
                let message = format!(
                    "no container that can be used defines the service {:?}",
                    at.value
                );
                let help = "services of files and of other providers are not read";
                Diagnostic::error(&at.place, message).help(help).into()
            });
        }
        let own: Vec<&StandIn<'_>> = self
            .stand_ins
            .iter()
            .filter(|stand_in| stand_in.container.id == router.container.id)
            .collect();
        let refuse = |message: &str, help: &str| {
            Err(Diagnostic::error(&router.place(), message)
                .help(help)
                .into())
        };
        match own.as_slice() {
            [
                StandIn {
                    service: Some(name),
                    ..
                },
            ] if known(name) => Ok(name.clone()),
            [
                StandIn {
                    service: None,
                    container,
                    ..
                },
            ] => match members.iter().find(|(id, _)| *id == container.id) {
                Some((_, name)) => Ok(name.clone()),
                None => refuse(
                    "its container cannot be used",
                    "see the container's own problem",
                ),
            },
            [] | [_] => refuse(
                "its service cannot be used",
                "see the container's own problem",
            ),
            _ => refuse(
                "its container defines several services, and it names none of them",
                "add traefik.http.routers.NAME.service",
            ),
        }
    }
}

fn stand_in<'c>(
    container: &'c Container,
    service: Option<String>,
    sorted: &Sorted,
    found: &mut Vec<Diagnostic>,
) -> Result<StandIn<'c>, Refusal> {
    let mut said = match &service {
        Some(name) => {
            let settings = sorted.services.get(name).cloned().unwrap_or_default();
            service::read(name, &settings, found)?
        }
        None => Said::new(),
    };
    if let Some(network) = &sorted.network {
        said.push(("weir.network", network.clone()));
    }
    Ok(StandIn {
        container,
        service,
        said,
    })
}

/// Takes a definition. Among containers of one service the newest has the say; somebody else's of the same name is
/// reported and left out, since whoever may start a container could otherwise change what others are guarded by.
fn define<'c>(
    all: &mut BTreeMap<String, Defined<'c>>,
    what: &str,
    name: String,
    container: &'c Container,
    settings: Settings,
    found: &mut Vec<Diagnostic>,
) {
    let Some(known) = all.get_mut(&name) else {
        let defined = Defined {
            name: name.clone(),
            container,
            settings,
            since: container.since,
        };
        all.insert(name, defined);
        return;
    };
    if owner(known.container) == owner(container) {
        if container.state != ContainerState::Stopping {
            known.container = container;
            known.settings = settings;
        }
    } else if values(&known.settings) != values(&settings) {
        let place = settings
            .values()
            .next()
            .map(|at| at.place.clone())
            .unwrap_or_default();
        let message = format!(
            "the {what} {name:?} is defined by container {} already, and otherwise",
            known.container.name
        );
        let help = "the older one counts; give this one another name";
        found.push(Diagnostic::error(&place, message).help(help));
    }
}

fn owner(container: &Container) -> (&str, &str) {
    let compose = container.compose_service().map(|service| {
        let project = container.compose_project().unwrap_or_default();
        (project, service)
    });
    let swarm = || container.swarm_service().map(|service| ("", service));
    compose.or_else(swarm).unwrap_or(("", &container.name))
}

fn values(settings: &Settings) -> Vec<(&String, &String)> {
    settings.iter().map(|(key, at)| (key, &at.value)).collect()
}

/// The parts of a comma list.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
}

/// A name without the provider that it is of, if that is this one.
fn local(name: &str) -> Option<&str> {
    match name.split_once('@') {
        None => Some(name),
        Some((name, "docker" | "swarm")) => Some(name),
        Some(_) => None,
    }
}

/// The label that a setting was written as.
pub(super) fn label_of(at: &At<String>) -> &str {
    match &at.place.source {
        crate::model::Source::Label { label, .. } => label,
        _ => "",
    }
}
