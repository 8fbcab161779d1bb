//! How much each priority takes, and when there is panic.
//!
//! The arithmetic is Envoy's (architecture overview: "Priority levels", "Panic threshold", "Locality
//! weighted load balancing"), in whole percent and cut off as there:
//!
//! - The health of a level is 140% x healthy / total, at most 100: a level is overprovisioned by 1.4, so
//!   that the loss of a few endpoints sends nobody far away.
//! - The first level takes its health in percent, the next what is left up to its own, and so on. If
//!   the sum is below 100, all are scaled up to it; what rounding leaves goes to the first with any.
//! - Panic, where too few are healthy for health to be believed: only if that sum is below 100, a
//!   level with a share of healthy endpoints below the threshold uses all of its endpoints. If every
//!   level is in panic, each takes load by how many endpoints it has.
//! - Within a level, groups with weights take shares by weight x health of the group; in panic by weight
//!   alone.
//!
//! [`Levels`] is computed when availability changes, and only read for each request.

use rand::Rng;

/// A level counts as whole while 1/1.4 of it is healthy.
const OVERPROVISIONING_PERCENT: u32 = 140;

/// Endpoints that take requests together: those of a level, or of one place in a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// 0 is asked first.
    pub level: usize,
    /// Its share among the groups of its level, in any unit common to these.
    pub weight: u32,
    /// Endpoints that take requests now.
    pub healthy: u32,
    /// Endpoints that could in panic: the healthy, the ejected and the failing, but not those taken out
    /// on purpose (draining, removed, in maintenance) and those never admitted. So taking two of three
    /// out for maintenance is not panic.
    pub total: u32,
}

/// The shares of all groups, and who is in panic.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Levels {
    /// In the order of the counts.
    groups: Box<[Group]>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Group {
    /// Of all requests, in 2^32nds, this group and those before it.
    until: u64,
    panic: bool,
}

/// The load of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Load {
    percent: u32,
    panic: bool,
}

/// All requests.
const WHOLE: u64 = 1 << 32;

impl Levels {
    /// Computes the shares of groups sorted by level. `panic_percent` is the share of healthy endpoints
    /// below which there is panic (default 50); 0 turns panic off.
    #[must_use]
    pub fn new(counts: &[Count], panic_percent: u8) -> Self {
        let loads = loads(&level_counts(counts), u32::from(panic_percent));
        let mut groups: Vec<Group> = Vec::with_capacity(counts.len());
        let mut percents_before = 0;
        for (in_level, load) in counts
            .chunk_by(|a, b| a.level == b.level)
            .zip(loads.iter().copied())
        {
            let start = WHOLE * u64::from(percents_before) / 100;
            percents_before += load.percent;
            let end = WHOLE * u64::from(percents_before) / 100;
            divide(in_level, load.panic, start, end, &mut groups);
        }
        Self {
            groups: groups.into(),
        }
    }

    /// The group that takes a request, drawn by share; `None` without groups.
    #[must_use]
    #[inline]
    pub fn choose(&self, rng: &mut impl Rng) -> Option<usize> {
        match self.groups.len() {
            1 => Some(0),
            _ => self.at(rng.next_u32()),
        }
    }

    /// The group at a point of all requests, which lie between 0 and 2^32 in the order of groups.
    #[must_use]
    pub fn at(&self, point: u32) -> Option<usize> {
        let at = self
            .groups
            .partition_point(|group| group.until <= u64::from(point));
        (at < self.groups.len()).then_some(at)
    }

    /// Whether a group's level is in panic, and its [`Count::total`] endpoints are all used.
    #[must_use]
    #[inline]
    pub fn in_panic(&self, group: usize) -> bool {
        self.groups.get(group).is_some_and(|group| group.panic)
    }

    /// Whether any level is in panic.
    #[must_use]
    pub fn any_panic(&self) -> bool {
        self.groups.iter().any(|group| group.panic)
    }

    /// The part of all requests that a group takes, from 0 to 1.
    #[must_use]
    pub fn share(&self, group: usize) -> f64 {
        let until = |at: usize| self.groups.get(at).map_or(0, |group| group.until);
        let before = group.checked_sub(1).map_or(0, until);
        until(group).saturating_sub(before) as f64 / WHOLE as f64
    }
}

/// The sums of healthy and all endpoints for each level that there is.
fn level_counts(counts: &[Count]) -> Vec<(u32, u32)> {
    let levels = counts.chunk_by(|a, b| a.level == b.level);
    levels
        .map(|groups| {
            let sum = |of: fn(&Count) -> u32| groups.iter().map(of).sum();
            (sum(|count| count.healthy), sum(|count| count.total))
        })
        .collect()
}

fn health(healthy: u32, total: u32) -> u32 {
    let percent =
        u64::from(OVERPROVISIONING_PERCENT) * u64::from(healthy) / u64::from(total.max(1));
    percent.min(100) as u32
}

/// The percentage of each level, and whether it is in panic.
fn loads(levels: &[(u32, u32)], panic_percent: u32) -> Vec<Load> {
    let healths: Vec<u32> = levels.iter().map(|&(h, total)| health(h, total)).collect();
    let sum = healths.iter().sum::<u32>().min(100);
    let panics = |&(healthy, total): &(u32, u32)| {
        sum < 100 && u64::from(healthy) * 100 < u64::from(panic_percent) * u64::from(total.max(1))
    };
    let panic: Vec<bool> = levels.iter().map(panics).collect();
    let percents = if panic.iter().all(|&panic| panic) {
        let totals: Vec<u32> = levels.iter().map(|&(_, total)| total).collect();
        fill(&totals, totals.iter().sum())
    } else {
        fill(&healths, sum)
    };
    let both = percents.into_iter().zip(panic);
    both.map(|(percent, panic)| Load { percent, panic })
        .collect()
}

/// Deals 100 percent in order, to each its part of `whole`, as long as there is some left; what rounding
/// leaves goes to the first that has any part. Where nobody has one, all goes to the first.
fn fill(parts: &[u32], whole: u32) -> Vec<u32> {
    let mut left = 100;
    let mut percents: Vec<u32> = parts
        .iter()
        .map(|&part| {
            let percent = u64::from(part) * 100 / u64::from(whole.max(1));
            let percent = left.min(percent as u32);
            left -= percent;
            percent
        })
        .collect();
    let first = parts.iter().position(|&part| part > 0).unwrap_or(0);
    if let Some(first) = percents.get_mut(first) {
        *first += left;
    }
    percents
}

/// Divides the part of a level among its groups.
fn divide(counts: &[Count], panic: bool, start: u64, end: u64, groups: &mut Vec<Group>) {
    let effective = |count: &Count| {
        let health = match (panic, count.total) {
            (_, 0) => 0,
            (true, _) => 100,
            (false, total) => health(count.healthy, total),
        };
        u64::from(count.weight) * u64::from(health)
    };
    let whole: u64 = counts.iter().map(effective).sum();
    let mut sum = 0;
    for count in counts {
        sum += effective(count);
        let part = u128::from(end - start) * u128::from(sum) / u128::from(whole.max(1));
        // Where nobody has an effective weight, nobody can take anything: any group will do.
        let until = if whole == 0 { end } else { start + part as u64 };
        groups.push(Group { until, panic });
    }
}

#[cfg(test)]
mod tests;
