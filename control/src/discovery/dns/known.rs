//! What is known from a name; it outlives the resolver's answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use weir_config::labels::is_guarded;
use weir_config::model::Source;
use weir_config::raw::{self, At, Meta};
use weir_config::settings::DnsLookup;
use weir_config::{Diagnostic, Fragment, Place};
use weir_plan::Hold;

use super::spot::{Spot, Target, spots};
use crate::api::types::Container;
use crate::watcher::Found;

pub(super) struct Known {
    service: String,
    version: String,
    /// `tasks.web A`
    shown: String,
    /// `dns tasks.web A`, as a source.
    place: Place,
    hold_for: Duration,
    allow_loopback: bool,
    hold: Hold,
    /// Answered last or held.
    spots: BTreeMap<SocketAddr, Spot>,
    held: BTreeSet<SocketAddr>,
    /// In the answer and not called.
    refused: BTreeSet<IpAddr>,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) targets: Vec<Target>,
    pub(super) ttl: Option<Duration>,
    /// Why it holds nothing, if so.
    pub(super) absence: Option<String>,
}

/// What an answer meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Addresses that are missing and kept nevertheless.
    pub(super) held: usize,
    /// Addresses that were held and are let go.
    pub(super) released: usize,
    /// There was nothing in it that could be called.
    pub(super) absent: bool,
    /// When the next one is let go.
    pub(super) until: Option<Duration>,
    /// Something is other than before.
    pub(super) changed: bool,
}

impl Known {
    pub(super) fn new(lookup: &DnsLookup) -> Self {
        let shown = format!("{} {}", lookup.name, lookup.type_text());
        Self {
            service: lookup.service.to_string(),
            version: lookup.version.to_string(),
            place: Place::of(Source::Other(Arc::from(format!("dns {shown}")))),
            shown,
            hold_for: lookup.hold,
            allow_loopback: lookup.allow_loopback_endpoints,
            hold: Hold::default(),
            spots: BTreeMap::new(),
            held: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Takes an answer; `now` counts from any fixed moment.
    pub(super) fn take(&mut self, now: Duration, seen: Seen) -> Taken {
        let (mut fresh, refused) = self.sort_out(&seen.targets);
        let present: Vec<weir_plan::Seen> = fresh.keys().map(|at| self.seen(at)).collect();
        let absent = fresh.is_empty();
        let none_stopped = BTreeSet::new();
        let decision = self
            .hold
            .observe(now, self.hold_for, &present, absent, &none_stopped);
        let kept = self
            .spots
            .iter()
            .filter(|(at, _)| !fresh.contains_key(at) && decision.keep.contains(&at.to_string()));
        let kept: BTreeMap<SocketAddr, Spot> = kept.map(|(at, spot)| (*at, *spot)).collect();
        let held: BTreeSet<SocketAddr> = kept.keys().copied().collect();
        fresh.extend(kept);
        let before = (&self.spots, &self.held, &self.refused);
        let taken = Taken {
            held: held.len(),
            released: decision.released.len(),
            absent,
            until: decision.until,
            changed: before != (&fresh, &held, &refused),
        };
        (self.spots, self.held, self.refused) = (fresh, held, refused);
        taken
    }

    /// The addresses that may be called, and those that may not.
    fn sort_out(&self, targets: &[Target]) -> (BTreeMap<SocketAddr, Spot>, BTreeSet<IpAddr>) {
        let mut fresh = spots(targets);
        let mut refused = BTreeSet::new();
        fresh.retain(|address, _| {
            let ip = address.ip();
            let callable = !ip.is_unspecified() && !ip.is_multicast();
            let allowed = callable && (self.allow_loopback || !is_guarded(ip));
            if !allowed {
                refused.insert(ip);
            }
            allowed
        });
        (fresh, refused)
    }

    fn seen(&self, address: &SocketAddr) -> weir_plan::Seen {
        weir_plan::Seen {
            id: address.to_string(),
            group: self.service.clone(),
        }
    }

    /// Addresses known.
    pub(super) fn count(&self) -> usize {
        self.spots.len()
    }

    /// All that is known, for the watcher.
    pub(super) fn found(&self, provider: &str) -> Found {
        let at = |text: &str| At::new(text.to_owned(), self.place.clone());
        let meta = Meta {
            place: self.place.clone(),
            broken: false,
        };
        let endpoint = |(address, spot): (&SocketAddr, &Spot)| raw::Endpoint {
            meta: meta.clone(),
            address: Some(At::new(*address, self.place.clone())),
            version: Some(at(&self.version)),
            weight: Some(At::new(spot.weight, self.place.clone())),
            priority: Some(At::new(spot.priority, self.place.clone())),
            ..raw::Endpoint::default()
        };
        let service = raw::Service {
            meta: meta.clone(),
            name: Some(at(&self.service)),
            endpoints: Some(self.spots.iter().map(endpoint).collect()),
            discovered: true,
            ..raw::Service::default()
        };
        Found {
            provider: provider.to_owned(),
            fragment: Fragment {
                services: vec![service],
                ..Fragment::default()
            },
            diagnostics: self.refused.iter().map(|ip| self.refusal(*ip)).collect(),
            containers: self.report(),
        }
    }

    fn refusal(&self, ip: IpAddr) -> Diagnostic {
        let message = format!(
            "the address {ip} is unspecified, multicast, loopback, link-local or a metadata service, which answers may not name"
        );
        let help = "if it is meant, set allowLoopbackEndpoints on the lookup in discovery.dns";
        Diagnostic::error(&self.place, message).help(help)
    }

    fn report(&self) -> Vec<Container> {
        let one = |address: &SocketAddr| Container {
            container: self.shown.clone(),
            id: address.to_string(),
            service: Some(self.service.clone()),
            version: Some(self.version.clone()),
            address: Some(address.to_string()),
            included: true,
            reason: match self.held.contains(address) {
                true => "missing from the answer, kept for now".to_owned(),
                false => "in the answer".to_owned(),
            },
        };
        self.spots.keys().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use weir_config::settings::RecordKind;

    use super::*;

    fn known() -> Known {
        let service = "web".parse().unwrap();
        Known::new(&DnsLookup::new(service, "web.test", RecordKind::A, 80))
    }

    fn answer(hosts: &[&str]) -> Seen {
        let addresses = hosts.iter().map(|text| text.parse().unwrap()).collect();
        Seen {
            targets: vec![Target::plain(80, addresses)],
            ..Seen::default()
        }
    }

    fn take(known: &mut Known, secs: u64, hosts: &[&str]) -> Taken {
        known.take(Duration::from_secs(secs), answer(hosts))
    }

    #[test]
    fn the_order_of_an_answer_means_nothing() {
        let mut known = known();
        assert!(take(&mut known, 0, &["10.0.0.1", "10.0.0.2"]).changed);
        assert!(!take(&mut known, 1, &["10.0.0.2", "10.0.0.1", "10.0.0.1"]).changed);
    }

    // semantics 36
    #[test]
    fn an_answer_of_nothing_keeps_what_is_known_for_as_long_as_it_lasts() {
        let mut known = known();
        take(&mut known, 0, &["10.0.0.1", "10.0.0.2"]);
        for secs in [1, 100, 10_000] {
            let taken = take(&mut known, secs, &[]);
            assert!(
                taken.absent && taken.held == 2 && known.count() == 2,
                "{taken:?}"
            );
        }
        let back = take(&mut known, 10_001, &["10.0.0.1", "10.0.0.2"]);
        assert_eq!((back.held, back.absent), (0, false));
    }

    // semantics 36
    #[test]
    fn more_than_half_is_held_and_less_is_believed() {
        let mut known = known();
        take(&mut known, 0, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(take(&mut known, 1, &["10.0.0.1", "10.0.0.2"]).held, 0);
        take(&mut known, 2, &["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        let held = take(&mut known, 3, &["10.0.0.1"]);
        assert_eq!((held.held, held.until), (2, Some(Duration::from_secs(13))));
        let over = take(&mut known, 13, &["10.0.0.1"]);
        assert_eq!((over.held, over.released, known.count()), (0, 2, 1));
    }

    #[test]
    fn an_answer_that_names_what_it_may_not_is_an_answer_of_nothing() {
        let mut known = known();
        take(&mut known, 0, &["10.0.0.1"]);
        let rebound = take(
            &mut known,
            1,
            &[
                "127.0.0.1",
                "169.254.169.254",
                "0.0.0.0",
                "::ffff:127.0.0.1",
            ],
        );
        assert!(rebound.absent && known.count() == 1);
        assert_eq!(known.found("dns").diagnostics.len(), 3);
    }
}
