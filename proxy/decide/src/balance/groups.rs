//! Balancing over groups: by priority, by place, in panic; and within the group by any balancer.
//!
//! [`Groups`] is what a membership determines, and shared by workers: who is in which group, and the hash
//! table of each. [`Levels`] is what availability determines. [`Grouped`] is a worker's balancers, one a
//! group. With one group and no panic, the common case, a pick is that of the one balancer over the
//! candidates as they are.

use std::sync::Arc;

use rand::Rng;
use weir_config::model::{self, Locality};

use super::{Balance, Balancer, Candidates, HashTable, Spread};
use crate::levels::{Count, Levels};
use crate::locality;

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
    /// each request. `panic_percent` as in [`Levels::new`].
    #[must_use]
    pub fn levels<C: Candidates + ?Sized>(&self, candidates: &C, panic_percent: u8) -> Levels {
        let count = |group: &Group| {
            let members = || group.members.iter().map(|&at| at as usize);
            let healthy = members().filter(|&at| candidates.available(at));
            let total =
                members().filter(|&at| candidates.available(at) || candidates.usable_in_panic(at));
            Count {
                level: group.level,
                weight: group.weight,
                healthy: healthy.count() as u32,
                total: total.count() as u32,
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
        Some(Subset {
            candidates,
            members: &group.members,
            spread,
        })
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
    /// The group is drawn by the shares of `levels`. Where it has nobody whom this request has not tried,
    /// the other groups with a weight are asked, in their order; where they have nobody either, one is
    /// tried again (semantics 26). `groups` and `levels` are those of these candidates.
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
        let drawn = levels.choose(rng)?;
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
        subset.members.get(at).map(|&at| at as usize)
    }
}

/// Some of the candidates, as a list of their own.
#[derive(Debug)]
pub struct Subset<'c, C: ?Sized> {
    candidates: &'c C,
    members: &'c [u32],
    spread: Spread,
}

impl<C: ?Sized> Subset<'_, C> {
    /// The index that a member has among all candidates.
    #[must_use]
    pub fn whole(&self, at: usize) -> usize {
        self.members[at] as usize
    }
}

impl<C: Candidates + ?Sized> Candidates for Subset<'_, C> {
    fn len(&self) -> usize {
        self.members.len()
    }

    fn spread(&self) -> Spread {
        self.spread
    }

    fn weight(&self, at: usize) -> u32 {
        self.candidates.weight(self.whole(at))
    }

    fn load(&self, at: usize) -> u32 {
        self.candidates.load(self.whole(at))
    }

    fn available(&self, at: usize) -> bool {
        self.candidates.available(self.whole(at))
    }

    fn usable_in_panic(&self, at: usize) -> bool {
        self.candidates.usable_in_panic(self.whole(at))
    }

    fn tried(&self, at: usize) -> bool {
        self.candidates.tried(self.whole(at))
    }

    fn latency_us(&self, at: usize) -> Option<f32> {
        self.candidates.latency_us(self.whole(at))
    }

    fn penalty(&self, at: usize) -> u32 {
        self.candidates.penalty(self.whole(at))
    }

    fn key(&self) -> Option<u64> {
        self.candidates.key()
    }
}

/// Candidates in panic: those that are ejected or failing are available too (semantics 6).
#[derive(Debug)]
pub struct InPanic<'c, C: ?Sized>(pub &'c C);

impl<C: Candidates + ?Sized> Candidates for InPanic<'_, C> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn spread(&self) -> Spread {
        self.0.spread()
    }

    fn weight(&self, at: usize) -> u32 {
        self.0.weight(at)
    }

    fn load(&self, at: usize) -> u32 {
        self.0.load(at)
    }

    fn available(&self, at: usize) -> bool {
        self.0.available(at) || self.0.usable_in_panic(at)
    }

    fn tried(&self, at: usize) -> bool {
        self.0.tried(at)
    }

    fn latency_us(&self, at: usize) -> Option<f32> {
        self.0.latency_us(at)
    }

    fn penalty(&self, at: usize) -> u32 {
        self.0.penalty(at)
    }

    fn key(&self) -> Option<u64> {
        self.0.key()
    }
}
