//! The admin token: who may change things.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{StoreError, read_bounded};

/// Random bytes of a generated token, before they are written as hexadecimal digits.
const TOKEN_BYTES: usize = 32;
/// Characters below which a token could be guessed over the network.
const MIN_TOKEN: usize = 16;

/// A token, held as its digest only: it cannot end up in a log or a dump.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// Takes a token's text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Takes a token that was written down as its SHA-256 only.
    #[must_use]
    pub fn from_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Whether this is the token, in a time that does not tell how much of it was right.
    #[must_use]
    pub fn matches(&self, offered: &str) -> bool {
        let offered: [u8; 32] = Sha256::digest(offered.as_bytes()).into();
        let difference = self
            .0
            .iter()
            .zip(offered)
            .fold(0, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

pub(super) fn read(path: &Path) -> Result<Token, StoreError> {
    let fail = |error| StoreError::ReadToken {
        path: path.to_owned(),
        error,
    };
    let text = std::fs::read_to_string(path).map_err(fail)?;
    check(path, &text)
}

pub(super) fn read_or_create(path: &Path) -> Result<Token, StoreError> {
    let fail = |error| StoreError::ReadToken {
        path: path.to_owned(),
        error,
    };
    if let Some(text) = read_bounded(path).map_err(fail)? {
        let mode = std::fs::metadata(path).map_err(fail)?.permissions().mode();
        if mode & 0o077 != 0 {
            tracing::warn!(path = %path.display(), "others can read the admin token; run chmod 600 on it");
        }
        return check(path, &text);
    }
    let random: [u8; TOKEN_BYTES] = rand::random();
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let fail = |error| StoreError::Write {
        path: path.to_owned(),
        error,
    };
    weir_files::replace(path, format!("{text}\n").as_bytes()).map_err(fail)?;
    Ok(Token::new(&text))
}

fn check(path: &Path, text: &str) -> Result<Token, StoreError> {
    let text = text.trim();
    let bad = |reason| {
        Err(StoreError::BadToken {
            path: path.to_owned(),
            reason,
        })
    };
    if text.len() < MIN_TOKEN {
        return bad("is shorter than 16 characters; `openssl rand -hex 32` makes a good one");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return bad("holds characters that no HTTP header can carry; use letters and digits");
    }
    Ok(Token::new(text))
}
