//! What people decided through the API: weights, documents, and the generation that is laid over the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_config::diagnostic::Files;
use weir_config::file::{Loaded, parse_document};
use weir_config::model::{Endpoint, Model, Source};
use weir_plan::{Overrides, Pin};

use crate::api::types::PinInfo;
use crate::clock;
use crate::store::overrides_text;
use crate::store::records::{self, DocumentRef, Documents, PinRecord};

/// All of it. A change is made to a copy, which takes its place once it is kept.
#[derive(Clone, Default)]
pub(crate) struct Decided {
    pub(super) overrides: Overrides,
    pub(super) documents: Documents,
    /// The documents as they were read.
    pub(super) readings: BTreeMap<String, Arc<Loaded>>,
    pub(super) pin: Option<Pinned>,
}

/// A generation that is laid over the sources.
#[derive(Clone)]
pub(super) struct Pinned {
    pub(super) record: Arc<PinRecord>,
    pub(super) pin: Arc<Pin>,
}

impl Pinned {
    /// What a record holds, as models.
    ///
    /// # Errors
    /// Why this version cannot read it.
    pub(super) fn of(record: PinRecord) -> Result<Self, String> {
        let name = format!("generation {}", record.generation);
        let restored = weir_config::restore(&record.configuration, &name).map_err(|found| {
            let all: Vec<String> = found.iter().map(|d| d.message.clone()).take(3).collect();
            all.join("; ")
        })?;
        let pin = Pin {
            model: Arc::new(restored.model),
            over_tls: restored.over_tls,
        };
        Ok(Self {
            record: Arc::new(record),
            pin: Arc::new(pin),
        })
    }

    fn source(&self) -> Source {
        Source::Other(format!("generation {}", self.record.generation).into())
    }
}

impl Decided {
    /// What a start finds. What cannot be read is a complaint, and not in force.
    pub(crate) fn load(
        overrides: Overrides,
        documents: Documents,
        pin: Option<PinRecord>,
        complaints: &mut Vec<String>,
    ) -> Self {
        let mut decided = Self {
            overrides,
            ..Self::default()
        };
        decided.set_documents(documents);
        if let Some(record) = pin {
            let number = record.generation;
            match Pinned::of(record) {
                Ok(pinned) => decided.pin = Some(pinned),
                Err(reason) => complaints.push(format!(
                    "the rollback to generation {number} cannot be kept up, what the sources say is in force: {reason}"
                )),
            }
        }
        decided
    }

    /// Takes other documents, reading those that are new.
    pub(super) fn set_documents(&mut self, documents: Documents) {
        let mut readings = BTreeMap::new();
        for (name, document) in &documents {
            let same = self
                .documents
                .get(name)
                .is_some_and(|known| known.text == document.text);
            let known = self.readings.remove(name).filter(|_| same);
            let reading = known.unwrap_or_else(|| Arc::new(parse_document(name, &document.text)));
            readings.insert(name.clone(), reading);
        }
        self.documents = documents;
        self.readings = readings;
    }

    /// Lays the pinned generation over what the sources say. Also tells what of it could not be as it was.
    pub(super) fn lay_over(
        &self,
        sources: &Arc<Model>,
        written: &BTreeSet<Source>,
    ) -> (Arc<Model>, Vec<String>) {
        let Some(pinned) = &self.pin else {
            return (Arc::clone(sources), Vec::new());
        };
        let by_hand = |endpoint: &Endpoint| written.contains(&endpoint.source);
        let laid = weir_plan::lay(&pinned.pin, sources, &by_hand);
        (Arc::new(laid.model), laid.left_out)
    }

    /// Lays the weights set by hand over what is configured.
    pub(super) fn override_in(&self, configured: &Arc<Model>) -> Arc<Model> {
        let mut model = Arc::clone(configured);
        if !self.overrides.services.is_empty() {
            weir_plan::apply(Arc::make_mut(&mut model), &self.overrides);
        }
        model
    }

    /// Where the endpoints of the pinned generation are from.
    pub(super) fn pin_source(&self) -> Option<Source> {
        self.pin.as_ref().map(Pinned::source)
    }

    pub(super) fn pin_info(&self, left_out: Vec<String>) -> Option<PinInfo> {
        let record = &self.pin.as_ref()?.record;
        Some(PinInfo {
            generation: record.generation,
            by: record.by.clone(),
            since: clock::rfc3339(record.since_ms),
            left_out,
        })
    }

    pub(super) fn overrides_text(&self) -> String {
        overrides_text(&self.overrides)
    }

    pub(crate) fn document_refs(&self) -> BTreeMap<String, DocumentRef> {
        records::refs(&self.documents)
    }

    /// The texts of the documents beside those of files.
    pub(super) fn texts_beside(&self, files: &Files) -> Files {
        let mut all = files.clone();
        for reading in self.readings.values() {
            for path in reading.files.paths() {
                if let Some(text) = reading.files.get(path) {
                    all.insert(path.into(), Arc::clone(text));
                }
            }
        }
        all
    }
}
