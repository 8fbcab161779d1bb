//! Tokens, by which a workload that has no certificate yet gets its first.
//!
//! `weir.ID.SECRET.PIN`: the id finds it, the secret proves it, and the pin, the first half of the fingerprint of the root, lets
//! its holder know the control plane before anything is sent to it. Only a digest of the secret is kept.
//!
//! A token is good for one key. Whoever holds the same key may ask again for a minute, since an answer can be lost on its way;
//! with any other key it is used up from the moment on at which that is on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use weir_config::model::ServiceName;

use crate::ca::{Random, hex};

/// Tokens that are kept at once.
pub const MAX_TOKENS: usize = 10_000;
/// How long a token that was used or has ended is still shown, in seconds.
const SHOWN: i64 = 24 * 3600;
/// How long the holder of a key may ask again with a used token, in seconds.
const AGAIN: i64 = 60;
/// Shortest and longest life, in seconds.
pub const TTL: std::ops::RangeInclusive<i64> = 60..=30 * 24 * 3600;

const PREFIX: &str = "weir";
const ID_BYTES: usize = 6;
const SECRET_BYTES: usize = 32;
/// Half of a SHA-256: 128 bits.
const PIN_BYTES: usize = 16;

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub id: String,
    /// SHA-256 of the secret, in hexadecimal.
    digest: String,
    /// Whose certificate it is for.
    pub service: String,
    /// Who made it.
    pub by: String,
    /// Seconds since 1970.
    pub created: i64,
    pub expires: i64,
    pub used: Option<Used>,
}

/// That a token was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Used {
    /// Seconds since 1970.
    pub at: i64,
    /// SHA-256 of the public key that it was used for, in hexadecimal.
    key: String,
    /// Where it was used from.
    pub from: String,
}

/// A token as its holder has it. It does not show in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    id: String,
    secret: String,
    pin: [u8; PIN_BYTES],
}

/// A text is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a token, which looks like weir.ID.SECRET.PIN; make one with weir token create")]
pub struct NoToken;

impl TokenText {
    /// The first half of the fingerprint of the root that the control plane must show.
    #[must_use]
    pub fn pin(&self) -> [u8; PIN_BYTES] {
        self.pin
    }

    /// Its whole text, to be handed over and not to be logged.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}.{}.{}.{}", self.id, self.secret, hex(&self.pin))
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenText({}, not shown)", self.id)
    }
}

impl FromStr for TokenText {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let mut parts = text.trim().split('.');
        let (Some(PREFIX), Some(id), Some(secret), Some(pin), None) = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        ) else {
            return Err(NoToken);
        };
        let is_hex = |part: &str, bytes: usize| {
            part.len() == 2 * bytes && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !is_hex(id, ID_BYTES) || !is_hex(secret, SECRET_BYTES) || !is_hex(pin, PIN_BYTES) {
            return Err(NoToken);
        }
        let mut bytes = [0; PIN_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&pin[at..at + 2], 16).map_err(|_| NoToken)?;
        }
        Ok(Self {
            id: id.to_owned(),
            secret: secret.to_owned(),
            pin: bytes,
        })
    }
}

/// Why a token does not open anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    #[error(
        "the token is not one of this control plane, or was revoked; make another with weir token create"
    )]
    Unknown,
    #[error("the token has expired; make another with weir token create")]
    Expired,
    #[error("the token was used already; make another with weir token create for each workload")]
    Used,
    #[error("the token is for another service; make one with weir token create --service")]
    OtherService,
}

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefused {
    #[error("there are {MAX_TOKENS} tokens already; take some away with weir token revoke")]
    Full,
    #[error("a token lives from 1m to 720h (30 days)")]
    Ttl,
}

/// What is asked of a token.
#[derive(Debug, Clone, Copy)]
pub struct Redemption<'a> {
    pub text: &'a TokenText,
    pub service: &'a ServiceName,
    /// Digest of the public key that a certificate is asked for.
    pub key: &'a [u8; 32],
    pub from: &'a str,
    /// Seconds since 1970.
    pub now: i64,
}

/// All tokens.
#[derive(Debug, Clone, Default)]
pub struct Tokens(BTreeMap<String, Token>);

impl Tokens {
    /// Takes what was kept.
    pub fn insert(&mut self, token: Token) {
        self.0.insert(token.id.clone(), token);
    }

    /// A new one, which is not among them yet.
    ///
    /// # Errors
    /// [`CreateRefused`].
    pub fn create(
        &self,
        service: &ServiceName,
        by: &str,
        (now, ttl): (i64, i64),
        root: &[u8; 32],
        random: &Random,
    ) -> Result<(Token, TokenText), CreateRefused> {
        if !TTL.contains(&ttl) {
            return Err(CreateRefused::Ttl);
        }
        if self.0.len() >= MAX_TOKENS {
            return Err(CreateRefused::Full);
        }
        let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
        random(&mut id);
        random(&mut secret);
        let mut pin = [0; PIN_BYTES];
        pin.copy_from_slice(&root[..PIN_BYTES]);
        let text = TokenText {
            id: hex(&id),
            secret: hex(&secret),
            pin,
        };
        let token = Token {
            id: text.id.clone(),
            digest: digest(&text.secret),
            service: service.to_string(),
            by: by.to_owned(),
            created: now,
            expires: now + ttl,
            used: None,
        };
        Ok((token, text))
    }

    /// Checks a token without using it. Of one that is not right nothing more is told than that.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn check(&self, asked: &Redemption<'_>) -> Result<(), TokenRefused> {
        let token = self.find(asked.text)?;
        if token.expires <= asked.now {
            return Err(TokenRefused::Expired);
        }
        if token.service != asked.service.as_str() {
            return Err(TokenRefused::OtherService);
        }
        match &token.used {
            None => Ok(()),
            Some(used) if used.key == hex(asked.key) && asked.now - used.at <= AGAIN => Ok(()),
            Some(_) => Err(TokenRefused::Used),
        }
    }

    /// Uses a token: from now on no other key gets anything for it. What it was before comes back, and what it is now, for the case
    /// that this cannot be kept.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub fn redeem(&mut self, asked: &Redemption<'_>) -> Result<(Token, Token), TokenRefused> {
        self.check(asked)?;
        let token = self
            .0
            .get_mut(&asked.text.id)
            .ok_or(TokenRefused::Unknown)?;
        let before = token.clone();
        token.used.get_or_insert_with(|| Used {
            at: asked.now,
            key: hex(asked.key),
            from: asked.from.to_owned(),
        });
        Ok((before, token.clone()))
    }

    /// Takes back what [`Tokens::redeem`] did, unless something else became of the token meanwhile.
    pub fn restore(&mut self, (before, after): (Token, Token)) {
        if let Some(token) = self.0.get_mut(&before.id)
            && *token == after
        {
            *token = before;
        }
    }

    fn find(&self, text: &TokenText) -> Result<&Token, TokenRefused> {
        let found = self.0.get(&text.id);
        // As much work for an id that is not there.
        let kept = found.map_or("", |token| token.digest.as_str());
        let same = same(kept.as_bytes(), digest(&text.secret).as_bytes());
        found.filter(|_| same).ok_or(TokenRefused::Unknown)
    }

    /// Takes one away. `None`: there is none of that id.
    pub fn remove(&mut self, id: &str) -> Option<Token> {
        self.0.remove(id)
    }

    /// The ids of those that nobody needs to see any more.
    #[must_use]
    pub fn old(&self, now: i64) -> Vec<String> {
        let is_old = |token: &&Token| {
            let end = token.used.as_ref().map_or(token.expires, |used| used.at);
            end + SHOWN < now
        };
        let old = self.0.values().filter(is_old);
        old.map(|token| token.id.clone()).collect()
    }

    /// All of them, by when they were made.
    #[must_use]
    pub fn list(&self) -> Vec<Token> {
        let mut all: Vec<Token> = self.0.values().cloned().collect();
        all.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        all
    }
}

fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}

/// In a time that does not tell how much of it was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |acc, (a, b)| acc | (a ^ b));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

#[cfg(test)]
mod tests;
