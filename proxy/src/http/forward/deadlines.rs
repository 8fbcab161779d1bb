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

    /// While the client may still send, `idle_at` is when it has been silent for too long. Nobody answers whom it has
    /// stopped waiting for.
    pub(super) fn while_sending(&self, idle_at: u64) -> u64 {
        idle_at.min(self.caller)
    }

    /// Whether the caller of gRPC waits no longer.
    pub(super) fn has_caller_left(&self, now: u64) -> bool {
        self.caller <= now
    }

    /// A body may take its time to arrive; the endpoint's time to answer starts with its end.
    pub(super) fn after_upload(&self, now: u64, call: &Call<'_>, upload: &Flow) -> u64 {
        self.between_tries(now, call, upload).min(self.attempt)
    }

    /// The same of the request, whatever a try may take.
    pub(super) fn between_tries(&self, now: u64, call: &Call<'_>, upload: &Flow) -> u64 {
        let timeout = call.rule.rule().timeouts.request;
        let request = match timeout.filter(|_| upload.has_moved()) {
            Some(timeout) => (call.uploaded_ms.get().unwrap_or(now) + timeout.as_millis() as u64)
                .max(self.request),
            None => self.request,
        };
        request.min(self.caller)
    }

    /// What it means that the alarm rang, while nothing of an answer had come.
    pub(super) fn failure(&self, conn: &Connection, rung: Rung) -> Failure {
        let now = conn.worker.timers.now();
        match rung {
            // How long its caller waits is no fault of an endpoint.
            Rung::Time if self.has_caller_left(now) => Failure::last(ProxyError::Deadline),
            Rung::Time if now < self.request => Failure {
                error: ProxyError::Timeout,
                outcome: Some(Outcome::Timeout),
                bytes_sent: true,
            },
            Rung::Time | Rung::Drain => Failure::last(ProxyError::Timeout),
            // A request is not judged twice; a stream of TCP is.
            Rung::Removed | Rung::Forbidden => Failure::last(ProxyError::Reset),
        }
    }
}
