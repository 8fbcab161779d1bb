//! What every source of endpoints is, and what is done for each of them in the same way.
//!
//! A provider holds one session with its source after the other. In a session it hands over *all* that it sees, never a
//! difference, and each time replaces what it handed over before (semantics 36: what is known outlives the session).
//! Around that, [`watch`] waits between sessions, and its [`Desk`] writes down each change of the source's state
//! once: on the board, as an event, in the counters. `tests/providers.rs` holds every provider to the same promises.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::pace::Backoff;
use crate::api::types::ProviderState;
use crate::control::Shared;
use crate::events::Draft;
use crate::watcher::{Command, Found};

/// A source of endpoints.
pub(crate) trait Provider: Send + 'static {
    /// Unique among the providers of a process: on the board, in events, in metrics.
    fn name(&self) -> &str;

    /// What is asked, for people: `unix:///var/run/docker.sock`.
    fn place(&self) -> String;

    /// How messages speak of the source and of what it has.
    fn words(&self) -> Words;

    /// How many things are known now, the held ones among them.
    fn count(&self) -> usize;

    /// One session with the source, from asking it for the first time to its end. What is known stays with the
    /// provider for the next one.
    fn session(&mut self, desk: &mut Desk) -> impl Future<Output = End> + Send;
}

/// How messages speak of a source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words {
    /// `the engine`
    pub(crate) source: &'static str,
    /// What is kept while it is away: `containers`.
    pub(crate) things: &'static str,
    /// What is counted when it answers: `containers opted in`.
    pub(crate) counted: &'static str,
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The source does not answer, or not with anything that can be used. The text says what to check.
    Failed(String),
    /// Nothing is wrong; the next one begins at once.
    Renew,
    /// Nobody listens any more.
    Stopped,
}

/// What a source's answer was worth.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Beside the place: the version that the source speaks, if there is something to say.
    pub(crate) detail: Option<String>,
    /// Why it is not believed as it is, if so: what is known is held.
    pub(crate) holding: Option<String>,
    /// Why it has nothing that could be used, if so. It is as bad as no answer.
    pub(crate) useless: Option<String>,
    /// Things that were held and are let go.
    pub(crate) released: usize,
}

/// Follows a source until the control plane stops.
pub(crate) fn watch<P: Provider>(
    shared: &Arc<Shared>,
    mut provider: P,
    commands: mpsc::Sender<Command>,
) {
    let mut desk = Desk::new(Arc::clone(shared), commands, &provider);
    tokio::spawn(async move {
        let stop = desk.shared.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = follow(&mut provider, &mut desk) => {}
        }
    });
}

async fn follow<P: Provider>(provider: &mut P, desk: &mut Desk) {
    loop {
        match provider.session(desk).await {
            End::Renew => {}
            End::Stopped => return,
            End::Failed(error) => {
                desk.failed(error, provider.count());
                sleep(desk.backoff.next(rand::random())).await;
            }
        }
    }
}

/// Says that a source cannot even be tried, and why.
pub(crate) fn hopeless(shared: &Shared, name: &str, place: &str, reason: String) {
    shared
        .events
        .record(Draft::discovery(format!("{name}: {reason}")));
    shared
        .board
        .provider(name, ProviderState::Down, Some(reason), place);
    shared.board.lock().unanswered.insert(name.to_owned());
}

/// Where a provider hands in what it sees and how its source is doing.
pub(crate) struct Desk {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    name: String,
    place: String,
    words: Words,
    backoff: Backoff,
    /// Since when the source does not answer.
    down_since: Option<Instant>,
}

impl Desk {
    fn new<P: Provider>(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        provider: &P,
    ) -> Self {
        let (name, place) = (provider.name().to_owned(), provider.place());
        shared
            .board
            .provider(&name, ProviderState::Connecting, None, &place);
        shared.board.lock().unanswered.insert(name.clone());
        Self {
            shared,
            commands,
            name,
            place,
            words: provider.words(),
            backoff: Backoff::default(),
            down_since: None,
        }
    }

    /// Hands over all that is seen now.
    ///
    /// # Errors
    /// [`End::Stopped`] when nobody listens any more.
    pub(crate) async fn tell(&self, found: Found) -> Result<(), End> {
        let found = Command::Found(Box::new(found));
        self.commands.send(found).await.map_err(|_| End::Stopped)
    }

    /// Counts something that the source told without being asked.
    pub(crate) fn heard(&self) {
        self.shared.counters.discovery_event();
    }

    /// The source answered; `count` things are known now.
    pub(crate) fn answered(&mut self, answer: Answer, count: usize) {
        let detail = match &answer.detail {
            Some(more) => format!("{}, {more}", self.place),
            None => self.place.clone(),
        };
        if answer.released > 0 {
            let (released, things) = (answer.released, self.words.things);
            self.record(format!("let go of {released} {things} that stayed missing"));
        }
        self.backoff.reset();
        self.shared.board.lock().unanswered.remove(&self.name);
        let (state, error) = match (answer.useless, answer.holding) {
            (Some(why), _) => {
                self.shared.counters.discovery_error();
                (ProviderState::Down, Some(why))
            }
            (None, Some(why)) => (ProviderState::Holding, Some(why)),
            (None, None) => (ProviderState::Up, None),
        };
        let changed = self
            .shared
            .board
            .provider(&self.name, state, error.clone(), &detail);
        if !changed {
            return;
        }
        let counted = self.words.counted;
        let text = match (error, self.down_since.take()) {
            (Some(error), _) => error,
            (None, Some(since)) => {
                let (source, away) = (self.words.source, since.elapsed().as_secs_f64());
                format!("{source} is back after {away:.1} s, {count} {counted}")
            }
            (None, None) => format!("{detail}, {count} {counted}"),
        };
        self.record(text);
    }

    /// The source failed; the next attempt comes after a while.
    fn failed(&mut self, error: String, count: usize) {
        self.shared.counters.discovery_error();
        self.down_since.get_or_insert_with(Instant::now);
        let changed =
            self.shared
                .board
                .provider(&self.name, ProviderState::Down, Some(error.clone()), "");
        if changed {
            let things = self.words.things;
            self.record(match count {
                0 => error,
                _ => format!("{error}; keeping the {count} {things} known"),
            });
        }
    }

    fn record(&self, text: String) {
        let text = format!("{}: {text}", self.name);
        self.shared.events.record(Draft::discovery(text));
    }
}
