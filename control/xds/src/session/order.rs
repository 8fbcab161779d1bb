//! What may be sent when: make before break.
//!
//! Additions go clusters, endpoints, secrets, listeners, routes, each after the ones that it may refer to were taken, not
//! merely sent. Removals follow when every addition was taken, those that refer before those that are referred to.
//! (xDS protocol, "Eventual consistency considerations".)

use std::time::Instant;

use weir_wire::Kind;

use super::{Session, index};

/// The order of removals: what refers to others first.
pub(super) const REMOVALS: [Kind; 5] = [
    Kind::Listener,
    Kind::Route,
    Kind::Secret,
    Kind::Cluster,
    Kind::Endpoint,
];

impl Session {
    /// Whether everything that a resource of this type may refer to is with the client.
    pub(super) fn may_add(&self, kind: Kind, now: Instant) -> bool {
        let needs: &[Kind] = match kind {
            Kind::Cluster | Kind::Endpoint | Kind::Secret => return true,
            Kind::Listener => &[Kind::Cluster, Kind::Endpoint, Kind::Secret],
            Kind::Route => &[Kind::Cluster, Kind::Endpoint],
        };
        let settled = |kind: &Kind| self.tracks[index(*kind)].is_settled(&self.view);
        self.awaited.values().all(|until| *until <= now) && needs.iter().all(settled)
    }

    /// Whether every addition was taken, so that nothing refers any more to what is gone.
    pub(super) fn may_remove(&self, now: Instant) -> bool {
        let waiting = self.settling.is_some() || self.awaited.values().any(|until| *until > now);
        !waiting
            && !self
                .tracks
                .iter()
                .any(|track| track.has_additions(&self.view))
    }
}
