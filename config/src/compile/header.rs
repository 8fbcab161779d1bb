//! Header names and values that a configuration may write into a message.

use std::sync::Arc;

use super::report::Report;
use super::values::is_token;
use crate::model::HeaderEdits;
use crate::raw::{At, Header, HeaderModifier};

/// Longest value, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// A field name to match, in lower case.
pub(super) fn name(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    if at.value.is_empty() || at.value.len() > 256 || !at.value.bytes().all(is_token) {
        report.error(&at.place, format!("{:?} is not a header name", at.value));
        return None;
    }
    Some(Arc::from(at.value.to_ascii_lowercase()))
}

/// A cookie's name is a token (RFC 6265, section 4.1.1).
pub(super) fn cookie_name(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    if at.value.is_empty() || at.value.len() > 256 || !at.value.bytes().all(is_token) {
        report.error(
            &at.place,
            format!("{:?} is not the name of a cookie", at.value),
        );
        return None;
    }
    Some(Arc::from(at.value.as_str()))
}

/// A field value: visible ASCII, spaces and tabs, none of them at the ends.
pub(super) fn value(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let fits = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
    if at.value.len() > MAX_VALUE || !at.value.bytes().all(fits) || at.value.trim() != at.value {
        let help =
            "it holds visible ASCII characters, with spaces only between them, and no line break";
        report.error_help(
            &at.place,
            format!("{:?} is not a header value", at.value),
            help,
        );
        return None;
    }
    Some(Arc::from(at.value.as_str()))
}

/// A field name that a configuration may write, in lower case.
pub(super) fn edited(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let name = name(at, report)?;
    if HeaderEdits::NEVER.contains(&&*name) {
        let help = match &*name {
            "host" => "use a URLRewrite filter with hostname",
            _ => "Weir decides it for each connection",
        };
        report.error_help(&at.place, format!("{name} cannot be edited"), help);
        return None;
    }
    if name.contains('_') {
        let help = format!(
            "many servers read {:?} and {name:?} as one field; write the hyphen",
            name.replace('_', "-")
        );
        report.error_help(&at.place, format!("{name:?} has an underscore"), help);
        return None;
    }
    Some(name)
}

/// Names in lower case and their values, each name once.
pub(super) fn pairs<'a>(
    headers: impl Iterator<Item = &'a Header>,
    report: &mut Report,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut out: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for header in headers {
        let place = &header.meta.place;
        let field = report
            .required(&header.name, &header.meta, "the name of the header")
            .and_then(|at| edited(at, report));
        let text = report
            .required(&header.value, &header.meta, "the value of the header")
            .and_then(|at| value(at, report));
        if let (Some(field), Some(text)) = (field, text) {
            if out.iter().any(|(name, _)| *name == field) {
                report.error(place, format!("{field} is given twice in one list"));
            }
            out.push((field, text));
        }
    }
    out
}

/// Checks a modifier. Each name is set, added to and removed at most once.
pub(super) fn edits(raw: &HeaderModifier, report: &mut Report) -> HeaderEdits {
    let set = pairs(raw.set.iter().flatten(), report);
    let add = pairs(raw.add.iter().flatten(), report);
    let remove: Vec<Arc<str>> = raw
        .remove
        .iter()
        .flatten()
        .filter_map(|at| edited(at, report))
        .collect();
    if !raw.meta.broken && raw.set.is_none() && raw.add.is_none() && raw.remove.is_none() {
        let help = "give it set, add or remove";
        report.warn(
            &raw.meta.place,
            "this header modifier changes nothing",
            help,
        );
    }
    HeaderEdits { set, add, remove }
}
