//! A small test origin: it says who it is, and misbehaves on request.
//!
//! Demos, examples, tests and benches need something to balance over. One origin listens on one or
//! more ports; each worker thread runs its own accept loop on its own `SO_REUSEPORT` socket, so that
//! a bench can give it more than one core. What it answers is decided in [`plan`], which reads the
//! path and the query; nothing here is meant for production.

mod answer;
mod body;
mod connection;
mod grpc;
mod identity;
mod plain;
mod plan;
mod tls;
mod websocket;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use identity::Identity;
pub(crate) use plain::Plain;
pub(crate) use plan::Defaults;
pub(crate) use tls::{Own, Tls};

use answer::Origin as Service;

/// Connections the kernel holds for an accept loop that is busy.
const BACKLOG: i32 = 1024;

/// One identity bound to one port, ready to serve.
pub(crate) struct Origin {
    address: SocketAddr,
    /// One socket per worker, all of the same address.
    sockets: Vec<TcpListener>,
    service: Arc<Service>,
    tls: Option<Tls>,
}

impl Origin {
    /// Binds `threads` sockets of one address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not this machine's.
    pub(crate) fn bind(
        listen: SocketAddr,
        threads: NonZeroUsize,
        identity: Identity,
        defaults: Defaults,
    ) -> io::Result<Self> {
        let shared = threads.get() > 1;
        let first = bind(listen, shared)?;
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..threads.get() {
            sockets.push(bind(address, shared)?);
        }
        Ok(Self {
            address,
            sockets,
            service: Arc::new(Service::new(identity, defaults)),
            tls: None,
        })
    }

    /// Speaks TLS on this port, and nothing in clear.
    pub(crate) fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Where it listens, with the port that was really taken.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes one worker's socket out; `None` when all are taken.
    pub(crate) fn worker(&mut self) -> Option<Worker> {
        let socket = self.sockets.pop()?;
        Some(Worker {
            socket,
            service: Arc::clone(&self.service),
            tls: self.tls.clone(),
        })
    }
}

/// One accept loop of an origin.
pub(crate) struct Worker {
    socket: TcpListener,
    service: Arc<Service>,
    tls: Option<Tls>,
}

impl Worker {
    /// Serves until `stop`, then finishes the requests in flight within `drain`.
    ///
    /// # Errors
    /// When the socket cannot be watched by the runtime.
    pub(crate) async fn serve(self, stop: CancellationToken, drain: Duration) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.socket)?;
        let tasks = TaskTracker::new();
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // Out of descriptors, or a client that left: neither ends the origin.
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                },
            };
            let _ = stream.set_nodelay(true);
            let service = Arc::clone(&self.service);
            let tls = self.tls.clone();
            tasks.spawn(connection::serve(
                stream,
                tls,
                service,
                stop.clone(),
                tasks.clone(),
            ));
        }
        tasks.close();
        let _ = tokio::time::timeout(drain, tasks.wait()).await;
        Ok(())
    }
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
