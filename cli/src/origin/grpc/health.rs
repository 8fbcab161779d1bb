//! `grpc.health.v1.Health`: what `/healthz` says, as gRPC asks for it.
//!
//! Both messages have one field: the request's is the service's name (field 1, a string), the
//! answer's the state (field 1, an enumeration).

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::messages;
use super::status::{Code, Status};

pub(super) const SERVICE: &str = "grpc.health.v1.Health";

/// `HealthCheckResponse.ServingStatus`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

/// The state of a service where `/healthz` answers that status; `None` for a service that is not here.
/// No name asks for the whole origin.
pub(super) fn state(service: &str, healthz: u16) -> Option<State> {
    match (service, healthz) {
        ("" | super::SERVICE, 200..=299) => Some(State::Serving),
        ("" | super::SERVICE, _) => Some(State::NotServing),
        _ => None,
    }
}

/// The answer's message.
pub(super) fn frame(state: State) -> Bytes {
    messages::frame(&[0x08, state as u8])
}

/// The service that a request asks for; its other fields, of which there are none today, are refused.
///
/// # Errors
/// When it is no such request.
pub(super) fn read(message: &[u8]) -> Result<String, Status> {
    let bad = || Status::new(Code::InvalidArgument, "not a HealthCheckRequest");
    match messages::payload(message) {
        [] => Ok(String::new()),
        [0x0a, length, name @ ..] if *length < 128 && name.len() == usize::from(*length) => {
            String::from_utf8(name.to_vec()).map_err(|_| bad())
        }
        _ => Err(bad()),
    }
}

/// The state now and whenever it changes, until the origin ends.
pub(super) fn watch(
    service: String,
    mut health: watch::Receiver<u16>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    health.mark_changed();
    stream::unfold(
        (service, health, None),
        move |(service, mut health, last)| {
            let stop = stop.clone();
            async move {
                loop {
                    tokio::select! {
                        () = stop.cancelled() => return None,
                        changed = health.changed() => changed.ok()?,
                    }
                    let healthz = *health.borrow_and_update();
                    let now = state(&service, healthz).unwrap_or(State::ServiceUnknown);
                    // Another status of the same meaning is no change.
                    if last != Some(now) {
                        return Some((Ok(frame(now)), (service, health, Some(now))));
                    }
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[test]
    fn a_request_names_a_service_or_none() {
        let read = |payload: &[u8]| read(&messages::frame(payload));
        assert_eq!(read(b"").as_deref(), Ok(""));
        assert_eq!(read(b"\x0a\x00").as_deref(), Ok(""));
        assert_eq!(read(b"\x0a\x01x").as_deref(), Ok("x"));
        for bad in [&b"\x0a"[..], b"\x0a\x02x", b"\x0a\x01\xff", b"\x12\x01x"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_state_is_that_of_healthz() {
        assert_eq!(state("", 200), Some(State::Serving));
        assert_eq!(state("weir.origin.v1.Echo", 503), Some(State::NotServing));
        assert_eq!(state("shop.Cart", 200), None);
    }

    #[tokio::test]
    async fn a_watcher_is_told_the_state_and_its_changes() {
        let (health, receiver) = watch::channel(200);
        let stop = CancellationToken::new();
        let mut states = std::pin::pin!(watch(String::new(), receiver, stop.clone()));
        assert_eq!(states.next().await, Some(Ok(frame(State::Serving))));
        health.send_replace(204);
        health.send_replace(503);
        assert_eq!(states.next().await, Some(Ok(frame(State::NotServing))));
        stop.cancel();
        assert_eq!(states.next().await, None);
    }
}
