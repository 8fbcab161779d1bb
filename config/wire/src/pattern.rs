//! Regular expressions, within the bounds that a configuration file has.

use regex::{Regex, RegexBuilder, bytes};

use crate::refusal::Refusal;

/// Longest pattern, in bytes; what a configuration file may hold, and its anchors.
const MAX_PATTERN: usize = 4096 + 16;
/// Memory that one compiled pattern may take: 1 MiB.
const MAX_PROGRAM: usize = 1 << 20;
/// How deep a pattern's groups may nest.
const MAX_NESTING: u32 = 50;

const BEGIN: &str = "^(?:";
const END: &str = ")$";

/// A pattern that says itself where it begins and ends.
pub(crate) fn text(pattern: &str) -> Result<Regex, Refusal> {
    within_length(pattern)?;
    RegexBuilder::new(pattern)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| refused(&error))
}

/// The same over bytes.
pub(crate) fn bytes(pattern: &str) -> Result<bytes::Regex, Refusal> {
    within_length(pattern)?;
    bytes::RegexBuilder::new(pattern)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .nest_limit(MAX_NESTING)
        .build()
        .map_err(|error| refused(&error))
}

/// A pattern that must match the whole of a text, as Envoy's do.
pub(crate) fn whole(pattern: &str) -> Result<Regex, Refusal> {
    // Alone first: `a)|(b` is no expression, though it would be one between the anchors.
    text(pattern)?;
    text(&format!("{BEGIN}{pattern}{END}"))
}

/// What [`whole`] was given to make this one, or the pattern as it is: Envoy matches the whole of a text anyway.
pub(crate) fn inner(regex: &Regex) -> &str {
    let all = regex.as_str();
    let inner = all
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END));
    inner.filter(|inner| text(inner).is_ok()).unwrap_or(all)
}

fn within_length(pattern: &str) -> Result<(), Refusal> {
    match pattern.len() <= MAX_PATTERN {
        true => Ok(()),
        false => Err(Refusal::new(format!("is longer than {MAX_PATTERN} bytes"))),
    }
}

fn refused(error: &regex::Error) -> Refusal {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    Refusal::new(format!(
        "is no regular expression that is supported: {last}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_anchors_is_given_back_only_if_it_is_a_pattern() {
        let regex = whole("a|b").unwrap();
        assert_eq!(regex.as_str(), "^(?:a|b)$");
        assert_eq!(inner(&regex), "a|b");
        let odd = text("^(?:a)|(?:b)$").unwrap();
        assert_eq!(inner(&odd), "^(?:a)|(?:b)$");
        assert!(whole("a)|(b").is_err());
    }
}
