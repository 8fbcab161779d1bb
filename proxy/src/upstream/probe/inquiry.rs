//! An inquiry: a request found nobody at an endpoint, so it is looked at, at once.
//!
//! Requests alone are slow to find out: the first failure turns most of them away (semantics 11), so with little traffic it
//! takes seconds until five in a row have failed. A look is a connect and no more. One that is accepted ends the inquiry: what accepts
//! and then fails is for streaks and rates to judge. [`LOOKS`] in a row that are not eject the endpoint, within
//! half a second of the request where the connection is refused, under the bounds that hold for every ejection.
//!
//! A listener that restarts is not to pay for that with 30 s. So it is looked at on, ever more seldom, and returns as
//! soon as it accepts, and passes its health check where it has one. Not so the second time in a row: what comes
//! up only to go down again sits its time out.
//!
//! Each endpoint has one inquiry at a time, and rests for a second after one that found it there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_config::model::{EndpointId, HealthCheck, ServiceName};

use super::check;
use crate::snapshot::Snapshot;
use crate::tls::ClientTls;
use crate::upstream::endpoint::EndpointState;
use crate::upstream::suspect::Suspect;

/// Looks in a row that find nobody before an endpoint is ejected.
const LOOKS: u32 = 3;

/// Before each of them, more or less: the first follows the request.
const PAUSES: [Duration; LOOKS as usize] = [
    Duration::from_millis(5),
    Duration::from_millis(100),
    Duration::from_millis(150),
];

/// A look takes no longer, whatever the service's `connectTimeout`.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks for its return: first after this, then with a wait of a tenth of the time it is out, up to [`SELDOM`].
const SOON: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(5);
const RETURN_SHARE: u32 = 10;

/// Looks at one time; each takes a descriptor meanwhile.
const AT_ONCE: usize = 128;

/// Inquires into every suspect, until the one who publishes snapshots is gone.
pub(super) async fn run(
    mut suspects: mpsc::Receiver<Suspect>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
) {
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut alive = snapshots.clone();
    // One for each endpoint at most.
    let mut inquiries = JoinSet::new();
    loop {
        tokio::select! {
            Some(suspect) = suspects.recv() => {
                let inquiry = Inquiry {
                    service: suspect.state.service.clone(),
                    id: suspect.state.id.clone(),
                    since: suspect.since,
                    snapshots: snapshots.clone(),
                    permits: Arc::clone(&permits),
                    rng: rand::make_rng(),
                };
                inquiries.spawn(async move {
                    inquiry.inquire().await;
                    suspect.state.rest_from_looks();
                });
            }
            Some(_) = inquiries.join_next() => {}
            published = alive.changed() => if published.is_err() { return },
        }
    }
}

struct Inquiry {
    service: ServiceName,
    id: EndpointId,
    since: Duration,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    permits: Arc<Semaphore>,
    rng: SmallRng,
}

/// The endpoint as the newest generation has it: its address may be another by now.
struct Found {
    state: Arc<EndpointState>,
    connect_timeout: Duration,
    check: Option<HealthCheck>,
    /// How it is spoken to, where that is over TLS. A look is a connect and no handshake.
    tls: Option<Arc<ClientTls>>,
}

impl Inquiry {
    async fn inquire(mut self) {
        for pause in PAUSES {
            self.pause(pause).await;
            let Some(found) = self.find() else { return };
            if self.accepts(&found).await {
                return;
            }
        }
        let Some(found) = self.find() else { return };
        let state = &found.state;
        // One that someone takes out, as a container that stops, is to go without a sound.
        if state.is_available() || state.is_ejected() {
            state
                .home
                .on_unreachable(&self.id, LOOKS, self.since, &mut self.rng);
            self.await_return().await;
        }
    }

    /// Looks on while an accepted connection would bring it back.
    async fn await_return(&mut self) {
        let start = Instant::now();
        loop {
            let wait = (start.elapsed() / RETURN_SHARE).clamp(SOON, SELDOM);
            self.pause(wait).await;
            let Some(found) = self.find() else { return };
            let known = found.state.home.judgement(&self.id).unwrap_or_default();
            if !known.returns_when_it_accepts() {
                return;
            }
            if self.accepts(&found).await && self.passes(&found).await {
                found.state.home.on_accepting(&self.id);
            }
        }
    }

    /// `None`: it is gone, or nobody is ejected any more for not answering.
    fn find(&self) -> Option<Found> {
        let snapshot = self.snapshots.borrow();
        let services = &snapshot.services;
        let at = services.binary_search_by(|table| table.service.name.cmp(&self.service));
        let table = &services[at.ok()?];
        let service = &table.service;
        let state = table.endpoints.iter().find(|state| state.id == self.id)?;
        service.outlier.judges_unanswered().then(|| Found {
            state: Arc::clone(state),
            connect_timeout: service.pool.connect_timeout,
            check: service.health_check.clone(),
            tls: table.tls.clone(),
        })
    }

    /// Whether somebody takes a connection.
    async fn accepts(&self, found: &Found) -> bool {
        let Ok(_permit) = self.permits.acquire().await else {
            return false;
        };
        let timeout = found.connect_timeout.min(PATIENCE);
        connects(found.state.address, timeout).await
    }

    /// Whether it passes its check, where it has one.
    async fn passes(&self, found: &Found) -> bool {
        let Some(check) = &found.check else {
            return true;
        };
        let Ok(_permit) = self.permits.acquire().await else {
            return false;
        };
        let tls = found.tls.as_deref();
        check::run(found.state.address, check, tls).await.is_ok()
    }

    /// Give or take 20%, so that what fell together is not looked at together.
    async fn pause(&mut self, about: Duration) {
        let share = self.rng.random_range(0.8..1.2);
        tokio::time::sleep(about.mul_f64(share)).await;
    }
}

async fn connects(address: SocketAddr, timeout: Duration) -> bool {
    let connecting = tokio::time::timeout(timeout, TcpStream::connect(address));
    matches!(connecting.await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests;
