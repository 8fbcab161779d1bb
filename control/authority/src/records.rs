//! Where tokens, and who holds which certificate, are kept.

use futures_util::future::BoxFuture;

/// A change: for each key its new value, or `None` where it is removed.
pub type Change = Vec<(String, Option<Vec<u8>>)>;

/// Keys with their values.
pub type Entries = Vec<(String, Vec<u8>)>;

/// Nothing was read or written; the text says what to check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RecordsError(pub String);

/// A few keys with values.
pub trait Records: Send + Sync {
    /// All that is there.
    fn load(&self) -> BoxFuture<'_, Result<Entries, RecordsError>>;

    /// Makes all of a change or nothing of it; what was made outlives a crash once this is over.
    fn change(&self, change: Change) -> BoxFuture<'_, Result<(), RecordsError>>;
}
