//! The way to an endpoint: who takes the attempt, and over which connection.

use std::rc::Rc;
use std::time::Instant;

use super::super::error::ProxyError;
use super::super::h1::serve::Connection;
use super::attempt::Call;
use super::deadlines::Deadlines;
use crate::upstream::local::{LocalEndpoint, LocalService};
use crate::upstream::multiplex::{Multiplex, Place};
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
    /// A stream's place on one that others use, too.
    Shared(Place),
    /// Somebody is making one that can be shared.
    Coming,
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
    let mut waited_for = None;
    loop {
        let asked = Asked {
            tried,
            key: call.key,
            now_ms: conn.worker.timers.now(),
        };
        let endpoint = pick(conn, call, &asked, waited_for.take())?;
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
        waited_for = Some(endpoint);
    }
}

/// Picks an endpoint. Who waited for a connection to one takes any that is free, else goes where it was going.
fn pick(
    conn: &Connection,
    call: &Call<'_>,
    asked: &Asked<'_>,
    waited_for: Option<Rc<LocalEndpoint>>,
) -> Result<Rc<LocalEndpoint>, ProxyError> {
    if let Some(picked) = waited_for {
        if let Some(endpoint) = pick::with_idle_connection(call.choice, asked) {
            return Ok(endpoint);
        }
        // Picked once: in a rotation, a second pick would pass over the one whose turn it is, each time anew.
        if pick::still_takes(call.choice, &picked) {
            return Ok(picked);
        }
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

pub(super) fn connected(
    conn: &Connection,
    service: &Rc<LocalService>,
    endpoint: &Rc<LocalEndpoint>,
) -> Option<Connected> {
    let shares = service.table.may_share() && endpoint.multiplex.may_come();
    if shares && let Some(place) = place(conn, service, endpoint) {
        return Some(Connected::Shared(place));
    }
    if shares && endpoint.multiplex.is_making() {
        return Some(Connected::Coming);
    }
    if let Some(lease) = Pool::take(endpoint) {
        return Some(Connected::Idle(lease));
    }
    Open::take_or_make_room(endpoint, service, &conn.worker.upstream_open).map(Connected::Room)
}

/// A place on a connection of HTTP/2.
fn place(conn: &Connection, service: &LocalService, endpoint: &Rc<LocalEndpoint>) -> Option<Place> {
    Multiplex::take(endpoint, service, conn.worker.timers.now())
}

/// Waits to be called, and says since when. All workers' waiting is counted, so that those who have idle connections
/// let go of them.
pub(super) async fn wait(
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
        Err(rung) => Err(deadlines.failure(conn, rung).error),
    }
}
