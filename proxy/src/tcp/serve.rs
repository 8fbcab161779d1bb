//! A client's connection, from its first byte to the end of both directions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use weir_config::model::{Listener, Protocol, ProxyVersion};

use super::error::StreamError;
use super::{attempt, hello, relay};
use crate::buffer::Buffer;
use crate::http::linger;
use crate::listener::counted::Counted;
use crate::listener::proxy_protocol::{self, Addresses};
use crate::listener::receive::{self, Said};
use crate::snapshot::ListenerId;
use crate::stream::Entry;
use crate::telemetry::Spoken;
use crate::timer::AlarmGuard;
use crate::worker::Worker;

/// A client's connection.
pub(super) struct Client {
    pub(super) worker: Rc<Worker>,
    pub(super) listener: ListenerId,
    pub(super) stream: TcpStream,
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
            let destination = self.stream.local_addr().ok()?;
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

/// Serves a connection to its end.
pub(crate) async fn connection(
    worker: Rc<Worker>,
    listener: ListenerId,
    stream: TcpStream,
    peer: SocketAddr,
) {
    worker.begins();
    let local = worker.local();
    let Some(table) = local.snapshot.listener(listener) else {
        return;
    };
    let spoken = match table.listener.protocol {
        Protocol::TlsPassthrough => Spoken::Tls,
        _ => Spoken::Tcp,
    };
    let settings = Arc::clone(&table.listener);
    let _counted = Counted::new(&worker, table.label);
    let mut entry = Entry::new(spoken, table.listener.name.clone(), table.label);
    // It may live for days, and the generation should not.
    drop(local);
    let mut client = Client {
        alarm: worker.timers.alarm(),
        buffer: worker.buffers.none(),
        worker,
        listener,
        stream,
        peer,
        said: Said::default(),
    };
    if let Err(error) = serve(&mut client, &mut entry, &settings).await {
        tracing::debug!(%error, peer = %client.peer, "a stream ended early");
        entry.flag = error.flag();
        if let (Spoken::Tls, Some(alert)) = (spoken, error.alert()) {
            say(&mut client, alert).await;
        }
    }
    entry.finish(&client.worker, client.source());
}

async fn serve(
    client: &mut Client,
    entry: &mut Entry,
    listener: &Listener,
) -> Result<(), StreamError> {
    if let Some(settings) = &listener.proxy_protocol {
        client.said = receive::header(
            &client.worker,
            &mut client.stream,
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
    let mut connected = attempt::endpoint(client, entry).await?;
    let service = &connected.judge.service;
    let front = client.header(service.proxy_protocol);
    // What either end sets shorter holds.
    let idle = (listener.limits.stream_idle_timeout).min(service.pool.stream_idle_timeout);
    let guarded = client.said.suspect;
    let stream = &mut connected.lease.stream;
    let ended = relay::join(client, stream, entry, front, guarded, idle).await;
    // One that takes connections and breaks them off unused is no better than one that takes none.
    if matches!(ended, Err(StreamError::Endpoint)) && entry.bytes_out == 0 {
        let endpoint = &connected.lease.endpoint;
        connected.judge.failed(&client.worker, endpoint);
    }
    ended
}

/// A fatal alert in the clear, before any key is agreed on (RFC 8446, section 5.1 and 6).
async fn say(client: &mut Client, alert: u8) {
    let record = [21, 3, 3, 0, 2, 2, alert];
    // Seven bytes fit an empty send buffer; a client that is gone needs no alert.
    if client.stream.try_write(&record).is_ok() {
        linger::close_stream(&client.worker, &mut client.stream, &client.alarm).await;
    }
}
