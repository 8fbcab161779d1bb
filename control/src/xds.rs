//! The published model for proxies of their own: an xDS server on a thread of its own.
//!
//! One generation, in hops: the watcher publishes; [`pace`] lets at most two a second through, the first at once; the hub makes
//! one view for each group of nodes that may see the same ([`encode`]); each session sends what its client lacks; what a
//! client acknowledges or refuses is noted with the followers ([`follow`]).
//!
//! Nothing is served before every source of endpoints has answered once since the start: a control plane that comes back
//! while the Docker engine is away must not tell proxies that all containers are gone.

mod edges;
mod encode;
mod follow;
mod metrics;
mod nodes;
mod pace;
mod view;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use weir_config::settings::ControlServer;
use weir_xds::server::tls::{MeshRoots, Tls, TlsError, TlsFiles};
use weir_xds::server::{Hub, Mesh, Options, Seen, Server, Stop};

use crate::Control;
use crate::control::Shared;
use crate::events::Draft;
use crate::mesh::{self, Own, OwnError};

pub(crate) use edges::{OWN, edges};
pub(crate) use metrics::text as metrics_text;
pub(crate) use view::proxies;

/// How often it is looked whether every source has answered.
const LOOK: Duration = Duration::from_millis(50);
/// How long nothing new must come, once every source has answered, before the first view is made.
const SETTLE: Duration = Duration::from_millis(300);
/// The longest that is waited for that.
const SETTLE_AT_MOST: Duration = Duration::from_secs(5);

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum XdsError {
    #[error(
        "control: cannot listen on {address}: {error}; change control.bind in the configuration, and see with \
         `ss -ltnp` who holds the port"
    )]
    Bind {
        address: SocketAddr,
        error: io::Error,
    },
    #[error("control: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Mesh(#[from] OwnError),
    #[error("control: cannot start its thread: {0}")]
    Thread(io::Error),
}

/// A running server.
pub struct XdsServer {
    address: SocketAddr,
    stop: Stop,
    thread: JoinHandle<()>,
    waiting: Waiting,
}

/// What is waited for before anything is served. `None`: it serves.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Option<String>>>);

impl Waiting {
    /// Whether it serves, and what it waits for if not.
    #[must_use]
    pub fn ready(&self) -> (bool, String) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*waiting {
            None => (true, "proxies are served".into()),
            Some(what) => (false, what.clone()),
        }
    }

    fn set(&self, what: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }
}

impl XdsServer {
    /// Binds, and serves on a thread of its own once there is something to serve.
    ///
    /// # Errors
    /// [`XdsError`]: a taken port, a certificate that cannot be used.
    pub fn start(
        control: &Control,
        settings: &ControlServer,
        waiting: Waiting,
    ) -> Result<Self, XdsError> {
        let shared = Arc::clone(&control.shared);
        let (following, tls) = secure(&shared, settings)?.unzip();
        let hub = Arc::new(Hub::new(Arc::new(encode::Encoder(Arc::clone(&shared)))));
        let options = Options {
            gate: Arc::new(nodes::Nodes::new(settings, shared.mesh.is_some())),
            hub: Arc::clone(&hub),
            watch: Arc::new(follow::Notes(Arc::clone(&shared))),
            tls,
            mesh: shared.mesh.clone().map(|mesh| mesh as Arc<dyn Mesh>),
            instance: instance(),
        };
        let fail = |error| XdsError::Bind {
            address: settings.bind,
            error,
        };
        let (server, stop) = Server::bind(settings.bind, options).map_err(fail)?;
        let address = server.address().map_err(fail)?;
        let _ = shared.xds.set(server.seen());
        waiting.set(Some("it is being looked for endpoints".into()));
        let serving = Serving {
            shared,
            hub,
            server,
            following,
            waiting: waiting.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("weir-xds".into())
            .spawn(move || serving.run())
            .map_err(XdsError::Thread)?;
        Ok(Self {
            address,
            stop,
            thread,
            waiting,
        })
    }

    /// Where it is, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it serves, and what it waits for if not.
    #[must_use]
    pub fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// Ends it. Proxies go on with what they have.
    pub fn stop(self) {
        self.stop.now();
        if self.thread.join().is_err() {
            tracing::error!("the xDS server panicked");
        }
    }
}

/// What keeps the server's certificate current.
enum Following {
    Files(Box<Tls>),
    Mesh(Own),
}

type Secured = (Following, watch::Receiver<Arc<rustls::ServerConfig>>);

/// The server's TLS: by the files that are given, else by the mesh, if there is one.
fn secure(shared: &Shared, settings: &ControlServer) -> Result<Option<Secured>, XdsError> {
    let Some(tls) = &settings.tls else {
        let Some(mesh) = &shared.mesh else {
            return Ok(None);
        };
        let (own, receiver) = mesh::own(Arc::clone(mesh))?;
        return Ok(Some((Following::Mesh(own), receiver)));
    };
    let files = TlsFiles {
        cert: tls.cert.clone(),
        key: tls.key.clone(),
        client_ca: tls.client_ca.clone(),
    };
    let mesh = shared.mesh.clone();
    let roots = mesh.map(|mesh| Arc::new(move || mesh.authority.roots()) as MeshRoots);
    let (tls, receiver) = Tls::read_with(files, roots)?;
    Ok(Some((Following::Files(Box::new(tls)), receiver)))
}

/// A name that no other run of a control plane has. It is not kept: a state directory may be wiped, or put back from a copy, and
/// then numbers of generations begin anew at one that was used before. Proxies must not take that for something old.
fn instance() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// What its thread has.
struct Serving {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    server: Server,
    following: Option<Following>,
    waiting: Waiting,
}

impl Serving {
    fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(self.serve()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = ended {
            tracing::error!("the xDS server ended: {error}");
        }
    }

    async fn serve(self) -> Result<(), String> {
        let stop = self.shared.stop.clone();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = wait_for_sources(&self.shared, &self.waiting) => {}
        }
        self.waiting.set(None);
        match self.following {
            Some(Following::Files(tls)) => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(tls.follow(move |changed| tell_renewed(&shared, changed)));
            }
            Some(Following::Mesh(own)) => drop(tokio::spawn(own.follow())),
            None => {}
        }
        let models = self.shared.models.subscribe();
        tokio::spawn(pace::follow(models, move || {
            let hub = Arc::clone(&self.hub);
            async move {
                hub.refresh().await;
            }
        }));
        self.server.serve().await.map_err(|error| error.to_string())
    }
}

/// Ends when every source of endpoints has answered, and what they said has settled.
async fn wait_for_sources(shared: &Shared, waiting: &Waiting) {
    loop {
        let missing: Vec<String> = shared.board.lock().unanswered.iter().cloned().collect();
        if missing.is_empty() && shared.models.borrow().generation > 0 {
            break;
        }
        let what = match missing.is_empty() {
            true => "nothing was published yet".to_owned(),
            false => format!(
                "proxies are served once {} has answered for the first time",
                missing.join(", ")
            ),
        };
        waiting.set(Some(what));
        tokio::time::sleep(LOOK).await;
    }
    let mut models = shared.models.subscribe();
    models.mark_unchanged();
    let settled =
        async { while let Ok(Ok(())) = tokio::time::timeout(SETTLE, models.changed()).await {} };
    let _ = tokio::time::timeout(SETTLE_AT_MOST, settled).await;
}

fn tell_renewed(shared: &Shared, changed: Result<(), String>) {
    match changed {
        Ok(()) => shared
            .events
            .record(Draft::certificate("control.tls was read again".into())),
        Err(error) => {
            shared.counters.certificate_rejected();
            tracing::warn!("control.tls: {error}");
            shared.events.record(Draft::certificate(format!(
                "control.tls was refused, what was read before stays in force: {error}"
            )));
        }
    }
}

/// What a server shows, if one runs.
pub(crate) fn seen(shared: &Shared) -> Option<&Seen> {
    shared.xds.get()
}
