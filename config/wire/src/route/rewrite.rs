//! How a path is replaced, in a request that goes on or in a redirect.
//!
//! The model replaces whole segments; Envoy replaces characters. Where that differs (a prefix of `/`, a replacement of `/`) the
//! characters are chosen so that the outcome is the same.

use std::sync::Arc;

use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use weir_config::model::{PathMatch, PathModifier};

use super::matching::regex_matcher;
use crate::refusal::{Refusal, take};

/// Matches every path, as a whole.
const WHOLE: &str = "^/.*$";

/// What Envoy replaces a path by.
pub(super) enum Replaced {
    Prefix(String),
    Pattern(RegexMatchAndSubstitute),
}

pub(super) fn encode(modifier: &PathModifier, matched: &PathMatch) -> Replaced {
    match modifier {
        PathModifier::Full(path) => pattern(WHOLE, path),
        PathModifier::Prefix(new) => {
            let new = new.strip_suffix('/').unwrap_or(new);
            match matched {
                PathMatch::Prefix(old) if &**old != "/" => match new.is_empty() {
                    true => pattern(&root_of(old), "/"),
                    false => Replaced::Prefix(new.to_owned()),
                },
                // All of the path stays, behind the new prefix.
                _ => Replaced::Prefix(format!("{new}/")),
            }
        }
    }
}

/// Matches a prefix and the slash behind it.
fn root_of(prefix: &str) -> String {
    format!("^{}/?", regex::escape(prefix))
}

fn pattern(pattern: &str, by: &str) -> Replaced {
    Replaced::Pattern(RegexMatchAndSubstitute {
        pattern: Some(regex_matcher(pattern)),
        substitution: by.replace('\\', "\\\\"),
    })
}

/// Only the two patterns above are understood.
pub(super) fn decode_pattern(
    wire: RegexMatchAndSubstitute,
    matched: &PathMatch,
) -> Result<PathModifier, Refusal> {
    take!(wire => RegexMatchAndSubstitute { pattern, substitution } refuse {});
    let pattern = pattern.ok_or_else(|| Refusal::missing("pattern"))?;
    let by = substitution.replace("\\\\", "\\");
    match (pattern.regex.as_str(), matched) {
        (WHOLE, _) if is_path(&by) => Ok(PathModifier::Full(Arc::from(by))),
        (root, PathMatch::Prefix(old)) if root == root_of(old) && by == "/" => {
            Ok(PathModifier::Prefix(Arc::from("/")))
        }
        (other, _) => {
            Err(Refusal::new(format!("is {other:?}; {WHOLE:?} is supported")).within("pattern"))
        }
    }
}

pub(super) fn decode_prefix(new: &str, matched: &PathMatch) -> Result<PathModifier, Refusal> {
    if !is_path(new) {
        return Err(Refusal::new("is not a path"));
    }
    let of_segments = || Refusal::new("is supported with path_separated_prefix, or prefix: \"/\"");
    match matched {
        PathMatch::Prefix(old) if &**old == "/" => match new.strip_suffix('/') {
            Some("") => Ok(PathModifier::Prefix(Arc::from("/"))),
            Some(bare) => Ok(PathModifier::Prefix(Arc::from(bare))),
            None => Err(Refusal::new(
                "does not end with a slash, so that what follows would grow onto it",
            )),
        },
        PathMatch::Prefix(_) if !new.ends_with('/') => Ok(PathModifier::Prefix(Arc::from(new))),
        PathMatch::Prefix(_) => Err(Refusal::new(
            "ends with a slash, which would stand twice in a path",
        )),
        // Envoy replaces all of the path where all of it is matched.
        PathMatch::Exact(_) => Ok(PathModifier::Full(Arc::from(new))),
        PathMatch::Regex(_) => Err(of_segments()),
    }
}

/// Begins with one slash, and has neither query nor fragment, nor what would end a line.
pub(super) fn is_path(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'?' | b'#');
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(fits)
}
