//! Clients that are turned away in the handshake where an identity is asked for, as the log tells of them.
//!
//! One line at once for each listener and reason, and from then on one in a while that says how many there were: who comes a
//! thousand times a second does not fill a disk.

use std::cell::RefCell;
use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::TlsError;
use crate::snapshot::LabelId;
use crate::worker::Worker;

/// Between two lines of one kind, in milliseconds.
const EVERY_MS: u64 = 10_000;

/// Those of one worker.
#[derive(Default)]
pub(crate) struct Strangers(RefCell<FxHashMap<(LabelId, &'static str), Told>>);

#[derive(Debug, Default, Clone, Copy)]
struct Told {
    /// When the last line was written, on the worker's clock.
    at: Option<u64>,
    /// How many have come since.
    more: u64,
}

impl Told {
    /// How many were not told of, if this one is to be.
    fn now(&mut self, now_ms: u64) -> Option<u64> {
        if self.at.is_some_and(|at| now_ms < at + EVERY_MS) {
            self.more += 1;
            return None;
        }
        self.at = Some(now_ms);
        Some(std::mem::take(&mut self.more))
    }
}

impl Strangers {
    /// Tells of one, or counts it for the next line. Who only went away is none.
    pub(super) fn refused(
        &self,
        worker: &Worker,
        listener: LabelId,
        peer: SocketAddr,
        error: &TlsError,
    ) {
        let reason = error.result();
        if matches!(reason, "closed" | "cancelled") {
            return;
        }
        let told = self
            .0
            .borrow_mut()
            .entry((listener, reason))
            .or_default()
            .now(worker.timers.now());
        if let Some(more) = told {
            let listener = worker.shared.labels().text(listener);
            tracing::warn!(%listener, %peer, reason, %error, more, "a client was turned away in the handshake");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_as_a_number() {
        let mut told = Told::default();
        assert_eq!(told.now(5), Some(0));
        assert_eq!((told.now(6), told.now(5 + EVERY_MS - 1)), (None, None));
        assert_eq!(told.now(5 + EVERY_MS), Some(2));
        assert_eq!(told.now(6 + EVERY_MS), None);
    }
}
