//! Clients that were sent away a moment ago, by address.
//!
//! What an abuse may cost is bounded for each connection, and the next connection costs its client nothing: who opens a
//! hundred streams, cancels them and comes again has endpoints asked thousands of times a second for what nobody waits for
//! (CVE-2023-44487). So who was sent away may have only few streams open at once on the connections that follow. What is
//! beyond them is refused before anybody has looked at it, and may be asked again (RFC 9113, section 8.7): others behind
//! the same address are slower for a while, and served.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Milliseconds for which it is remembered that a client was sent away.
const REMEMBERED_MS: u64 = 10_000;
/// Streams that such a client may have open on one connection.
const FEW: u32 = 8;
/// Addresses that are remembered; while there are as many, no further ones are.
const MOST: usize = 4096;

/// Those of one worker: connections are spread over all of them, so that each comes to know whoever goes on.
#[derive(Default)]
pub(crate) struct Offenders {
    /// Until when, on the worker's clock.
    until: RefCell<HashMap<IpAddr, u64>>,
}

impl Offenders {
    /// It was sent away.
    pub(super) fn note(&self, peer: IpAddr, now_ms: u64) {
        let mut until = self.until.borrow_mut();
        let key = network(peer);
        if until.len() >= MOST && !until.contains_key(&key) {
            until.retain(|_, until| *until > now_ms);
            if until.len() >= MOST {
                return;
            }
        }
        until.insert(key, now_ms + REMEMBERED_MS);
    }

    /// How many streams a client may open at once, where `most` are allowed to all.
    pub(super) fn streams(&self, peer: IpAddr, now_ms: u64, most: u32) -> u32 {
        let until = self.until.borrow();
        let is_remembered = !until.is_empty()
            && until
                .get(&network(peer))
                .is_some_and(|until| *until > now_ms);
        match is_remembered {
            true => most.min(FEW),
            false => most,
        }
    }
}

/// Who has one address of IPv6 has all of its network (RFC 4291, section 2.5.4).
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let bits = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(bits))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_was_sent_away_may_open_few_streams_for_a_while_and_others_as_many_as_ever() {
        let offenders = Offenders::default();
        assert_eq!(offenders.streams(ip("192.0.2.1"), 0, 100), 100);
        offenders.note(ip("192.0.2.1"), 500);
        assert_eq!(offenders.streams(ip("192.0.2.1"), 500, 100), FEW);
        assert_eq!(offenders.streams(ip("::ffff:192.0.2.1"), 500, 100), FEW);
        assert_eq!(offenders.streams(ip("192.0.2.1"), 500, 3), 3);
        assert_eq!(offenders.streams(ip("192.0.2.2"), 500, 100), 100);
        let over = 500 + REMEMBERED_MS;
        assert_eq!(offenders.streams(ip("192.0.2.1"), over - 1, 100), FEW);
        assert_eq!(offenders.streams(ip("192.0.2.1"), over, 100), 100);
    }

    #[test]
    fn another_address_of_the_same_network_of_ipv6_is_the_same_client() {
        let offenders = Offenders::default();
        offenders.note(ip("2001:db8:0:1::1"), 0);
        assert_eq!(offenders.streams(ip("2001:db8:0:1:ffff::2"), 0, 100), FEW);
        assert_eq!(offenders.streams(ip("2001:db8:0:2::1"), 0, 100), 100);
    }

    #[test]
    fn addresses_are_bounded_and_old_ones_make_room() {
        let offenders = Offenders::default();
        for at in 0..=MOST as u32 {
            offenders.note(IpAddr::from((at + 1).to_be_bytes()), 0);
        }
        assert_eq!(offenders.until.borrow().len(), MOST);
        offenders.note(ip("192.0.2.1"), REMEMBERED_MS);
        assert_eq!(offenders.until.borrow().len(), 1);
    }
}
