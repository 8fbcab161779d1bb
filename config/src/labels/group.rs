//! Containers of one service together.

use std::collections::BTreeMap;

use super::ContainerReport;
use super::member::{Member, Owner};
use crate::diagnostic::Diagnostic;
use crate::model::VersionName;
use crate::raw::{At, Endpoint, Meta, Service, Version};

/// The containers of one service, the oldest first; never empty.
pub(super) struct Group<'c> {
    pub(super) name: At<String>,
    pub(super) members: Vec<Member<'c>>,
}

/// Puts members together by service. They come oldest first.
///
/// Two Compose projects with a service of the same name do not mean the same service: the older
/// keeps the name, and the containers of the other are reported and left out.
pub(super) fn form<'c>(
    members: Vec<Member<'c>>,
    found: &mut Vec<Diagnostic>,
    reports: &mut Vec<ContainerReport>,
) -> Vec<Group<'c>> {
    let mut groups: BTreeMap<String, Group<'c>> = BTreeMap::new();
    for member in members {
        let Some(group) = groups.get_mut(&member.service.value) else {
            let group = Group {
                name: member.service.clone(),
                members: vec![member],
            };
            groups.insert(group.name.value.clone(), group);
            continue;
        };
        match group.stranger(&member) {
            None => group.members.push(member),
            Some(holder) => {
                let message = format!(
                    "the service name {} already belongs to {} (container {})",
                    member.service.value,
                    holder.owner_text(),
                    holder.container.name,
                );
                let help = "set weir.service: the same name on both to make them one service, another to keep them apart";
                reports.push(member.left_out(format!("{message}; {help}")));
                found.push(Diagnostic::error(&member.container.place(""), message).help(help));
            }
        }
    }
    groups.into_values().collect()
}

impl Member<'_> {
    fn owner_text(&self) -> String {
        match &self.owner {
            Owner::Stated => "weir.service".to_owned(),
            Owner::Project(project) => format!("the Compose project {project:?}"),
            Owner::Engine(what) => (*what).to_owned(),
        }
    }
}

impl<'c> Group<'c> {
    /// A member whose owner has nothing to do with this one. Who states the name joins.
    fn stranger(&self, member: &Member<'_>) -> Option<&Member<'c>> {
        if member.owner == Owner::Stated {
            return None;
        }
        self.members
            .iter()
            .find(|other| other.owner != Owner::Stated && other.owner != member.owner)
    }

    /// What the newest container with it says. One that is leaving has the last say.
    pub(super) fn newest<T>(&self, setting: impl Fn(&Member<'c>) -> Option<T>) -> Option<T> {
        let staying = self
            .members
            .iter()
            .rev()
            .filter(|member| !member.is_leaving());
        let leaving = self
            .members
            .iter()
            .rev()
            .filter(|member| member.is_leaving());
        staying.chain(leaving).find_map(setting)
    }

    /// The service as labels describe it.
    pub(super) fn service(&self) -> Service {
        let first = self.members.first();
        let meta = Meta {
            place: first
                .map(|member| member.container.place(""))
                .unwrap_or_default(),
            broken: false,
        };
        Service {
            meta,
            name: Some(self.name.clone()),
            endpoints: Some(self.members.iter().map(endpoint).collect()),
            versions: Some(self.versions()),
            load_balancer: self.newest(|member| member.policy.balancer.clone().map(Box::new)),
            health_check: self.newest(|member| member.policy.health_check.clone().map(Box::new)),
            connection_pool: self.newest(|member| member.policy.pool.clone().map(Box::new)),
            outlier_detection: self.newest(|member| member.policy.outlier.clone().map(Box::new)),
            drain_timeout: self.newest(|member| member.policy.drain.clone()),
            mesh: self.newest(|member| member.policy.mesh.clone()),
            app_protocol: self.newest(|member| member.policy.protocol.clone()),
            ..Service::default()
        }
    }

    /// A version of which nothing can take a request yet, or any more, has no share, so that its
    /// arrival and its departure fail no request; unless that would leave no version at all.
    fn versions(&self) -> Vec<Version> {
        let all_dormant = self.members.iter().all(Member::is_dormant);
        let mut names: Vec<&VersionName> =
            self.members.iter().map(|member| &member.version).collect();
        names.sort();
        names.dedup();
        let version = |name: &VersionName| {
            let of = |member: &Member<'_>| member.version == *name;
            let place = self
                .members
                .iter()
                .find(|member| of(member))
                .map(|member| member.container.place("weir.version"))
                .unwrap_or_default();
            Version {
                meta: Meta {
                    place: place.clone(),
                    broken: false,
                },
                name: Some(At::new(name.to_string(), place)),
                weight: self.newest(|member| {
                    Some(member)
                        .filter(|m| of(m))
                        .and_then(|m| m.weight.clone())
                }),
                dormant: !all_dormant
                    && self
                        .members
                        .iter()
                        .filter(|m| of(m))
                        .all(Member::is_dormant),
            }
        };
        names.into_iter().map(version).collect()
    }
}

fn endpoint(member: &Member<'_>) -> Endpoint {
    let place = member.container.place("");
    Endpoint {
        meta: Meta {
            place: place.clone(),
            broken: false,
        },
        address: Some(At::new(member.address, place.clone())),
        version: Some(At::new(member.version.to_string(), place)),
        weight: None,
        priority: member.priority.clone(),
        locality: member.locality.clone(),
        id: Some(member.id.clone()),
        admission: Some(member.admission.clone()),
    }
}
