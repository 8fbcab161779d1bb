//! Events as they happen, as server-sent events (WHATWG HTML, "Server-sent events").

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::error::RecvError;

use super::error::ApiError;
use super::types::Event;
use crate::control::Control;

/// Listeners at a time.
const MAX_STREAMS: usize = 64;
/// How often an idle stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

static STREAMS: AtomicUsize = AtomicUsize::new(0);

/// One of the places for a listener; free again when it is dropped.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let more = |taken: usize| (taken < MAX_STREAMS).then_some(taken + 1);
        STREAMS
            .fetch_update(Relaxed, Relaxed, more)
            .is_ok()
            .then_some(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        STREAMS.fetch_sub(1, Relaxed);
    }
}

/// Events from now on; after a `Last-Event-ID`, from there on, as far as they are kept.
///
/// A client that reads too slowly is cut off rather than waited for; it reconnects and catches up.
pub(super) async fn stream(
    State(control): State<Control>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, ApiError> {
    let Some(place) = Place::take() else {
        let message = format!("{MAX_STREAMS} streams are open already; close one");
        return Err(ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            message,
        ));
    };
    let newest = control.shared.events.last();
    let last_seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(|id| id.parse().ok());
    // Numbers start again with the process: a number from before means everything since the start is new.
    let from = last_seen.map_or(newest, |seen: u64| if seen > newest { 0 } else { seen });
    let (missed, receiver) = control.shared.events.follow(from);
    let stop = control.shared.stop.clone();
    let live = stream::unfold((receiver, place), |(mut receiver, place)| async move {
        match receiver.recv().await {
            Ok(event) => Some((event, (receiver, place))),
            Err(RecvError::Lagged(_) | RecvError::Closed) => None,
        }
    });
    let events = stream::iter(missed)
        .chain(live)
        .take_until(stop.cancelled_owned());
    let hello = stream::once(async {
        Ok(SseEvent::default()
            .retry(Duration::from_secs(2))
            .comment("weir"))
    });
    let all = hello.chain(events.map(|event| Ok(written(&event))));
    Ok(Sse::new(all).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn written(event: &Event) -> SseEvent {
    let data = serde_json::to_string(event).unwrap_or_default();
    SseEvent::default()
        .id(event.seq.to_string())
        .event("weir")
        .data(data)
}
