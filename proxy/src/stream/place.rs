//! A place on an endpoint for one stream: picked, counted, held against the limits.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use weir_config::model::{Balancer, HashKey, Service};
use weir_decide::balance::hash_ip;

use crate::tls::ClientTls;
use crate::upstream::feedback::{self, Ended, Outcome};
use crate::upstream::local::{LocalEndpoint, LocalService};
use crate::upstream::permit::InFlight;
use crate::upstream::pick::{self, Asked, Choice};
use crate::upstream::pool::Open;
use crate::upstream::service::Limit;
use crate::worker::Worker;

/// An endpoint with a place on it.
pub(crate) struct Place {
    pub(crate) endpoint: Rc<LocalEndpoint>,
    /// The stream weighs on the endpoint as long as it lives.
    pub(crate) in_flight: InFlight,
    /// It counts as a connection (semantics 10).
    pub(crate) open: Open,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    NoEndpoint,
    /// The service or its endpoints have as many connections as they may (semantics 9).
    Overloaded,
}

/// Picks an endpoint for a stream of this client.
pub(crate) fn pick(
    worker: &Worker,
    choice: &Choice,
    tried: &[Rc<LocalEndpoint>],
    client: IpAddr,
) -> Result<Rc<LocalEndpoint>, NoPlace> {
    let asked = Asked {
        tried,
        key: key(&choice.service.table.service, client),
        now_ms: worker.timers.now(),
    };
    let picked = pick::endpoint(choice, &asked, &mut worker.random.borrow_mut());
    picked.ok_or_else(|| match pick::has_available(choice) {
        // There are some, and each has all that it may have.
        true => refused(&choice.service),
        false => NoPlace::NoEndpoint,
    })
}

/// Takes a place on an endpoint. A stream is refused at once where the limit is reached: it may live for days, so
/// waiting for another to end is no answer.
pub(crate) fn take(
    worker: &Worker,
    service: &Rc<LocalService>,
    endpoint: &Rc<LocalEndpoint>,
) -> Result<Place, NoPlace> {
    let open = Open::take_or_make_room(endpoint, service, &worker.upstream_open);
    let open = open.ok_or_else(|| refused(service))?;
    let in_flight = InFlight::begin(endpoint, None).ok_or_else(|| refused(service))?;
    Ok(Place {
        endpoint: Rc::clone(endpoint),
        in_flight,
        open,
    })
}

fn refused(service: &LocalService) -> NoPlace {
    service.table.state.breakers.refuse(Limit::Connections);
    NoPlace::Overloaded
}

/// Of a stream only the client's address is known to hash; other keys are of requests.
fn key(service: &Service, client: IpAddr) -> Option<u64> {
    let Balancer::ConsistentHash(hash) = &service.load_balancer.balancer else {
        return None;
    };
    match &hash.key {
        HashKey::SourceIp => Some(hash_ip(client)),
        HashKey::Header(_) | HashKey::Query(_) | HashKey::Cookie { .. } => None,
    }
}

/// Whom to tell how a stream fared. Holds one service and no generation, for a stream may outlive many.
pub(crate) struct Judge {
    pub(crate) service: Arc<Service>,
    /// How its endpoints are called, where that is over TLS.
    pub(crate) tls: Option<Arc<ClientTls>>,
    version: usize,
}

impl Judge {
    pub(crate) fn of(choice: &Choice) -> Self {
        Self {
            service: Arc::clone(&choice.service.table.service),
            tls: choice.service.table.tls.clone(),
            version: choice.version,
        }
    }

    /// The endpoint took the stream, so long after it was asked.
    pub(crate) fn succeeded(&self, worker: &Worker, endpoint: &LocalEndpoint, took: Duration) {
        self.tell(worker, endpoint, Outcome::Success, Some(took));
    }

    /// It could not be reached, or broke off before it said anything.
    pub(crate) fn failed(&self, worker: &Worker, endpoint: &LocalEndpoint) {
        feedback::report(
            &endpoint.state,
            &self.service,
            &self.service.versions[self.version].name,
            ended(worker, Outcome::LocalOrigin, None),
            &mut *worker.random.borrow_mut(),
        );
    }

    /// Nobody took a datagram there, which a connection would neither prove nor disprove.
    pub(crate) fn refused_datagram(&self, worker: &Worker, endpoint: &LocalEndpoint) {
        self.tell(worker, endpoint, Outcome::LocalOrigin, None);
    }

    fn tell(
        &self,
        worker: &Worker,
        endpoint: &LocalEndpoint,
        outcome: Outcome,
        latency: Option<Duration>,
    ) {
        feedback::record(
            &endpoint.state,
            &self.service,
            &self.service.versions[self.version].name,
            ended(worker, outcome, latency),
            &mut *worker.random.borrow_mut(),
        );
    }
}

fn ended(worker: &Worker, outcome: Outcome, latency: Option<Duration>) -> Ended {
    Ended {
        outcome,
        latency,
        now_ms: worker.timers.now(),
    }
}
