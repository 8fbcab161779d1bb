//! Permits held: each gives itself back.

use std::rc::Rc;

use weir_decide::breaker::{Permits, retry_limit};

use super::local::{LocalEndpoint, LocalService};
use super::service::Limit;

/// One of a service's limits, taken once.
pub(crate) struct Permit {
    service: Rc<LocalService>,
    limit: Limit,
}

impl Permit {
    /// A place among the active requests of the service.
    ///
    /// # Errors
    /// As many as allowed are active.
    #[inline]
    pub(crate) fn request(service: &Rc<LocalService>) -> Result<Self, Limit> {
        let limit = service.table.service.pool.max_requests;
        Self::take(service, Limit::Requests, limit)
    }

    /// A place among those that wait for a connection.
    ///
    /// # Errors
    /// As many as allowed wait.
    pub(crate) fn pending(service: &Rc<LocalService>) -> Result<Self, Limit> {
        let limit = service.table.service.pool.max_pending;
        Self::take(service, Limit::Pending, limit)
    }

    /// A place among the retries (semantics 26).
    ///
    /// # Errors
    /// As many as the budget allows go on.
    pub(crate) fn retry(service: &Rc<LocalService>) -> Result<Self, Limit> {
        let active = service.table.state.breakers.requests.taken();
        let limit = retry_limit(service.table.service.pool.retries, active);
        Self::take(service, Limit::Retries, limit)
    }

    #[inline]
    fn take(service: &Rc<LocalService>, which: Limit, limit: u32) -> Result<Self, Limit> {
        if permits(service, which).try_acquire(limit) {
            return Ok(Self {
                service: Rc::clone(service),
                limit: which,
            });
        }
        service.table.state.breakers.refuse(which);
        Err(which)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        permits(&self.service, self.limit).release();
    }
}

fn permits(service: &LocalService, limit: Limit) -> &Permits {
    let breakers = &service.table.state.breakers;
    match limit {
        Limit::Connections => &breakers.connections,
        Limit::Pending => &breakers.pending,
        Limit::Requests => &breakers.requests,
        Limit::Retries => &breakers.retries,
    }
}

/// A request in flight on an endpoint, from its being picked to its end.
pub(crate) struct InFlight(Rc<LocalEndpoint>);

impl InFlight {
    /// `None`: the endpoint has as many as `limit` allows.
    #[inline]
    pub(crate) fn begin(endpoint: &Rc<LocalEndpoint>, limit: Option<u32>) -> Option<Self> {
        endpoint
            .state
            .begin(limit)
            .then(|| Self(Rc::clone(endpoint)))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.end();
    }
}
