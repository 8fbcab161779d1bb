//! The way to an endpoint: who takes the attempt, and over which connection.

use std::rc::Rc;
use std::time::Instant;

use super::super::error::ProxyError;
use super::super::h1::serve::Connection;
use super::attempt::Call;
use super::deadlines::Deadlines;
use crate::timer::Rung;
use crate::upstream::local::{LocalEndpoint, LocalService};
use crate::upstream::permit::{InFlight, Permit};
use crate::upstream::pick::{self, Asked};
use crate::upstream::pool::{Lease, Open, Pool};
use crate::upstream::service::Limit;

/// An endpoint that was picked, with a place on it.
pub(super) struct Way {
    pub(super) endpoint: Rc<LocalEndpoint>,
    pub(super) in_flight: InFlight,
    pub(super) connection: Connected,
}

/// What there is of a connection.
pub(super) enum Connected {
    /// One that an earlier request left.
    Idle(Lease),
    /// Room to make one.
    Room(Open),
}

/// Somebody else may take the last place between a look at it and the grasp for it; more often than this in one pick,
/// and the endpoint is as good as full.
const MAX_RACES: u8 = 3;

/// Picks an endpoint and takes a place on it; where the service's connections are all in use, waits for one.
pub(super) async fn find(
    conn: &Connection,
    call: &Call<'_>,
    tried: &[Rc<LocalEndpoint>],
    deadlines: &Deadlines,
) -> Result<Way, ProxyError> {
    let service = &call.choice.service;
    let limit = service.table.service.pool.max_requests_per_endpoint;
    let mut races = 0;
    let mut pending: Option<Permit> = None;
    let mut since = None;
    loop {
        let asked = Asked {
            tried,
            key: call.key,
            now_ms: conn.worker.timers.now(),
        };
        let endpoint = pick(conn, call, &asked, pending.is_some())?;
        let Some(in_flight) = InFlight::begin(&endpoint, limit) else {
            races += 1;
            if races > MAX_RACES {
                return Err(refused(service, Limit::Requests));
            }
            continue;
        };
        // A newcomer goes behind those who wait.
        let in_turn = pending.is_some() || service.waiters.is_empty();
        if let Some(connection) = in_turn
            .then(|| connected(conn, service, &endpoint))
            .flatten()
        {
            return Ok(Way {
                endpoint,
                in_flight,
                connection,
            });
        }
        drop(in_flight);
        if pending.is_none() {
            pending = Some(Permit::pending(service).map_err(ProxyError::Overloaded)?);
        }
        since = Some(wait(conn, service, deadlines, since).await?);
    }
}

fn pick(
    conn: &Connection,
    call: &Call<'_>,
    asked: &Asked<'_>,
    waited: bool,
) -> Result<Rc<LocalEndpoint>, ProxyError> {
    if waited && let Some(endpoint) = pick::with_idle_connection(call.choice, asked) {
        return Ok(endpoint);
    }
    let picked = pick::endpoint(call.choice, asked, &mut conn.worker.random.borrow_mut());
    picked.ok_or_else(|| match pick::has_available(call.choice) {
        // There are some, and each has all that it may have.
        true => refused(&call.choice.service, Limit::Requests),
        false => ProxyError::NoEndpoint,
    })
}

fn refused(service: &LocalService, limit: Limit) -> ProxyError {
    service.table.state.breakers.refuse(limit);
    ProxyError::Overloaded(limit)
}

fn connected(
    conn: &Connection,
    service: &Rc<LocalService>,
    endpoint: &Rc<LocalEndpoint>,
) -> Option<Connected> {
    if let Some(lease) = Pool::take(endpoint) {
        return Some(Connected::Idle(lease));
    }
    Open::take_or_make_room(endpoint, service, &conn.worker.upstream_open).map(Connected::Room)
}

/// Waits to be called, and says since when. All workers' waiting is counted, so that those who have idle connections
/// let go of them.
async fn wait(
    conn: &Connection,
    service: &Rc<LocalService>,
    deadlines: &Deadlines,
    since: Option<Instant>,
) -> Result<Instant, ProxyError> {
    let waiting = service.waiters.join(since);
    conn.alarm.set_endpoint(None);
    conn.alarm.set(deadlines.next());
    conn.worker.shared.waits();
    let called = conn.alarm.watch(|cx| waiting.poll(cx)).await;
    conn.worker.shared.waits_no_longer();
    match called {
        Ok(()) => Ok(waiting.since()),
        Err(Rung::Time | Rung::Drain | Rung::Removed) => Err(ProxyError::Timeout),
    }
}
