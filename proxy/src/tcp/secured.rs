//! Joining two connections of which at least one is over TLS: bytes are read, and written anew.

use std::time::Duration;

use super::error::StreamError;
use super::serve::Client;
use crate::http::h1::flow::FlowError;
use crate::http::tunnel::{self, Ahead, Way};
use crate::socket::Socket;
use crate::stream::Entry;
use crate::timer::Rung;

/// Carries both directions until both have ended, each by itself; or one breaks, or nothing moves for too long.
pub(super) async fn join(
    client: &mut Client,
    endpoint: &mut Socket,
    entry: &mut Entry,
    front: Vec<u8>,
    idle: Duration,
) -> Result<(), StreamError> {
    let worker = &client.worker;
    let held = std::mem::replace(&mut client.buffer, worker.buffers.none());
    let up = Ahead { front, held };
    let down = Ahead {
        front: Vec::new(),
        held: worker.buffers.none(),
    };
    let idle_ms = idle.as_millis() as u64;
    let (client_side, endpoint_side) = ((&mut client.stream, up), (&mut *endpoint, down));
    let carrying = tunnel::carry(worker, &client.alarm, client_side, endpoint_side, idle_ms);
    let (carried, ended) = Box::pin(carrying).await;
    entry.bytes_in = carried.up;
    entry.bytes_out = carried.down;
    let error = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err((way, error))) => whose(way, &error),
        Err(Rung::Forbidden) => StreamError::Forbidden,
        Err(Rung::Removed) => return Err(StreamError::Removed),
        Err(Rung::Time | Rung::Drain) => return Err(StreamError::Idle),
    };
    // What is cut off must not look whole.
    client.stream.cut_off();
    endpoint.cut_off();
    Err(error)
}

fn whose(way: Way, error: &FlowError) -> StreamError {
    let writing = matches!(error, FlowError::Write(_));
    match (way, writing) {
        (Way::Up, false) | (Way::Down, true) => StreamError::Client,
        (Way::Up, true) | (Way::Down, false) => StreamError::Endpoint,
    }
}
