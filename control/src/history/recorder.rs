//! Writing the history down.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use weir_config::model::{Model, Source};
use weir_config::{Diff, diff_dumps, dump};

use super::{Draft, Inbox, MAX_BYTES, MAX_CONFIGURATION, Message, Why, listed};
use crate::api::types::{EndpointNote, EndpointNotes, Generation, ProviderState};
use crate::clock;
use crate::control::Shared;
use crate::events::Draft as EventDraft;
use crate::store::database::Batch;
use crate::store::records::{self, DocumentRef, Entry};
use crate::watcher::words;

/// Numbers that may be used before the database is asked again. After a crash the next number is past all of them, so
/// that no number ever means two things; after an orderly end it is the next one.
const RESERVE: u64 = 64;
/// Reserved numbers that are left when the next ones are asked for: time for a disk that is slow.
const LOW: u64 = 16;
/// How often what is due is looked at.
const TICK: Duration = Duration::from_millis(250);
/// How long changes of endpoints wait before they are written: a flapping container must not wear out a disk.
const ENDPOINTS_EVERY: Duration = Duration::from_secs(30);
/// Before a write that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How long a start waits for its sources to answer before it judges what changed since the last run.
const SETTLE: Duration = Duration::from_secs(30);
/// Ticks in a row with every source heard.
const CALM: u32 = 4;
/// Changes of endpoints that an entry lists; more are counted.
const MAX_NOTES: usize = 20;
/// Bytes that wait for a disk that fails; more are dropped, and the history has a gap.
const MAX_PENDING: usize = 16 * 1024 * 1024;

/// The task that writes.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    inbox: Inbox,
    keep: usize,
    /// What was in force at the end of the last run.
    baseline: Option<Value>,
    /// Since when the sources of this start are waited for, and how long all of them were heard.
    settling: Option<(Instant, u32)>,
    /// The newest generation there is.
    newest: Option<Draft>,
    reserved: u64,
    /// What a failing disk has not taken yet.
    pending: Batch,
    /// Changes of endpoints that are not in `pending` yet.
    dirty: bool,
    written: Instant,
    failing: bool,
}

impl Recorder {
    /// A recorder that has reserved numbers up to `reserved`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        inbox: Inbox,
        keep: usize,
        baseline: Option<Value>,
        reserved: u64,
    ) -> Self {
        Self {
            shared,
            inbox,
            keep,
            baseline,
            settling: Some((Instant::now(), 0)),
            newest: None,
            reserved,
            pending: Batch::default(),
            dirty: false,
            written: Instant::now(),
            failing: false,
        }
    }

    /// How many numbers are reserved beyond the one in use.
    pub(crate) fn reserve() -> u64 {
        RESERVE
    }

    /// Writes until the control plane stops.
    pub(crate) async fn run(mut self) {
        let stop = self.shared.stop.clone();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.tick().await,
                message = self.inbox.0.recv() => match message {
                    Some(Message::Draft(draft)) => self.take(*draft).await,
                    Some(Message::Flush(done)) => {
                        self.finish().await;
                        let _ = done.send(());
                    }
                    None => return,
                },
            }
        }
    }

    async fn take(&mut self, draft: Draft) {
        if draft.number + LOW > self.reserved {
            self.reserved = draft.number + RESERVE;
            self.pending.put_last_number(self.reserved);
        }
        if self.settling.is_some() && !draft.why.found {
            // Somebody decides before all sources are heard: what was there until now is the start's.
            self.settle().await;
        }
        self.newest = Some(draft.clone());
        if self.settling.is_none() {
            self.record(draft).await;
        }
        self.write_if_due(false).await;
    }

    async fn record(&mut self, draft: Draft) {
        if draft.diff.is_empty() && draft.why.author.is_none() {
            return;
        }
        let counted = draft.is_endpoints_only() && {
            let mut kept = self.shared.history.lock();
            let last = kept.entries.back_mut();
            last.map(|last| note(&mut last.shown.endpoints, &draft))
                .is_some()
        };
        if counted {
            self.dirty = true;
            return;
        }
        let configuration = text_of(&draft).await;
        let diff = Arc::clone(&draft.diff);
        self.append(&draft, &draft.why, &diff, configuration);
    }

    /// What this run changed against the last one, once all sources are heard.
    async fn settle(&mut self) {
        self.settling = None;
        let Some(draft) = self.newest.clone() else {
            return;
        };
        let baseline = self.baseline.take();
        let compared = tokio::task::spawn_blocking(move || {
            let now = decided(&draft.model, &draft.written);
            let before = baseline.unwrap_or_else(|| dump(&Model::default()));
            (diff_dumps(&before, &now), now.to_string(), draft)
        });
        let Ok((diff, configuration, draft)) = compared.await else {
            return;
        };
        let first = self.shared.history.lock().entries.is_empty();
        if first || !diff.is_empty() {
            self.append(&draft, &Why::found(START), &diff, configuration);
        }
    }

    fn append(&mut self, draft: &Draft, why: &Why, diff: &Diff, configuration: String) {
        let (changes, more_changes) = listed(&diff.changes);
        let fits = configuration.len() <= MAX_CONFIGURATION;
        let entry = Entry {
            shown: Generation {
                generation: draft.number,
                time: clock::rfc3339(clock::now_ms()),
                source: why.source.clone(),
                author: why.author.clone(),
                changes,
                more_changes,
                kept: fits,
                endpoints: EndpointNotes::default(),
            },
            found: why.found,
            bytes: if fits { configuration.len() } else { 0 },
            overrides: draft.overrides.clone(),
            documents: draft.documents.clone(),
        };
        let mut kept = self.shared.history.lock();
        if self.dirty
            && let Some(last) = kept.entries.back()
        {
            self.pending.put_entry(last);
            self.dirty = false;
        }
        self.pending.put_entry(&entry);
        if fits {
            self.pending
                .put_configuration(draft.number, configuration.into_bytes());
        }
        kept.entries.push_back(entry);
        let mut bytes: usize = kept.entries.iter().map(|entry| entry.bytes).sum();
        while kept.entries.len() > self.keep || (bytes > MAX_BYTES && kept.entries.len() > 1) {
            let at = expendable(&kept.entries);
            let Some(dropped) = kept.entries.remove(at) else {
                break;
            };
            bytes -= dropped.bytes;
            self.pending.remove_entry(dropped.shown.generation);
        }
    }

    async fn tick(&mut self) {
        if let Some((since, calm)) = self.settling {
            let calm = if self.all_heard() { calm + 1 } else { 0 };
            self.settling = Some((since, calm));
            if calm >= CALM || since.elapsed() >= SETTLE {
                self.settle().await;
            }
        }
        self.write_if_due(false).await;
    }

    fn all_heard(&self) -> bool {
        let facts = self.shared.board.lock();
        let heard = |state| matches!(state, ProviderState::Up | ProviderState::Holding);
        facts
            .providers
            .values()
            .all(|provider| heard(provider.state))
    }

    async fn write_if_due(&mut self, now: bool) {
        let since = self.written.elapsed();
        if self.dirty && (now || since >= ENDPOINTS_EVERY) {
            if let Some(newest) = &self.newest {
                let configuration = text_of(newest).await;
                if configuration.len() <= MAX_CONFIGURATION {
                    self.pending.put_baseline(configuration.into_bytes());
                }
            }
            if let Some(last) = self.shared.history.lock().entries.back() {
                self.pending.put_entry(last);
            }
            self.dirty = false;
        }
        if self.pending.is_empty() || (self.failing && !now && since < RETRY) {
            return;
        }
        self.write().await;
    }

    async fn write(&mut self) {
        self.written = Instant::now();
        // What is dropped is decided and dropped in one go: a document that is applied meanwhile needs its text.
        let saving = Arc::clone(&self.shared.saving).lock_owned().await;
        // A document whose generation is still on its way here needs its text too.
        if self.inbox.0.is_empty() {
            self.drop_texts();
        }
        let result = self.shared.database.commit(self.pending.clone()).await;
        drop(saving);
        let events = &self.shared.events;
        match result {
            Ok(()) => {
                self.pending = Batch::default();
                self.shared.history.lock().problem = None;
                if std::mem::take(&mut self.failing) {
                    events.record(EventDraft::config("the history is written again".into()));
                }
            }
            Err(error) => {
                let problem = format!("the history is not written: {error}");
                self.shared.history.lock().problem = Some(problem.clone());
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("{problem}");
                    events.record(EventDraft::config(problem));
                }
                if self.pending.bytes() > MAX_PENDING {
                    self.pending = Batch::default();
                    self.pending.put_last_number(self.reserved);
                }
            }
        }
    }

    /// Drops the texts that nobody names any more, of entries that are dropped.
    fn drop_texts(&mut self) {
        let digest = |of: &DocumentRef| of.digest.clone();
        let mut named: BTreeSet<String> = {
            let kept = self.shared.history.lock();
            let entries = kept.entries.iter();
            entries
                .flat_map(|entry| entry.documents.values().map(digest))
                .collect()
        };
        let mut facts = self.shared.board.lock();
        named.extend(facts.documents.values().map(digest));
        for gone in facts.texts.difference(&named) {
            self.pending.remove_text(gone);
        }
        // One that was dropped in vain before may be named again.
        for digest in &named {
            self.pending.keep_text(digest);
        }
        facts.texts = named;
    }

    /// At the orderly end of the process: all that there is, and the number that comes next.
    async fn finish(&mut self) {
        if self.settling.is_some() && self.all_heard() {
            self.settle().await;
        }
        if let Some(newest) = &self.newest {
            self.reserved = newest.number;
            self.pending.put_last_number(newest.number);
        }
        self.write_if_due(true).await;
    }
}

/// The source of the first entry of a run.
pub(crate) const START: &str = "start";

/// Which entry is dropped first: the oldest, but of more than half that discovery made, the oldest of those. A container that
/// dies again and again must not push out of the history what people decided.
pub(super) fn expendable(entries: &VecDeque<Entry>) -> usize {
    let found = entries.iter().filter(|entry| entry.found).count();
    let oldest = entries.iter().position(|entry| entry.found);
    oldest.filter(|_| found * 2 > entries.len()).unwrap_or(0)
}

/// The configuration as people decided on it: without the endpoints that were found.
fn decided(model: &Model, written: &BTreeSet<Source>) -> Value {
    let mut model = model.clone();
    for service in &mut model.services {
        let found = |source: &Source| !written.contains(source);
        if service
            .endpoints
            .iter()
            .any(|endpoint| found(&endpoint.source))
        {
            let service = Arc::make_mut(service);
            service
                .endpoints
                .retain(|endpoint| !found(&endpoint.source));
        }
    }
    dump(&model)
}

/// The same as text, made off this thread: a large one takes a while.
async fn text_of(draft: &Draft) -> String {
    let (model, written) = (Arc::clone(&draft.model), Arc::clone(&draft.written));
    let text = tokio::task::spawn_blocking(move || decided(&model, &written).to_string());
    text.await.unwrap_or_default()
}

fn note(notes: &mut EndpointNotes, draft: &Draft) {
    notes.count += 1;
    if notes.recent.len() == MAX_NOTES {
        notes.recent.remove(0);
    }
    notes.recent.push(EndpointNote {
        generation: draft.number,
        time: clock::rfc3339(clock::now_ms()),
        source: draft.why.source.clone(),
        text: words::changes(&draft.diff),
    });
}

/// What a start knows of the last run.
///
/// # Errors
/// When the database cannot be read.
pub(crate) async fn last_run(
    shared: &Shared,
) -> Result<Option<Value>, crate::store::database::DatabaseError> {
    let newest = shared.history.numbers().first().copied();
    records::baseline(shared.database.as_ref(), newest).await
}
