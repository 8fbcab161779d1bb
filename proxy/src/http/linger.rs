//! Closing so that the last answer arrives.
//!
//! A socket closed with unread input is reset, and a reset may overtake the answer on its way. So the
//! writing side is closed first, and what the client still sends is read and thrown away, within bounds
//! (RFC 9112, section 9.6).

use tokio::net::TcpStream;

use super::h1::flow::poll_fill;
use super::h1::serve::Connection;
use crate::socket::{ReadHalf, WriteHalf};
use crate::timer::Alarm;
use crate::worker::Worker;

/// Milliseconds that a client has to notice.
const PATIENCE_MS: u64 = 1000;
/// Reads thrown away before the connection is closed all the same: a MiB at the most.
const MAX_READS: usize = 64;

/// Closes the connection.
pub(crate) async fn close(conn: &mut Connection) {
    let (from, to) = conn.stream.split();
    close_halves(&conn.worker, from, to, &conn.alarm).await;
}

/// The same for a connection of any protocol.
pub(crate) async fn close_stream(worker: &Worker, stream: &mut TcpStream, alarm: &Alarm) {
    let (from, to) = stream.split();
    close_halves(worker, ReadHalf::Plain(from), WriteHalf::Plain(to), alarm).await;
}

async fn close_halves(
    worker: &Worker,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    alarm: &Alarm,
) {
    alarm.set(worker.timers.now() + PATIENCE_MS);
    let shut = alarm.watch(|cx| to.poll_shutdown(cx)).await;
    if !matches!(shut, Ok(Ok(()))) {
        return;
    }
    let mut sink = worker.buffers.small();
    for _ in 0..MAX_READS {
        match alarm.watch(|cx| poll_fill(cx, &mut from, &mut sink)).await {
            Ok(Ok(read)) if read > 0 => sink.consume(read),
            _ => return,
        }
    }
}
