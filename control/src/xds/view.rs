//! The proxies, as the API shows them: those that are connected, and those that were.

use std::collections::BTreeMap;
use std::time::{Instant, UNIX_EPOCH};

use weir_xds::server::{ProxyStatus, Seen};

use super::follow::reason;
use crate::api::types::{Proxy, ProxyLoad, ProxyState};
use crate::clock::rfc3339;
use crate::control::Shared;
use crate::followers::{Follower, Kind, State};

/// Everyone that follows, the embedded proxy first, then by name.
pub(crate) fn proxies(shared: &Shared) -> Vec<Proxy> {
    let generation = shared.models.borrow().generation;
    let seen = super::seen(shared);
    let connected: BTreeMap<String, ProxyStatus> = seen
        .into_iter()
        .flat_map(|seen| seen.proxies.list())
        .map(|status| (status.name.clone(), status))
        .collect();
    let followers = shared.followers.list();
    let all = followers.iter();
    all.map(|follower| match connected.get(&follower.name) {
        Some(status) if follower.kind == Kind::Proxy => present(status, seen, generation),
        _ => absent(follower, shared.version, generation),
    })
    .collect()
}

fn present(status: &ProxyStatus, seen: Option<&Seen>, generation: u64) -> Proxy {
    let acked = status.progress.acked;
    let refused = reason(status);
    let state = match (&refused, acked == Some(generation)) {
        (Some(_), _) => ProxyState::Refused,
        (None, true) => ProxyState::Synced,
        (None, false) => ProxyState::Syncing,
    };
    let since = status
        .connected
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let behind = status.behind_since.filter(|_| state != ProxyState::Synced);
    let lag = behind.map(|since| Instant::now().saturating_duration_since(since));
    let load = seen
        .map(|seen| seen.loads.of(&status.name))
        .unwrap_or_default();
    Proxy {
        name: status.name.clone(),
        embedded: false,
        version: status.version.clone(),
        state,
        reason: refused,
        generation: acked,
        behind: behind_by(acked, generation),
        lag_ms: lag.map_or(0, |lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX)),
        connected: Some(rfc3339(
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        )),
        since: None,
        protocol: Some(status.protocol.text().to_owned()),
        peer: Some(status.peer.to_string()),
        left_out: status.left_out.to_vec(),
        load: load
            .into_iter()
            .map(|(service, load)| ProxyLoad {
                service,
                requests: load.issued,
                succeeded: load.succeeded,
                failed: load.failed,
                dropped: load.dropped,
                in_flight: load.in_progress,
            })
            .collect(),
    }
}

/// One that is not connected here: the embedded proxy, or one that went away.
fn absent(follower: &Follower, version: &str, generation: u64) -> Proxy {
    let embedded = follower.kind == Kind::Embedded;
    let (state, reason) = match &follower.state {
        State::Refused { reason, .. } => (ProxyState::Refused, Some(reason.clone())),
        State::Synced if follower.acked == Some(generation) => (ProxyState::Synced, None),
        State::Synced => (ProxyState::Syncing, None),
        State::Stale if embedded => (ProxyState::Stale, None),
        State::Stale => (ProxyState::Stale, Some("not connected".to_owned())),
    };
    Proxy {
        name: follower.name.clone(),
        embedded,
        version: if embedded {
            format!("weir {version}")
        } else {
            String::new()
        },
        state,
        reason,
        generation: follower.acked,
        behind: behind_by(follower.acked, generation),
        lag_ms: 0,
        connected: None,
        since: Some(rfc3339(follower.since_ms)),
        protocol: None,
        peer: None,
        left_out: Vec::new(),
        load: Vec::new(),
    }
}

fn behind_by(acked: Option<u64>, generation: u64) -> u64 {
    generation.saturating_sub(acked.unwrap_or(0))
}
