//! Properties of any model.

use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost, route};
use proptest::prelude::*;
use prost::Message;
use weir_wire::{Audience, Kind, Rejected, Resource, check, decode, encode, references};

use crate::generate::model;
use crate::round_trip;

/// Characters of a name in a model.
const MAX_NAME: usize = 253;

proptest! {
    // A failing case is made smaller for some seconds, not for an hour.
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 4096, max_shrink_time: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn any_model_comes_back_from_what_a_weir_is_told(model in model()) {
        if let Err(why) = round_trip(&model) {
            prop_assert!(false, "{why}");
        }
    }

    #[test]
    fn each_resource_for_a_weir_passes_alone_and_names_what_is_there(model in model()) {
        let resources = encode(&model, Audience::Weir).resources;
        for resource in resources.iter() {
            prop_assert_eq!(check(resource), Ok(()));
            prop_assert!(has_note(resource) || !matches!(resource.kind, Kind::Cluster | Kind::Listener));
            for (kind, name) in references(resource) {
                prop_assert!(resources.get(kind, &name).is_some(), "{:?} {} names {:?} {}", resource.kind, resource.name, kind, name);
            }
        }
    }

    #[test]
    fn the_clusters_that_a_weir_is_told_of_are_there(model in model()) {
        let resources = encode(&model, Audience::Weir).resources;
        for resource in resources.of(Kind::Route) {
            let routes = RouteConfiguration::decode(resource.body.value.as_slice()).unwrap();
            for route in routes.virtual_hosts.into_iter().flat_map(|host| host.routes) {
                let Some(route::Action::Route(action)) = route.action else { continue };
                let mut names: Vec<String> = action.request_mirror_policies.into_iter().map(|mirror| mirror.cluster).collect();
                match action.cluster_specifier.unwrap() {
                    ClusterSpecifier::Cluster(name) => names.push(name),
                    ClusterSpecifier::WeightedClusters(all) => names.extend(all.clusters.into_iter().map(|one| one.name)),
                    other => panic!("{other:?}"),
                }
                for name in names {
                    let there = resources.get(Kind::Cluster, &name).is_some();
                    prop_assert!(there || model.service(&name).is_none() && !name.contains('|'), "{} is waited for", name);
                }
            }
        }
    }

    #[test]
    fn what_others_are_told_is_free_of_notes_and_is_read_here_too(model in model()) {
        let encoded = encode(&model, Audience::Other);
        prop_assert_eq!(&encode(&model, Audience::Other), &encoded, "the same model has two encodings");
        // With a version behind it the name of a service may have no room in a model of ours.
        prop_assume!(encoded.resources.iter().all(|resource| resource.name.len() <= MAX_NAME));
        let mut turned = false;
        for resource in encoded.resources.iter() {
            prop_assert!(!has_note(resource), "a note in {}", resource.name);
            match check(resource) {
                Ok(()) => {}
                Err(rejected) if is_turned(&rejected) && has_tiers(resource) => turned = true,
                Err(rejected) => prop_assert!(false, "{}", rejected),
            }
        }
        match decode(&encoded.resources) {
            Err(rejected) => prop_assert!(turned && rejected.iter().all(is_turned), "{:#?}", rejected),
            // What was made of the fields alone is a model like any other.
            Ok(read) => {
                prop_assert!(!turned);
                if let Err(why) = round_trip(&read) {
                    prop_assert!(false, "{why}");
                }
            }
        }
    }
}

/// Whether metadata of Weir's is somewhere in it: an entry of that key whose value is a struct with a field named by the form of
/// notes. Statistics have the key as their prefix, too.
fn has_note(resource: &Resource) -> bool {
    const KEY: &[u8] = b"\x0a\x04weir\x12";
    const FORM: &[u8] = b"\x0a\x02v1\x12";
    /// From the key's end to the form's: two lengths, one tag.
    const NEAR: usize = 16;
    let bytes = resource.body.value.as_slice();
    let keys = bytes.windows(KEY.len()).enumerate();
    keys.filter(|(_, window)| *window == KEY).any(|(at, _)| {
        let behind = &bytes[at + KEY.len()..];
        let near = &behind[..behind.len().min(NEAR + FORM.len())];
        near.windows(FORM.len()).any(|window| window == FORM)
    })
}

/// Whether it is refused because it says, for one host, in which order routes are tried, and that is not the order of precedence.
fn is_turned(rejected: &Rejected) -> bool {
    rejected.kind == Kind::Route && rejected.reason.contains("would be tried before routes[")
}

/// Whether a virtual host holds, behind the routes for its own host, those that speak for a wider one: that comes after, for
/// Weir as well, however specific it is otherwise; but what is read is one route for each virtual host, and cannot say that.
fn has_tiers(resource: &Resource) -> bool {
    let routes = RouteConfiguration::decode(resource.body.value.as_slice()).unwrap();
    let owners = |host: &VirtualHost| -> BTreeSet<String> {
        let names = host
            .routes
            .iter()
            .filter_map(|route| route.name.split_once('#'));
        names.map(|(owner, _)| owner.to_owned()).collect()
    };
    routes.virtual_hosts.len() > 1
        && routes
            .virtual_hosts
            .iter()
            .any(|host| owners(host).len() > 1)
}
