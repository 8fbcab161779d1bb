//! Small checks that services and routes have in common.

use std::sync::Arc;

use regex::{Regex, RegexBuilder, bytes};

use super::report::Report;
use crate::raw::At;

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 4096;
/// Memory that one compiled pattern may take: 1 MiB.
const MAX_PROGRAM: usize = 1 << 20;
/// How deep a pattern's groups may nest.
const MAX_NESTING: u32 = 50;

/// Compiles a pattern, anchored at both ends.
///
/// The engine runs in time linear in its input, so that no pattern can be made to hang; what is bounded here is its size.
pub(super) fn anchored(pattern: &At<String>, report: &mut Report) -> Option<Regex> {
    let text = within_length(pattern, report)?;
    let compile = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(MAX_PROGRAM)
            .dfa_size_limit(MAX_PROGRAM)
            .nest_limit(MAX_NESTING)
            .build()
    };
    // Alone first: `a)|(b` is no expression, though it would be one between the anchors.
    let compiled = compile(text).and_then(|_| compile(&format!("^(?:{text})$")));
    compiled
        .map_err(|error| report.error(&pattern.place, explain(text, &error)))
        .ok()
}

/// Compiles a pattern that may match anywhere in bytes, within the same bounds.
pub(super) fn anywhere(pattern: &At<String>, report: &mut Report) -> Option<bytes::Regex> {
    let text = within_length(pattern, report)?;
    let compiled = bytes::RegexBuilder::new(text)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_PROGRAM)
        .nest_limit(MAX_NESTING)
        .build();
    compiled
        .map_err(|error| report.error(&pattern.place, explain(text, &error)))
        .ok()
}

fn within_length<'a>(pattern: &'a At<String>, report: &mut Report) -> Option<&'a str> {
    if pattern.value.len() > MAX_PATTERN {
        report.error(
            &pattern.place,
            format!("a regular expression has at most {MAX_PATTERN} bytes"),
        );
        return None;
    }
    Some(&pattern.value)
}

fn explain(text: &str, error: &regex::Error) -> String {
    let full = error.to_string();
    let last = full
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned();
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("the regular expression {text:?} takes more than 1 MiB when compiled")
        }
        _ => format!("{text:?} is not a regular expression: {last}"),
    }
}

/// A method is a token (RFC 9110, section 9.1).
pub(super) fn method(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    if at.value.is_empty() || !at.value.bytes().all(is_token) {
        report.error(&at.place, format!("{:?} is not a method", at.value));
        return None;
    }
    if at.value.bytes().any(|b| b.is_ascii_lowercase()) {
        let help = format!(
            "methods are case-sensitive; did you mean {:?}?",
            at.value.to_ascii_uppercase()
        );
        report.warn(
            &at.place,
            format!("hardly any client sends the method {:?}", at.value),
            help,
        );
    }
    Some(Arc::from(at.value.as_str()))
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
