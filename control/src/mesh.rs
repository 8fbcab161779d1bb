//! The mesh's authority at work: opened at the start, looked at from time to time, and asked through the API and by workloads.
//!
//! [`weir_authority`] decides; here is where its records are kept ([`records`]), the certificate that the control plane itself shows
//! ([`tls`]), what is answered to workloads ([`desk`]) and what there is to count.

mod desk;
mod edge;
mod metrics;
mod records;
mod renewed;
mod tls;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use weir_authority::{Authority, OpenError, Options, World};
use weir_config::model::{HostPattern, ServiceName};
use weir_config::settings::Mesh as Settings;

use crate::clock;
use crate::control::{Control, Shared};
use crate::events::Draft;
use crate::store::database::Database;

pub use edge::EdgeIdentity;
pub(crate) use edge::edge;
pub(crate) use metrics::{not_after, text as metrics_text};
pub use tls::OwnError;
pub(crate) use tls::{Own, own};

/// How often it is looked whether a rotation goes on or files changed.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds for which a token for this very process is good.
const OWN_TTL: i64 = 60;
/// How many looks there are between two sweeps of what has ended.
const SWEEP: u32 = 60;

/// The authority with what belongs to it.
pub(crate) struct Mesh {
    pub(crate) authority: Authority,
    pub(crate) world: World,
    /// In the control plane's own certificate.
    names: Vec<String>,
    /// The service that the proxy in this process is.
    pub(crate) edge: ServiceName,
    /// Something new is in force.
    changed: Notify,
    issued: AtomicU64,
    /// Questions what is to be trusted.
    asked: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

/// The machine's clock, and randomness of its kernel.
#[must_use]
pub fn world() -> World {
    World {
        now: Arc::new(clock::now_seconds),
        random: Arc::new(|bytes| rand::fill(bytes)),
    }
}

impl Mesh {
    pub(crate) async fn open(
        settings: &Settings,
        state_dir: Option<PathBuf>,
        database: Arc<dyn Database>,
        world: World,
    ) -> Result<Self, OpenError> {
        let authority = Authority::open(Options {
            mesh: settings.clone(),
            state_dir,
            records: Arc::new(records::Kept(database)),
            world: world.clone(),
        });
        Ok(Self {
            authority: authority.await?,
            world,
            names: match settings.names.is_empty() {
                true => own_names(),
                false => settings.names.clone(),
            },
            edge: settings.edge.clone(),
            changed: Notify::new(),
            issued: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            refused: Mutex::default(),
        })
    }

    /// Tells those who wait for it that something new is in force.
    pub(crate) fn changed(&self) {
        self.changed.notify_waiters();
    }

    fn note_issued(&self) {
        self.issued.fetch_add(1, Relaxed);
    }

    fn note_asked(&self) {
        self.asked.fetch_add(1, Relaxed);
    }

    fn note_refused(&self, word: &'static str) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        *refused.entry(word).or_default() += 1;
    }

    fn refused(&self) -> BTreeMap<&'static str, u64> {
        self.refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Control {
    /// A token for a workload in this very process, as of a `weir run` that is a workload of its own mesh; good for a minute.
    ///
    /// # Errors
    /// Why there is none: no mesh, a name that cannot be in it, a disk that takes nothing.
    pub async fn join_token(&self, service: &ServiceName) -> Result<String, String> {
        let mesh = self
            .shared
            .mesh
            .as_ref()
            .ok_or("there is no mesh section")?;
        let made = mesh.authority.create_token(service, OWN_TTL, "weir").await;
        made.map(|(_, text)| text.reveal())
            .map_err(|error| error.to_string())
    }
}

/// By what a control plane that is told no names can be called on this machine.
fn own_names() -> Vec<String> {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let host = match HostPattern::parse(&host) {
        Ok(Some(HostPattern::Exact(host))) => Some(host.to_string()),
        _ => None,
    };
    let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut names: Vec<String> = host.into_iter().chain(loopback).collect();
    names.dedup();
    names
}

/// Takes each step of a rotation when it is safe, until the control plane stops.
pub(crate) async fn watch(shared: Arc<Shared>, mesh: Arc<Mesh>) {
    let mut looks = 0_u32;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let looking = Arc::clone(&mesh);
        // It reads and writes files.
        match tokio::task::spawn_blocking(move || looking.authority.look()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                mesh.changed();
                let text = format!("mesh: {}", in_words(&mesh));
                shared.events.record(Draft::certificate(text));
            }
            Ok(Err(error)) => tracing::error!("mesh: the rotation does not go on: {error}"),
            Err(error) => tracing::error!("mesh: {error}"),
        }
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(SWEEP)
            && let Err(error) = mesh.authority.sweep().await
        {
            tracing::warn!("mesh: what has ended is still kept: {error}");
        }
    }
}

/// What is in force.
pub(crate) fn in_words(mesh: &Mesh) -> String {
    use weir_authority::rotation::Phase;
    let short = |id: &str| id.get(..8).unwrap_or(id).to_owned();
    let standing = mesh.authority.standing();
    let signs = standing.roots.iter().find(|root| root.signs);
    let signs = signs.map_or_else(String::new, |root| short(&root.fingerprint));
    match &standing.phase {
        Phase::Steady => format!("root {signs} signs and is the only one that is trusted"),
        Phase::Spreading { coming, .. } => {
            format!(
                "root {signs} signs; {} is trusted beside it and comes next",
                short(coming)
            )
        }
        Phase::Retiring { going, .. } => {
            format!(
                "root {signs} signs; {} is still trusted and goes",
                short(going)
            )
        }
    }
}
