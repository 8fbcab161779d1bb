//! What proxies acknowledge and refuse, noted with all who follow the published generations.

use std::sync::Arc;

use weir_xds::server::{ProxyStatus, Watch};

use crate::control::Shared;
use crate::events::Draft;
use crate::followers::{Kind, State};

/// Refused resources that one note names.
const NAMED: usize = 3;

pub(super) struct Notes(pub(super) Arc<Shared>);

impl Watch for Notes {
    fn moved(&self, status: &ProxyStatus) {
        let state = match reason(status) {
            None => State::Synced,
            Some(reason) => State::Refused {
                generation: status.progress.target,
                reason,
            },
        };
        let followers = &self.0.followers;
        let is_news = matches!(&state, State::Refused { .. })
            && !followers
                .list()
                .iter()
                .any(|known| known.name == status.name && known.state == state);
        if is_news && let State::Refused { generation, reason } = &state {
            tracing::warn!(proxy = status.name, generation, "refused: {reason}");
            self.0.events.record(Draft::config(format!(
                "generation {generation} refused by {}: {reason}",
                status.name
            )));
        }
        followers.note(&status.name, Kind::Proxy, status.progress.acked, state);
    }

    fn gone(&self, name: &str) {
        self.0.followers.note(name, Kind::Proxy, None, State::Stale);
    }
}

/// What a proxy would not take, in words.
pub(super) fn reason(status: &ProxyStatus) -> Option<String> {
    let refused = &status.progress.refused;
    if refused.is_empty() {
        return None;
    }
    let mut texts: Vec<String> = refused
        .iter()
        .take(NAMED)
        .map(ToString::to_string)
        .collect();
    if refused.len() > NAMED {
        texts.push(format!("and {} more", refused.len() - NAMED));
    }
    Some(texts.join("; "))
}
