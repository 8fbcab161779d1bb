//! A client's connection, from its first byte to the end of both directions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use weir_config::model::{Listener, Protocol, ProxyVersion};

use super::error::StreamError;
use super::{attempt, hello, relay, secured};
use crate::buffer::Buffer;
use crate::http::linger;
use crate::listener::counted::Counted;
use crate::listener::proxy_protocol::{self, Addresses};
use crate::listener::receive::{self, Said};
use crate::moment::Moment;
use crate::snapshot::{LabelId, ListenerId};
use crate::socket::Socket;
use crate::stream::Entry;
use crate::stream::authorize::{self, Who};
use crate::stream::standing::Standing;
use crate::telemetry::{Flag, Spoken};
use crate::timer::AlarmGuard;
use crate::tls::{self, Incoming, ServerTls, Welcome};
use crate::upstream::connect::{ConnectError, connect};
use crate::worker::Worker;

/// How long the other end of a connection that is only passed on may take to answer.
const PASS_WITHIN: Duration = Duration::from_secs(10);

/// A client's connection.
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: ListenerId,
    pub(super) stream: Socket,
    pub(super) alarm: AlarmGuard,
    /// Read and not passed on yet.
    pub(super) buffer: Buffer,
    /// Who is connected.
    peer: SocketAddr,
    said: Said,
}

impl Client {
    /// For whom the connection is made.
    pub(super) fn source(&self) -> SocketAddr {
        let said = self.said.addresses;
        said.map_or(self.peer, |addresses| addresses.source)
    }

    /// The header for the endpoint, if it is to be sent one.
    fn header(&self, version: Option<ProxyVersion>) -> Vec<u8> {
        let mut out = Vec::new();
        let own = || {
            let destination = self.stream.local_addr()?;
            Some(Addresses {
                source: self.peer,
                destination,
            })
        };
        if let Some(version) = version
            && let Some(addresses) = self.said.addresses.or_else(own)
        {
            proxy_protocol::write(&mut out, version, addresses, &self.said.tlvs);
        }
        out
    }
}

impl Client {
    /// The same, its TLS ended here; `None` where it is not to be served, which has been counted.
    async fn end_tls(self, tls: &ServerTls, at: &At) -> Option<Self> {
        let Socket::Plain(stream) = self.stream else {
            return None;
        };
        let incoming = Incoming {
            worker: &self.worker,
            listener: at.label,
            peer: self.peer,
            alarm: &self.alarm,
            timeout: at.listener.limits.handshake_timeout,
        };
        let (stream, buffer) = match tls::accept(incoming, stream, self.buffer, tls).await? {
            Welcome::Secured(stream) => (Socket::tls(stream), self.worker.buffers.none()),
            Welcome::Plain(stream, first) => (Socket::Plain(stream), first),
        };
        Some(Self {
            stream,
            buffer,
            ..self
        })
    }
}

/// Serves a connection to its end.
pub(crate) async fn connection(
    worker: Rc<Worker>,
    listener: ListenerId,
    stream: TcpStream,
    peer: SocketAddr,
    alarm: AlarmGuard,
) {
    let local = worker.local();
    let Some(table) = local.snapshot.listener(listener) else {
        return;
    };
    let spoken = match table.listener.protocol {
        Protocol::TlsPassthrough => Spoken::Tls,
        _ => Spoken::Tcp,
    };
    let at = At {
        listener: Arc::clone(&table.listener),
        label: table.label,
        tls: table.tls.clone(),
    };
    let _counted = Counted::new(&worker, table.label);
    let mut entry = Entry::new(spoken, table.listener.name.clone(), table.label);
    // It may live for days, and the generation should not.
    drop(local);
    let mut client = Client {
        alarm,
        buffer: worker.buffers.none(),
        worker,
        listener,
        stream: Socket::Plain(stream),
        peer,
        said: Said::default(),
    };
    let mut ended = begin(&mut client, &mut entry, &at.listener).await;
    if let (Ok(()), Some(tls)) = (&ended, &at.tls) {
        let (worker, source) = (Rc::clone(&client.worker), client.source());
        let Some(secured) = client.end_tls(tls, &at).await else {
            entry.flag = Flag::DPE;
            return entry.finish(&worker, source);
        };
        client = secured;
    }
    if ended.is_ok() {
        ended = serve(&mut client, &mut entry, &at.listener).await;
    }
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %client.peer, "a stream ended early");
        entry.flag = error.flag();
        if let (Spoken::Tls, Some(alert)) = (spoken, error.alert()) {
            say(&mut client, alert).await;
        }
    }
    entry.finish(&client.worker, client.source());
}

/// Where it was accepted.
struct At {
    listener: Arc<Listener>,
    label: LabelId,
    /// What ends TLS here; `None`: it is passed on as it is.
    tls: Option<Arc<ServerTls>>,
}

/// For whom the connection is made, and which name it asks for.
async fn begin(
    client: &mut Client,
    entry: &mut Entry,
    listener: &Listener,
) -> Result<(), StreamError> {
    if let Some(settings) = &listener.proxy_protocol
        && let Socket::Plain(stream) = &mut client.stream
    {
        client.said = receive::header(
            &client.worker,
            stream,
            &client.alarm,
            &mut client.buffer,
            client.peer,
            settings,
            &listener.limits,
        )
        .await?;
    }
    if entry.protocol == Spoken::Tls {
        entry.server_name = hello::server_name(client, &listener.limits).await?;
    }
    Ok(())
}

async fn serve(
    client: &mut Client,
    entry: &mut Entry,
    listener: &Listener,
) -> Result<(), StreamError> {
    let tls = client.stream.tls_info();
    if let Some(identity) = tls.as_ref().and_then(|tls| tls.workload()) {
        entry.called_by(client.worker.metrics.source(identity));
    }
    let who = Who {
        source: client.source(),
        tls,
        server_name: entry.server_name.clone(),
    };
    let local = client.worker.local();
    if let Some(table) = local.snapshot.listener(client.listener)
        && !authorize::admits(&client.worker, table, &who, entry)
    {
        return Err(StreamError::Forbidden);
    }
    drop(local);
    let standing = Standing::new(&client.worker, client.listener, who, &client.alarm);
    let ended = carry(client, entry, listener).await;
    if matches!(ended, Err(StreamError::Forbidden)) {
        entry.policy = standing.refused_by();
    }
    ended
}

/// Finds an endpoint, and carries what there is both ways.
async fn carry(
    client: &mut Client,
    entry: &mut Entry,
    listener: &Listener,
) -> Result<(), StreamError> {
    let mut connected = attempt::endpoint(client, entry).await?;
    let service = &connected.judge.service;
    let front = client.header(service.proxy_protocol);
    // What either end sets shorter holds.
    let idle = (listener.limits.stream_idle_timeout).min(service.pool.stream_idle_timeout);
    let guarded = client.said.suspect;
    let ended = match (&client.stream, &connected.lease.stream) {
        (Socket::Plain(from), Socket::Plain(endpoint)) => {
            let read = std::mem::replace(&mut client.buffer, client.worker.buffers.none());
            relay::join(client, read, (from, endpoint), entry, front, guarded, idle).await
        }
        _ => secured::join(client, &mut connected.lease.stream, entry, front, idle).await,
    };
    // One that takes connections and breaks them off unused is no better than one that takes none.
    if matches!(ended, Err(StreamError::Endpoint)) && entry.bytes_out == 0 {
        let endpoint = &connected.lease.endpoint;
        connected.judge.failed(&client.worker, endpoint);
    }
    ended
}

/// Passes a connection that was redirected on to where it was going.
pub(crate) async fn through(
    worker: Rc<Worker>,
    listener: ListenerId,
    stream: TcpStream,
    peer: SocketAddr,
    to: SocketAddr,
    alarm: AlarmGuard,
) {
    let local = worker.local();
    let Some(table) = local.snapshot.listener(listener) else {
        return;
    };
    let idle = table.listener.limits.stream_idle_timeout;
    let _counted = Counted::new(&worker, table.label);
    let mut entry = Entry::new(Spoken::Tcp, table.listener.name.clone(), table.label);
    drop(local);
    let client = Client {
        alarm,
        buffer: worker.buffers.none(),
        worker,
        listener,
        stream: Socket::Plain(stream),
        peer,
        said: Said::default(),
    };
    let now = client.worker.timers.refresh(Moment::now());
    client.alarm.set(now + PASS_WITHIN.as_millis() as u64);
    let ended = match (&client.stream, connect(to, &client.alarm).await) {
        (Socket::Plain(from), Ok(there)) => {
            let none = client.worker.buffers.none();
            relay::join(
                &client,
                none,
                (from, &there),
                &mut entry,
                Vec::new(),
                false,
                idle,
            )
            .await
        }
        (_, Err(ConnectError::Rung(_))) => Err(StreamError::ConnectTimeout),
        (_, Err(ConnectError::Io(error))) => Err(StreamError::Connect(error)),
        (_, Ok(_)) => Err(StreamError::Client),
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %to, "a connection that was passed on ended early");
        entry.flag = error.flag();
    }
    entry.finish(&client.worker, client.source());
}

/// A fatal alert in the clear, before any key is agreed on (RFC 8446, section 5.1 and 6).
async fn say(client: &mut Client, alert: u8) {
    let record = [21, 3, 3, 0, 2, 2, alert];
    // Seven bytes fit an empty send buffer; a client that is gone needs no alert.
    if let Socket::Plain(stream) = &mut client.stream
        && stream.try_write(&record).is_ok()
    {
        linger::close_stream(&client.worker, stream, &client.alarm).await;
    }
}
