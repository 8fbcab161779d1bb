//! What is counted, and how it is written for `/metrics`.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

/// Why something of a server's is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field or a value that is not supported.
    Unsupported,
    /// It makes no sense together with the others.
    Unfit,
    /// A listener whose address could not be bound.
    Unbound,
    /// Not what the protocol says.
    Malformed,
    /// More bytes than are held.
    TooLarge,
    /// More resources than are held.
    TooMany,
    /// It was there before.
    Replayed,
    /// It would empty a working configuration.
    Empty,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::Unsupported,
        Self::Unfit,
        Self::Unbound,
        Self::Malformed,
        Self::TooLarge,
        Self::TooMany,
        Self::Replayed,
        Self::Empty,
    ];

    /// As a label has it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Unfit => "unfit",
            Self::Unbound => "unbound",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Replayed => "replayed",
            Self::Empty => "empty",
        }
    }
}

/// What came of a file with the last good state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadResult {
    Current,
    Previous,
    /// Each file that is there and cannot be used.
    Refused,
    None,
}

impl ReadResult {
    const ALL: [Self; 4] = [Self::Current, Self::Previous, Self::Refused, Self::None];

    const fn text(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Refused => "refused",
            Self::None => "none",
        }
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    connected: AtomicBool,
    connects: AtomicU64,
    connect_errors: AtomicU64,
    accepted: AtomicU64,
    refusals: AtomicU64,
    refused: [AtomicU64; Reason::ALL.len()],
    last_update_ms: AtomicU64,
    awaited: AtomicU64,
    written: AtomicU64,
    not_written: AtomicU64,
    read: [AtomicU64; ReadResult::ALL.len()],
}

impl Tally {
    pub(crate) fn connected(&self, is: bool) {
        self.connected.store(is, Relaxed);
        if is {
            self.connects.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn connect_error(&self) {
        self.connect_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn answered(&self, accepted: usize, refused: usize) {
        self.accepted.fetch_add(accepted as u64, Relaxed);
        self.refusals.fetch_add(refused as u64, Relaxed);
    }

    pub(crate) fn refused(&self, reason: Reason) {
        self.refused[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn updated(&self, at_ms: u64) {
        self.last_update_ms.store(at_ms, Relaxed);
    }

    pub(crate) fn awaiting(&self, names: usize) {
        self.awaited.store(names as u64, Relaxed);
    }

    pub(crate) fn wrote(&self, well: bool) {
        let counter = if well {
            &self.written
        } else {
            &self.not_written
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn read(&self, result: ReadResult) {
        self.read[result as usize].fetch_add(1, Relaxed);
    }

    /// All families in the exposition format.
    pub(crate) fn text(&self) -> String {
        let mut out = String::with_capacity(2048);
        let gauge = |out: &mut String, name: &str, help: &str, value: &dyn std::fmt::Display| {
            family(out, name, "gauge", help);
            let _ = writeln!(out, "{name} {value}");
        };
        gauge(
            &mut out,
            "weir_xds_connected",
            "1 while a stream to a control plane is open.",
            &u8::from(self.connected.load(Relaxed)),
        );
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 fit a double exactly"
        )]
        let updated = self.last_update_ms.load(Relaxed) as f64 / 1000.0;
        gauge(
            &mut out,
            "weir_xds_last_update_timestamp_seconds",
            "When the control plane last said anything; 0 before it did.",
            &updated,
        );
        gauge(
            &mut out,
            "weir_xds_awaited",
            "Resources that others name and that have not come.",
            &self.awaited.load(Relaxed),
        );
        let results = |out: &mut String, name: &str, help: &str, all: &[(&str, &AtomicU64)]| {
            family(out, name, "counter", help);
            let label = if name == "weir_xds_refused_total" {
                "reason"
            } else {
                "result"
            };
            for (text, count) in all {
                let _ = writeln!(out, "{name}{{{label}=\"{text}\"}} {}", count.load(Relaxed));
            }
        };
        results(
            &mut out,
            "weir_xds_connects_total",
            "Attempts to open a stream to a control plane.",
            &[("ok", &self.connects), ("error", &self.connect_errors)],
        );
        results(
            &mut out,
            "weir_xds_ack_total",
            "Responses of a control plane that were answered.",
            &[("ack", &self.accepted), ("nack", &self.refusals)],
        );
        let refused = Reason::ALL.map(|reason| (reason.text(), &self.refused[reason as usize]));
        results(
            &mut out,
            "weir_xds_refused_total",
            "What a control plane sent and was not taken.",
            &refused,
        );
        results(
            &mut out,
            "weir_last_good_writes_total",
            "Times that the last good state was written to disk.",
            &[("ok", &self.written), ("error", &self.not_written)],
        );
        let read = ReadResult::ALL.map(|result| (result.text(), &self.read[result as usize]));
        results(
            &mut out,
            "weir_last_good_reads_total",
            "What was found on disk at the start.",
            &read,
        );
        out
    }
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_series_of_its_own_from_the_start() {
        let tally = Tally::default();
        tally.refused(Reason::Empty);
        tally.connected(true);
        let text = tally.text();
        assert!(
            text.contains("weir_xds_refused_total{reason=\"empty\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("weir_xds_refused_total{reason=\"unsupported\"} 0\n"),
            "{text}"
        );
        assert!(text.contains("\nweir_xds_connected 1\n"), "{text}");
        assert!(
            text.contains("weir_last_good_reads_total{result=\"previous\"} 0\n"),
            "{text}"
        );
    }
}
