//! What is known right now, for whoever asks: written by the watcher and the providers, read by API and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_config::model::{Model, Source};
use weir_config::{Diagnostic, Kept};
use weir_plan::Overrides;

use crate::api::types::{ConfigState, Container, PinInfo, Problem, Provider, ProviderState};
use crate::clock;
use crate::store::records::DocumentRef;

/// The board. Its lock is held for copying only, never across an await.
#[derive(Default)]
pub(crate) struct Board(Mutex<Facts>);

/// Everything on it.
pub(crate) struct Facts {
    pub(crate) started_ms: u64,
    pub(crate) providers: BTreeMap<String, Provider>,
    /// Providers that have not answered since the start.
    pub(crate) unanswered: BTreeSet<String>,
    pub(crate) containers: Vec<Container>,
    /// What providers find wrong with what they see.
    pub(crate) discovered: Vec<Diagnostic>,
    pub(crate) config: ConfigFacts,
    /// What labels, files and documents say, or the generation that is laid over them, before overrides.
    pub(crate) configured: Arc<Model>,
    pub(crate) overrides: Overrides,
    /// Documents that were applied.
    pub(crate) documents: BTreeMap<String, DocumentRef>,
    /// The digests of all texts that the database holds.
    pub(crate) texts: BTreeSet<String>,
    /// The generation that is laid over the sources.
    pub(crate) pin: Option<PinInfo>,
    /// Certificates that are in force although what their files hold now is bad.
    pub(crate) kept: Vec<Kept>,
    /// Requests by version at the last change of a service's split.
    pub(crate) baselines: BTreeMap<String, Baseline>,
}

/// How the written configuration is doing.
pub(crate) struct ConfigFacts {
    pub(crate) state: ConfigState,
    pub(crate) since_ms: u64,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) rendered: String,
}

/// Counters at a moment, to count from there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Baseline {
    pub(crate) since_ms: u64,
    pub(crate) requests: BTreeMap<String, u64>,
}

impl Default for Facts {
    fn default() -> Self {
        let now = clock::now_ms();
        Self {
            started_ms: now,
            providers: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            containers: Vec::new(),
            discovered: Vec::new(),
            config: ConfigFacts {
                state: ConfigState::Ok,
                since_ms: now,
                diagnostics: Vec::new(),
                rendered: String::new(),
            },
            configured: Arc::default(),
            overrides: Overrides::default(),
            documents: BTreeMap::new(),
            texts: BTreeSet::new(),
            pin: None,
            kept: Vec::new(),
            baselines: BTreeMap::new(),
        }
    }
}

impl Board {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a provider's state. Returns whether the state is another one than before.
    pub(crate) fn provider(
        &self,
        name: &str,
        state: ProviderState,
        error: Option<String>,
        detail: &str,
    ) -> bool {
        let mut facts = self.lock();
        let now = clock::rfc3339(clock::now_ms());
        let provider = facts
            .providers
            .entry(name.to_owned())
            .or_insert_with(|| Provider {
                name: name.to_owned(),
                state: ProviderState::Connecting,
                since: now.clone(),
                error: None,
                detail: String::new(),
            });
        let changed = provider.state != state;
        if changed {
            provider.since = now;
        }
        provider.state = state;
        provider.error = error;
        if !detail.is_empty() {
            detail.clone_into(&mut provider.detail);
        }
        changed
    }
}

/// A diagnostic as the API shows it.
pub(crate) fn problem(diagnostic: &Diagnostic) -> Problem {
    let (container, label) = match &diagnostic.source {
        Source::Label {
            container, label, ..
        } => (
            Some(container.to_string()),
            Some(label.to_string()).filter(|l| !l.is_empty()),
        ),
        _ => (None, None),
    };
    Problem {
        severity: diagnostic.severity.to_string(),
        message: diagnostic.message.clone(),
        source: diagnostic.source.to_string(),
        help: diagnostic.help.clone(),
        container,
        label,
    }
}
