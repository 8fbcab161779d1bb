//! What someone asks of one endpoint while Weir runs.
//!
//! Nothing of this is configuration: it is kept with the observed state of the endpoint, so a new generation
//! keeps it as long as the endpoint is the same (semantics 14), and a restart forgets it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use weir_config::model::{EndpointId, ServiceName};
use weir_decide::outlier::Refusal;

use super::{Handle, Shared};
use crate::upstream::endpoint::{EndpointState, Ends, Operator, Standing, Wish};

/// What can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// No new requests; those in flight finish.
    Drain,
    /// As [`Action::Drain`], and its checks do not count meanwhile.
    Maintenance,
    /// Ends both.
    Ready,
    /// Out as an outlier: nothing but in panic (semantics 6).
    Eject,
    /// Ends an ejection, whoever made it.
    Uneject,
}

/// What is asked of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub action: Action,
    /// When it ends by itself; default: when someone says so. Nothing to [`Action::Ready`] and [`Action::Uneject`].
    pub time: Option<Duration>,
    /// Who asks, and why; shown as the reason.
    pub by: String,
    /// Ejects even the last one that takes requests.
    pub force: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operated {
    /// `false`: there was nothing to end.
    pub changed: bool,
    /// How the endpoint stands now.
    pub standing: Standing,
    /// Requests on it now.
    pub in_flight: u32,
    /// Endpoints of the service that take requests now.
    pub left: usize,
    /// Too few are left, and those that are ejected serve too.
    pub panic: bool,
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperateError {
    #[error("there is no service {0}")]
    NoService(String),
    #[error("service {service} has no endpoint {id}")]
    NoEndpoint { service: String, id: String },
    #[error("no other endpoint of its version takes requests now")]
    LastOne,
}

impl Handle {
    /// Does what is asked of an endpoint of a service; in force for the next pick of every worker when this returns.
    ///
    /// # Errors
    /// There is no such endpoint, or ejecting it would leave nobody.
    pub fn operate(
        &self,
        service: &str,
        id: &str,
        operation: &Operation,
    ) -> Result<Operated, OperateError> {
        let shared = &self.shared;
        let state = find(shared, service, id)?;
        let changed = match operation.action {
            Action::Drain => wish(shared, &state, Wish::Drain, operation),
            Action::Maintenance => wish(shared, &state, Wish::Maintenance, operation),
            Action::Ready => {
                let asked = state.operator().is_some();
                shared.registry().set_operator(&state, None);
                asked
            }
            Action::Eject => state
                .home
                .eject(&state.id, &operation.by, operation.time, operation.force)
                .map(|()| true)
                .map_err(|refusal| match refusal {
                    // A new generation took it out meanwhile.
                    Refusal::Gone => no_endpoint(service, id),
                    _ => OperateError::LastOne,
                })?,
            Action::Uneject => state.home.uneject(&state.id),
        };
        Ok(outcome(shared, &state, changed))
    }
}

fn find(shared: &Shared, service: &str, id: &str) -> Result<Arc<EndpointState>, OperateError> {
    let no_service = || OperateError::NoService(service.to_owned());
    let name = ServiceName::new(service).map_err(|_| no_service())?;
    shared.registry().service(&name).ok_or_else(no_service)?;
    let known = EndpointId::new(id).ok();
    known
        .and_then(|id| shared.registry().get(&name, &id))
        .ok_or_else(|| no_endpoint(service, id))
}

fn no_endpoint(service: &str, id: &str) -> OperateError {
    OperateError::NoEndpoint {
        service: service.to_owned(),
        id: id.to_owned(),
    }
}

fn wish(shared: &Shared, state: &EndpointState, wish: Wish, operation: &Operation) -> bool {
    let now = shared.clock().now();
    let operator = Operator {
        wish,
        by: Arc::from(operation.by.as_str()),
        since: SystemTime::now(),
        ends: operation.time.and_then(|time| Ends::after(time, now)),
    };
    shared.registry().set_operator(state, Some(operator));
    true
}

fn outcome(shared: &Shared, state: &EndpointState, changed: bool) -> Operated {
    let snapshot = shared.snapshot();
    let table = snapshot
        .services
        .iter()
        .find(|table| table.service.name == state.service);
    let left = table.map_or(0, |table| {
        let endpoints = table.endpoints.iter();
        endpoints.filter(|endpoint| endpoint.is_available()).count()
    });
    let panic = table.is_some_and(|table| {
        let mut versions = 0..table.versions.len();
        let mine = versions.find(|at| {
            let members = &table.versions[*at].members;
            members.iter().any(|at| table.endpoints[*at].id == state.id)
        });
        mine.is_some_and(|at| table.levels(at).any_panic())
    });
    Operated {
        changed,
        standing: state.standing(),
        in_flight: state.in_flight(),
        left,
        panic,
    }
}
