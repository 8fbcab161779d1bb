//! Clients that were not let in: each is counted, and one of many is logged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::tally::Tally;

/// One line for each reason in this time: someone who tries tokens must not fill the disk.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

pub(crate) struct Refusals {
    /// `None`: whoever asks counts for itself.
    tally: Option<Arc<Tally>>,
    /// Who is refused, for the log.
    whom: &'static str,
    logged: Mutex<BTreeMap<&'static str, Logged>>,
}

struct Logged {
    at: Instant,
    since: u64,
}

impl Refusals {
    pub(crate) fn new(tally: Arc<Tally>) -> Self {
        Self {
            tally: Some(tally),
            whom: "xDS client",
            logged: Mutex::default(),
        }
    }

    /// Of requests for certificates: they are counted where they are decided.
    pub(crate) fn of_certificates() -> Self {
        Self {
            tally: None,
            whom: "request for a certificate",
            logged: Mutex::default(),
        }
    }

    /// Counts one, and logs it if none of its reason was logged lately.
    pub(crate) fn note(&self, reason: &'static str, peer: std::net::SocketAddr, text: &str) {
        if let Some(tally) = &self.tally {
            tally.refused(reason);
        }
        if let Some(more) = self.due(reason, Instant::now()) {
            let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
            tracing::warn!(%peer, reason, more, "{} refused: {text}", self.whom);
        }
    }

    /// How many of that reason were not logged since the last line; `None`: it is too soon for another.
    fn due(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = logged.get_mut(reason) else {
            logged.insert(reason, Logged { at: now, since: 0 });
            return Some(0);
        };
        if now.saturating_duration_since(entry.at) < LOG_INTERVAL {
            entry.since += 1;
            return None;
        }
        entry.at = now;
        Some(std::mem::take(&mut entry.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_is_logged_and_says_how_many_more_there_were() {
        let refusals = Refusals::new(Arc::default());
        let start = Instant::now();
        assert_eq!(refusals.due("wrong_token", start), Some(0));
        assert_eq!(refusals.due("wrong_token", start), None);
        assert_eq!(refusals.due("no_token", start), Some(0));
        assert_eq!(refusals.due("wrong_token", start), None);
        assert_eq!(refusals.due("wrong_token", start + LOG_INTERVAL), Some(2));
    }
}
