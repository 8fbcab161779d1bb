//! Container labels to a fragment: one service, and perhaps one route, for each group of containers.
//!
//! Pure: containers in, a fragment out, the same for any order of the same containers. Labels are
//! untrusted: a value that is wrong is reported and left out, and leaving it out never widens what
//! the container answers for. The rules of choice where containers of one service differ:
//!
//! - hosts and listeners add up, so that a rename makes before it breaks;
//! - any other setting is that of the newest container that has a valid one;
//! - each container that cannot be used is left out alone.

mod container;
mod endpoint;
mod group;
mod keys;
mod member;
mod policy;
mod protocol;
mod route;
mod traefik;

pub use container::{Container, ContainerReport, ContainerState, Health};
pub use endpoint::is_guarded;
pub use keys::{is_enable, is_ours, is_traefik, same_label};

use crate::Fragment;
use crate::diagnostic::Diagnostic;

/// What the operator allows containers to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelOptions {
    /// Takes loopback, link-local and metadata addresses.
    pub allow_loopback_endpoints: bool,
    /// Reads Traefik's labels, too.
    pub traefik: bool,
    /// The part of `discovery` whose settings these are, for messages.
    pub section: &'static str,
}

impl Default for LabelOptions {
    fn default() -> Self {
        Self {
            allow_loopback_endpoints: false,
            traefik: false,
            section: "docker",
        }
    }
}

/// What comes first keeps what it holds.
fn age(container: &Container) -> (u64, u64, &str, &str) {
    let Container { since, created, .. } = container;
    (*since, *created, &container.id, &container.name)
}

/// Reads the labels of all containers, with the defaults of [`LabelOptions`].
#[must_use]
pub fn read(containers: &[Container]) -> (Fragment, Vec<Diagnostic>, Vec<ContainerReport>) {
    read_with(containers, LabelOptions::default())
}

/// Reads the labels of all containers: what they say together, what is wrong with it, and one report for
/// each container, sorted by name and id.
#[must_use]
pub fn read_with(
    containers: &[Container],
    options: LabelOptions,
) -> (Fragment, Vec<Diagnostic>, Vec<ContainerReport>) {
    let mut found = Vec::new();
    let mut reports = Vec::new();
    let mut oldest_first: Vec<&Container> = containers.iter().collect();
    oldest_first.sort_by(|a, b| age(a).cmp(&age(b)));
    oldest_first.dedup_by(|a, b| a.id == b.id);
    let mut members = Vec::new();
    let mut foreign = traefik::Translated::default();
    for container in oldest_first {
        if options.traefik && traefik::takes(container) {
            reports.extend(
                foreign
                    .take(container, &mut found)
                    .err()
                    .map(|report| *report),
            );
            continue;
        }
        match member::read(container, options, &mut found) {
            Ok(member) => members.push(member),
            Err(report) => reports.push(*report),
        }
        if options.traefik {
            traefik::overruled(container, &mut found);
        }
    }
    let translated = foreign.members(options, &mut found, &mut reports);
    let served: Vec<(String, String)> = translated
        .iter()
        .map(|member| (member.container.id.clone(), member.service.value.clone()))
        .collect();
    members.extend(translated);
    members.sort_by(|a, b| age(a.container).cmp(&age(b.container)));
    let (routes, routed) = foreign.routes(&served, &mut found);
    let mut fragment = Fragment::default();
    fragment.routes.extend(routes);
    for group in group::form(members, &mut found, &mut reports) {
        fragment.services.push(group.service());
        let route = route::of(&group);
        reports.extend(
            group
                .members
                .iter()
                .map(|member| member.report(route.is_some() || routed.contains(&group.name.value))),
        );
        fragment.routes.extend(route);
    }
    reports.sort_by(|a, b| (&a.container, &a.id).cmp(&(&b.container, &b.id)));
    (fragment, found, reports)
}
