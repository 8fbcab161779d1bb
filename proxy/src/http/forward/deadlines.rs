//! How long a request and its tries may take (semantics 25).

use weir_decide::retry::Outcome;

use super::super::error::ProxyError;
use super::super::h1::flow::Flow;
use super::super::h1::serve::Connection;
use super::attempt::{Call, Failure};
use super::entry::Entry;
use crate::timer::Rung;

/// When an attempt is over: the request's own deadline, or the try's.
pub(super) struct Deadlines {
    request: u64,
    attempt: u64,
    /// When the caller of gRPC stops waiting, whatever the body does.
    caller: u64,
}

impl Deadlines {
    pub(super) fn next(&self) -> u64 {
        self.request.min(self.attempt).min(self.caller)
    }

    /// When the request is over, whatever its tries may take.
    pub(super) fn all(&self) -> u64 {
        self.request.min(self.caller)
    }

    pub(super) fn new(conn: &Connection, entry: &Entry<'_>, call: &Call<'_>) -> Self {
        let timeouts = &call.rule.rule().timeouts;
        let timers = &conn.worker.timers;
        let request = timeouts
            .request
            .map(|t| entry.started_ms + t.as_millis() as u64);
        let attempt = timeouts
            .backend_request
            .map(|t| timers.now() + t.as_millis() as u64);
        Self {
            request: request.unwrap_or(u64::MAX),
            attempt: attempt.unwrap_or(u64::MAX),
            caller: entry.caller_waits_ms,
        }
    }

    /// A body may take its time to arrive; the endpoint's time to answer starts with its end.
    pub(super) fn after_upload(&self, now: u64, call: &Call<'_>, upload: &Flow) -> u64 {
        match call
            .rule
            .rule()
            .timeouts
            .request
            .filter(|_| upload.has_moved())
        {
            Some(timeout) => (call.uploaded_ms.get().unwrap_or(now) + timeout.as_millis() as u64)
                .max(self.request)
                .min(self.attempt)
                .min(self.caller),
            None => self.next(),
        }
    }

    /// What it means that the alarm rang, while nothing of an answer had come.
    pub(super) fn failure(&self, conn: &Connection, rung: Rung) -> Failure {
        match rung {
            Rung::Time if conn.worker.timers.now() < self.request.min(self.caller) => Failure {
                error: ProxyError::Timeout,
                outcome: Some(Outcome::Timeout),
                bytes_sent: true,
            },
            // How long its caller waits is no fault of an endpoint.
            Rung::Time if self.caller < self.request => Failure::last(ProxyError::Deadline),
            Rung::Time | Rung::Drain => Failure::last(ProxyError::Timeout),
            // A request is not judged twice; a stream of TCP is.
            Rung::Removed | Rung::Forbidden => Failure::last(ProxyError::Reset),
        }
    }
}
