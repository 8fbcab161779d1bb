//! What the keys of the database mean.
//!
//! | key | value |
//! |---|---|
//! | `numbers` | the highest generation number that may be in use |
//! | `overrides` | weights set by hand |
//! | `documents` | names of the applied documents, and the digests of their texts |
//! | `texts/DIGEST` | a text, once however many name it |
//! | `pin` | the generation that is laid over the sources, with its configuration |
//! | `generations/NUMBER` | who changed what, and when |
//! | `configurations/NUMBER` | what was in force then |
//! | `baseline` | what was in force last, where that is no entry of its own |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use weir_plan::Overrides;

use super::database::{Batch, Database, DatabaseError};
use super::overrides;
use crate::api::types::Generation;

const NUMBERS: &str = "numbers";
const OVERRIDES: &str = "overrides";
const DOCUMENTS: &str = "documents";
const TEXTS: &str = "texts/";
const PIN: &str = "pin";
const GENERATIONS: &str = "generations/";
const CONFIGURATIONS: &str = "configurations/";
const BASELINE: &str = "baseline";

/// A document that was applied through the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub text: Arc<str>,
    pub by: String,
    /// Milliseconds since 1970.
    pub since_ms: u64,
}

/// Documents by name.
pub type Documents = BTreeMap<String, Document>;

/// A document as an entry of the history names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentRef {
    /// Of its text.
    pub digest: String,
    pub bytes: usize,
    pub by: String,
    pub since_ms: u64,
}

/// A generation that is laid over the sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinRecord {
    pub generation: u64,
    pub by: String,
    pub since_ms: u64,
    /// As [`weir_config::dump()`] wrote it.
    pub configuration: Value,
}

/// An entry of the history as it is kept: what is shown of it, and what it takes to go back to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    #[serde(flatten)]
    pub shown: Generation,
    /// Whether discovery made it rather than somebody.
    #[serde(default)]
    pub found: bool,
    /// Of its configuration.
    pub bytes: usize,
    /// The weights set by hand then, as the database has them.
    pub overrides: String,
    pub documents: BTreeMap<String, DocumentRef>,
}

/// Everything that a start needs.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The highest number that may have been used.
    pub last_number: u64,
    pub overrides: Option<Overrides>,
    pub documents: Documents,
    pub pin: Option<PinRecord>,
    /// Oldest first.
    pub entries: Vec<Entry>,
    /// The digests of all texts.
    pub texts: BTreeSet<String>,
    /// What could not be read; each is left out.
    pub complaints: Vec<String>,
}

/// A name for a text that no other text has.
#[must_use]
pub fn digest(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// Reads everything. What makes no sense is left out with a complaint: a later version may have written it.
///
/// # Errors
/// When the database cannot be read at all.
pub async fn load(database: &dyn Database) -> Result<Loaded, DatabaseError> {
    let mut loaded = Loaded::default();
    if let Some(bytes) = database.get(NUMBERS.into()).await? {
        loaded.last_number = read(&bytes, NUMBERS, &mut loaded.complaints).unwrap_or_default();
    }
    if let Some(bytes) = database.get(OVERRIDES.into()).await? {
        match overrides::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(overrides) => loaded.overrides = Some(overrides),
            Err(reason) => loaded.complaints.push(format!(
                "weights set by hand could not be read ({reason}); set them again with weir canary set"
            )),
        }
    }
    if let Some(bytes) = database.get(PIN.into()).await? {
        loaded.pin = read(&bytes, PIN, &mut loaded.complaints);
    }
    for (key, bytes) in database.scan(GENERATIONS.into()).await? {
        loaded
            .entries
            .extend(read::<Entry>(&bytes, &key, &mut loaded.complaints));
    }
    let newest = loaded.entries.last().map_or(0, |e| e.shown.last_number());
    loaded.last_number = loaded.last_number.max(newest);
    let digest = |(key, _): (String, _)| key.strip_prefix(TEXTS).map(str::to_owned);
    let texts = database.scan(TEXTS.into()).await?;
    loaded.texts = texts.into_iter().filter_map(digest).collect();
    load_documents(database, &mut loaded).await?;
    Ok(loaded)
}

async fn load_documents(database: &dyn Database, loaded: &mut Loaded) -> Result<(), DatabaseError> {
    let Some(bytes) = database.get(DOCUMENTS.into()).await? else {
        return Ok(());
    };
    let refs: BTreeMap<String, DocumentRef> =
        read(&bytes, DOCUMENTS, &mut loaded.complaints).unwrap_or_default();
    for (name, of) in refs {
        match text(database, &of.digest).await? {
            Some(text) => {
                let document = Document {
                    text: text.into(),
                    by: of.by,
                    since_ms: of.since_ms,
                };
                loaded.documents.insert(name, document);
            }
            None => loaded.complaints.push(format!(
                "the text of the applied document {name} is missing; apply it again"
            )),
        }
    }
    Ok(())
}

/// The documents that an entry of the history names, as they were then.
///
/// # Errors
/// When the database cannot be read. `Ok(Err(name))`: the text of that one is gone.
pub async fn documents_of(
    database: &dyn Database,
    entry: &Entry,
) -> Result<Result<Documents, String>, DatabaseError> {
    let mut documents = Documents::new();
    for (name, of) in &entry.documents {
        let Some(text) = text(database, &of.digest).await? else {
            return Ok(Err(name.clone()));
        };
        let document = Document {
            text: text.into(),
            by: of.by.clone(),
            since_ms: of.since_ms,
        };
        documents.insert(name.clone(), document);
    }
    Ok(Ok(documents))
}

async fn text(database: &dyn Database, digest: &str) -> Result<Option<String>, DatabaseError> {
    let bytes = database.get(format!("{TEXTS}{digest}")).await?;
    Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// What was in force in a generation; `None` if it is not kept.
///
/// # Errors
/// When the database cannot be read.
pub async fn configuration(
    database: &dyn Database,
    number: u64,
) -> Result<Option<Value>, DatabaseError> {
    let bytes = database.get(configuration_key(number)).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// What was in force last, with the newest entry's number at hand.
///
/// # Errors
/// When the database cannot be read.
pub async fn baseline(
    database: &dyn Database,
    newest: Option<u64>,
) -> Result<Option<Value>, DatabaseError> {
    if let Some(bytes) = database.get(BASELINE.into()).await? {
        return Ok(serde_json::from_slice(&bytes).ok());
    }
    match newest {
        Some(number) => configuration(database, number).await,
        None => Ok(None),
    }
}

/// The documents as entries name them.
#[must_use]
pub fn refs(documents: &Documents) -> BTreeMap<String, DocumentRef> {
    let one = |(name, document): (&String, &Document)| {
        let of = DocumentRef {
            digest: digest(&document.text),
            bytes: document.text.len(),
            by: document.by.clone(),
            since_ms: document.since_ms,
        };
        (name.clone(), of)
    };
    documents.iter().map(one).collect()
}

impl Batch {
    /// Up to which number generations may be used without asking again.
    pub fn put_last_number(&mut self, number: u64) {
        self.put(NUMBERS, json(&number));
    }

    pub fn put_overrides(&mut self, overrides: &Overrides) {
        self.put(OVERRIDES, overrides::to_text(overrides).into_bytes());
    }

    /// With their texts.
    pub fn put_documents(&mut self, documents: &Documents) {
        for document in documents.values() {
            let key = format!("{TEXTS}{}", digest(&document.text));
            self.put(key, document.text.as_bytes().to_vec());
        }
        self.put(DOCUMENTS, json(&refs(documents)));
    }

    /// Does not drop a text after all.
    pub fn keep_text(&mut self, digest: &str) {
        self.0.remove(&format!("{TEXTS}{digest}"));
    }

    pub fn remove_text(&mut self, digest: &str) {
        self.remove(format!("{TEXTS}{digest}"));
    }

    pub fn put_pin(&mut self, pin: Option<&PinRecord>) {
        match pin {
            Some(pin) => self.put(PIN, json(pin)),
            None => self.remove(PIN),
        }
    }

    pub fn put_entry(&mut self, entry: &Entry) {
        self.put(entry_key(entry.shown.generation), json(entry));
    }

    /// With what was in force then, which is the baseline from now on.
    pub fn put_configuration(&mut self, number: u64, configuration: Vec<u8>) {
        self.put(configuration_key(number), configuration);
        self.remove(BASELINE);
    }

    pub fn put_baseline(&mut self, configuration: Vec<u8>) {
        self.put(BASELINE, configuration);
    }

    /// Drops an entry with its configuration.
    pub fn remove_entry(&mut self, number: u64) {
        self.remove(entry_key(number));
        self.remove(configuration_key(number));
    }
}

/// Numbers of one width, so that they sort as text.
fn entry_key(number: u64) -> String {
    format!("{GENERATIONS}{number:020}")
}

fn configuration_key(number: u64) -> String {
    format!("{CONFIGURATIONS}{number:020}")
}

/// Plain data cannot fail to be written.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    key: &str,
    complaints: &mut Vec<String>,
) -> Option<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| {
            complaints.push(format!("{key} of the kept state makes no sense: {error}"))
        })
        .ok()
}
