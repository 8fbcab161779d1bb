//! Paths as routes write them: only what a canonical request path can equal.
//!
//! A route that names `/a//b` or `/a%2fb` would never match, because such a request is canonicalised or refused
//! before it is matched; saying so beats a rule that silently never fires.

use std::sync::Arc;

use super::report::Report;
use crate::raw::At;

/// Longest path, in bytes.
const MAX_PATH: usize = 4096;

/// The canonical path that was written, with its percent escapes in upper case.
pub(super) fn canonical(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    match normalize(&at.value) {
        Ok(path) => Some(Arc::from(path)),
        Err((why, help)) => {
            report.error_help(
                &at.place,
                format!("{:?} is not a path to match: {why}", at.value),
                help,
            );
            None
        }
    }
}

/// A canonical prefix, held without its final slash.
pub(crate) fn prefix(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let path = canonical(at, report)?;
    let bare = path.trim_end_matches('/');
    Some(Arc::from(if bare.is_empty() { "/" } else { bare }))
}

/// A path to put into a request or a `Location`: it may hold anything that a URI's path may.
pub(super) fn replacement(
    at: &At<String>,
    may_be_empty: bool,
    report: &mut Report,
) -> Option<Arc<str>> {
    let text = &at.value;
    let begins = text.starts_with('/') || (may_be_empty && text.is_empty());
    let fits = text.len() <= MAX_PATH && text.bytes().all(plain) && escapes(text).is_ok();
    // `//host` in a Location would be another site.
    if !begins || !fits || text.starts_with("//") {
        let help = "it begins with one slash and holds no spaces, no ? and no #; write other characters as %XX";
        report.error_help(
            &at.place,
            format!("{text:?} is not a path to replace with"),
            help,
        );
        return None;
    }
    Some(Arc::from(text.as_str()))
}

/// The target of a probe: a path, with a query if need be.
pub(super) fn target(at: &At<String>, report: &mut Report) -> Option<Arc<str>> {
    let text = &at.value;
    let fits = text.len() <= MAX_PATH && text.bytes().all(|b| plain(b) || b == b'?');
    if !text.starts_with('/') || !fits {
        let help = "it begins with a slash, as in /healthz, and holds no spaces";
        report.error_help(
            &at.place,
            format!("{text:?} is not a path to ask for"),
            help,
        );
        return None;
    }
    Some(Arc::from(text.as_str()))
}

type Refusal = (&'static str, String);

fn normalize(text: &str) -> Result<String, Refusal> {
    if !text.starts_with('/') {
        return Err(("it does not begin with a slash", format!("write /{text}")));
    }
    if text.len() > MAX_PATH {
        return Err(("it is too long", format!("it has at most {MAX_PATH} bytes")));
    }
    if text.contains(['?', '#']) {
        return Err((
            "a path ends before ? and #",
            "match a query with queryParams".to_owned(),
        ));
    }
    if let Some(c) = text.chars().find(|c| !u8::try_from(*c).is_ok_and(plain)) {
        let mut bytes = [0; 4];
        let escaped: String = c
            .encode_utf8(&mut bytes)
            .bytes()
            .map(|b| format!("%{b:02X}"))
            .collect();
        return Err((
            "it holds a character that must be escaped",
            format!("write {escaped} for {c:?}"),
        ));
    }
    if text.contains("//") {
        return Err((
            "slashes in a row are merged before matching",
            format!("write {:?}", merge(text)),
        ));
    }
    if text
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err((
            "dot segments are resolved before matching",
            "write the path without them".to_owned(),
        ));
    }
    escapes(text)
}

fn merge(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

/// Characters of a path in a URI (RFC 3986, section 3.3), with `%` for escapes.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte)
}

/// Checks every `%XX`: well formed, not of a character that needs none, none that is always refused.
fn escapes(text: &str) -> Result<String, Refusal> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let hex = tail
            .get(1..3)
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            return Err((
                "% is not followed by two hexadecimal digits",
                "write %25 for a percent sign".to_owned(),
            ));
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            return Err((
                "an escape of a plain character is decoded before matching",
                format!("write {:?}", char::from(byte)),
            ));
        }
        if matches!(byte, b'/' | b'\\' | 0) {
            return Err((
                "requests with such an escape are always refused",
                "%2F, %5C and %00 can be read in two ways".to_owned(),
            ));
        }
        out.push_str(&format!("%{byte:02X}"));
        rest = tail.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::normalize;

    // semantics 30
    #[test]
    fn only_what_a_canonical_path_can_equal_is_taken() {
        for (text, want) in [
            ("/", "/"),
            ("/api/v1", "/api/v1"),
            ("/a%c3%a9", "/a%C3%A9"),
            ("/a;b=c", "/a;b=c"),
            ("/a/", "/a/"),
        ] {
            assert_eq!(normalize(text).as_deref(), Ok(want), "{text}");
        }
        for text in [
            "", "api", "/a//b", "/a/../b", "/.", "/a%2fb", "/a%5cb", "/a%00", "/%41", "/a b", "/é",
            "/a?b", "/a#b", "/a%", "/a%g0", "/a\\b",
        ] {
            assert!(normalize(text).is_err(), "{text} was taken");
        }
    }
}
