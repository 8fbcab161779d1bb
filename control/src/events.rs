//! What happened, in words with numbers: a ring in memory, a broadcast to whoever listens, a bounded file.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::api::types::Event;
use crate::clock;

mod file;

pub use file::EventFile;

/// Events kept in memory.
const RING: usize = 1000;
/// Events a listener may lag behind before it is dropped.
const LAG: usize = 256;
/// Bytes of one event's text; labels and engine errors end up in here.
const MAX_TEXT: usize = 2000;

/// An event before it has a time and a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    kind: &'static str,
    service: Option<String>,
    text: String,
}

impl Draft {
    /// A change of weights by hand.
    #[must_use]
    pub fn canary(service: &str, text: String) -> Self {
        Self {
            kind: "canary",
            service: Some(service.to_owned()),
            text,
        }
    }

    /// Configuration read, refused, published.
    #[must_use]
    pub fn config(text: String) -> Self {
        Self {
            kind: "config",
            service: None,
            text,
        }
    }

    /// A certificate that is refused, or expires.
    #[must_use]
    pub fn certificate(text: String) -> Self {
        Self {
            kind: "certificate",
            service: None,
            text,
        }
    }

    /// A provider that comes, goes or is not believed.
    #[must_use]
    pub fn discovery(text: String) -> Self {
        Self {
            kind: "discovery",
            service: None,
            text,
        }
    }

    /// A service's endpoint that comes, goes or changes its state.
    #[must_use]
    pub fn endpoint(service: &str, text: String) -> Self {
        Self {
            kind: "endpoint",
            service: Some(service.to_owned()),
            text,
        }
    }

    /// A new generation.
    #[must_use]
    pub fn generation(text: String) -> Self {
        Self {
            kind: "generation",
            service: None,
            text,
        }
    }
}

/// The log of events. Recording never blocks and never fails.
pub struct EventLog {
    ring: Mutex<Ring>,
    live: broadcast::Sender<Event>,
    file: Option<EventFile>,
}

#[derive(Default)]
struct Ring {
    last: u64,
    events: VecDeque<Event>,
}

impl EventLog {
    /// A log that also appends to that file.
    #[must_use]
    pub fn new(file: Option<EventFile>) -> Self {
        Self {
            ring: Mutex::default(),
            live: broadcast::Sender::new(LAG),
            file,
        }
    }

    /// Numbers, dates and spreads an event.
    pub fn record(&self, draft: Draft) {
        let Draft {
            kind,
            service,
            mut text,
        } = draft;
        truncate(&mut text);
        tracing::info!(target: "weir::events", kind, service, "{text}");
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.last += 1;
        let event = Event {
            seq: ring.last,
            time: clock::rfc3339(clock::now_ms()),
            kind: kind.into(),
            service,
            text,
        };
        if ring.events.len() == RING {
            ring.events.pop_front();
        }
        ring.events.push_back(event.clone());
        // Sent under the lock, so that listeners see the numbers in order.
        if let Some(file) = &self.file {
            file.append(&event);
        }
        let _ = self.live.send(event);
    }

    /// The kept events after that number, oldest first, at most `limit` of the newest.
    #[must_use]
    pub fn since(&self, seq: u64, limit: usize) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let newer: Vec<&Event> = ring.events.iter().filter(|event| event.seq > seq).collect();
        newer[newer.len().saturating_sub(limit)..]
            .iter()
            .map(|event| (*event).clone())
            .collect()
    }

    /// The kept events after that number and everything that follows, without a gap or a repetition.
    #[must_use]
    pub fn follow(&self, seq: u64) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.live.subscribe();
        let missed = ring
            .events
            .iter()
            .filter(|event| event.seq > seq)
            .cloned()
            .collect();
        (missed, live)
    }

    /// The number of the newest event.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.ring
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last
    }
}

/// What a client wrote, as text that cannot break a line of a log: at most that many characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let kept: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(most)
        .collect();
    kept.trim().to_owned()
}

fn truncate(text: &mut String) {
    if text.len() > MAX_TEXT {
        let end = text.floor_char_boundary(MAX_TEXT);
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_and_numbers_go_on() {
        let log = EventLog::new(None);
        for n in 0..RING + 5 {
            log.record(Draft::config(format!("event {n}")));
        }
        let kept = log.since(0, usize::MAX);
        assert_eq!((kept.len(), kept[0].seq, log.last()), (RING, 6, 1005));
        assert_eq!(log.since(1003, 10).len(), 2);
        assert_eq!(log.since(0, 3)[0].seq, 1003);
    }

    #[test]
    fn a_follower_sees_each_event_once() {
        let log = EventLog::new(None);
        log.record(Draft::config("one".into()));
        log.record(Draft::config("two".into()));
        let (missed, mut live) = log.follow(1);
        log.record(Draft::config("three".into()));
        assert_eq!(missed.len(), 1);
        assert_eq!(live.try_recv().unwrap().text, "three");
        assert!(live.try_recv().is_err());
    }

    #[test]
    fn an_overlong_text_is_cut_between_characters() {
        let log = EventLog::new(None);
        log.record(Draft::config("é".repeat(5000)));
        assert!(log.since(0, 1)[0].text.len() <= MAX_TEXT + 4);
    }
}
