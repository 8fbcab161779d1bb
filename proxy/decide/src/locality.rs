//! What is near: endpoints laid out in groups by priority and place.
//!
//! Two policies, as in Istio's `localityLbSetting`:
//!
//! - **Nearest first**: within each priority of their own, endpoints are asked by how near they are (see
//!   [`distance`]), and the levels are then numbered without gaps. What a level cannot take goes to the
//!   next by the arithmetic of [`crate::levels`].
//! - **Distribution**: for the proxy's place, shares of other places. Each is a group with a weight in its
//!   level; endpoints of no listed place take nothing.
//!
//! Without a policy, without the proxy's own place, or with a distribution that does not speak of it,
//! places do not matter and priority alone counts.

use std::collections::BTreeMap;

use weir_config::model::{Distribute, Locality, LocalityPolicy};

/// Distances of nearest-first are below this.
const DISTANCES: usize = 5;

/// Endpoints that take requests together, by index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// 0 is asked first.
    pub level: usize,
    /// Its share among those of its level: percent in a distribution, else 1.
    pub weight: u32,
    /// In the order given, at least one.
    pub members: Vec<usize>,
}

/// Lays endpoints out, each given by its own priority and place, in groups sorted by level.
///
/// `own` is where the proxy runs.
#[must_use]
pub fn layout<'a>(
    own: Option<&Locality>,
    policy: Option<&LocalityPolicy>,
    endpoints: impl IntoIterator<Item = (u8, Option<&'a Locality>)>,
) -> Vec<Place> {
    let near = own.zip(policy);
    let shares = near.and_then(|(own, policy)| {
        let entries = &policy.distribute;
        entries.iter().find(|entry| entry.from.covers(own))
    });
    let nearest_first = near.filter(|(_, policy)| policy.distribute.is_empty());
    let mut groups: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (at, (priority, place)) in endpoints.into_iter().enumerate() {
        let mut level = usize::from(priority) * DISTANCES;
        if let Some((own, policy)) = nearest_first {
            level += distance(own, policy, place);
        }
        let Some(share) = shares.map_or(Some(0), |entry| share_of(entry, place)) else {
            continue;
        };
        groups.entry((level, share)).or_default().push(at);
    }
    numbered(groups, shares)
}

/// Numbers the levels without gaps.
fn numbered(
    groups: BTreeMap<(usize, usize), Vec<usize>>,
    shares: Option<&Distribute>,
) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::with_capacity(groups.len());
    let mut last = None;
    for ((key, share), members) in groups {
        let level = places
            .last()
            .map_or(0, |place| place.level + usize::from(last != Some(key)));
        last = Some(key);
        places.push(Place {
            level,
            weight: shares.map_or(1, |entry| u32::from(entry.to[share].1)),
            members,
        });
    }
    places
}

/// How far an endpoint is: 0 in the same subzone, 1 in the same zone, 2 in the same region, 3 elsewhere.
/// Where the proxy's region has a region to fail over to, the endpoints there are at 3 and the rest at 4.
/// An endpoint of no known place is elsewhere.
#[must_use]
pub fn distance(own: &Locality, policy: &LocalityPolicy, place: Option<&Locality>) -> usize {
    match place {
        Some(place) if place.region == own.region => {
            if place.zone != own.zone {
                2
            } else {
                usize::from(place.subzone != own.subzone)
            }
        }
        _ => {
            let mut failover = policy.failover.iter();
            let to = failover.find(|(from, _)| *from == own.region);
            let passed_over =
                to.is_some_and(|(_, to)| place.is_none_or(|place| place.region != *to));
            3 + usize::from(passed_over)
        }
    }
}

/// The first of the listed places that an endpoint lies in. One of no known place lies only in `*`.
fn share_of(entry: &Distribute, place: Option<&Locality>) -> Option<usize> {
    entry.to.iter().position(|(to, _)| match place {
        Some(place) => to.covers(place),
        None => &*to.region == "*",
    })
}

#[cfg(test)]
mod tests;
