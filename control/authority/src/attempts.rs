//! How often somebody may be wrong about a token.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Wrong tokens of one address in a window.
const PER_ADDRESS: u32 = 10;
/// Wrong tokens of all addresses in a window, after which none that was wrong in it is listened to.
const IN_TOTAL: u32 = 300;
/// Seconds.
const WINDOW: i64 = 60;
/// Addresses that are remembered; of more, those who come first.
const MAX_ADDRESSES: usize = 4096;

/// Who was wrong in the window under way.
#[derive(Debug, Default)]
pub struct Attempts {
    since: i64,
    wrong: BTreeMap<IpAddr, u32>,
    total: u32,
}

impl Attempts {
    /// Whether an address is listened to. Those who were never wrong always are: nobody can shut out others.
    pub fn allows(&mut self, from: IpAddr, now: i64) -> bool {
        self.turn(now);
        match self.wrong.get(&whole(from)) {
            None => true,
            Some(wrong) => *wrong < PER_ADDRESS && self.total < IN_TOTAL,
        }
    }

    /// Somebody was wrong.
    pub fn failed(&mut self, from: IpAddr, now: i64) {
        self.turn(now);
        self.total = self.total.saturating_add(1);
        let from = whole(from);
        if self.wrong.len() < MAX_ADDRESSES || self.wrong.contains_key(&from) {
            *self.wrong.entry(from).or_default() += 1;
        }
    }

    fn turn(&mut self, now: i64) {
        // A clock that was set back begins a new one too.
        if !(self.since..self.since + WINDOW).contains(&now) {
            *self = Self {
                since: now,
                ..Self::default()
            };
        }
    }
}

/// Whoever has one address of IPv6 has at least a /64 of them.
fn whole(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_shut_out_for_the_rest_of_a_minute_and_nobody_else() {
        let mut attempts = Attempts::default();
        for _ in 0..PER_ADDRESS {
            assert!(attempts.allows(ip("10.0.0.1"), 100));
            attempts.failed(ip("10.0.0.1"), 100);
        }
        assert!(!attempts.allows(ip("10.0.0.1"), 159));
        assert!(!attempts.allows(ip("::ffff:10.0.0.1"), 159));
        assert!(attempts.allows(ip("10.0.0.2"), 159));
        assert!(attempts.allows(ip("10.0.0.1"), 160));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let mut attempts = Attempts::default();
        for host in 0..PER_ADDRESS {
            attempts.failed(ip(&format!("2001:db8::{host}")), 0);
        }
        assert!(!attempts.allows(ip("2001:db8::ffff"), 0));
        assert!(attempts.allows(ip("2001:db8:0:1::1"), 0));
    }

    #[test]
    fn many_who_were_wrong_shut_out_each_other_and_not_those_who_were_not() {
        let mut attempts = Attempts::default();
        for host in 0..IN_TOTAL {
            attempts.failed(IpAddr::from((0x0a00_0000 + host).to_be_bytes()), 0);
        }
        assert!(!attempts.allows(ip("10.0.0.1"), 0));
        assert!(attempts.allows(ip("192.0.2.1"), 0));
        for host in 0..20_000_u32 {
            attempts.failed(IpAddr::from((0x0b00_0000 + host).to_be_bytes()), 0);
        }
        assert!(attempts.wrong.len() <= MAX_ADDRESSES);
        assert!(attempts.allows(ip("192.0.2.1"), 0));
    }
}
