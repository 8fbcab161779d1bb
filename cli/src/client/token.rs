//! The token that changes need, and where a command finds it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::state_dir::{self, TOKEN_FILE};

/// Where to look: the file of `--token-file`, else `$WEIR_TOKEN`, else the state directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenSource {
    file: Option<PathBuf>,
}

impl TokenSource {
    /// A source with the file of the command line, if there was one.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file }
    }

    /// The token that the user named in one way or another; `None` if in none.
    ///
    /// # Errors
    /// When the file of the command line cannot be read or holds nothing.
    pub(crate) fn named(&self) -> Result<Option<String>, Failure> {
        if let Some(file) = &self.file {
            return from_file(file).map(Some);
        }
        if let Some(token) = std::env::var("WEIR_TOKEN").ok().as_deref().and_then(clean) {
            return Ok(Some(token));
        }
        Ok(state_dir::variable("WEIR_STATE_DIR").and_then(|dir| in_directory(&dir)))
    }

    /// The token of a Weir on this machine: in the directory that it told, else in the usual places.
    pub(crate) fn found(told: Option<&Path>) -> Option<String> {
        told.and_then(in_directory)
            .or_else(|| state_dir::usual().iter().find_map(|dir| in_directory(dir)))
    }

    /// What to try when the API wanted a token or another one.
    pub(crate) fn hint() -> String {
        format!(
            "give the token by --token-file or WEIR_TOKEN; it is in the file {TOKEN_FILE} of the state directory \
             that `weir status` names, readable by the user that runs weir"
        )
    }
}

fn from_file(file: &Path) -> Result<String, Failure> {
    let refuse = |why: String| {
        Failure::new(
            Exit::Unauthorized,
            format!("token file {}: {why}", file.display()),
        )
    };
    let text = fs::read_to_string(file).map_err(|e| refuse(e.to_string()))?;
    clean(&text).ok_or_else(|| refuse("it holds no token".into()))
}

fn in_directory(dir: &Path) -> Option<String> {
    clean(&fs::read_to_string(dir.join(TOKEN_FILE)).ok()?)
}

/// The one line of a token file; `None` for nothing, or what could not stand in a header.
fn clean(text: &str) -> Option<String> {
    let token = text.trim();
    let fits = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_must_hold_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        fs::write(&file, "s3cret\n").unwrap();
        let source = TokenSource::new(Some(file.clone()));
        assert_eq!(source.named().unwrap().as_deref(), Some("s3cret"));
        fs::write(&file, " \n").unwrap();
        assert_eq!(source.named().unwrap_err().exit, Exit::Unauthorized);
        assert!(
            TokenSource::new(Some(dir.path().join("absent")))
                .named()
                .is_err()
        );
    }

    #[test]
    fn the_directory_that_a_running_weir_tells_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(TOKEN_FILE), "told\n").unwrap();
        assert_eq!(
            TokenSource::found(Some(dir.path())).as_deref(),
            Some("told")
        );
    }

    #[test]
    fn a_token_with_control_characters_is_none() {
        assert_eq!(clean("a\r\nb"), None);
        assert_eq!(clean(" tok-1\n"), Some("tok-1".into()));
    }
}
