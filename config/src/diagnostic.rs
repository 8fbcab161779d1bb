//! What is wrong with a configuration, where, and what to do about it.
//!
//! Every stage collects diagnostics and goes on: a person sees all of them at once, and one bad
//! route never takes the others down.

mod render;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use render::render;

use crate::model::Source;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What it points at is left out of the configuration.
    Error,
    /// What it points at is in force, though perhaps not as its author thinks.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding about a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// One sentence, without a full stop.
    pub message: String,
    #[serde(serialize_with = "as_text")]
    pub source: Source,
    /// The next thing to check or to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Byte range in the file that `source` names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<(usize, usize)>,
}

fn as_text<S: Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(source)
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, place, message)
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(place: &Place, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, place, message)
    }

    fn new(severity: Severity, place: &Place, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            source: place.source.clone(),
            help: None,
            span: place.span,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether something was left out because of it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    /// One line for logs: `error: weir.yaml:3:5: unknown key "hots" (did you mean "host"?)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.severity, self.source, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Whether any of them is an error.
#[must_use]
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Where something was written: a source, and the bytes it takes where that is a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub source: Source,
    /// Byte range in the file.
    pub span: Option<(usize, usize)>,
}

impl Place {
    /// A place that is no position in a file.
    #[must_use]
    pub fn of(source: Source) -> Self {
        Self { source, span: None }
    }

    /// Whether a container's label said it.
    #[must_use]
    pub fn is_label(&self) -> bool {
        matches!(self.source, Source::Label { .. })
    }
}

/// The texts that diagnostics point into, by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Files(BTreeMap<Arc<str>, Arc<str>>);

impl Files {
    /// Keeps a text, for snippets.
    pub fn insert(&mut self, path: Arc<str>, text: Arc<str>) {
        self.0.insert(path, text);
    }

    /// The text of a file that was read.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Arc<str>> {
        self.0.get(path)
    }

    /// Paths in order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|path| &**path)
    }
}

/// The known word nearest to a wrong one, if one is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    let allowed = (wrong.len() / 3).max(1);
    known
        .iter()
        .map(|word| {
            (
                strsim::damerau_levenshtein(&wrong, &word.to_ascii_lowercase()),
                *word,
            )
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// `did you mean "host"?`, or all that is known where nothing is near.
pub(crate) fn suggest(wrong: &str, known: &[&str]) -> String {
    match nearest(wrong, known) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_only_when_it_is_near() {
        assert_eq!(
            nearest("hostname", &["hostnames", "name"]),
            Some("hostnames")
        );
        assert_eq!(nearest("Protocl", &["protocol", "bind"]), Some("protocol"));
        assert_eq!(nearest("zebra", &["protocol", "bind"]), None);
        assert_eq!(suggest("zebra", &["bind", "via"]), "known here: bind, via");
    }
}
