//! Balancing over groups: by priority, by place, in panic; and within the group by any balancer.
//!
//! [`Groups`] is what a membership determines, and shared by workers: who is in which group, and the hash
//! table of each. [`Levels`] is what availability determines. [`Grouped`] is a worker's balancers, one a
//! group. With one group and no panic, the common case, a pick is that of the one balancer over the
//! candidates as they are.

use std::sync::Arc;

use rand::Rng;
use weir_config::model::{self, Locality};

use super::hash::rehash;
use super::{Balance, Balancer, Candidates, HashTable, InPanic, Spread, Subset};
use crate::levels::{Count, Levels};
use crate::locality;

/// Makes the draw of a group by key independent of the place in its table.
const LEVEL_SEED: u64 = 1 << 32;

/// What groups are made of: an endpoint as configured.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    pub id: &'a str,
    /// In tenths.
    pub weight: u32,
    pub priority: u8,
    pub locality: Option<&'a Locality>,
}

/// The groups of a version's endpoints, by their indices. Immutable; built once for each membership.
#[derive(Debug)]
pub struct Groups {
    groups: Box<[Group]>,
    /// One group holds all, in order.
    whole: bool,
    /// The largest of all members, in tenths.
    max_weight: u32,
}

#[derive(Debug)]
struct Group {
    level: usize,
    weight: u32,
    members: Box<[u32]>,
    /// The largest of its members, in tenths.
    max_weight: u32,
    table: Option<Arc<HashTable>>,
}

impl Groups {
    /// Lays members out by their priorities and, where a policy and the proxy's own place say so, by
    /// how near they are; and builds the tables of a balancer by key.
    #[must_use]
    pub fn new(
        policy: &model::LoadBalancer,
        own: Option<&Locality>,
        members: &[Member<'_>],
    ) -> Self {
        let endpoints = members
            .iter()
            .map(|member| (member.priority, member.locality));
        let places = locality::layout(own, policy.locality.as_ref(), endpoints);
        let groups: Box<[Group]> = places
            .into_iter()
            .map(|place| Group::new(&policy.balancer, &place, members))
            .collect();
        Self {
            whole: groups.len() == 1 && groups[0].members.len() == members.len(),
            max_weight: members.iter().map(|m| m.weight).max().unwrap_or(0),
            groups,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none, as there is no member in any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The group of a candidate; `None` where a distribution leaves it out.
    #[must_use]
    pub fn of(&self, at: usize) -> Option<usize> {
        let holds = |group: &Group| {
            let at = u32::try_from(at).ok();
            at.is_some_and(|at| group.members.binary_search(&at).is_ok())
        };
        self.groups.iter().position(holds)
    }

    /// The level of a group, 0 asked first.
    #[must_use]
    pub fn level(&self, group: usize) -> Option<usize> {
        self.groups.get(group).map(|group| group.level)
    }

    /// Counts through the candidates for the shares of the groups: for when availability changes, not for
    /// each request. Those of weight 0, never picked, do not count. `panic_percent` as in [`Levels::new`].
    #[must_use]
    pub fn levels<C: Candidates + ?Sized>(&self, candidates: &C, panic_percent: u8) -> Levels {
        let mixed = candidates.spread() != Spread::Equal;
        let picked = |at: &usize| !mixed || candidates.weight(*at) > 0;
        let count = |group: &Group| {
            let members = || group.members.iter().map(|&at| at as usize).filter(picked);
            let in_panic = InPanic(candidates);
            Count {
                level: group.level,
                weight: group.weight,
                healthy: members().filter(|&at| candidates.available(at)).count() as u32,
                total: members().filter(|&at| in_panic.available(at)).count() as u32,
            }
        };
        let counts: Vec<Count> = self.groups.iter().map(count).collect();
        Levels::new(&counts, panic_percent)
    }

    /// The candidates of one group.
    #[must_use]
    pub fn subset<'c, C: Candidates + ?Sized>(
        &'c self,
        group: usize,
        candidates: &'c C,
    ) -> Option<Subset<'c, C>> {
        let group = self.groups.get(group)?;
        let spread = match candidates.spread() {
            Spread::Equal => Spread::Equal,
            // Live weights are the configured ones in another unit, or less: the group's largest is then
            // in the same proportion to the largest of all.
            Spread::Mixed { max } => {
                let scaled = u64::from(max) * u64::from(group.max_weight);
                let max = scaled.div_ceil(u64::from(self.max_weight.max(1)));
                Spread::Mixed { max: max as u32 }
            }
        };
        Some(Subset::new(candidates, &group.members, spread))
    }
}

impl Group {
    fn new(kind: &model::Balancer, place: &locality::Place, members: &[Member<'_>]) -> Self {
        let of = |&at: &usize| (members[at].id, members[at].weight);
        let table = match kind {
            model::Balancer::ConsistentHash(hash) => {
                let entries: Vec<(&str, u32)> = place.members.iter().map(of).collect();
                Some(Arc::new(HashTable::new(hash.table, &entries)))
            }
            _ => None,
        };
        Self {
            level: place.level,
            weight: place.weight,
            members: place.members.iter().map(|&at| at as u32).collect(),
            max_weight: place
                .members
                .iter()
                .map(|at| members[*at].weight)
                .max()
                .unwrap_or(0),
            table,
        }
    }
}

/// A worker's balancers for the groups of a version.
#[derive(Debug, Clone)]
pub struct Grouped {
    balancers: Box<[Balancer]>,
}

impl Grouped {
    /// Fresh balancers of this kind, one for each group.
    #[must_use]
    pub fn new(kind: &model::Balancer, groups: &Groups, rng: &mut impl Rng) -> Self {
        let balancers = groups
            .groups
            .iter()
            .map(|group| Balancer::new(kind, group.table.as_ref(), rng));
        Self {
            balancers: balancers.collect(),
        }
    }

    /// The balancer of a group.
    #[must_use]
    pub fn balancer(&self, group: usize) -> Option<&Balancer> {
        self.balancers.get(group)
    }

    /// The index of the candidate that takes the request; `None` when none is left.
    ///
    /// The group is drawn by the shares of `levels`, at random or by the request's key. Where it has nobody
    /// whom this request has not tried, the other groups with a weight are asked, in their order; where they
    /// have nobody either, one is tried again (semantics 26). `groups` and `levels` are those of these
    /// candidates.
    #[inline]
    pub fn pick<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        groups: &Groups,
        levels: &Levels,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        if groups.whole && !levels.in_panic(0) {
            return self.balancers.first_mut()?.pick(candidates, rng);
        }
        self.pick_among(candidates, groups, levels, rng)
    }

    fn pick_among<C: Candidates + ?Sized>(
        &mut self,
        candidates: &C,
        groups: &Groups,
        levels: &Levels,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let drawn = match candidates.key() {
            // A key that a level cannot serve any longer stays where it went, as with Envoy.
            Some(key) => levels.at((rehash(key, LEVEL_SEED) >> 32) as u32)?,
            None => levels.choose(rng)?,
        };
        let mut again = None;
        let others = (0..groups.len()).filter(|&group| group != drawn);
        for group in std::iter::once(drawn).chain(others) {
            let takes_part = groups.groups.get(group).is_some_and(|g| g.weight > 0);
            if !takes_part {
                continue;
            }
            match self.pick_in(group, candidates, groups, levels, rng) {
                Some(at) if !candidates.tried(at) => return Some(at),
                tried => again = again.or(tried),
            }
        }
        again
    }

    fn pick_in<C: Candidates + ?Sized>(
        &mut self,
        group: usize,
        candidates: &C,
        groups: &Groups,
        levels: &Levels,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let balancer = self.balancers.get_mut(group)?;
        let subset = groups.subset(group, candidates)?;
        let at = if levels.in_panic(group) {
            balancer.pick(&InPanic(&subset), rng)?
        } else {
            balancer.pick(&subset, rng)?
        };
        Some(subset.whole(at))
    }
}
