//! Finding an endpoint and connecting to it. Nothing has been sent yet, so that another is tried without harm.

use std::rc::Rc;

use super::error::StreamError;
use super::serve::Client;
use crate::moment::Moment;
use crate::socket::Socket;
use crate::stream::place::{self, Judge, NoPlace, Place};
use crate::stream::{self, Entry, NoWay};
use crate::timer::Rung;
use crate::tls::{self, Alpn};
use crate::upstream::connect::{ConnectError, connect};
use crate::upstream::local::{Local, LocalEndpoint};
use crate::upstream::permit::{InFlight, Permit};
use crate::upstream::pick::{Choice, NoChoice};
use crate::upstream::pool::Lease;

/// Tries beyond the first.
const MORE_TRIES: usize = 2;

/// A connection to an endpoint.
pub(super) struct Connected {
    pub(super) lease: Lease,
    pub(super) judge: Judge,
    _in_flight: InFlight,
}

/// Connects to an endpoint of the route's choice.
pub(super) async fn endpoint(client: &Client, entry: &mut Entry) -> Result<Connected, StreamError> {
    let mut local = client.worker.local();
    loop {
        let result = by_generation(client, &local, entry).await;
        // The endpoints may have gone with the generation that was asked: the next one knows better.
        if !matches!(result, Err(StreamError::NoEndpoint)) {
            return result;
        }
        let Some(newer) = client.worker.newer(&local) else {
            return result;
        };
        local = newer;
    }
}

async fn by_generation(
    client: &Client,
    local: &Rc<Local>,
    entry: &mut Entry,
) -> Result<Connected, StreamError> {
    let choice = choose(client, local, entry)?;
    let judge = Judge::of(&choice);
    let mut tried: Vec<Rc<LocalEndpoint>> = Vec::new();
    // Held while a retry goes on, see `Permit::retry`.
    let mut _retrying = None;
    loop {
        let place = take_place(client, &choice, &tried)?;
        entry.attempts = entry.attempts.saturating_add(1);
        entry.endpoint = Some(Rc::clone(&place.endpoint));
        let endpoint = Rc::clone(&place.endpoint);
        let asked = Moment::now();
        let error = match open(client, place, &judge).await {
            Ok((lease, in_flight)) => {
                entry.upstream = Some(entry.started.elapsed());
                judge.succeeded(&client.worker, &endpoint, asked.elapsed());
                return Ok(Connected {
                    lease,
                    judge,
                    _in_flight: in_flight,
                });
            }
            Err(error) => error,
        };
        if matches!(error, StreamError::Forbidden) {
            return Err(error);
        }
        if !matches!(error, StreamError::Removed) {
            judge.failed(&client.worker, &endpoint);
        }
        if tried.len() >= MORE_TRIES {
            return Err(error);
        }
        match Permit::retry(&choice.service) {
            Ok(permit) => _retrying = Some(permit),
            // The budget is spent (semantics 26).
            Err(_) => return Err(error),
        }
        client.worker.metrics.retried("connect-failure");
        tried.push(endpoint);
    }
}

fn choose(client: &Client, local: &Local, entry: &mut Entry) -> Result<Choice, StreamError> {
    let table = local
        .snapshot
        .listener(client.listener)
        .ok_or(StreamError::NoRoute)?;
    stream::choose(local, client.listener, table, entry).map_err(|no| match no {
        NoWay::Route => StreamError::NoRoute,
        NoWay::Choice(NoChoice::NoBackend) => StreamError::NoBackend,
        NoWay::Choice(NoChoice::NoEndpoint) => StreamError::NoEndpoint,
    })
}

fn take_place(
    client: &Client,
    choice: &Choice,
    tried: &[Rc<LocalEndpoint>],
) -> Result<Place, StreamError> {
    let worker = &client.worker;
    place::pick(worker, choice, tried, client.source().ip())
        .and_then(|endpoint| place::take(worker, &choice.service, &endpoint))
        .map_err(|no| match no {
            NoPlace::NoEndpoint => StreamError::NoEndpoint,
            NoPlace::Overloaded => StreamError::Overloaded,
        })
}

async fn open(
    client: &Client,
    place: Place,
    judge: &Judge,
) -> Result<(Lease, InFlight), StreamError> {
    let Place {
        endpoint,
        in_flight,
        open,
    } = place;
    let timeout_ms = judge.service.pool.connect_timeout.as_millis() as u64;
    let now = client.worker.timers.refresh(Moment::now());
    client.alarm.set_endpoint(Some(Rc::clone(&endpoint)));
    client.alarm.set(now + timeout_ms);
    match socket(client, &endpoint, judge).await {
        Ok(stream) => Ok((Lease::new(stream, &endpoint, open), in_flight)),
        Err(ConnectError::Io(error)) => Err(StreamError::Connect(error)),
        Err(ConnectError::Rung(Rung::Removed)) => Err(StreamError::Removed),
        Err(ConnectError::Rung(Rung::Forbidden)) => Err(StreamError::Forbidden),
        Err(ConnectError::Rung(_)) => Err(StreamError::ConnectTimeout),
    }
}

/// A connection as the service wants it: plain, or over TLS, in which nothing is agreed on that is spoken inside.
async fn socket(
    client: &Client,
    endpoint: &LocalEndpoint,
    judge: &Judge,
) -> Result<Socket, ConnectError> {
    let address = endpoint.state.address;
    let plain = connect(address, &client.alarm).await?;
    Ok(match &judge.tls {
        None => Socket::Plain(plain),
        Some(tls) => {
            let ip = address.ip();
            let stream = tls::connect_as(plain, tls, ip, &client.alarm, Alpn::None).await?;
            Socket::tls(stream)
        }
    })
}
