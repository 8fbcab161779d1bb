//! Tokens and holders of certificates in the database, under a prefix of their own.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use weir_authority::{Change, Records, RecordsError};

use crate::store::database::{Batch, Database};

const PREFIX: &str = "mesh/";

pub(super) struct Kept(pub(super) Arc<dyn Database>);

impl Records for Kept {
    fn load(&self) -> BoxFuture<'_, Result<weir_authority::Entries, RecordsError>> {
        Box::pin(async {
            let all = self.0.scan(PREFIX.to_owned()).await;
            let all = all.map_err(|error| RecordsError(error.to_string()))?;
            let bare = |(key, value): (String, _)| {
                let key = key.strip_prefix(PREFIX)?.to_owned();
                Some((key, value))
            };
            Ok(all.into_iter().filter_map(bare).collect())
        })
    }

    fn change(&self, change: Change) -> BoxFuture<'_, Result<(), RecordsError>> {
        let mut batch = Batch::default();
        for (key, value) in change {
            batch.0.insert(format!("{PREFIX}{key}"), value);
        }
        Box::pin(async {
            let done = self.0.commit(batch).await;
            done.map_err(|error| RecordsError(error.to_string()))
        })
    }
}
