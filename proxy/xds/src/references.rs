//! What a resource names: a cluster its endpoints, a listener its routes and certificates, routes their clusters.
//!
//! Only names matter here. What cannot be read names nothing, and is refused by [`weir_wire::check`] with its reason.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::{RouteAction, RouteConfiguration};
use prost::Message as _;
use weir_wire::{Kind, Resource};

/// A type and a name.
pub(crate) type Key = (Kind, String);

/// The resources that this one names: those to be asked for by name, and the clusters of routes, which are waited for.
pub(crate) fn of(resource: &Resource) -> BTreeSet<Key> {
    let mut names = weir_wire::references(resource);
    if resource.kind == Kind::Route
        && let Ok(routes) = RouteConfiguration::decode(resource.body.value.as_slice())
    {
        clusters(&routes, &mut names);
    }
    names
}

fn clusters(routes: &RouteConfiguration, names: &mut BTreeSet<Key>) {
    let all = routes.virtual_hosts.iter().flat_map(|host| &host.routes);
    for route in all {
        if let Some(Action::Route(action)) = &route.action {
            of_action(action, names);
        }
    }
}

fn of_action(action: &RouteAction, names: &mut BTreeSet<Key>) {
    let mut add = |name: &str| {
        if !name.is_empty() {
            names.insert((Kind::Cluster, name.to_owned()));
        }
    };
    match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => add(name),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted.clusters.iter().for_each(|one| add(&one.name));
        }
        _ => {}
    }
    let mirrors = action.request_mirror_policies.iter();
    mirrors.for_each(|mirror| add(&mirror.cluster));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assignment, cluster, listener, routes};

    #[test]
    fn each_resource_names_what_it_needs() {
        for (resource, names) in [
            (cluster("shop"), &[(Kind::Endpoint, "shop")][..]),
            (assignment("shop", &[1]), &[]),
            (listener("web", 80, "all"), &[(Kind::Route, "all")]),
            (routes("all", "shop"), &[(Kind::Cluster, "shop")]),
        ] {
            let all = names.iter().map(|(kind, name)| (*kind, (*name).to_owned()));
            assert_eq!(of(&resource), all.collect(), "{resource:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_names_nothing() {
        for kind in Kind::ALL {
            let noise = Resource::new(kind, "x", vec![0xff; 40]);
            assert_eq!(of(&noise), BTreeSet::new());
        }
    }
}
