//! Opening a connection to an endpoint: TCP, TLS over it where the service asks for it, HTTP/2 where it is spoken.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::net::TcpStream;
use weir_config::model::AppProtocol;

use super::local::{LocalEndpoint, LocalService};
use super::multiplex::{self, Multiplex, Streams};
use super::pool::{Lease, Open, Pool};
use crate::http::h2::io::Io;
use crate::http::h2::pulse::Pulse;
use crate::socket::Socket;
use crate::timer::{Alarm, Rung};
use crate::tls::{self, TlsError};
use crate::worker::Worker;

/// What an endpoint may send on one stream before anybody has read.
const STREAM_WINDOW: u32 = 64 * 1024;
/// On all together, the most there is: streams of strangers share the connection, and some of them that do not read must
/// not take the room of the others. What is held is bounded by the streams there may be.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// What the frames of few bytes may cost that came and that nobody has taken yet: 256 each, a quarter of a million of
/// them. Whoever streams small messages makes thousands a window, and all who share the connection pay if it breaks.
const SMALL_FRAMES: usize = 64 * 1024 * 1024;
/// Bytes of all fields of an answer.
const MAX_FIELDS: u32 = 60 * 1024;
/// What is queued for one stream and not written yet.
const SEND_BUFFER: usize = 64 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("timed out or was called off")]
    Rung(Rung),
}

impl From<TlsError> for ConnectError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Late => Self::Rung(Rung::Time),
            TlsError::Rung(rung) => Self::Rung(rung),
            TlsError::Io(error) => Self::Io(error),
            other => Self::Io(io::Error::new(io::ErrorKind::InvalidData, other)),
        }
    }
}

/// What was made.
pub(crate) enum Made {
    /// A connection for one request at a time.
    Whole(Socket, Open),
    /// One that requests share, and how many do.
    Shared(SendRequest<Bytes>, Streams),
}

/// Connects; the alarm's deadline bounds it.
pub(crate) async fn connect(address: SocketAddr, alarm: &Alarm) -> Result<TcpStream, ConnectError> {
    let mut connecting = std::pin::pin!(TcpStream::connect(address));
    let stream = alarm
        .watch(|cx| connecting.as_mut().poll(cx))
        .await
        .map_err(ConnectError::Rung)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Has a connection made that requests may share, in a task of its own; who waits for it asks
/// [`poll_made`](Multiplex::poll_made).
pub(crate) fn start(
    worker: &Rc<Worker>,
    service: &Rc<LocalService>,
    endpoint: &Rc<LocalEndpoint>,
    room: Open,
) {
    let making = Multiplex::make(endpoint, service.era);
    let (worker, service, endpoint) = (Rc::clone(worker), Rc::clone(service), Rc::clone(endpoint));
    tokio::task::spawn_local(async move {
        let alarm = worker.timers.alarm_of_stream();
        let patience = service.table.service.pool.connect_timeout;
        alarm.set(worker.timers.now() + patience.as_millis() as u64);
        alarm.set_endpoint(Some(Rc::clone(&endpoint)));
        let made = open(&worker, &service, &endpoint, room, &alarm).await;
        let now = worker.timers.now();
        match made {
            Ok(Made::Shared(requests, streams)) => making.done((requests, streams), now),
            Ok(Made::Whole(socket, room)) => {
                // It was asked, and chose HTTP/1.1.
                Pool::stock(Lease::new(socket, &endpoint, room), now);
                making.declined();
            }
            Err(error) => making.failed(error),
        }
    });
}

/// Makes a connection as the service's endpoints want it.
pub(crate) async fn open(
    worker: &Worker,
    service: &LocalService,
    endpoint: &LocalEndpoint,
    room: Open,
    alarm: &Alarm,
) -> Result<Made, ConnectError> {
    let address = endpoint.state.address;
    let plain = connect(address, alarm).await?;
    let (socket, speaks_h2) = match &service.table.tls {
        Some(tls) => {
            let stream = tls::connect(plain, tls, address.ip(), alarm).await?;
            let speaks_h2 = tls.speaks_h2(stream.info().alpn);
            (Socket::tls(stream), speaks_h2)
        }
        None => {
            let speaks_h2 = service.table.service.protocol == AppProtocol::H2c;
            (Socket::Plain(plain), speaks_h2)
        }
    };
    match speaks_h2 {
        true => {
            let streams = Streams::default();
            let (requests, connection, pulse) = shake(socket, alarm).await?;
            let alive = multiplex::Alive {
                pulse,
                streams: Rc::clone(&streams),
                timers: Rc::clone(&worker.timers),
            };
            multiplex::drive(connection, room, alive);
            Ok(Made::Shared(requests, streams))
        }
        false => Ok(Made::Whole(socket, room)),
    }
}

type Shaken = (
    SendRequest<Bytes>,
    h2::client::Connection<Io, Bytes>,
    Rc<Pulse>,
);

/// Begins HTTP/2, and waits for the endpoint's settings: a burst goes by its limit of streams from the start.
async fn shake(socket: Socket, alarm: &Alarm) -> Result<Shaken, ConnectError> {
    let mut builder = h2::client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_FIELDS)
        .data_frame_budget(SMALL_FRAMES)
        .max_send_buffer_size(SEND_BUFFER);
    let (io, pulse) = Io::of_endpoint(socket);
    let mut shaking = std::pin::pin!(builder.handshake::<_, Bytes>(io));
    let (requests, mut connection) = alarm
        .watch(|cx| shaking.as_mut().poll(cx))
        .await
        .map_err(ConnectError::Rung)?
        .map_err(io::Error::other)?;
    let greeted = alarm.watch(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(ended) => {
            let closed = || io::Error::from(io::ErrorKind::UnexpectedEof);
            Poll::Ready(Err(ended.err().map_or_else(closed, io::Error::other)))
        }
        Poll::Pending if pulse.is_greeted() => Poll::Ready(Ok(())),
        Poll::Pending => Poll::Pending,
    });
    greeted.await.map_err(ConnectError::Rung)??;
    Ok((requests, connection, pulse))
}
