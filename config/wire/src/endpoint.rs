//! The endpoints of a service as a load assignment, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::socket_address::Protocol;
use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality as WireLocality};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint as WireEndpoint, LbEndpoint, LocalityLbEndpoints,
};
use sha2::{Digest as _, Sha256};
use weir_config::model::{Admission, Endpoint, EndpointId, Locality, ServiceName, Weight};

use crate::basic::{address, narrow, socket_address, u32_or, u32_value};
use crate::metadata;
use crate::noted::Noted as _;
use crate::refusal::{Refusal, Within as _, take};
use crate::{route, valid};

/// How much more than it needs a priority is thought to stand (Envoy's default, and the only one here), in percent.
const OVERPROVISIONING: u32 = 140;

/// One endpoint, with the weight that it has in the assignment.
pub(crate) struct Weighed<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) weight: u32,
}

/// The weights as they are: whole ones where all are whole, tenths otherwise; with `notes` rounded up, for the rest is noted. A
/// weight of nothing is 0.
pub(crate) fn weighed<'a>(
    endpoints: impl Iterator<Item = &'a Endpoint> + Clone,
    notes: bool,
) -> Vec<Weighed<'a>> {
    let scale = match notes {
        true => 10,
        false => route::scale(endpoints.clone().map(|endpoint| endpoint.weight)),
    };
    endpoints
        .map(|endpoint| Weighed {
            endpoint,
            weight: endpoint.weight.tenths().div_ceil(scale),
        })
        .collect()
}

/// An assignment of that name. With `notes` everything comes back from it; without, those that may get nothing are left out,
/// and priorities are numbered without gaps, as Envoy wants them.
pub(crate) fn encode(
    name: &str,
    service: &ServiceName,
    all: &[Weighed<'_>],
    notes: bool,
) -> ClusterLoadAssignment {
    let mut groups: BTreeMap<(u8, Option<&Locality>), Vec<&Weighed<'_>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for one in all {
        // An Envoy knows an endpoint by its address alone.
        if !notes && (one.weight == 0 || !seen.insert(one.endpoint.address)) {
            continue;
        }
        let key = (one.endpoint.priority, one.endpoint.locality.as_ref());
        groups.entry(key).or_default().push(one);
    }
    let mut ranks: Vec<u8> = groups.keys().map(|key| key.0).collect();
    ranks.dedup();
    let group = |((priority, locality), members): ((u8, Option<&Locality>), Vec<&Weighed<'_>>)| {
        let rank = ranks.partition_point(|other| *other < priority);
        let wire_priority = if notes {
            priority.into()
        } else {
            u32::try_from(rank).unwrap_or(0)
        };
        let locality = wire_locality(locality);
        let total = members
            .iter()
            .fold(0u32, |sum, one| sum.saturating_add(one.weight));
        let one = |one: &&Weighed<'_>| lb_endpoint(one, service, &locality, wire_priority, notes);
        LocalityLbEndpoints {
            lb_endpoints: members.iter().map(one).collect(),
            // Envoy passes it over, gRPC leaves out localities without it.
            load_balancing_weight: u32_value(total.max(1)),
            priority: wire_priority,
            locality: Some(locality),
            ..LocalityLbEndpoints::default()
        }
    };
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: groups.into_iter().map(group).collect(),
        ..ClusterLoadAssignment::default()
    }
}

fn lb_endpoint(
    one: &Weighed<'_>,
    service: &ServiceName,
    locality: &WireLocality,
    priority: u32,
    notes: bool,
) -> LbEndpoint {
    let own = one.endpoint;
    let status = match own.admission {
        Admission::Ready | Admission::Probe => HealthStatus::Unknown,
        Admission::NotReady(_) => HealthStatus::Unhealthy,
        Admission::Draining => HealthStatus::Draining,
    };
    let mut wire = LbEndpoint {
        health_status: status.into(),
        load_balancing_weight: (one.weight > 0).then_some(one.weight).and_then(u32_value),
        host_identifier: Some(HostIdentifier::Endpoint(WireEndpoint {
            address: address(own.address, Protocol::Tcp),
            ..WireEndpoint::default()
        })),
        metadata: None,
    };
    if notes && let Ok(plain) = plain(wire.clone(), service, locality, priority) {
        wire.metadata = own.beyond(&plain).as_ref().and_then(metadata::of);
    }
    wire
}

fn wire_locality(locality: Option<&Locality>) -> WireLocality {
    let part = |part: &str| {
        if part == "*" {
            String::new()
        } else {
            part.to_owned()
        }
    };
    locality.map_or_else(WireLocality::default, |place| WireLocality {
        region: part(&place.region),
        zone: part(&place.zone),
        sub_zone: part(&place.subzone),
    })
}

/// The name of the cluster that an assignment is for, and its endpoints by id.
pub(crate) fn decode(
    wire: ClusterLoadAssignment,
    service: &ServiceName,
) -> Result<Vec<Endpoint>, Refusal> {
    take!(wire => ClusterLoadAssignment { cluster_name, endpoints, policy } refuse { named_endpoints });
    let _ = cluster_name;
    if let Some(policy) = policy {
        check_policy(policy).within("policy")?;
    }
    let mut found: BTreeMap<EndpointId, Endpoint> = BTreeMap::new();
    for (index, group) in endpoints.into_iter().enumerate() {
        // The weight of a locality means something only to balancing by locality, which no cluster here asks for.
        take!(group => LocalityLbEndpoints {
            locality, metadata, lb_endpoints, load_balancing_weight, priority,
        } refuse { proximity, lb_config });
        let _ = (metadata, load_balancing_weight);
        let locality = locality.unwrap_or_default();
        for (inner, wire) in lb_endpoints.into_iter().enumerate() {
            let endpoint = one(wire, service, &locality, priority)
                .at("lb_endpoints", inner)
                .at("endpoints", index)?;
            if let Some(twin) = found.insert(endpoint.id.clone(), endpoint) {
                let why = format!("is {} again, which is there already", twin.id);
                return Err(Refusal::new(why))
                    .at("lb_endpoints", inner)
                    .at("endpoints", index);
            }
        }
    }
    Ok(found.into_values().collect())
}

fn check_policy(wire: Policy) -> Result<(), Refusal> {
    take!(wire => Policy { overprovisioning_factor } refuse {
        drop_overloads, endpoint_stale_after, weighted_priority_health,
    });
    match u32_or(overprovisioning_factor.as_ref(), OVERPROVISIONING) {
        OVERPROVISIONING => Ok(()),
        other => Err(
            Refusal::new(format!("is {other}; {OVERPROVISIONING} is supported"))
                .within("overprovisioning_factor"),
        ),
    }
}

fn one(
    wire: LbEndpoint,
    service: &ServiceName,
    locality: &WireLocality,
    priority: u32,
) -> Result<Endpoint, Refusal> {
    let note = metadata::note(wire.metadata.as_ref())?;
    let mut endpoint = plain(wire, service, locality, priority)?;
    metadata::amended(&mut endpoint, note.as_ref())?;
    valid::endpoint(&endpoint)?;
    Ok(endpoint)
}

/// An endpoint by what everybody knows of it.
fn plain(
    wire: LbEndpoint,
    service: &ServiceName,
    locality: &WireLocality,
    priority: u32,
) -> Result<Endpoint, Refusal> {
    take!(wire => LbEndpoint { health_status, metadata, load_balancing_weight, host_identifier } refuse {});
    let _ = metadata;
    let wire = match host_identifier {
        Some(HostIdentifier::Endpoint(wire)) => wire,
        Some(HostIdentifier::EndpointName(_)) => return Err(Refusal::unsupported("endpoint_name")),
        None => return Err(Refusal::missing("endpoint")),
    };
    take!(wire => WireEndpoint { address, hostname, observability_name } refuse {
        health_check_config, additional_addresses,
    });
    // A name of the host would only be asked by what is refused (automatic host rewriting).
    let _ = (hostname, observability_name);
    let (address, _) = socket_address(address)
        .within("address")
        .within("endpoint")?;
    let mut endpoint = Endpoint::new(id(service, address)?, address);
    endpoint.priority = narrow(priority).within("priority")?;
    endpoint.locality = place(locality).within("locality")?;
    endpoint.admission = match HealthStatus::try_from(health_status) {
        Ok(HealthStatus::Unknown | HealthStatus::Healthy) => Admission::Ready,
        Ok(HealthStatus::Unhealthy) => Admission::NotReady(Arc::from("unhealthy")),
        Ok(HealthStatus::Timeout) => Admission::NotReady(Arc::from("timeout")),
        Ok(HealthStatus::Draining) => Admission::Draining,
        _ => return Err(Refusal::unsupported("health_status")),
    };
    if let Some(weight) = load_balancing_weight {
        endpoint.weight = weight
            .value
            .checked_mul(10)
            .and_then(|tenths| Weight::from_tenths(tenths).ok())
            .ok_or_else(|| Refusal::new("is more than 1000000").within("load_balancing_weight"))?;
    }
    Ok(endpoint)
}

/// The id that a file's endpoint of that address has, so that none need be noted.
fn id(service: &ServiceName, address: SocketAddr) -> Result<EndpointId, Refusal> {
    let rest = format!("@{}:{}", address.ip(), address.port());
    EndpointId::new(&format!("{service}{rest}"))
        .or_else(|_| {
            // The name of the service leaves no room.
            let digest = Sha256::digest(service.as_str());
            let front: String = digest
                .iter()
                .take(16)
                .map(|byte| format!("{byte:02x}"))
                .collect();
            EndpointId::new(&format!("{front}{rest}"))
        })
        .map_err(|error| Refusal::new(error.to_string()))
}

fn place(wire: &WireLocality) -> Result<Option<Locality>, Refusal> {
    if wire.region.is_empty() && wire.zone.is_empty() && wire.sub_zone.is_empty() {
        return Ok(None);
    }
    let part = |part: &str| {
        if part.is_empty() {
            "*".to_owned()
        } else {
            part.to_owned()
        }
    };
    let text = format!(
        "{}/{}/{}",
        part(&wire.region),
        part(&wire.zone),
        part(&wire.sub_zone)
    );
    Locality::parse(&text)
        .map(Some)
        .map_err(|error| Refusal::new(error.to_string()))
}
