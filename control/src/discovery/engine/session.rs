//! The life of a connection to an engine, the same for whatever is asked of it.
//!
//! An event is only a reason to look: the list is what counts, and it replaces what was known as a whole. The one
//! exception is what is told to stop, which is taken out of rotation on the event itself (semantics 34).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::endpoint::Endpoint;
use super::marks::{Effect, Marks};
use super::{Engine, EngineError, translate};
use crate::control::Shared;
use crate::discovery::pace::Pace;
use crate::discovery::provider::{self, Answer, Desk, End, Provider, Words};
use crate::watcher::{Command, Found};

/// A list that is being asked for.
pub(crate) type Listing<T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send>>;

/// What is looked for at an engine, and what is known of it; it outlives the connection.
pub(crate) trait Watched: Send + 'static {
    /// The provider's name.
    const NAME: &'static str;
    const WORDS: Words;

    /// All answers that make up one list.
    type Listed: Send + 'static;

    fn marks(&mut self) -> &mut Marks;

    fn on_event(&mut self, event: &EventMessage) -> Effect;

    /// Asks for the list. `in_doubt` says that events may have been missed.
    fn ask(&self, engine: &Engine, in_doubt: bool) -> Listing<Self::Listed>;

    /// Takes the list; `now` counts from any fixed moment. Tells what it is worth, and when something that is held is let
    /// go.
    fn take(&mut self, now: Duration, listed: Self::Listed) -> (Answer, Option<Duration>);

    /// All that is known.
    fn found(&self) -> Found;

    /// How many things are known.
    fn count(&self) -> usize;

    /// The wait until the next list when no event comes.
    fn rest(&self) -> Duration;
}

/// Watches an engine until the control plane stops.
pub(crate) fn watch<W: Watched>(
    shared: &Arc<Shared>,
    endpoint: &str,
    watched: W,
    commands: mpsc::Sender<Command>,
) {
    match Endpoint::parse(endpoint) {
        Ok(endpoint) => provider::watch(shared, Watching::new(endpoint, watched), commands),
        Err(reason) => provider::hopeless(shared, W::NAME, endpoint, reason),
    }
}

/// One engine and what is watched there.
struct Watching<W> {
    endpoint: Endpoint,
    watched: W,
    pace: Pace,
    started: Instant,
    /// What was handed in last.
    told: Option<Found>,
}

impl<W: Watched> Provider for Watching<W> {
    fn name(&self) -> &str {
        W::NAME
    }

    fn place(&self) -> String {
        self.endpoint.to_string()
    }

    fn words(&self) -> Words {
        W::WORDS
    }

    fn count(&self) -> usize {
        self.watched.count()
    }

    /// One connection's life: it ends with the stream of events or with the first failure.
    async fn session(&mut self, desk: &mut Desk) -> End {
        match self.converse(desk).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }
}

impl<W: Watched> Watching<W> {
    fn new(endpoint: Endpoint, watched: W) -> Self {
        Self {
            endpoint,
            watched,
            pace: Pace::default(),
            started: Instant::now(),
            told: None,
        }
    }

    async fn converse(&mut self, desk: &mut Desk) -> Result<Infallible, End> {
        let engine = Engine::connect(&self.endpoint).await?;
        let mut events = engine.events(self.watched.marks().last_nanos());
        self.watched.marks().resume();
        self.pace.restart();
        let mut listing: Option<(Instant, Listing<W::Listed>)> = None;
        let mut open = false;
        let mut doubt = true;
        let mut wake = Instant::now() + self.watched.rest();
        loop {
            let due = self.pace.due().filter(|_| listing.is_none());
            tokio::select! {
                biased;
                event = events.next() => {
                    let event = event.ok_or(EngineError::Closed)?.map_err(stream_end)?;
                    self.on_event(&event, desk).await?;
                }
                // Listed only after the engine took the request for events, so that nothing falls in between.
                () = engine.events_open(), if !open => {
                    open = true;
                    self.pace.hurry(Instant::now());
                }
                answer = poll(&mut listing), if listing.is_some() => {
                    let (begun, answer) = answer;
                    listing = None;
                    self.pace.finished(Instant::now(), begun.elapsed());
                    wake = self.take(&engine, answer?, desk).await?;
                }
                () = sleep_until(due.unwrap_or(wake)), if due.is_some() => {
                    self.pace.begun();
                    let asked = self.watched.ask(&engine, std::mem::take(&mut doubt));
                    listing = Some((Instant::now(), asked));
                }
                () = sleep_until(wake), if open && listing.is_none() => {
                    doubt = true;
                    wake = Instant::now() + self.watched.rest();
                    self.pace.hurry(Instant::now());
                }
            }
        }
    }

    async fn on_event(&mut self, event: &EventMessage, desk: &Desk) -> Result<(), End> {
        desk.heard();
        match self.watched.on_event(event) {
            Effect::Ignore => {}
            Effect::Relist => self.pace.nudge(Instant::now()),
            Effect::Drain => {
                self.pace.nudge(Instant::now());
                self.tell(desk).await?;
            }
        }
        Ok(())
    }

    /// Takes a list; returns when the next one is due without any event.
    async fn take(
        &mut self,
        engine: &Engine,
        listed: W::Listed,
        desk: &mut Desk,
    ) -> Result<Instant, End> {
        let (answer, until) = self.watched.take(self.started.elapsed(), listed);
        let answer = Answer {
            detail: Some(engine.version.clone()),
            ..answer
        };
        desk.answered(answer, self.watched.count());
        self.tell(desk).await?;
        let rest = Instant::now() + self.watched.rest();
        Ok(until.map_or(rest, |until| (self.started + until).min(rest)))
    }

    /// Hands in what is known, unless nothing is new.
    async fn tell(&mut self, desk: &Desk) -> Result<(), End> {
        let found = self.watched.found();
        if self.told.as_ref() == Some(&found) {
            return Ok(());
        }
        if (self.told.as_ref()).is_none_or(|told| told.fragment != found.fragment) {
            self.pace.changed(Instant::now());
        }
        self.told = Some(found.clone());
        desk.tell(found).await
    }
}

fn stream_end(error: bollard::errors::Error) -> End {
    match translate(error) {
        EngineError::TooLarge => End::Renew,
        other => other.into(),
    }
}

/// The answer to the list that is under way.
async fn poll<T>(listing: &mut Option<(Instant, Listing<T>)>) -> (Instant, Result<T, EngineError>) {
    match listing {
        Some((begun, answer)) => (*begun, answer.await),
        None => std::future::pending().await,
    }
}
