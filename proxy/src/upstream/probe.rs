//! Active checks: does an endpoint answer?
//!
//! An endpoint is probed when its service has a health check, or when nothing else says that it is ready
//! ([`Admission::Probe`]); then a TCP connect decides. One task keeps all appointments in one queue
//! and runs a bounded number of probes at a time, off the data workers. What probes say reaches the request
//! path through [`EndpointState::set_health`] alone.
//!
//! Each probe ([`check`]) has a connection of its own: that an endpoint still accepts is half of what is asked. It is made
//! over TLS where requests are, with the same settings.
//!
//! Beside the appointments there is one [`inquiry`] for each endpoint that a request found absent, checked or not.
//!
//! A new endpoint is probed at once, and again soon while it does not answer ([`schedule`]), so that a
//! container takes requests about as soon as it accepts them. Endpoints that may take no request
//! whatever a probe says (starting, unhealthy, paused, draining) are left alone and keep what is known of
//! them: a paused container would only hang.

mod check;
mod inquiry;
mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use weir_config::model::{Admission, HealthCheck};

use super::suspect::Suspects;
use crate::snapshot::Snapshot;
use schedule::{Job, Schedule, Target, Ticket};

/// Probes at one time. One that hangs takes a place until its timeout, so this is well above the
/// number of endpoints that are down at once in a healthy system; each takes a descriptor meanwhile.
const AT_ONCE: usize = 512;

/// Keeps the probes going. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    snapshots: watch::Sender<Arc<Snapshot>>,
}

impl Prober {
    /// Starts the tasks that probe, on the runtime that this is called on.
    pub(crate) fn start(suspects: &Suspects) -> Self {
        let (snapshots, newest) = watch::channel(Arc::default());
        if let Some(suspects) = suspects.listen() {
            tokio::spawn(inquiry::run(suspects, newest.clone()));
        }
        tokio::spawn(run(newest));
        Self { snapshots }
    }

    /// Probes the endpoints of this snapshot from now on. May be called from any thread; never blocks.
    pub(crate) fn update(&self, snapshot: &Arc<Snapshot>) {
        self.snapshots.send_replace(Arc::clone(snapshot));
    }
}

/// The endpoints of a snapshot that probes decide about.
fn targets(snapshot: &Snapshot) -> Vec<Target> {
    let mut targets = Vec::new();
    let connect = Arc::new(HealthCheck::default());
    for table in &snapshot.services {
        let configured = table.service.health_check.clone().map(Arc::new);
        for (endpoint, state) in table.service.endpoints.iter().zip(&table.endpoints) {
            let check = match (&endpoint.admission, &configured) {
                (Admission::Ready | Admission::Probe, Some(check)) => check,
                (Admission::Probe, None) => &connect,
                _ => continue,
            };
            targets.push(Target {
                state: Arc::clone(state),
                check: Arc::clone(check),
                tls: table.tls.clone(),
            });
        }
    }
    targets
}

async fn run(mut snapshots: watch::Receiver<Arc<Snapshot>>) {
    let mut schedule = Schedule::default();
    let mut tasks = JoinSet::new();
    let mut running = HashMap::<Id, Ticket>::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(Job {
                ticket,
                address,
                check,
                tls,
            }) = schedule.pop_due(Instant::now())
        {
            let task =
                tasks.spawn(async move { check::run(address, &check, tls.as_deref()).await });
            running.insert(task.id(), ticket);
        }
        let next = schedule.next_due().filter(|_| running.len() < AT_ONCE);
        tokio::select! {
            changed = snapshots.changed() => {
                if changed.is_err() {
                    return;
                }
                let snapshot = Arc::clone(&snapshots.borrow_and_update());
                schedule.reconcile(Instant::now(), targets(&snapshot));
            }
            Some(ended) = tasks.join_next_with_id() => {
                let (id, outcome) = match ended {
                    Ok((id, outcome)) => (id, outcome),
                    Err(error) => (error.id(), Err("the probe itself failed".to_owned())),
                };
                if let Some(ticket) = running.remove(&id) {
                    schedule.finish(Instant::now(), ticket, outcome, rand::rng().random());
                }
            }
            () = sleep_until(next), if next.is_some() => {}
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at.into()).await;
    }
}

#[cfg(test)]
mod tests;
