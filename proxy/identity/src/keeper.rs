//! Getting an identity and keeping it current.

mod upkeep;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_xds_client::{Line, OwnTls};

use crate::authority::FromAuthority;
use crate::channel::{AskError, trust_of};
use crate::files::{self, FromFiles};
use crate::identity::Identity;
use crate::key::Fresh;
use crate::last::Last;
use crate::schedule::retry_in;
use crate::status::Status;
use crate::verify::config;
use crate::workload::{self, FromWorkloadApi};
use crate::world::World;
use upkeep::Upkeep;

/// Where an identity comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// The control plane's authority.
    Authority(FromAuthority),
    /// Files that somebody else renews.
    Files(FromFiles),
    /// An agent that speaks the SPIFFE Workload API.
    WorkloadApi(FromWorkloadApi),
}

/// Why there will be no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no identity: {0}")]
pub struct StartError(pub String);

/// An identity that is kept current until this is dropped.
#[derive(Debug)]
pub struct Kept {
    identities: watch::Receiver<Arc<Identity>>,
    task: JoinHandle<()>,
    /// The connection on which configuration comes: who certifies is asked on it, and is shown there what was renewed. A certificate
    /// from elsewhere may be none that the control plane takes: that is shown when the connection ends.
    line: Line,
    /// Authorities of the control plane's certificate, where it has one of its own.
    ca: Option<PathBuf>,
}

impl Kept {
    /// Follows it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Identity>> {
        self.identities.clone()
    }

    /// Settings of TLS for a stream of configuration: this identity, whatever it is by then, to the control plane of its mesh.
    #[must_use]
    pub fn tls(&self, world: &World) -> OwnTls {
        let (identities, world, ca) = (self.identities.clone(), world.clone(), self.ca.clone());
        OwnTls::new(move || {
            let own = Arc::clone(&identities.borrow());
            let trust = trust_of(&own, ca.as_deref()).map_err(|error| error.to_string())?;
            let config = config(trust, Some(own.id.trust_domain()), Some(&own), &world);
            config.map(Arc::new).map_err(|error| error.to_string())
        })
        .on(self.line.clone())
    }

    /// What it is now.
    #[must_use]
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identities.borrow())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Publishes what comes, and shows it in the status.
pub(crate) struct Publisher {
    sender: watch::Sender<Arc<Identity>>,
    status: Arc<Status>,
}

impl Publisher {
    pub(crate) fn new(
        first: Arc<Identity>,
        status: Arc<Status>,
    ) -> (Self, watch::Receiver<Arc<Identity>>) {
        status.shows(&first);
        let (sender, receiver) = watch::channel(first);
        (Self { sender, status }, receiver)
    }

    pub(crate) fn publish(&self, identity: Arc<Identity>) {
        self.status.shows(&identity);
        self.sender.send_replace(identity);
    }

    pub(crate) fn status(&self) -> &Status {
        &self.status
    }
}

/// Waits for the first identity, however long that takes, and keeps it current on a task of its own.
///
/// # Errors
/// [`StartError`] where waiting does not help: no token or one that is refused, files that hold no identity.
pub async fn start(from: Source, world: World, status: Arc<Status>) -> Result<Kept, StartError> {
    match from {
        Source::Authority(from) => start_authority(from, world, status).await,
        Source::Files(from) => {
            let (seen, first) = files::first(&from).map_err(StartError)?;
            status.renewed();
            let (publisher, identities) = Publisher::new(Arc::new(first), status);
            let task = tokio::spawn(files::follow(from, seen, publisher, world));
            Ok(Kept {
                identities,
                task,
                line: Line::default(),
                ca: None,
            })
        }
        Source::WorkloadApi(from) => {
            let (first, stream) = workload::first(&from, &world, &status).await?;
            let (publisher, identities) = Publisher::new(Arc::new(first), status);
            let task = tokio::spawn(workload::follow(from, stream, publisher, world));
            Ok(Kept {
                identities,
                task,
                line: Line::default(),
                ca: None,
            })
        }
    }
}

async fn start_authority(
    from: FromAuthority,
    world: World,
    status: Arc<Status>,
) -> Result<Kept, StartError> {
    let last = match &from.dir {
        Some(dir) => Some(Last::open(dir).map_err(|error| {
            StartError(format!(
                "cannot use {}: {error}; check that this user may write to it",
                dir.display()
            ))
        })?),
        None => None,
    };
    let upkeep = match last.as_ref().and_then(|last| kept(last, &from, &world)) {
        Some((identity, received)) => Upkeep::resumed(identity, received, &world),
        None => {
            let upkeep = first(&from, &world, &status).await?;
            upkeep::keep(last.as_ref(), &upkeep.identity, upkeep.received);
            upkeep
        }
    };
    let (publisher, identities) = Publisher::new(Arc::clone(&upkeep.identity), status);
    let (ca, line) = (from.ca.clone(), Line::default());
    let upkeep = upkeep::run(upkeep, from, last, publisher, line.clone(), world);
    let task = tokio::spawn(upkeep);
    Ok(Kept {
        identities,
        task,
        line,
        ca,
    })
}

/// What was kept, if it still holds and is ours.
fn kept(last: &Last, from: &FromAuthority, world: &World) -> Option<(Identity, i64)> {
    let path = last.path().display();
    let (identity, received) = match last.read() {
        Ok(kept) => kept?,
        Err(error) => {
            tracing::warn!("the identity in {path} is not used: {error}");
            return None;
        }
    };
    if let Err(error) = from.check(&identity) {
        tracing::warn!("the identity in {path} is not used: {error}");
        return None;
    }
    if !identity.holds(world.now()) {
        tracing::warn!(
            not_after = identity.not_after,
            "the identity in {path} does not hold now; a token is needed"
        );
        return None;
    }
    Some((identity, received))
}

/// Asks with a token until there is an answer.
async fn first(from: &FromAuthority, world: &World, status: &Status) -> Result<Upkeep, StartError> {
    if !from.has_token() {
        return Err(StartError(format!(
            "there is no token for service {}; make one with weir token create --service {}, and give it by --join-token-file or as {}",
            from.service,
            from.service,
            crate::authority::TOKEN_SECRET
        )));
    }
    // The same key each time: an answer that was lost can be asked for again.
    let key = Fresh::make().map_err(|error| StartError(error.to_string()))?;
    let mut failures = 0;
    loop {
        match from.join(&key, world).await {
            Ok(came) => {
                status.renewed();
                tracing::info!(id = %came.identity.id, not_after = came.identity.not_after, "an identity came");
                return Ok(Upkeep::fresh(came, world));
            }
            Err(AskError::Refused(why)) => {
                status.failed(&why);
                return Err(StartError(why));
            }
            Err(AskError::Failed(why)) => {
                status.failed(&why);
                if failures == 0 {
                    tracing::warn!("no identity yet: {why}; it is tried again");
                }
                let now = world.now_ms();
                // As often as for a certificate that has two minutes left.
                world
                    .sleep_ms(retry_in(failures, now, now + 120_000, world.jitter()))
                    .await;
                failures += 1;
            }
        }
    }
}
