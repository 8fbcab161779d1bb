//! A service as clusters and load assignments.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use serde_json::{Value, json};
use weir_config::model::{Endpoint, Service};

use super::piece::Out;
use crate::endpoint::{self, Weighed};
use crate::keys::Keys;
use crate::noted::Noted as _;
use crate::{Audience, Kind, cluster, left_out, metadata, names};

pub(super) fn write(service: &Service, audience: Audience, keys: &mut Keys, out: &mut Out) {
    match audience {
        Audience::Weir => for_weir(service, keys, out),
        Audience::Other => for_others(service, keys, out),
    }
}

/// What the cluster's fields do not say of a service.
fn beyond(service: &Service, wire: &Cluster, keys: &Keys) -> Option<Value> {
    match cluster::decode(wire.clone(), keys) {
        Ok((plain, _)) => service.beyond(&plain),
        // Only where a policy is none that the fields can hold: then all of it is noted.
        Err(_) => Some(service.note()),
    }
}

fn for_weir(service: &Service, keys: &mut Keys, out: &mut Out) {
    let name = names::cluster(&service.name, None);
    let mut wire = cluster::encode(service, &name, service.endpoints.len(), keys);
    let note = beyond(service, &wire, keys);
    wire.metadata = metadata::of(&json!({ "service": note }));
    out.put(Kind::Cluster, &name, &wire);
    let all = endpoint::weighed(service.endpoints.iter(), true);
    out.put(
        Kind::Endpoint,
        &name,
        &endpoint::encode(&name, &service.name, &all, true),
    );
}

/// A cluster for the service as a whole and one for each of its versions.
fn for_others(service: &Service, keys: &mut Keys, out: &mut Out) {
    let name = names::cluster(&service.name, None);
    let wire = cluster::encode(service, &name, service.endpoints.len(), keys);
    left_out::service(service, beyond(service, &wire, keys), &mut out.left_out);
    out.put(Kind::Cluster, &name, &wire);
    let all = match service.versions.len() > 1 {
        true => by_version(service),
        false => endpoint::weighed(service.endpoints.iter(), false),
    };
    out.put(
        Kind::Endpoint,
        &name,
        &endpoint::encode(&name, &service.name, &all, false),
    );
    for version in service
        .versions
        .iter()
        .filter(|_| service.versions.len() > 1)
    {
        let name = names::cluster(&service.name, Some(&version.name));
        let own = service
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.version == version.name);
        let all = endpoint::weighed(own, false);
        out.put(
            Kind::Cluster,
            &name,
            &cluster::encode(service, &name, all.len(), keys),
        );
        out.put(
            Kind::Endpoint,
            &name,
            &endpoint::encode(&name, &service.name, &all, false),
        );
    }
}

/// All endpoints, weighed so that each version gets its share, however many endpoints it has.
fn by_version(service: &Service) -> Vec<Weighed<'_>> {
    const WHOLE: f64 = 1_000_000.0;
    let share = |endpoint: &Endpoint| {
        let version = service
            .versions
            .iter()
            .find(|version| version.name == endpoint.version)?;
        Some(version.weight.as_f64())
    };
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for endpoint in &service.endpoints {
        *sums.entry(endpoint.version.as_str()).or_default() += endpoint.weight.as_f64();
    }
    let all: f64 = service
        .versions
        .iter()
        .map(|version| version.weight.as_f64())
        .sum();
    let weight = |endpoint: &Endpoint| {
        let of_version = sums.get(endpoint.version.as_str()).copied().unwrap_or(0.0);
        let part = share(endpoint).unwrap_or(0.0) / all * endpoint.weight.as_f64() / of_version;
        match part.is_finite() && part > 0.0 {
            // A cast of a float saturates.
            true => ((part * WHOLE).round() as u32).max(1),
            false => 0,
        }
    };
    let one = |endpoint| Weighed {
        endpoint,
        weight: weight(endpoint),
    };
    service.endpoints.iter().map(one).collect()
}
