//! From the records of an answer to addresses with weight and priority.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use weir_config::model::Weight;

/// A host that an answer names, with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) port: u16,
    /// As an SRV record has it: lower ones first.
    pub(super) priority: u16,
    /// As an SRV record has it.
    pub(super) weight: u16,
}

impl Target {
    /// Addresses without an SRV record.
    pub(super) fn plain(port: u16, addresses: Vec<IpAddr>) -> Self {
        Self {
            addresses,
            port,
            priority: 0,
            weight: 0,
        }
    }
}

/// How an address is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) priority: u8,
    pub(super) weight: Weight,
}

/// The addresses of all targets (RFC 2782).
///
/// Priorities become levels counted from 0. A weight is the target's share, whatever the number of its addresses. Where
/// all weights of a level are 0 there is nothing to choose by, and addresses are equal; beside others a weight of 0 means
/// a very small chance. An address that two targets share is the first one's, in the order of levels.
pub(super) fn spots(targets: &[Target]) -> BTreeMap<SocketAddr, Spot> {
    let levels: BTreeSet<u16> = targets.iter().map(|target| target.priority).collect();
    let mut out = BTreeMap::new();
    for (level, priority) in levels.into_iter().enumerate() {
        let here = || targets.iter().filter(|target| target.priority == priority);
        let weighted = here().any(|target| target.weight > 0);
        for target in here() {
            let spot = Spot {
                priority: u8::try_from(level).unwrap_or(u8::MAX),
                weight: share(target, weighted),
            };
            for ip in &target.addresses {
                let address = SocketAddr::new(ip.to_canonical(), target.port);
                out.entry(address).or_insert(spot);
            }
        }
    }
    out
}

fn share(target: &Target, weighted: bool) -> Weight {
    if !weighted {
        return Weight::ONE;
    }
    let addresses = u32::try_from(target.addresses.len()).unwrap_or(u32::MAX);
    let tenths = u32::from(target.weight) * 10 / addresses.max(1);
    Weight::from_tenths(tenths.max(1)).unwrap_or(Weight::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, hosts: &[u8]) -> Target {
        let ip = |host: &u8| IpAddr::from([10, 0, 0, *host]);
        Target {
            addresses: hosts.iter().map(ip).collect(),
            port: 80,
            priority,
            weight,
        }
    }

    /// `10.0.0.1 0/6.5`: host, level, weight.
    fn check(targets: &[Target], expected: &[&str]) {
        let found = spots(targets);
        let text = |(address, spot): (&SocketAddr, &Spot)| {
            format!("{} {}/{}", address.ip(), spot.priority, spot.weight)
        };
        let found: Vec<String> = found.iter().map(text).collect();
        assert_eq!(found, expected);
    }

    // RFC 2782
    #[test]
    fn priorities_become_levels_and_weights_shares() {
        check(
            &[
                target(20, 5, &[3]),
                target(10, 60, &[1]),
                target(10, 20, &[2]),
            ],
            &["10.0.0.1 0/60", "10.0.0.2 0/20", "10.0.0.3 1/5"],
        );
    }

    #[test]
    fn a_targets_share_does_not_grow_with_its_addresses() {
        check(
            &[target(0, 10, &[1, 2]), target(0, 10, &[3])],
            &["10.0.0.1 0/5", "10.0.0.2 0/5", "10.0.0.3 0/10"],
        );
    }

    // RFC 2782
    #[test]
    fn weights_of_nothing_are_equal_among_themselves_and_tiny_beside_others() {
        check(
            &[target(0, 0, &[1]), target(0, 0, &[2])],
            &["10.0.0.1 0/1", "10.0.0.2 0/1"],
        );
        check(
            &[target(0, 0, &[1]), target(0, 65_535, &[2])],
            &["10.0.0.1 0/0.1", "10.0.0.2 0/65535"],
        );
    }

    #[test]
    fn an_address_that_is_named_twice_is_of_the_first_level() {
        check(&[target(7, 1, &[1]), target(3, 2, &[1])], &["10.0.0.1 0/2"]);
    }
}
