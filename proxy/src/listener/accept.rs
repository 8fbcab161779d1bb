//! Accepting: one loop per listener and worker.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::http::h1::serve;
use crate::listener::bind::BACKLOG;
use crate::snapshot::ListenerId;
use crate::worker::Worker;

/// A listener that a worker serves.
pub(crate) struct Accepting {
    pub(crate) id: ListenerId,
    stop: Rc<Stop>,
}

#[derive(Default)]
struct Stop {
    asked: Cell<bool>,
    notify: Notify,
}

impl Accepting {
    /// Asks the loop to take what is queued and end. Always `false`: the listener is not kept.
    pub(crate) fn close(&self) -> bool {
        self.stop.asked.set(true);
        self.stop.notify.notify_one();
        false
    }
}

/// Starts to accept.
///
/// # Errors
/// The runtime cannot watch the socket: no descriptors are left.
pub(crate) fn start(
    worker: &Rc<Worker>,
    id: ListenerId,
    socket: std::net::TcpListener,
) -> io::Result<Accepting> {
    let listener = TcpListener::from_std(socket)?;
    let stop = Rc::new(Stop::default());
    tokio::task::spawn_local(run(Rc::clone(worker), id, listener, Rc::clone(&stop)));
    Ok(Accepting { id, stop })
}

async fn run(worker: Rc<Worker>, id: ListenerId, listener: TcpListener, stop: Rc<Stop>) {
    while !stop.asked.get() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.notify.notified() => continue,
        };
        match accepted {
            Ok((stream, peer)) => serve_one(&worker, id, stream, peer),
            Err(error) => pause_after(&worker, &error).await,
        }
    }
    // What the kernel has already accepted for us is served, not reset; asked of the kernel itself, for the driver may
    // not have heard of the last ones. Bounded by the backlog.
    let Ok(queue) = listener.into_std() else {
        return;
    };
    for _ in 0..BACKLOG {
        match queue.accept() {
            Ok((stream, peer)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    serve_one(&worker, id, stream, peer);
                }
            }
            Err(_) => break,
        }
    }
}

fn serve_one(worker: &Rc<Worker>, id: ListenerId, stream: TcpStream, peer: std::net::SocketAddr) {
    if worker.timers.len() >= worker.max_connections {
        // Closing at once tells the client more than a connection on which nothing happens.
        worker.metrics.accept_failed();
        return;
    }
    // Small answers must not wait for acknowledgements of earlier ones.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    tokio::task::spawn_local(serve::connection(Rc::clone(worker), id, stream, peer));
}

/// Out of descriptors or memory: an accept that fails at once would spin.
async fn pause_after(worker: &Worker, error: &io::Error) {
    worker.metrics.accept_failed();
    if !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    ) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
