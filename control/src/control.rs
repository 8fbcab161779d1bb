//! The handle: what is started, what comes out, and what is reported back.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use envoy_types::pb::envoy::config::endpoint::v3::ClusterStats;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use weir_config::Fragment;
use weir_config::model::Model;
use weir_config::settings::{
    Admin, DnsLookup, DockerSettings, EndpointFileSettings, Mesh as MeshSettings, Settings,
    SwarmSettings,
};

use crate::api::types::ConfigOutcome;
use crate::board::Board;
use crate::certs;
use crate::discovery;
use crate::events::{Draft, EventLog};
use crate::followers::{EMBEDDED, Followers, Kind, State};
use crate::history::{self, History, Inbox, Recorder, Why};
use crate::mesh::{self, EdgeIdentity, Mesh};
use crate::metrics::Counters;
use crate::operate::{EndpointOps, EndpointRefused};
use crate::store::database::{Batch, Database, DatabaseError, InMemory};
use crate::store::records;
use crate::store::{Store, StoreError, Token};
use crate::watcher::{self, Command, ConfigRequest, Decided, Refused, Watcher};
use crate::xds;

/// Requests waiting for the watcher; a full queue makes the API wait, never the watcher.
const COMMANDS: usize = 64;

/// How long the end of the process waits for the disk of the history.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a change by hand waits for the disk: everything that discovery finds waits with it.
const SAVING: Duration = Duration::from_secs(5);

/// Per service, requests sent to each version since the start of the data plane.
pub type Observed = Arc<dyn Fn(&str) -> Vec<(String, u64)> + Send + Sync>;

/// Whether the data plane is ready, and why (not).
pub type Ready = Arc<dyn Fn() -> (bool, String) + Send + Sync>;

/// What a control plane is started with.
pub struct ControlOptions {
    /// What the command line gives, such as `--listen`; compiled before files and discovery.
    pub base: Vec<Fragment>,
    /// Configuration files and directories, read and watched. Empty: none.
    pub files: Vec<PathBuf>,
    /// The Docker engine to watch. `None`: none.
    pub docker: Option<DockerSettings>,
    /// The Swarm to watch. With it, the Docker engine's containers of Swarm services are left to it. `None`: none.
    pub swarm: Option<SwarmSettings>,
    /// Names to look up.
    pub dns: Vec<DnsLookup>,
    /// The directory of endpoint files. `None`: none.
    pub endpoint_files: Option<EndpointFileSettings>,
    /// Where the history, what was decided through the API, events and the token are kept. `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Generations that the history keeps.
    pub history: usize,
    /// The mesh whose authority this control plane is. `None`: none.
    pub mesh: Option<MeshSettings>,
    /// The mesh's time and randomness.
    pub mesh_world: weir_authority::World,
    /// Where the admin API listens, its token file and the host names it answers to.
    pub admin: Admin,
    /// The settings in force, to tell when a file changes one that needs a restart. `None`: not compared.
    pub settings: Option<Settings>,
    /// Whether a proxy in this process follows and reports through [`Control::applied`]. Default `true`.
    pub embedded: bool,
    /// Shown in the status.
    pub version: &'static str,
    /// Asked when a split is shown.
    pub observed: Observed,
    /// Asked when the status is shown.
    pub ready: Ready,
    /// Told what is asked of an endpoint.
    pub operate: EndpointOps,
}

impl Default for ControlOptions {
    fn default() -> Self {
        Self {
            base: Vec::new(),
            files: Vec::new(),
            docker: None,
            swarm: None,
            dns: Vec::new(),
            endpoint_files: None,
            state_dir: None,
            history: Settings::default().history,
            mesh: None,
            mesh_world: mesh::world(),
            admin: Settings::default().admin,
            settings: None,
            embedded: true,
            version: env!("CARGO_PKG_VERSION"),
            observed: Arc::new(|_| Vec::new()),
            ready: Arc::new(|| (true, "no data plane attached".into())),
            operate: Arc::new(|_| Err(EndpointRefused::Unattached)),
        }
    }
}

/// One generation of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// 0: nothing was published yet. Rises by one with each change.
    pub generation: u64,
    pub model: Arc<Model>,
}

/// Why a control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("mesh: {0}")]
    Mesh(#[from] weir_authority::OpenError),
}

/// What the data plane last said about a generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Applied {
    pub(crate) generation: u64,
    pub(crate) errors: Vec<String>,
}

/// The control plane. Clones share it; it stops with [`Control::stop`].
#[derive(Clone)]
pub struct Control {
    pub(crate) shared: Arc<Shared>,
}

/// What the watcher, the providers and the API share.
pub(crate) struct Shared {
    pub(crate) version: &'static str,
    pub(crate) admin: Admin,
    pub(crate) token: Option<Token>,
    pub(crate) models: watch::Sender<Published>,
    pub(crate) applied: watch::Sender<Applied>,
    pub(crate) followers: Followers,
    pub(crate) history: History,
    pub(crate) database: Arc<dyn Database>,
    /// Held while documents and the texts that the database has of them are changed.
    pub(crate) saving: Arc<tokio::sync::Mutex<()>>,
    /// What an xDS server shows, where one runs.
    pub(crate) xds: OnceLock<weir_xds::server::Seen>,
    /// The mesh's authority, where there is one.
    pub(crate) mesh: Option<Arc<Mesh>>,
    pub(crate) board: Board,
    pub(crate) events: EventLog,
    pub(crate) counters: Counters,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) observed: Observed,
    pub(crate) ready: Ready,
    pub(crate) operate: EndpointOps,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) stop: CancellationToken,
}

impl Control {
    /// The identity of a proxy in this process, kept current, where this control plane is the authority of a mesh: under the name
    /// that `mesh.edge` of the configuration gives it.
    ///
    /// # Errors
    /// When the authority cannot sign, in words.
    pub fn edge(&self) -> Result<Option<watch::Receiver<Arc<EdgeIdentity>>>, String> {
        let Some(mesh) = &self.shared.mesh else {
            return Ok(None);
        };
        let (edge, identities) = mesh::edge(Arc::clone(mesh), mesh.edge.clone())?;
        tokio::spawn(edge.follow());
        Ok(Some(identities))
    }

    /// Takes a report of load of the proxy in this process, as its server takes those of others.
    pub fn report(&self, stats: &[ClusterStats]) {
        if let Some(seen) = self.shared.xds.get() {
            seen.loads.add(xds::OWN, stats);
        }
    }

    /// Starts discovery and the watcher on the runtime this is called from, which must stay.
    ///
    /// Files are read before this returns, so that the first generation holds them; discovery follows as it answers.
    ///
    /// # Errors
    /// [`StartError`] when the state directory or the token file cannot be used.
    pub async fn start(options: ControlOptions) -> Result<Self, StartError> {
        let store = Store::open(options.state_dir.clone())?;
        let token = store.token(options.admin.token_file.as_deref())?;
        let kept = Kept::open(&store).await;
        let mesh = match &options.mesh {
            None => None,
            Some(settings) => {
                let (dir, database) = (options.state_dir.clone(), Arc::clone(&kept.database));
                let opened = Mesh::open(settings, dir, database, options.mesh_world);
                Some(Arc::new(opened.await?))
            }
        };
        let (history, inbox) = History::new(kept.entries);
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared {
            version: options.version,
            admin: options.admin,
            token,
            models: watch::Sender::new(Published::default()),
            applied: watch::Sender::new(Applied::default()),
            followers: Followers::default(),
            history,
            database: kept.database,
            saving: Arc::default(),
            xds: OnceLock::new(),
            mesh,
            board: Board::default(),
            events: EventLog::new(store.event_file()),
            counters: Counters::default(),
            commands: commands.clone(),
            observed: options.observed,
            ready: options.ready,
            operate: options.operate,
            state_dir: options.state_dir,
            stop: CancellationToken::new(),
        });
        if options.embedded {
            // It has not said anything yet: whoever waits for a generation waits for it.
            let followers = &shared.followers;
            followers.note(EMBEDDED, Kind::Embedded, None, State::Stale);
        }
        for complaint in kept.complaints {
            tracing::error!("{complaint}");
            shared.events.record(Draft::config(complaint));
        }
        shared.board.lock().documents = kept.decided.document_refs();
        shared.board.lock().texts = kept.texts;
        start_recorder(&shared, inbox, options.history, kept.last_number).await;
        let mut watcher = Watcher::new(
            Arc::clone(&shared),
            store,
            kept.decided,
            options.base,
            kept.last_number + 1,
        );
        if !options.files.is_empty() {
            let (files, first) = discovery::file::Files::open(options.files).await;
            watcher.take_files(first);
            files.watch(Arc::clone(&shared), options.settings, commands.clone());
        }
        if let Some(settings) = options.docker {
            let beside_swarm = options.swarm.is_some();
            discovery::docker::watch(&shared, settings, beside_swarm, commands.clone());
        }
        if let Some(settings) = options.swarm {
            discovery::swarm::watch(&shared, settings, commands.clone());
        }
        for lookup in options.dns {
            discovery::dns::watch(&shared, lookup, commands.clone());
        }
        if let Some(settings) = options.endpoint_files {
            discovery::endpoint_files::watch(&shared, settings, commands.clone());
        }
        watcher.rebuild(Why::found("start"));
        tokio::spawn(watcher::run(watcher, receiver));
        tokio::spawn(certs::watch(Arc::clone(&shared)));
        if let Some(mesh) = &shared.mesh {
            tokio::spawn(mesh::watch(Arc::clone(&shared), Arc::clone(mesh)));
        }
        Ok(Self { shared })
    }

    /// Each new generation. The first value may be generation 0, which holds nothing.
    #[must_use]
    pub fn models(&self) -> watch::Receiver<Published> {
        self.shared.models.subscribe()
    }

    /// Who follows the generations. A proxy of its own is noted here by whoever speaks with it.
    #[must_use]
    pub fn followers(&self) -> &Followers {
        &self.shared.followers
    }

    /// The embedded data plane says what became of a generation: in force, or with these complaints (a taken port).
    pub fn applied(&self, generation: u64, errors: Vec<String>) {
        let shared = &self.shared;
        shared.counters.applied_now();
        for error in &errors {
            shared
                .events
                .record(Draft::config(format!("generation {generation}: {error}")));
        }
        let reason = errors.join("; ");
        let newer = shared.applied.send_if_modified(|applied| {
            let newer = generation >= applied.generation;
            if newer {
                *applied = Applied { generation, errors };
            }
            newer
        });
        if newer {
            let state = match reason.is_empty() {
                true => State::Synced,
                false => State::Refused { generation, reason },
            };
            shared
                .followers
                .note(EMBEDDED, Kind::Embedded, Some(generation), state);
        }
    }

    /// Metric families in the Prometheus text format, without the closing `# EOF`.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        crate::metrics::text(&self.shared)
    }

    /// Sets weights by hand.
    ///
    /// # Errors
    /// [`Refused`] with what is known instead.
    pub async fn set_weights(
        &self,
        service: String,
        weights: std::collections::BTreeMap<String, String>,
        by: String,
    ) -> Result<Outcome, Refused> {
        self.ask(|reply| Command::Set {
            service,
            weights,
            by,
            reply,
        })
        .await
    }

    /// Gives the weights back to labels and files.
    ///
    /// # Errors
    /// [`Refused`] when there is nothing to clear.
    pub async fn clear_weights(&self, service: String, by: String) -> Result<Outcome, Refused> {
        self.ask(|reply| Command::Clear { service, by, reply })
            .await
    }

    /// Applies or removes a document, or goes back to another generation; in a dry run it tells only what that would change.
    ///
    /// # Errors
    /// [`Refused`], and then nothing was changed.
    pub async fn decide(
        &self,
        request: ConfigRequest,
        by: String,
        dry_run: bool,
    ) -> Result<ConfigOutcome, Refused> {
        self.ask(|reply| Command::Decide {
            request,
            by,
            dry_run,
            reply,
        })
        .await
    }

    /// Writes down what is not written yet and lets go of the database, for a process that takes over. From then on changes by
    /// hand are refused or not kept.
    pub async fn hand_over(&self) {
        let flush = self.shared.history.flush();
        if tokio::time::timeout(LAST_WORDS, flush).await.is_err() {
            tracing::warn!(
                "the disk of the state directory is slow: the end of the history is not written"
            );
        }
        self.shared.database.release();
    }

    /// Stops discovery and the watcher, and lets go of the database; what was published stays published.
    pub fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.database.release();
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Refused>>) -> Command,
    ) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.shared
            .commands
            .send(command(reply))
            .await
            .map_err(|_| Refused::Stopping)?;
        answer.await.unwrap_or(Err(Refused::Stopping))
    }
}

/// What a change by hand did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The generation that holds it.
    pub generation: u64,
    /// `set shop: canary 5% -> 25%, stable 95% -> 75%`.
    pub message: String,
    pub warnings: Vec<String>,
}

impl Shared {
    /// Keeps a change. The guard is held until the generation that it leads to is on its way into the history: a text that only that
    /// names must not be dropped before.
    ///
    /// # Errors
    /// [`DatabaseError`]; nothing is kept then, but for a disk that answers too late.
    pub(crate) async fn save(
        &self,
        batch: Batch,
    ) -> Result<tokio::sync::OwnedMutexGuard<()>, DatabaseError> {
        let saving = async {
            let guard = Arc::clone(&self.saving).lock_owned().await;
            self.database.commit(batch).await.map(|()| guard)
        };
        let saved = tokio::time::timeout(SAVING, saving).await;
        saved.unwrap_or(Err(DatabaseError::Slow(SAVING)))
    }

    /// Why what is decided, or the history, is not kept although there is a directory for it.
    pub(crate) fn state_problem(&self) -> Option<String> {
        let lost = self.state_dir.is_some() && !self.database.is_durable();
        let problem = lost.then(|| {
            "the database could not be used at the start: nothing that is decided now outlives a restart".to_owned()
        });
        problem.or_else(|| self.history.problem())
    }

    /// What a person has to know who changes something that is not kept.
    pub(crate) fn not_durable(&self) -> String {
        match &self.state_dir {
            None => {
                "there is no state directory: this lasts until Weir restarts (set stateDir)".into()
            }
            Some(dir) => format!(
                "the database in {} could not be used at the start: this lasts until Weir restarts; see weir status",
                dir.display()
            ),
        }
    }
}

/// What a start finds in the state directory.
struct Kept {
    database: Arc<dyn Database>,
    decided: Decided,
    entries: Vec<records::Entry>,
    texts: std::collections::BTreeSet<String>,
    last_number: u64,
    complaints: Vec<String>,
}

impl Kept {
    /// Never fails: what cannot be read is a complaint, and serving goes on without it.
    async fn open(store: &Store) -> Self {
        let (mut database, mut complaints) = store.database().await;
        let mut loaded = match records::load(&*database).await {
            Ok(loaded) => loaded,
            Err(error) => {
                complaints.push(format!("{error}; going on without what it holds"));
                database = Arc::new(InMemory::default());
                records::Loaded::default()
            }
        };
        complaints.append(&mut loaded.complaints);
        let (overrides, complaint) = store.take_over_overrides(&*database).await;
        complaints.extend(complaint);
        let overrides = overrides.or(loaded.overrides).unwrap_or_default();
        let (documents, pin) = (loaded.documents, loaded.pin);
        Self {
            decided: Decided::load(overrides, documents, pin, &mut complaints),
            database,
            entries: loaded.entries,
            texts: loaded.texts,
            last_number: loaded.last_number,
            complaints,
        }
    }
}

/// Starts the task that writes the history, with numbers reserved before the first of them is used.
async fn start_recorder(shared: &Arc<Shared>, inbox: Inbox, keep: usize, last_number: u64) {
    let baseline = history::last_run(shared).await.unwrap_or_default();
    let mut batch = Batch::default();
    let mut reserved = last_number + Recorder::reserve();
    batch.put_last_number(reserved);
    if let Err(error) = shared.database.commit(batch).await {
        tracing::error!("{error}");
        reserved = last_number;
    }
    let recorder = Recorder::new(Arc::clone(shared), inbox, keep, baseline, reserved);
    tokio::spawn(recorder.run());
}
