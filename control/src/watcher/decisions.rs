//! Documents and going back: planned on a copy, shown, kept, and only then in force.

use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;
use weir_config::diagnostic::render;
use weir_config::file::{document_path, is_document};
use weir_config::model::{Model, Service, ServiceName, Source};
use weir_config::{Diagnostic, Fragment};

use super::decided::Pinned;
use super::{Decided, Refused, Watcher, is_error};
use crate::api::types::ConfigOutcome;
use crate::clock;
use crate::events::Draft;
use crate::history::{Why, listed};
use crate::store::database::Batch;
use crate::store::parse_overrides;
use crate::store::records::{self, Document, PinRecord};

/// Documents that can be in force at once.
const MAX_DOCUMENTS: usize = 100;
/// Bytes of one document.
const MAX_DOCUMENT: usize = 1024 * 1024;
/// Bytes of all of them.
const MAX_DOCUMENTS_BYTES: usize = 8 * 1024 * 1024;
/// Numbers that a refusal names.
const HINTS: usize = 10;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigRequest {
    /// Puts a document in force, in place of the one of that name.
    Apply { name: String, text: String },
    /// Takes a document out.
    Remove { name: String },
    /// Goes back to what that generation said.
    Rollback { generation: u64 },
    /// Goes back to what the sources say.
    Clear,
}

/// A change that is not made yet.
struct Planned {
    decided: Decided,
    why: Why,
    message: String,
    /// The document that must be without errors.
    document: Option<String>,
    /// Everything of it must be as it was.
    whole: Option<u64>,
}

/// What a change would come to.
struct Preview {
    diagnostics: Vec<Diagnostic>,
    left_out: Vec<String>,
    model: Arc<Model>,
}

impl Watcher {
    /// Makes a change, or tells what it would do. It is kept before it is in force: what cannot be kept is refused, and what
    /// runs goes on.
    pub(super) async fn decide(
        &mut self,
        request: ConfigRequest,
        by: &str,
        dry_run: bool,
    ) -> Result<ConfigOutcome, Refused> {
        let planned = match request {
            ConfigRequest::Apply { name, text } => self.plan_document(name, Some(text), by),
            ConfigRequest::Remove { name } => self.plan_document(name, None, by),
            ConfigRequest::Rollback { generation } => self.plan_rollback(generation, by).await,
            ConfigRequest::Clear => self.plan_clear(by),
        }?;
        let preview = self.preview(&planned.decided);
        let mut warnings = self.judge(&planned, &preview)?;
        let before = self.shared.models.borrow().clone();
        let diff = weir_config::diff(&before.model, &preview.model);
        let (changes, more) = listed(&diff.changes);
        if more > 0 {
            warnings.push(format!("{more} further changes are not listed"));
        }
        let mut outcome = ConfigOutcome {
            generation: before.generation,
            message: planned.message,
            changes,
            warnings,
            dry_run,
            in_force: false,
            late: None,
        };
        if dry_run || self.is_in_force(&planned.decided) {
            return Ok(outcome);
        }
        let saving = self.keep(&planned.decided).await?;
        self.decided = planned.decided;
        let by = planned.why.by();
        self.shared
            .events
            .record(Draft::config(format!("{}, {by}", outcome.message)));
        outcome.generation = self.rebuild(planned.why);
        drop(saving);
        if !self.shared.database.is_durable() {
            outcome.warnings.push(self.shared.not_durable());
        }
        Ok(outcome)
    }

    /// With a text: applies it; without: removes the document.
    fn plan_document(
        &self,
        name: String,
        text: Option<String>,
        by: &str,
    ) -> Result<Planned, Refused> {
        if let Some(pinned) = &self.decided.pin {
            return Err(Refused::Pinned {
                generation: pinned.record.generation,
                by: pinned.record.by.clone(),
            });
        }
        let mut documents = self.decided.documents.clone();
        let (verb, message) = match text {
            Some(text) => {
                check_name(&name)?;
                let document = Document {
                    text: text.into(),
                    by: by.to_owned(),
                    since_ms: clock::now_ms(),
                };
                documents.insert(name.clone(), document);
                check_sizes(documents.values())?;
                ("apply", format!("applied {name}"))
            }
            None if documents.remove(&name).is_none() => {
                let known = documents.into_keys().collect();
                return Err(Refused::UnknownDocument { name, known });
            }
            None => ("remove", format!("removed {name}")),
        };
        let mut decided = self.decided.clone();
        decided.set_documents(documents);
        Ok(Planned {
            decided,
            why: Why::asked(format!("{verb} {name}"), by),
            message,
            document: Some(name),
            whole: None,
        })
    }

    fn plan_clear(&self, by: &str) -> Result<Planned, Refused> {
        let mut decided = self.decided.clone();
        let pinned = decided.pin.take().ok_or(Refused::NotPinned)?;
        let number = pinned.record.generation;
        Ok(Planned {
            decided,
            why: Why::asked("rollback --clear", by),
            message: format!("back to the sources, no longer generation {number}"),
            document: None,
            whole: None,
        })
    }

    /// Documents and weights become what they were. Where the sources said something else then, and only there, the generation
    /// is laid over them.
    async fn plan_rollback(&self, number: u64, by: &str) -> Result<Planned, Refused> {
        let history = &self.shared.history;
        let entry = history.get(number).ok_or_else(|| {
            let known = history.numbers().into_iter().take(HINTS);
            let known = known.map(|number| number.to_string()).collect();
            Refused::UnknownGeneration { number, known }
        })?;
        let number = entry.shown.generation;
        let refuse = |reason: String| Refused::Unrestorable { number, reason };
        let database = self.shared.database.as_ref();
        let configuration = records::configuration(database, number).await?;
        let configuration =
            configuration.ok_or_else(|| refuse("its configuration was not kept".into()))?;
        let documents = records::documents_of(database, &entry).await?;
        let documents =
            documents.map_err(|name| refuse(format!("the text of its document {name} is gone")))?;
        let mut decided = self.decided.clone();
        decided.overrides = parse_overrides(&entry.overrides).map_err(refuse)?;
        decided.set_documents(documents);
        decided.pin = None;
        let record = PinRecord {
            generation: number,
            by: by.to_owned(),
            since_ms: clock::now_ms(),
            configuration,
        };
        let refuse = |reason: String| Refused::Unrestorable { number, reason };
        let pinned = Decided {
            pin: Some(Pinned::of(record).map_err(refuse)?),
            ..decided.clone()
        };
        let (then, now) = (self.preview(&pinned), self.preview(&decided));
        let same = then.left_out.is_empty() && serves_alike(&then.model, &now.model);
        let (decided, message) = match same {
            true => (
                decided,
                format!("rolled back to generation {number}: documents and weights as they were"),
            ),
            false => (
                pinned,
                format!(
                    "rolled back to generation {number}, which stays in force whatever the sources say until weir rollback --clear"
                ),
            ),
        };
        Ok(Planned {
            decided,
            why: Why::asked(format!("rollback to {number}"), by),
            message,
            document: None,
            whole: Some(number),
        })
    }

    fn preview(&self, decided: &Decided) -> Preview {
        let nothing = Fragment::default();
        let files = self.files.good.as_ref().unwrap_or(&nothing);
        let fragments = self.fragments(files, decided);
        let now = clock::now_seconds();
        let (compiled, _) = weir_config::compile_after(&fragments, &self.memory, now);
        let written = self.written_in(files, decided);
        let (configured, left_out) = decided.lay_over(&Arc::new(compiled.model), &written);
        Preview {
            diagnostics: compiled.diagnostics,
            left_out,
            model: decided.override_in(&configured),
        }
    }

    /// Refuses what has errors; tells what else a person should know.
    fn judge(&self, planned: &Planned, preview: &Preview) -> Result<Vec<String>, Refused> {
        if let (Some(number), Some(reason)) = (planned.whole, preview.left_out.first()) {
            let reason = reason.clone();
            return Err(Refused::Unrestorable { number, reason });
        }
        let name = planned.document.as_deref().unwrap_or_default();
        let reading = planned.decided.readings.get(name);
        if let Some(reading) = reading {
            let of_it = |d: &&Diagnostic| match &d.source {
                Source::File { path, .. } | Source::Other(path) => **path == document_path(name),
                Source::Label { .. } => false,
            };
            // What another document would lose to it is an error of this one: who holds something keeps it.
            let lost = |d: &&Diagnostic| {
                let mut old = self.compile_diagnostics.iter();
                is_document(&d.source) && !old.any(|old| old.message == d.message)
            };
            let read = reading.diagnostics.iter();
            let compiled = preview.diagnostics.iter().filter(|d| of_it(d) || lost(d));
            let errors: Vec<Diagnostic> = read
                .chain(compiled)
                .filter(|d| is_error(d))
                .cloned()
                .collect();
            if let Some(first) = errors.first() {
                let texts = planned.decided.texts_beside(&reading.files);
                return Err(Refused::Invalid {
                    name: name.to_owned(),
                    first: first.message.clone(),
                    rendered: render(&errors, false, &texts),
                });
            }
        }
        let known = |d: &&Diagnostic| {
            let mut old = self.compile_diagnostics.iter();
            !old.any(|old| old.message == d.message)
        };
        let read = reading.iter().flat_map(|reading| &reading.diagnostics);
        let new = read.chain(preview.diagnostics.iter().filter(known));
        Ok(new.map(ToString::to_string).collect())
    }

    fn is_in_force(&self, decided: &Decided) -> bool {
        let pin = |decided: &Decided| decided.pin.as_ref().map(|p| p.record.generation);
        let text = |decided: &Decided| {
            let texts = decided.documents.iter();
            texts
                .map(|(name, document)| (name.clone(), Arc::clone(&document.text)))
                .collect::<Vec<_>>()
        };
        let now = &self.decided;
        pin(now) == pin(decided) && now.overrides == decided.overrides && text(now) == text(decided)
    }

    async fn keep(&self, decided: &Decided) -> Result<OwnedMutexGuard<()>, Refused> {
        let mut batch = Batch::default();
        batch.put_overrides(&decided.overrides);
        batch.put_pin(decided.pin.as_ref().map(|pinned| &*pinned.record));
        batch.put_documents(&decided.documents);
        let refs = decided.document_refs();
        let saving = self.shared.save(batch).await?;
        let mut facts = self.shared.board.lock();
        facts
            .texts
            .extend(refs.values().map(|of| of.digest.clone()));
        facts.documents = refs;
        drop(facts);
        Ok(saving)
    }
}

/// Whether requests meet the same: routes, services and their policies, and the shares of versions, whatever the numbers
/// that express them.
fn serves_alike(a: &Model, b: &Model) -> bool {
    let diff = weir_config::diff(a, b);
    let others = diff.changes.iter().all(|c| c.what == "version weight");
    others
        && a.services.iter().all(|service| {
            let other = b.service(service.name.as_str());
            other.is_some_and(|other| same_shares(service, other))
        })
}

fn same_shares(a: &Service, b: &Service) -> bool {
    let total = |of: &Service| -> u64 { of.versions.iter().map(|v| tenths(v.weight)).sum() };
    let share = |of: &Service, name: &str| -> u64 {
        let version = of.versions.iter().find(|v| v.name.as_str() == name);
        version.map_or(0, |v| tenths(v.weight))
    };
    let (total_a, total_b) = (total(a), total(b));
    let mut names = a
        .versions
        .iter()
        .chain(&b.versions)
        .map(|v| v.name.as_str());
    names.all(|name| share(a, name) * total_b == share(b, name) * total_a)
}

fn tenths(weight: weir_config::model::Weight) -> u64 {
    u64::from(weight.tenths())
}

/// A document's name stands in paths, tables and messages.
fn check_name(name: &str) -> Result<(), Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match ServiceName::new(name).is_ok() && name.chars().all(plain) {
        true => Ok(()),
        false => Err(Refused::Unfit(format!(
            "{name:?} is no name for a document: write letters, digits, - _ and ."
        ))),
    }
}

fn check_sizes<'a>(documents: impl ExactSizeIterator<Item = &'a Document>) -> Result<(), Refused> {
    let count = documents.len();
    if count > MAX_DOCUMENTS {
        return Err(Refused::Unfit(format!(
            "there are at most {MAX_DOCUMENTS} applied documents; remove one, or put several into one"
        )));
    }
    let (mut all, mut largest) = (0, 0);
    for document in documents {
        all += document.text.len();
        largest = largest.max(document.text.len());
    }
    if largest > MAX_DOCUMENT || all > MAX_DOCUMENTS_BYTES {
        return Err(Refused::Unfit(
            "a document is at most 1 MiB, and all of them 8 MiB; split it, or write it into a file that Weir reads with -c"
                .into(),
        ));
    }
    Ok(())
}
