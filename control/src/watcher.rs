//! From what the sources say to one published model.
//!
//! One task owns all of it, so that changes are applied one after the other: it takes whatever is waiting, compiles
//! once, lays the overrides over the result, and publishes only what differs from what is in force. Waiting
//! for things to settle is the sources' affair: they know which of their news is urgent.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use weir_config::diagnostic::{Files, render};
use weir_config::file::Loaded;
use weir_config::model::{Model, Source};
use weir_config::{Diagnostic, Fragment, Severity};
use weir_plan::{Origin, Overrides, Rollout, SetError};

use crate::api::types::{ConfigState, Container, ProviderState};
use crate::board::Baseline;
use crate::clock;
use crate::control::{Outcome, Published, Shared};
use crate::events::Draft;
use crate::store::Store;

mod commands;
mod words;

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
}

/// All that a discovery provider sees.
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
    #[error("the control plane is stopping")]
    Stopping,
}

pub(crate) struct Watcher {
    shared: Arc<Shared>,
    store: Store,
    base: Vec<Fragment>,
    files: FileState,
    found: BTreeMap<String, Found>,
    overrides: Overrides,
    /// What labels and files say, before overrides.
    configured: Arc<Model>,
    compile_diagnostics: Vec<Diagnostic>,
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
        overrides: Overrides,
        base: Vec<Fragment>,
    ) -> Self {
        Self {
            shared,
            store,
            base,
            files: FileState::default(),
            found: BTreeMap::new(),
            overrides,
            configured: Arc::default(),
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
        let fragments = self.fragments(&loaded.fragment);
        let known = |d: &Diagnostic| {
            self.compile_diagnostics
                .iter()
                .any(|old| old.message == d.message && is_error(old))
        };
        let of_file = |d: &Diagnostic| matches!(d.source, Source::File { .. });
        let compiled = weir_config::compile(&fragments);
        compiled
            .diagnostics
            .into_iter()
            .filter(|d| is_error(d) && of_file(d) && !known(d))
            .collect()
    }

    fn fragments<'a>(&'a self, files: &'a Fragment) -> Vec<&'a Fragment> {
        let mut sources: Vec<(Origin, &Fragment)> = self
            .base
            .iter()
            .map(|fragment| (Origin::Base, fragment))
            .collect();
        sources.push((Origin::Files, files));
        for (name, found) in &self.found {
            sources.push((Origin::Discovered(name.clone()), &found.fragment));
        }
        weir_plan::merge(sources)
    }

    fn take_found(&mut self, found: Found) {
        self.found.insert(found.provider.clone(), found);
    }

    /// Compiles everything anew and publishes what differs. Returns the generation that is in force now.
    pub(crate) fn rebuild(&mut self) -> u64 {
        let nothing = Fragment::default();
        let fragments = self.fragments(self.files.good.as_ref().unwrap_or(&nothing));
        let compiled = weir_config::compile(&fragments);
        self.compile_diagnostics = compiled.diagnostics;
        if *self.configured != compiled.model {
            self.configured = Arc::new(compiled.model);
        }
        self.post();
        self.publish()
    }

    /// Lays the overrides over what is configured, and publishes it if it is something new.
    fn publish(&mut self) -> u64 {
        let before = self.shared.models.borrow().clone();
        let mut model = Arc::clone(&self.configured);
        if !self.overrides.services.is_empty() {
            weir_plan::apply(Arc::make_mut(&mut model), &self.overrides);
        }
        let old_splits = {
            let mut facts = self.shared.board.lock();
            let old = weir_plan::rollouts(&facts.configured, &facts.overrides);
            facts.configured = Arc::clone(&self.configured);
            facts.overrides = self.overrides.clone();
            old
        };
        if before.generation > 0 && *before.model == *model {
            return before.generation;
        }
        self.count_anew(&old_splits);
        let generation = before.generation + 1;
        let told = words::changes(&before.model, &model);
        self.shared
            .models
            .send_replace(Published { generation, model });
        self.shared.events.record(Draft::generation(format!(
            "generation {generation}: {told}"
        )));
        generation
    }

    /// Starts counting observed shares anew where a split changed.
    fn count_anew(&self, old: &[Rollout]) {
        let new = weir_plan::rollouts(&self.configured, &self.overrides);
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
        let in_force: Vec<Diagnostic> = self
            .files
            .diagnostics
            .iter()
            .chain(&self.compile_diagnostics)
            .cloned()
            .collect();
        let of_files: Vec<Diagnostic> = in_force
            .iter()
            .filter(|d| matches!(d.source, Source::File { .. }))
            .cloned()
            .collect();
        if !of_files.is_empty() {
            rendered.push_str(&render(&of_files, false, &self.files.texts));
        }
        diagnostics.extend(in_force);
        diagnostics.extend(
            self.found
                .values()
                .flat_map(|found| found.diagnostics.iter().cloned()),
        );
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
        let mut stale = false;
        for command in batch.drain(..) {
            match command {
                Command::Files(loaded) => {
                    watcher.take_files(*loaded);
                    stale = true;
                }
                Command::Found(found) => {
                    watcher.take_found(*found);
                    stale = true;
                }
                change => {
                    if std::mem::take(&mut stale) {
                        watcher.rebuild();
                    }
                    watcher.change(change).await;
                }
            }
        }
        if stale {
            watcher.rebuild();
        }
    }
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Error
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
