//! The handle: what is started, what comes out, and what is reported back.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use weir_config::Fragment;
use weir_config::model::Model;
use weir_config::settings::{Admin, DockerSettings, Settings};

use crate::board::Board;
use crate::discovery;
use crate::events::{Draft, EventLog};
use crate::metrics::Counters;
use crate::operate::{EndpointOps, EndpointRefused};
use crate::store::{Store, StoreError, Token};
use crate::watcher::{self, Command, Refused, Watcher};

/// Requests waiting for the watcher; a full queue makes the API wait, never the watcher.
const COMMANDS: usize = 64;

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
    /// Where overrides, events and the token are kept. `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Where the admin API listens, its token file and the host names it answers to.
    pub admin: Admin,
    /// The settings in force, to tell when a file changes one that needs a restart. `None`: not compared.
    pub settings: Option<Settings>,
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
            state_dir: None,
            admin: Settings::default().admin,
            settings: None,
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
    /// Starts discovery and the watcher on the runtime this is called from, which must stay.
    ///
    /// Files are read before this returns, so that the first generation holds them; discovery follows as it answers.
    ///
    /// # Errors
    /// [`StartError`] when the state directory or the token file cannot be used.
    pub async fn start(options: ControlOptions) -> Result<Self, StartError> {
        let store = Store::open(options.state_dir.clone())?;
        let token = store.token(options.admin.token_file.as_deref())?;
        let (overrides, complaint) = store.load_overrides();
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let shared = Arc::new(Shared {
            version: options.version,
            admin: options.admin,
            token,
            models: watch::Sender::new(Published::default()),
            applied: watch::Sender::new(Applied::default()),
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
        if let Some(complaint) = complaint {
            shared.events.record(Draft::config(complaint));
        }
        let mut watcher = Watcher::new(Arc::clone(&shared), store, overrides, options.base);
        if !options.files.is_empty() {
            let (files, first) = discovery::file::Files::open(options.files).await;
            watcher.take_files(first);
            files.watch(Arc::clone(&shared), options.settings, commands.clone());
        }
        if let Some(settings) = options.docker {
            discovery::docker::watch(Arc::clone(&shared), settings, commands);
        }
        watcher.rebuild();
        tokio::spawn(watcher::run(watcher, receiver));
        Ok(Self { shared })
    }

    /// Each new generation. The first value may be generation 0, which holds nothing.
    #[must_use]
    pub fn models(&self) -> watch::Receiver<Published> {
        self.shared.models.subscribe()
    }

    /// The data plane says what became of a generation: in force, or with these complaints (a taken port).
    pub fn applied(&self, generation: u64, errors: Vec<String>) {
        let shared = &self.shared;
        shared.counters.applied_now();
        for error in &errors {
            shared
                .events
                .record(Draft::config(format!("generation {generation}: {error}")));
        }
        shared.applied.send_if_modified(|applied| {
            let newer = generation >= applied.generation;
            if newer {
                *applied = Applied { generation, errors };
            }
            newer
        });
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

    /// Waits until the data plane reported that generation or a later one.
    pub async fn wait_applied(&self, generation: u64, limit: Duration) -> bool {
        let mut applied = self.shared.applied.subscribe();
        let reached = applied.wait_for(|applied| applied.generation >= generation);
        tokio::time::timeout(limit, reached)
            .await
            .is_ok_and(|seen| seen.is_ok())
    }

    /// Stops discovery and the watcher; what was published stays published.
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    async fn ask(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Outcome, Refused>>) -> Command,
    ) -> Result<Outcome, Refused> {
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
