//! From what the sources say to one published model.
//!
//! One task owns all of it, so that changes are applied one after the other: it takes whatever is waiting, compiles
//! once, lays the overrides over the result, and publishes only what differs from what is in force. Waiting
//! for things to settle is the sources' affair: they know which of their news is urgent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use weir_config::diagnostic::{Files, render};
use weir_config::file::{Loaded, is_document};
use weir_config::model::{Model, Source};
use weir_config::{Diagnostic, Fragment, Kept, Memory, Severity};
use weir_plan::{Origin, Rollout, SetError};

use crate::api::types::{ConfigOutcome, ConfigState, Container, ProviderState};
use crate::board::Baseline;
use crate::clock;
use crate::control::{Outcome, Published, Shared};
use crate::events::Draft;
use crate::history::{self, Why};
use crate::store::Store;
use crate::store::database::DatabaseError;

mod commands;
mod decided;
mod decisions;
pub(crate) mod words;

pub(crate) use decided::Decided;
pub use decisions::ConfigRequest;

/// News taken at once before the next compilation.
const BATCH: usize = 64;

/// What the watcher is told.
pub(crate) enum Command {
    /// The files were read again.
    Files(Box<Loaded>),
    /// A provider sees this now.
    Found(Box<Found>),
    Set {
        service: String,
        weights: BTreeMap<String, String>,
        by: String,
        reply: oneshot::Sender<Result<Outcome, Refused>>,
    },
    Clear {
        service: String,
        by: String,
        reply: oneshot::Sender<Result<Outcome, Refused>>,
    },
    /// A document, or going back.
    Decide {
        request: ConfigRequest,
        by: String,
        dry_run: bool,
        reply: oneshot::Sender<Result<ConfigOutcome, Refused>>,
    },
}

/// All that a discovery provider sees.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub(crate) provider: String,
    pub(crate) fragment: Fragment,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) containers: Vec<Container>,
}

/// Why a change by hand was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Senseless(#[from] SetError),
    #[error("nothing was changed: {0}")]
    NotKept(#[from] DatabaseError),
    /// With everything that is wrong, rendered for a terminal.
    #[error("the document {name} has errors, and nothing was changed: {first}")]
    Invalid {
        name: String,
        first: String,
        rendered: String,
    },
    /// Its name or its size.
    #[error("{0}")]
    Unfit(String),
    #[error(
        "generation {generation} is in force by a rollback (by {by}), and a document would change nothing; \
         go back to the sources first with weir rollback --clear"
    )]
    Pinned { generation: u64, by: String },
    #[error("no generation is laid over the sources, so there is nothing to clear")]
    NotPinned,
    #[error(
        "there is no applied document {name}; {}",
        listed("applied are", known)
    )]
    UnknownDocument { name: String, known: Vec<String> },
    #[error(
        "there is no generation {number} in the history; {}",
        listed("the newest are", known)
    )]
    UnknownGeneration { number: u64, known: Vec<String> },
    #[error("cannot go back to generation {number}: {reason}")]
    Unrestorable { number: u64, reason: String },
    #[error("the control plane is stopping")]
    Stopping,
}

pub(crate) struct Watcher {
    shared: Arc<Shared>,
    store: Store,
    base: Vec<Fragment>,
    files: FileState,
    found: BTreeMap<String, Found>,
    /// What people decided through the API.
    decided: Decided,
    /// What labels, files and documents say.
    sources: Arc<Model>,
    /// The same, or the generation that is laid over it; before overrides.
    configured: Arc<Model>,
    /// Where endpoints were written down rather than found.
    written: Arc<BTreeSet<Source>>,
    /// The number of the generation that comes next.
    next: u64,
    compile_diagnostics: Vec<Diagnostic>,
    /// Certificates as they were good last.
    memory: Memory,
    /// Those that are in force although what their files hold now is bad.
    kept: Vec<Kept>,
}

/// The files as they are in force, and what was refused since.
#[derive(Default)]
struct FileState {
    good: Option<Fragment>,
    /// Of what is in force.
    diagnostics: Vec<Diagnostic>,
    texts: Files,
    /// What a later state of the files was refused for, rendered and as it is.
    refused: Option<(Vec<Diagnostic>, String)>,
}

impl Watcher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        store: Store,
        decided: Decided,
        base: Vec<Fragment>,
        next: u64,
    ) -> Self {
        let development = store.load_development();
        Self {
            shared,
            memory: development.map_or_else(Memory::default, |pem| Memory::with_development(&pem)),
            kept: Vec::new(),
            store,
            base,
            files: FileState::default(),
            found: BTreeMap::new(),
            decided,
            sources: Arc::default(),
            configured: Arc::default(),
            written: Arc::default(),
            next,
            compile_diagnostics: Vec::new(),
        }
    }

    /// Takes a new state of the files, or refuses it and keeps the one in force.
    ///
    /// The very first state is taken as far as it is valid: there is nothing better to fall back to.
    pub(crate) fn take_files(&mut self, loaded: Loaded) {
        self.shared.counters.config_read();
        let complaints = self.complaints(&loaded);
        if complaints.is_empty() || self.files.good.is_none() {
            let again = self.files.good.is_some();
            self.files = FileState {
                good: Some(loaded.fragment),
                diagnostics: loaded.diagnostics,
                texts: loaded.files,
                refused: None,
            };
            let state = if complaints.is_empty() {
                ProviderState::Up
            } else {
                ProviderState::Down
            };
            self.shared
                .board
                .provider("file", state, first_line(&complaints), "");
            if again {
                tracing::info!("configuration files read again");
            }
            return;
        }
        let rendered = render(&complaints, false, &loaded.files);
        let (count, first) = (complaints.len(), first_line(&complaints));
        self.shared.counters.config_rejected();
        self.shared
            .board
            .provider("file", ProviderState::Down, first.clone(), "");
        self.shared.events.record(Draft::config(format!(
            "configuration refused, generation {} stays in force: {} ({count} error{})",
            self.shared.models.borrow().generation,
            first.unwrap_or_default(),
            if count == 1 { "" } else { "s" },
        )));
        if let Some(good) = &mut self.files.good {
            good.references.renew(&loaded.fragment.references);
        }
        self.files.refused = Some((complaints, rendered));
    }

    /// The errors for which a state of the files is refused: those of reading it, and those that
    /// compiling it with everything else brings up anew.
    fn complaints(&self, loaded: &Loaded) -> Vec<Diagnostic> {
        let read: Vec<Diagnostic> = loaded
            .diagnostics
            .iter()
            .filter(|d| is_error(d))
            .cloned()
            .collect();
        if !read.is_empty() || self.files.good.is_none() {
            return read;
        }
        let fragments = self.fragments(&loaded.fragment, &self.decided);
        let known = |d: &Diagnostic| {
            self.compile_diagnostics
                .iter()
                .any(|old| old.message == d.message && is_error(old))
        };
        // A document that no longer fits beside a file gives way to it.
        let of_file =
            |d: &Diagnostic| matches!(d.source, Source::File { .. }) && !is_document(&d.source);
        let (compiled, _) =
            weir_config::compile_after(&fragments, &self.memory, clock::now_seconds());
        compiled
            .diagnostics
            .into_iter()
            .filter(|d| is_error(d) && of_file(d) && !known(d))
            .collect()
    }

    fn fragments<'a>(&'a self, files: &'a Fragment, decided: &'a Decided) -> Vec<&'a Fragment> {
        let mut sources: Vec<(Origin, &Fragment)> = self
            .base
            .iter()
            .map(|fragment| (Origin::Base, fragment))
            .collect();
        sources.push((Origin::Files, files));
        for (name, reading) in &decided.readings {
            sources.push((Origin::Applied(name.clone()), &reading.fragment));
        }
        for (name, found) in &self.found {
            sources.push((Origin::Discovered(name.clone()), &found.fragment));
        }
        weir_plan::merge(sources)
    }

    fn take_found(&mut self, found: Found) {
        self.found.insert(found.provider.clone(), found);
    }

    /// Compiles everything anew and publishes what differs. Returns the generation that is in force now.
    pub(crate) fn rebuild(&mut self, why: Why) -> u64 {
        self.compile();
        self.post();
        self.publish(why)
    }

    fn compile(&mut self) {
        let nothing = Fragment::default();
        let files = self.files.good.as_ref().unwrap_or(&nothing);
        let fragments = self.fragments(files, &self.decided);
        let now = clock::now_seconds();
        let (compiled, memory) = weir_config::compile_after(&fragments, &self.memory, now);
        let written = self.written_in(files, &self.decided);
        if *self.written != written {
            self.written = Arc::new(written);
        }
        self.remember(memory);
        self.tell_kept(compiled.kept);
        self.compile_diagnostics = compiled.diagnostics;
        let mut model = compiled.model;
        model.share(&self.sources);
        if *self.sources != model {
            self.sources = Arc::new(model);
        }
        let (configured, left_out) = self.decided.lay_over(&self.sources, &self.written);
        if *self.configured != *configured {
            self.configured = configured;
        }
        let mut facts = self.shared.board.lock();
        facts.pin = self.decided.pin_info(left_out);
    }

    /// The places of the endpoints that people wrote down: on the command line, in files and in documents.
    fn written_in(&self, files: &Fragment, decided: &Decided) -> BTreeSet<Source> {
        let readings = decided.readings.values().map(|reading| &reading.fragment);
        let fragments = self.base.iter().chain([files]).chain(readings);
        let services = fragments.flat_map(|fragment| &fragment.services);
        let endpoints = services.flat_map(|service| service.endpoints.iter().flatten());
        endpoints
            .map(|endpoint| endpoint.meta.place.source.clone())
            .chain(decided.pin_source())
            .collect()
    }

    fn remember(&mut self, memory: Memory) {
        let (old, new) = (self.memory.development(), memory.development());
        if let Some(pem) = new.filter(|new| old.as_ref() != Some(new))
            && let Err(error) = self.store.save_development(&pem)
        {
            tracing::warn!(%error, "self-signed certificates last until a restart");
        }
        self.memory = memory;
    }

    /// Reports each certificate that turned bad, and that it is good again.
    fn tell_kept(&mut self, kept: Vec<Kept>) {
        for bad in kept.iter().filter(|bad| !self.kept.contains(bad)) {
            self.shared.counters.certificate_rejected();
            tracing::warn!(source = %bad.source, "certificate refused: {}", bad.reason);
            self.shared.events.record(Draft::certificate(format!(
                "{} was refused, what was read before stays in force: {}",
                bad.name, bad.reason
            )));
        }
        for good in self
            .kept
            .iter()
            .filter(|old| !kept.iter().any(|k| k.name == old.name))
        {
            self.shared.events.record(Draft::certificate(format!(
                "{} is no longer refused",
                good.name
            )));
        }
        self.shared.board.lock().kept.clone_from(&kept);
        self.kept = kept;
    }

    /// Lays the overrides over what is configured, and publishes it if it is something new, or if somebody decided on it:
    /// each decision has its generation.
    fn publish(&mut self, why: Why) -> u64 {
        let before = self.shared.models.borrow().clone();
        let model = shared(self.decided.override_in(&self.configured), &before.model);
        let old_splits = {
            let mut facts = self.shared.board.lock();
            let old = weir_plan::rollouts(&facts.configured, &facts.overrides);
            facts.configured = Arc::clone(&self.configured);
            facts.overrides = self.decided.overrides.clone();
            old
        };
        let decided = why.author.is_some();
        if before.generation > 0 && !decided && *before.model == *model {
            return before.generation;
        }
        self.count_anew(&old_splits);
        let generation = self.next;
        self.next += 1;
        let diff = weir_config::diff(&before.model, &model);
        let told = words::changes(&diff);
        self.shared.models.send_replace(Published {
            generation,
            model: Arc::clone(&model),
        });
        self.shared.events.record(Draft::generation(format!(
            "generation {generation}: {told}"
        )));
        self.shared.history.take(history::Draft {
            number: generation,
            why,
            diff: Arc::new(diff),
            model,
            written: Arc::clone(&self.written),
            overrides: self.decided.overrides_text(),
            documents: self.decided.document_refs(),
        });
        generation
    }

    /// Starts counting observed shares anew where a split changed.
    fn count_anew(&self, old: &[Rollout]) {
        let new = weir_plan::rollouts(&self.configured, &self.decided.overrides);
        let changed: Vec<String> = new
            .iter()
            .filter(|split| {
                let was = old.iter().find(|was| was.service == split.service);
                was.is_none_or(|was| shares(was) != shares(split))
            })
            .map(|split| split.service.to_string())
            .collect();
        for service in changed {
            let requests = (self.shared.observed)(&service).into_iter().collect();
            let baseline = Baseline {
                since_ms: clock::now_ms(),
                requests,
            };
            self.shared.board.lock().baselines.insert(service, baseline);
        }
    }

    /// Puts what was read and what was found on the board.
    fn post(&self) {
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        let mut rendered = String::new();
        if let Some((refused, text)) = &self.files.refused {
            diagnostics.extend(refused.iter().cloned());
            rendered.clone_from(text);
        }
        let refused = diagnostics.len();
        let readings = self.decided.readings.values();
        let in_force: Vec<Diagnostic> = self
            .files
            .diagnostics
            .iter()
            .chain(readings.flat_map(|reading| &reading.diagnostics))
            .chain(&self.compile_diagnostics)
            .cloned()
            .collect();
        let of_files: Vec<Diagnostic> = in_force
            .iter()
            .filter(|d| matches!(d.source, Source::File { .. }))
            .cloned()
            .collect();
        if !of_files.is_empty() {
            let texts = self.decided.texts_beside(&self.files.texts);
            rendered.push_str(&render(&of_files, false, &texts));
        }
        diagnostics.extend(in_force);
        let of_providers = self.found.values().flat_map(|found| &found.diagnostics);
        let discovered: Vec<Diagnostic> = of_providers.cloned().collect();
        diagnostics.extend(discovered.iter().cloned());
        let state = match (&self.files.refused, diagnostics.iter().any(is_error)) {
            (Some(_), _) => ConfigState::Rejected,
            (None, true) => ConfigState::Partial,
            (None, false) => ConfigState::Ok,
        };
        let containers = self
            .found
            .values()
            .flat_map(|found| found.containers.iter().cloned())
            .collect();
        let mut facts = self.shared.board.lock();
        tell_left_out(&facts.config.diagnostics, &diagnostics[refused..]);
        if facts.config.state != state {
            facts.config.since_ms = clock::now_ms();
        }
        facts.config.state = state;
        facts.config.diagnostics = diagnostics;
        facts.config.rendered = rendered;
        facts.containers = containers;
        facts.discovered = discovered;
    }
}

/// Takes news until the control plane stops.
pub(crate) async fn run(mut watcher: Watcher, mut commands: mpsc::Receiver<Command>) {
    let stop = watcher.shared.stop.clone();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let count = tokio::select! {
            () = stop.cancelled() => return,
            count = commands.recv_many(&mut batch, BATCH) => count,
        };
        if count == 0 {
            return;
        }
        let mut stale = Stale::default();
        for command in batch.drain(..) {
            match command {
                Command::Files(loaded) => {
                    watcher.take_files(*loaded);
                    stale.written = true;
                }
                Command::Found(found) => {
                    stale.found.insert(found.provider.clone());
                    watcher.take_found(*found);
                }
                change => {
                    if let Some(why) = std::mem::take(&mut stale).why() {
                        watcher.rebuild(why);
                    }
                    watcher.change(change).await;
                }
            }
        }
        if let Some(why) = stale.why() {
            watcher.rebuild(why);
        }
    }
}

/// Whose news are not compiled yet.
#[derive(Default)]
struct Stale {
    /// The files'.
    written: bool,
    /// Those of these providers.
    found: BTreeSet<String>,
}

impl Stale {
    fn why(self) -> Option<Why> {
        let providers: Vec<String> = self.found.into_iter().collect();
        match (self.written, providers.is_empty()) {
            (false, true) => None,
            (true, _) => Some(Why::written("file")),
            (false, false) => Some(Why::found(providers.join(", "))),
        }
    }
}

/// The same model, with what it has in common with the one before held once: whoever follows tells by that what is new.
fn shared(mut model: Arc<Model>, before: &Arc<Model>) -> Arc<Model> {
    if !Arc::ptr_eq(&model, before) {
        Arc::make_mut(&mut model).share(before);
    }
    model
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error
}

/// `applied are: a, b`, or that there is none.
fn listed(what: &str, known: &[String]) -> String {
    match known.is_empty() {
        true => "there is none".into(),
        false => format!("{what}: {}", known.join(", ")),
    }
}

fn first_line(complaints: &[Diagnostic]) -> Option<String> {
    complaints
        .first()
        .map(|first| format!("{}: {}", first.source, first.message))
}

fn shares(rollout: &Rollout) -> Vec<(&str, u32)> {
    rollout
        .versions
        .iter()
        .map(|v| (v.version.as_str(), v.effective.tenths()))
        .collect()
}

/// Logs what is left out now and was not before, once.
fn tell_left_out(old: &[Diagnostic], new: &[Diagnostic]) {
    for diagnostic in new.iter().filter(|d| is_error(d) && !old.contains(d)) {
        let help = diagnostic.help.as_deref().unwrap_or_default();
        tracing::warn!(source = %diagnostic.source, help, "left out: {}", diagnostic.message);
    }
}
