//! What is written down: tokens, who holds which certificate, and since when all of that is known.

use serde::Serialize;

use crate::error::OpenError;
use crate::holders::Holders;
use crate::records::Records;
use crate::token::{Token, Tokens};

pub(super) const TOKENS: &str = "tokens/";
pub(super) const LEAVES: &str = "leaves/";
/// Since when every certificate that was signed is written down, in seconds since 1970.
const SINCE: &str = "since";

/// What was written down before.
pub(super) struct Kept {
    pub(super) tokens: Tokens,
    pub(super) holders: Holders,
    /// Certificates that were signed until then are not all written down.
    pub(super) unknown_before: Option<i64>,
    /// Nothing was signed before.
    pub(super) first: bool,
}

impl Kept {
    pub(super) async fn load(
        records: &dyn Records,
        now: i64,
        made_now: bool,
    ) -> Result<Self, OpenError> {
        let mut kept = Self {
            tokens: Tokens::default(),
            holders: Holders::default(),
            unknown_before: None,
            first: false,
        };
        let mut since = None;
        for (key, value) in records.load().await? {
            if key.starts_with(TOKENS) {
                if let Some(token) = read::<Token>(&key, &value) {
                    kept.tokens.insert(token);
                }
            } else if let Some(serial) = key.strip_prefix(LEAVES) {
                if let Some(holder) = read(&key, &value) {
                    kept.holders.insert(serial.to_owned(), holder);
                }
            } else if key == SINCE {
                since = read::<i64>(&key, &value);
            }
        }
        let since = match since {
            Some(since) => since,
            None => {
                kept.first = made_now;
                let since = if made_now { i64::MIN } else { now };
                records
                    .change(vec![(SINCE.to_owned(), Some(json(&since)))])
                    .await?;
                since
            }
        };
        kept.unknown_before = (since > i64::MIN).then_some(since);
        Ok(kept)
    }
}

fn read<T: serde::de::DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    serde_json::from_slice(value)
        .inspect_err(|error| tracing::warn!(key, %error, "a record of the mesh makes no sense and is left out"))
        .ok()
}

/// Plain data cannot fail to be written.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
