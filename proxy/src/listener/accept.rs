//! Accepting: one loop per listener and worker.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use weir_config::model::{Capture, Protocol};

use super::bind::BACKLOG;
use super::redirected;
use super::stop::{Serving, Stop};
use crate::http::h1::serve;
use crate::snapshot::ListenerId;
use crate::tcp;
use crate::worker::Worker;

/// Starts to accept.
///
/// # Errors
/// The runtime cannot watch the socket: no descriptors are left.
pub(crate) fn start(
    worker: &Rc<Worker>,
    id: ListenerId,
    socket: std::net::TcpListener,
) -> io::Result<Serving> {
    let listener = TcpListener::from_std(socket)?;
    let (serving, stop) = Serving::new(id);
    tokio::task::spawn_local(run(Rc::clone(worker), id, listener, stop));
    Ok(serving)
}

async fn run(worker: Rc<Worker>, id: ListenerId, listener: TcpListener, stop: Rc<Stop>) {
    while stop.asked().is_none() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.notified() => continue,
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
    let local = worker.local();
    let Some(mut table) = local.snapshot.listener(id) else {
        return;
    };
    let mut id = id;
    if let Some(Capture::Redirected { pass, pass_unknown }) = &table.listener.capture
        && let Some(to) = redirected::destination(&stream)
    {
        let owner = local.snapshot.captured(to);
        let owner = owner.and_then(|id| Some((id, local.snapshot.listener(id)?)));
        let label = table.label;
        match owner {
            Some(owner) => {
                worker.metrics.redirected(label, "known");
                (id, table) = owner;
            }
            None if *pass_unknown || pass.contains(&to) => {
                worker.metrics.redirected(label, "passed");
                let alarm = worker.timers.alarm();
                let passing = tcp::serve::through(Rc::clone(worker), id, stream, peer, to, alarm);
                tokio::task::spawn_local(passing);
                return;
            }
            None => {
                tracing::debug!(destination = %to, "a connection to an unknown address is refused");
                worker.metrics.redirected(label, "refused");
                // The app sees a reset; where that cannot be set, an end.
                let _ = stream.set_zero_linger();
                return;
            }
        }
    }
    // Made here and not by the task: connections accepted in one go count before the first of them has run.
    let alarm = worker.timers.alarm();
    let worker = Rc::clone(worker);
    // A listener that changes its protocol keeps its sockets; its connections keep what they started with.
    match table.listener.protocol {
        Protocol::Http | Protocol::Https => {
            tokio::task::spawn_local(serve::connection(worker, id, stream, peer, alarm));
        }
        Protocol::Tcp | Protocol::TlsPassthrough | Protocol::Udp => {
            tokio::task::spawn_local(tcp::serve::connection(worker, id, stream, peer, alarm));
        }
    }
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
