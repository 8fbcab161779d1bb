//! Making, listing and taking away tokens.

use weir_config::model::{ServiceName, SpiffeId};

use super::Authority;
use super::kept::{LEAVES, TOKENS, json};
use crate::records::{Change, RecordsError};
use crate::token::{CreateRefused, Token, TokenText};

/// Why no token was made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error(transparent)]
    Refused(#[from] CreateRefused),
    #[error(transparent)]
    Service(#[from] weir_config::model::Invalid),
    #[error("there is no token {0:?}; see weir token list")]
    None(String),
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl Authority {
    /// Makes a token for one workload of a service, good for so many seconds.
    ///
    /// # Errors
    /// [`TokenError`]; none was made then.
    pub async fn create_token(
        &self,
        service: &ServiceName,
        ttl: i64,
        by: &str,
    ) -> Result<(Token, TokenText), TokenError> {
        // Later would be too late to say that this name cannot be in the mesh.
        SpiffeId::of_service(&self.mesh.trust_domain, service)?;
        let now = (self.world.now)();
        let (token, text) = {
            let inner = self.lock();
            let root = inner.view.pin();
            let random = &*self.world.random;
            inner
                .tokens
                .create(service, by, (now, ttl), &root, random)?
        };
        let key = format!("{TOKENS}{}", token.id);
        self.records.change(vec![(key, Some(json(&token)))]).await?;
        self.lock().tokens.insert(token.clone());
        Ok((token, text))
    }

    /// All tokens, without what makes them good for anything.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        self.lock().tokens.list()
    }

    /// Takes a token away. Certificates that were handed out for it go on to hold.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn revoke_token(&self, id: &str) -> Result<Token, TokenError> {
        // At once: what becomes of the disk is another matter.
        let token = self.lock().tokens.remove(id);
        let token = token.ok_or_else(|| TokenError::None(id.to_owned()))?;
        let gone = self
            .records
            .change(vec![(format!("{TOKENS}{id}"), None)])
            .await;
        if let Err(error) = gone {
            self.lock().tokens.insert(token);
            return Err(error.into());
        }
        Ok(token)
    }

    /// Forgets tokens that nobody needs to see any more, and certificates that have ended; writes down what could not be before.
    ///
    /// # Errors
    /// When this cannot be written; it is tried again the next time.
    pub async fn sweep(&self) -> Result<(), RecordsError> {
        let now = (self.world.now)();
        let (tokens, leaves, unwritten) = {
            let inner = self.lock();
            let mut leaves = inner.holders.ended(now);
            leaves.extend(inner.owed.forgotten.iter().cloned());
            (inner.tokens.old(now), leaves, inner.unwritten(now))
        };
        let keys = tokens.iter().map(|id| format!("{TOKENS}{id}"));
        let keys = keys.chain(leaves.iter().map(|serial| format!("{LEAVES}{serial}")));
        let gone = keys.map(|key| (key, None));
        let change: Change = gone.chain(unwritten.iter().cloned()).collect();
        if !change.is_empty() {
            self.records.change(change).await?;
        }
        let mut inner = self.lock();
        for id in &tokens {
            inner.tokens.remove(id);
        }
        for serial in &leaves {
            inner.holders.remove(serial);
            inner.owed.unwritten.remove(serial);
            inner.owed.forgotten.remove(serial);
        }
        inner.written(&unwritten);
        inner.settle(now);
        Ok(())
    }
}
