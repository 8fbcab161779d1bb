//! Putting in force what was told, and what has to be done again while nothing is told.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_config::model::Model;

use super::{Apply, Board};
use crate::channel::{Address, ChannelError};
use crate::client::{Candidate, Client, Verdict};
use crate::last_good::{Saved, Writer};
use crate::message::{Request, Response, Variant};
use crate::tally::{Reason, Tally, now_ms};

/// How long a port that was taken is left alone before it is tried again.
const REBIND: Duration = Duration::from_secs(2);

/// The state machine with what it acts on.
pub(super) struct Publisher {
    pub(super) client: Client,
    apply: Apply,
    node: String,
    writer: Option<Writer>,
    board: Arc<Board>,
    tally: Arc<Tally>,
    unbound: Vec<(String, String)>,
    rebind: Option<Instant>,
}

impl Publisher {
    pub(super) fn new(client: Client, apply: Apply, board: Arc<Board>, tally: Arc<Tally>) -> Self {
        Self {
            client,
            apply,
            node: String::new(),
            writer: None,
            board,
            tally,
            unbound: Vec::new(),
            rebind: None,
        }
    }

    /// Where what comes into force is kept.
    pub(super) fn keep_in(&mut self, node: String, writer: Option<Writer>) {
        self.node = node;
        self.writer = writer;
    }

    /// Puts in force what was kept, and the model that was made of it. Blocks.
    pub(super) fn restore(&mut self, saved: &Saved, model: Arc<Model>) {
        let generation = saved.generation;
        let unbound = (self.apply)(Arc::clone(&model), generation);
        let resources = &saved.resources;
        self.client.resume(resources, model, generation, &saved.run);
        self.client.bound(&unbound);
        self.bound(unbound);
        self.board.restored(saved.at_ms);
        self.show();
    }

    pub(super) fn connected(&mut self, address: &Address, variant: Variant) {
        self.tally.connected(true);
        self.board.connected(address);
        tracing::info!(control = %address, ?variant, "following the control plane");
    }

    /// It is left for another connection to the same.
    pub(super) fn reconnects(&mut self) {
        self.client.disconnected();
        self.tally.connected(false);
    }

    pub(super) fn disconnected(&mut self, address: &Address, error: &ChannelError) {
        self.client.disconnected();
        self.tally.connected(false);
        self.tally.connect_error();
        if self.board.disconnected(address, &error.to_string()) {
            tracing::warn!(control = %address, "no control plane: {error}; what is in force stays");
        }
    }

    pub(super) fn refuse(&self, reason: Reason) {
        self.tally.refused(reason);
    }

    pub(super) fn receive(&mut self, response: Response) {
        let now = now_ms();
        self.tally.updated(now);
        self.board.updated(now);
        let refused = self.client.receive(response);
        refused.into_iter().for_each(|it| self.tally.refused(it));
    }

    /// Puts in force what can be, and says what is to be sent.
    pub(super) async fn settle(&mut self) -> Vec<Request> {
        if let Some(candidate) = self.client.candidate(Instant::now()) {
            self.publish(candidate).await;
        }
        self.answer()
    }

    fn answer(&mut self) -> Vec<Request> {
        let answers = self.client.answers();
        self.tally.answered(answers.accepted, answers.refused);
        self.show();
        answers.requests
    }

    /// Waits for a future, and does meanwhile what is due.
    pub(super) async fn beside<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return done,
                () = self.due() => {}
            }
            self.catch_up().await;
        }
    }

    /// Waits until something is due: a set that waited long enough, a port that may be free by now.
    pub(super) async fn due(&self) {
        let due = [self.client.deadline(), self.rebind].into_iter().flatten();
        match due.min() {
            Some(due) => tokio::time::sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Does what is due, and says what is to be sent.
    pub(super) async fn catch_up(&mut self) -> Vec<Request> {
        self.retry().await;
        self.answer()
    }

    async fn retry(&mut self) {
        let now = Instant::now();
        if self.client.deadline().is_some_and(|due| due <= now)
            && let Some(candidate) = self.client.candidate(now)
        {
            tracing::warn!(
                awaited = self.client.awaited().join(", "),
                "what is named did not come; what can be served without it is"
            );
            self.publish(candidate).await;
        }
        if self.rebind.is_some_and(|due| due <= now) {
            let (model, generation) = (Arc::clone(self.client.model()), self.client.generation());
            let unbound = self.apply(model, generation).await;
            for (name, _) in self.unbound.iter().filter(|it| !unbound.contains(it)) {
                tracing::info!(
                    listener = name,
                    "what kept it from being bound is over, or another"
                );
            }
            let reasons = self.client.bound(&unbound);
            reasons.into_iter().for_each(|it| self.tally.refused(it));
            self.bound(unbound);
        }
    }

    async fn publish(&mut self, candidate: Candidate) {
        let judging = tokio::task::spawn_blocking(move || candidate.judge());
        let verdict = match judging.await {
            Ok(verdict) => verdict,
            // Nothing that a server sends may end the thread; what is in force stays.
            Err(error) => {
                tracing::error!(%error, "a set could not be looked at");
                return self.client.failed();
            }
        };
        if let Some((model, generation)) = verdict.publish() {
            let unbound = self.apply(model, generation).await;
            self.bound(unbound);
        }
        self.take(verdict);
    }

    fn take(&mut self, verdict: Verdict) {
        let came = verdict.is_new();
        let reasons = self.client.applied(verdict, &self.unbound);
        reasons.into_iter().for_each(|it| self.tally.refused(it));
        if came && let Some(writer) = &self.writer {
            writer.write(Saved {
                node: self.node.clone(),
                generation: self.client.generation(),
                run: self.client.run().to_owned(),
                at_ms: now_ms(),
                resources: self.client.resources().clone(),
            });
        }
    }

    async fn apply(&self, model: Arc<Model>, generation: u64) -> Vec<(String, String)> {
        let apply = Arc::clone(&self.apply);
        let applying = tokio::task::spawn_blocking(move || apply(model, generation));
        applying.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a model could not be applied");
            Vec::new()
        })
    }

    fn bound(&mut self, unbound: Vec<(String, String)>) {
        self.rebind = (!unbound.is_empty()).then(|| Instant::now() + REBIND);
        self.unbound = unbound;
    }

    fn show(&self) {
        let awaited = self.client.awaited();
        self.tally.awaiting(awaited.len());
        let (told, generation) = (self.client.told_generation(), self.client.generation());
        self.board
            .applied(told, generation, self.client.troubles(), awaited);
    }
}
