//! Joining the two sockets of a stream.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::net::TcpStream;

use super::error::StreamError;
use super::held::Pools;
use super::pump::{Broken, Pump};
use super::serve::Client;
use crate::buffer::Buffer;
use crate::stream::Entry;
use crate::timer::Rung;

/// Which socket a direction reads from.
#[derive(Clone, Copy)]
enum From {
    Client,
    Endpoint,
}

/// Carries both directions until both have ended, each by itself; or one breaks, or nothing moves for too long.
pub(super) async fn join(
    client: &Client,
    read: Buffer,
    (from, endpoint): (&TcpStream, &TcpStream),
    entry: &mut Entry,
    front: Vec<u8>,
    guarded: bool,
    idle: Duration,
) -> Result<(), StreamError> {
    let worker = &client.worker;
    let pools = Pools {
        buffers: Rc::clone(&worker.buffers),
        pipes: Rc::clone(&worker.pipes),
    };
    let up = Pump::new(from, endpoint, &pools);
    let mut up = up.starting_with(front, read, guarded);
    let mut down = Pump::new(endpoint, from, &pools);
    let (alarm, timers) = (&client.alarm, &worker.timers);
    let idle_ms = idle.as_millis() as u64;
    alarm.set(timers.now() + idle_ms);
    let mut progress = 0;
    let ended = alarm
        .watch(|cx| {
            let sent = up.poll(cx);
            let got = down.poll(cx);
            let total = up.progress() + down.progress();
            if total != progress {
                progress = total;
                alarm.set(timers.now() + idle_ms);
            }
            match (sent, got) {
                (Poll::Ready(Err(broken)), _) => Poll::Ready(Err((From::Client, broken))),
                (_, Poll::Ready(Err(broken))) => Poll::Ready(Err((From::Endpoint, broken))),
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        })
        .await;
    entry.bytes_in = up.moved;
    entry.bytes_out = down.moved;
    let error = match ended {
        Ok(Ok(())) => return Ok(()),
        Ok(Err((_, Broken::Forged))) => StreamError::Forged,
        Ok(Err((From::Client, Broken::Read) | (From::Endpoint, Broken::Write))) => {
            StreamError::Client
        }
        Ok(Err((From::Endpoint, Broken::Read) | (From::Client, Broken::Write))) => {
            StreamError::Endpoint
        }
        Err(Rung::Forbidden) => StreamError::Forbidden,
        Err(Rung::Removed) => return Err(StreamError::Removed),
        Err(Rung::Time | Rung::Drain) => return Err(StreamError::Idle),
    };
    // A break is passed on as one: an orderly end would make what is cut off look whole. Where that cannot be set the
    // socket is closed all the same.
    let _ = from.set_zero_linger();
    let _ = endpoint.set_zero_linger();
    Err(error)
}
