//! Containers of a Docker engine (or of another one that speaks its API, such as Podman).
//!
//! An event is only a reason to look: the list is what counts, and it replaces what was known as a whole. The one
//! exception is a container that is told to stop, which is taken out of rotation on the event itself (semantics 34).
//! While the engine is away, what is known stays, and the board says so (semantics 36).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use weir_config::settings::DockerSettings;

use self::endpoint::Endpoint;
use self::engine::{Engine, EngineError, translate};
use self::known::{DOCKER, Known, Listed, Taken};
use self::marks::Effect;
use self::pace::{Backoff, Pace};
use self::swarm::Services;
use crate::api::types::ProviderState;
use crate::control::Shared;
use crate::events::Draft;
use crate::watcher::Command;

mod convert;
mod endpoint;
mod engine;
mod known;
mod marks;
mod pace;
mod swarm;
mod transport;

/// A list without any event: finds what an event was lost for, and a connection that died silently.
const RESYNC: Duration = Duration::from_secs(30);

/// Watches an engine until the control plane stops.
pub(crate) fn watch(
    shared: Arc<Shared>,
    settings: DockerSettings,
    commands: mpsc::Sender<Command>,
) {
    tokio::spawn(async move {
        let stop = shared.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = run(shared, settings, commands) => {}
        }
    });
}

/// Why a session ended.
enum End {
    Failed(EngineError),
    /// The stream of events was used up; nothing is wrong.
    Renew,
    /// Nobody listens any more.
    Stopped,
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Failed(error)
    }
}

struct Provider {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    endpoint: Endpoint,
    known: Known,
    started: Instant,
    backoff: Backoff,
    /// Since when the engine does not answer.
    down_since: Option<Instant>,
}

async fn run(shared: Arc<Shared>, settings: DockerSettings, commands: mpsc::Sender<Command>) {
    let endpoint = match Endpoint::parse(&settings.endpoint) {
        Ok(endpoint) => endpoint,
        Err(reason) => {
            shared
                .events
                .record(Draft::discovery(format!("docker: {reason}")));
            shared.board.provider(
                DOCKER,
                ProviderState::Down,
                Some(reason),
                &settings.endpoint,
            );
            return;
        }
    };
    shared.board.provider(
        DOCKER,
        ProviderState::Connecting,
        None,
        &endpoint.to_string(),
    );
    let mut provider = Provider {
        shared,
        commands,
        endpoint,
        known: Known::new(settings, own_container()),
        started: Instant::now(),
        backoff: Backoff::default(),
        down_since: None,
    };
    loop {
        match provider.session().await {
            End::Renew => {}
            End::Stopped => return,
            End::Failed(error) => {
                provider.report_down(&error);
                sleep(provider.backoff.next(rand::random())).await;
            }
        }
    }
}

/// The id of the container this process runs in, as far as its host name tells.
fn own_container() -> Option<String> {
    if !std::path::Path::new("/.dockerenv").exists() {
        return None;
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit())).then(|| name.to_owned())
}

type Listing = Pin<Box<dyn Future<Output = Result<Listed, EngineError>> + Send>>;

impl Provider {
    /// One connection's life: it ends with the stream of events or with the first failure.
    async fn session(&mut self) -> End {
        match self.converse().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        let engine = Engine::connect(&self.endpoint).await?;
        let mut events = engine.events(self.known.marks.last_nanos());
        self.known.marks.resume();
        let mut pace = Pace::default();
        let mut listing: Option<(Instant, Listing)> = None;
        let mut open = false;
        let mut doubt = true;
        let mut wake = Instant::now() + RESYNC;
        loop {
            let due = pace.due().filter(|_| listing.is_none());
            tokio::select! {
                biased;
                event = events.next() => {
                    let event = event.ok_or(EngineError::Closed)?.map_err(stream_end)?;
                    self.on_event(&event, &mut pace).await?;
                }
                // Listed only after the engine took the request for events, so that nothing falls in between.
                () = engine.events_open(), if !open => {
                    open = true;
                    pace.hurry(Instant::now());
                }
                answer = poll(&mut listing), if listing.is_some() => {
                    let (begun, answer) = answer;
                    listing = None;
                    pace.finished(Instant::now(), begun.elapsed());
                    let taken = self.take(&engine, answer?).await?;
                    wake = self.next_wake(taken.until);
                }
                () = sleep_until(due.unwrap_or(wake)), if due.is_some() => {
                    pace.begun();
                    listing = Some((Instant::now(), self.ask(&engine, std::mem::take(&mut doubt))));
                }
                () = sleep_until(wake), if open && listing.is_none() => {
                    doubt = true;
                    wake = Instant::now() + RESYNC;
                    pace.hurry(Instant::now());
                }
            }
        }
    }

    async fn on_event(&mut self, event: &EventMessage, pace: &mut Pace) -> Result<(), End> {
        self.shared.counters.discovery_event();
        match self.known.on_event(event) {
            Effect::Ignore => {}
            Effect::Relist => pace.nudge(Instant::now()),
            Effect::Drain => {
                pace.nudge(Instant::now());
                self.tell().await?;
            }
        }
        Ok(())
    }

    /// Asks for the list and for what it does not tell.
    fn ask(&self, engine: &Engine, doubtful_too: bool) -> Listing {
        let moment = self.known.marks.now();
        let (engine, inspected) = (engine.clone(), self.known.inspected(doubtful_too));
        let services = self.known.services.clone();
        Box::pin(async move {
            let mut summaries = engine.list().await?;
            let services = match swarm::any_task(&summaries) {
                true => services.renewed(engine.services().await)?,
                false => Services::default(),
            };
            services.label(&mut summaries);
            let details = engine.inspect(inspected.missing(&summaries)).await;
            Ok(Listed {
                summaries,
                services,
                details,
                moment,
            })
        })
    }

    async fn take(&mut self, engine: &Engine, listed: Listed) -> Result<Taken, End> {
        let taken = self.known.take(self.started.elapsed(), listed);
        self.report_up(engine, &taken);
        self.backoff.reset();
        self.tell().await?;
        Ok(taken)
    }

    async fn tell(&self) -> Result<(), End> {
        let found = Command::Found(Box::new(self.known.found()));
        self.commands.send(found).await.map_err(|_| End::Stopped)
    }

    fn next_wake(&self, until: Option<Duration>) -> Instant {
        let resync = Instant::now() + RESYNC;
        until.map_or(resync, |until| (self.started + until).min(resync))
    }

    fn report_up(&mut self, engine: &Engine, taken: &Taken) {
        let detail = format!("{}, {}", self.endpoint, engine.version);
        let (state, error) = match taken {
            Taken {
                empty: true, held, ..
            } => {
                let text = format!(
                    "the engine lists no container at all and said nothing of stopping any; keeping the {held} known \
                     ones until it lists something"
                );
                (ProviderState::Holding, Some(text))
            }
            Taken { held: 0, .. } => (ProviderState::Up, None),
            Taken { held, .. } => {
                let text = format!(
                    "{held} containers, more than half of their service, vanished from the list without a stop \
                     event; keeping them for now"
                );
                (ProviderState::Holding, Some(text))
            }
        };
        let changed = self
            .shared
            .board
            .provider(DOCKER, state, error.clone(), &detail);
        if taken.released > 0 {
            let text = format!(
                "docker: let go of {} containers that stayed missing",
                taken.released
            );
            self.shared.events.record(Draft::discovery(text));
        }
        if !changed {
            return;
        }
        let text = match (error, self.down_since.take()) {
            (Some(error), _) => format!("docker: {error}"),
            (None, Some(since)) => {
                let (away, count) = (since.elapsed().as_secs_f64(), self.known.count());
                format!("docker: the engine is back after {away:.1} s, {count} containers opted in")
            }
            (None, None) => format!(
                "docker: {detail}, {} containers opted in",
                self.known.count()
            ),
        };
        self.shared.events.record(Draft::discovery(text));
    }

    fn report_down(&mut self, error: &EngineError) {
        self.shared.counters.discovery_error();
        let text = error.to_string();
        self.down_since.get_or_insert_with(Instant::now);
        if self
            .shared
            .board
            .provider(DOCKER, ProviderState::Down, Some(text.clone()), "")
        {
            let kept = match self.known.count() {
                0 => String::new(),
                count => format!("; keeping the {count} containers known"),
            };
            self.shared
                .events
                .record(Draft::discovery(format!("docker: {text}{kept}")));
        }
    }
}

fn stream_end(error: bollard::errors::Error) -> End {
    match translate(error) {
        EngineError::TooLarge => End::Renew,
        other => End::Failed(other),
    }
}

/// The answer to the list that is under way.
async fn poll(listing: &mut Option<(Instant, Listing)>) -> (Instant, Result<Listed, EngineError>) {
    match listing {
        Some((begun, answer)) => (*begun, answer.await),
        None => std::future::pending().await,
    }
}
