//! Finding an endpoint and connecting to it. Nothing has been sent yet, so that another is tried without harm.

use std::rc::Rc;
use std::time::{Duration, Instant};

use weir_config::model::ProxyVersion;

use super::error::StreamError;
use super::serve::Client;
use crate::stream::{self, Entry, NoWay};
use crate::timer::Rung;
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::local::{Local, LocalEndpoint};
use crate::upstream::pick::{self, NoChoice};
use crate::upstream::pool::{InFlight, Lease};

/// Tries beyond the first.
const MORE_TRIES: u8 = 2;

/// A connection to an endpoint.
pub(super) struct Connected {
    pub(super) lease: Lease,
    /// The stream weighs on the endpoint as long as it lives (semantics 10).
    pub(super) _in_flight: InFlight,
    /// The PROXY header to send.
    pub(super) header: Option<ProxyVersion>,
    /// How long nothing may move, by the service.
    pub(super) idle: Duration,
}

/// Connects to an endpoint of the route's choice.
pub(super) async fn endpoint(client: &Client, entry: &mut Entry) -> Result<Connected, StreamError> {
    let mut local = client.worker.local();
    loop {
        let result = by_generation(client, &local, entry).await;
        // The endpoints may have gone with the generation that was asked: the next one knows better.
        let newer = client.worker.local();
        if !matches!(result, Err(StreamError::NoEndpoint)) || Rc::ptr_eq(&newer, &local) {
            return result;
        }
        local = newer;
    }
}

async fn by_generation(
    client: &Client,
    local: &Rc<Local>,
    entry: &mut Entry,
) -> Result<Connected, StreamError> {
    let table = local
        .snapshot
        .listener(client.listener)
        .ok_or(StreamError::NoRoute)?;
    let choice = stream::choose(local, client.listener, table, entry).map_err(|no| match no {
        NoWay::Route => StreamError::NoRoute,
        NoWay::Choice(NoChoice::NoBackend) => StreamError::NoBackend,
        NoWay::Choice(NoChoice::NoEndpoint) => StreamError::NoEndpoint,
    })?;
    let service = &choice.service.table.service;
    let timeout_ms = service.pool.connect_timeout.as_millis() as u64;
    let header = service.proxy_protocol;
    let idle = service.pool.stream_idle_timeout;
    let version = &choice.service.versions[choice.version];
    let mut tried: Vec<Rc<LocalEndpoint>> = Vec::new();
    loop {
        let picked = pick::endpoint(version, &tried, &mut client.worker.random.borrow_mut());
        let endpoint = picked.ok_or(StreamError::NoEndpoint)?;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.endpoint = Some(Rc::clone(&endpoint));
        let in_flight = InFlight::new(&endpoint);
        match open(client, &endpoint, timeout_ms).await {
            Ok(lease) => {
                entry.upstream = Some(entry.started.elapsed());
                return Ok(Connected {
                    lease,
                    _in_flight: in_flight,
                    header,
                    idle,
                });
            }
            Err(error) if tried.len() >= usize::from(MORE_TRIES) => return Err(error),
            Err(_) => {
                endpoint.state.count_error();
                client.worker.metrics.retried("connect-failure");
                tried.push(endpoint);
            }
        }
    }
}

async fn open(
    client: &Client,
    endpoint: &Rc<LocalEndpoint>,
    timeout_ms: u64,
) -> Result<Lease, StreamError> {
    let now = client.worker.timers.refresh(Instant::now());
    client.alarm.set_endpoint(Some(Rc::clone(endpoint)));
    client.alarm.set(now + timeout_ms);
    match connect(endpoint.state.address, &client.alarm).await {
        Ok(stream) => Ok(Lease::new(stream, endpoint, &client.worker.upstream_open)),
        Err(ConnectError::Io(error)) => Err(StreamError::Connect(error)),
        Err(ConnectError::Rung(Rung::Removed)) => Err(StreamError::Removed),
        Err(ConnectError::Rung(_)) => Err(StreamError::ConnectTimeout),
    }
}
