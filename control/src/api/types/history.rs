//! Generations, applied documents, and going back.

use serde::{Deserialize, Serialize};

/// `GET /api/v1/generations`: what changed, by whom and when, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generations {
    pub generations: Vec<Generation>,
    /// Why the history is not being written, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A change of the configuration, and the changes of endpoints alone that came after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    pub generation: u64,
    pub time: String,
    /// What brought it about: `start`, `file`, `docker`, `canary set`, `apply shop`, `rollback to 9`.
    pub source: String,
    /// Who asked, where somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// At most 100.
    pub changes: Vec<ConfigChange>,
    /// Changes beyond those listed.
    #[serde(default)]
    pub more_changes: usize,
    /// Whether its configuration is kept, so that it can be gone back to and compared.
    pub kept: bool,
    #[serde(default)]
    pub endpoints: EndpointNotes,
}

impl Generation {
    /// The last number that this entry stands for.
    #[must_use]
    pub fn last_number(&self) -> u64 {
        let notes = self.endpoints.recent.last();
        notes.map_or(self.generation, |note| note.generation.max(self.generation))
    }

    /// `canary set by cli`, `docker`
    #[must_use]
    pub fn by(&self) -> String {
        match &self.author {
            Some(author) => format!("{} by {author}", self.source),
            None => self.source.clone(),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// `added`, `removed` or `changed`.
    pub kind: String,
    /// `listener`, `service`, `endpoint`, `version weight`, `route` or `tracing`.
    pub what: String,
    pub name: String,
    /// Each field that differs: `timeouts.request: 15s -> 5s`.
    #[serde(default)]
    pub details: Vec<String>,
}

impl From<&weir_config::Change> for ConfigChange {
    fn from(change: &weir_config::Change) -> Self {
        use weir_config::ChangeKind::{Added, Changed, Removed};
        let kind = match change.kind {
            Added => "added",
            Removed => "removed",
            Changed => "changed",
        };
        Self {
            kind: kind.into(),
            what: change.what.into(),
            name: change.name.clone(),
            details: change.details.clone(),
        }
    }
}

impl std::fmt::Display for ConfigChange {
    /// `+ route shop`, `~ version weight shop/canary (weight: 5 -> 25)`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = match self.kind.as_str() {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        write!(f, "{sign} {} {}", self.what, self.name)?;
        match self.details.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.details.join(", ")),
        }
    }
}

/// Changes that discovery made to endpoints and to nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointNotes {
    pub count: u64,
    /// At most 20, the newest last.
    pub recent: Vec<EndpointNote>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointNote {
    pub generation: u64,
    pub time: String,
    pub source: String,
    pub text: String,
}

/// `GET /api/v1/generations/{number}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationDetail {
    pub generation: Generation,
    /// As `GET /api/v1/config`, without the endpoints that discovery found; `None`: not kept.
    pub config: Option<serde_json::Value>,
}

/// `GET /api/v1/generations/{number}/followers?wait=5`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Following {
    /// Whether everyone has it.
    pub in_force: bool,
    /// Those that have it.
    pub followers: usize,
    pub behind: Vec<FollowerInfo>,
    pub refused: Vec<FollowerInfo>,
}

/// A follower that has not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerInfo {
    pub name: String,
    /// The newest generation that it has in force.
    pub acked: Option<u64>,
    /// `synced`, `stale` or `refused`.
    pub state: String,
    /// Why it refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET /api/v1/documents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentList {
    pub documents: Vec<DocumentInfo>,
}

/// A document that was applied. Its text is not shown: who may read need not be who may apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentInfo {
    pub name: String,
    pub by: String,
    pub since: String,
    pub bytes: usize,
    /// Of its text: the first half of its SHA-256.
    pub digest: String,
}

/// `POST /api/v1/documents/{name}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplyRequest {
    /// YAML, as in a file.
    pub text: String,
    /// Says what would change, and changes nothing. Default `false`.
    #[serde(default)]
    pub dry_run: bool,
    /// Who asks, for the record: `cli`. Default `api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `POST /api/v1/documents/{name}/remove` and `POST /api/v1/rollback/clear`; the body may also be empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UndoRequest {
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// `POST /api/v1/rollback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RollbackRequest {
    pub generation: u64,
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The answer to all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigOutcome {
    /// The generation that holds it; in a dry run the one that is in force.
    pub generation: u64,
    /// `applied shop`, `rolled back to generation 9`.
    pub message: String,
    /// What it changes for requests.
    pub changes: Vec<ConfigChange>,
    pub warnings: Vec<String>,
    pub dry_run: bool,
    /// Whether every proxy had it when this was answered, within 2 s.
    pub in_force: bool,
    /// Who had it not, then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<String>,
}

/// The generation that is laid over the sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinInfo {
    pub generation: u64,
    pub by: String,
    pub since: String,
    /// What could not be as it was then, and is left out.
    #[serde(default)]
    pub left_out: Vec<String>,
}
