//! The public suites of raw requests, and the grammar of what they expect.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::binary::workspace;
use crate::client::Answer;
use crate::wire::find;

/// Where the suites lie: `$WEIR_SUITES`, else `shared/suites` beside the workspace.
///
/// `None` where they are absent; in continuous integration that is a failure.
///
/// # Panics
/// When they are absent under `CI`.
#[must_use]
pub fn directory() -> Option<PathBuf> {
    let dir = std::env::var_os("WEIR_SUITES")
        .map_or_else(|| workspace().join("../shared/suites"), PathBuf::from);
    if dir.join("h1-probe.json").is_file() {
        return Some(dir);
    }
    assert!(
        !crate::in_ci(),
        "no suites in {}; set WEIR_SUITES",
        dir.display()
    );
    crate::say(&format!(
        "LEFT OUT: no suites in {}; set WEIR_SUITES to run them",
        dir.display()
    ));
    None
}

/// A case of `h1-probe.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    pub id: String,
    pub description: String,
    pub expected: String,
    pub scored: bool,
    /// One character a byte (ISO 8859-1).
    pub raw_request: String,
}

/// One way to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    Status(u16),
    /// `2xx`: the first digit.
    Class(u16),
    /// `2xx + close`: that class, and the connection ends after it.
    ClassThenClose(u16),
    Close,
    Timeout,
    /// `!101`: anything that is not this status.
    Not(u16),
}

/// Reads an expectation: alternatives joined by `or`, `,` or `/`, with `(pass)` or `(warn)` after them.
///
/// # Errors
/// Names the word that is not understood.
pub fn expectation(text: &str) -> Result<Vec<Pass>, String> {
    let text = text
        .replace("(pass)", "")
        .replace("(warn)", "")
        .replace(" or ", "/")
        .replace(',', "/");
    text.split('/')
        .map(|word| alternative(word.trim()))
        .collect()
}

fn alternative(word: &str) -> Result<Pass, String> {
    let unknown = || format!("{word:?} is no expectation");
    let class = |text: &str| {
        text.strip_suffix("xx")
            .and_then(|digit| digit.parse().ok())
            .ok_or_else(unknown)
    };
    match word {
        "close" => Ok(Pass::Close),
        "timeout" => Ok(Pass::Timeout),
        _ if word.starts_with('!') => word[1..].parse().map(Pass::Not).map_err(|_| unknown()),
        _ if word.ends_with("+ close") => {
            class(word.trim_end_matches("+ close").trim()).map(Pass::ClassThenClose)
        }
        _ if word.ends_with("xx") => class(word).map(Pass::Class),
        _ => word.parse().map(Pass::Status).map_err(|_| unknown()),
    }
}

impl Pass {
    /// Whether this answer passes; `closed` tells whether the connection ended after it.
    #[must_use]
    pub fn holds(self, answer: &Answer, closed: bool) -> bool {
        let status = answer.status();
        match self {
            Self::Status(want) => status == Some(want),
            Self::Class(class) => status.is_some_and(|s| s / 100 == class),
            Self::ClassThenClose(class) => status.is_some_and(|s| s / 100 == class) && closed,
            Self::Close => *answer == Answer::Closed,
            Self::Timeout => *answer == Answer::Silence,
            Self::Not(unwanted) => status != Some(unwanted),
        }
    }
}

/// A case of `desync/*.yaml`.
#[derive(Debug, Clone, Deserialize)]
pub struct Desync {
    pub name: String,
    pub uri: String,
    pub method: String,
    pub version: String,
    #[serde(default)]
    pub headers: Option<Vec<DesyncHeader>>,
    pub expected: Verdict,
}

/// A field of such a case.
#[derive(Debug, Clone, Deserialize)]
pub struct DesyncHeader {
    pub name: String,
    pub value: Scalar,
}

/// A value that YAML may read as text or as a number.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Number(u64),
    Text(String),
}

/// What the classifier says of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    pub tier: Tier,
    pub reason: String,
}

/// From harmless to hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum Tier {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

/// How the characters of a case become bytes: its YAML says `\xa0` for the byte or the character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Utf8,
    Latin1,
}

impl Encoding {
    /// The bytes, where the encoding has them all.
    #[must_use]
    pub fn encode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Utf8 => Some(text.as_bytes().to_vec()),
            Self::Latin1 => text
                .chars()
                .map(|c| u8::try_from(u32::from(c)).ok())
                .collect(),
        }
    }
}

impl Scalar {
    /// As text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

impl Desync {
    /// Its fields, name and value.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, String)> {
        self.headers
            .iter()
            .flatten()
            .map(|h| (h.name.clone(), h.value.text()))
            .collect()
    }

    /// Whether it holds a character that the two encodings write differently.
    #[must_use]
    pub fn ascii(&self) -> bool {
        self.uri.is_ascii()
            && self
                .fields()
                .iter()
                .all(|(n, v)| n.is_ascii() && v.is_ascii())
    }

    /// The body that its framing promises: that many bytes, one chunk, or nothing.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let fields = self.fields();
        let value = |name: &str| {
            fields
                .iter()
                .rev()
                .find(|(n, _)| n.eq_ignore_ascii_case(name))
                .map(|(_, v)| v.trim())
        };
        if value("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
            return b"hello".to_vec();
        }
        let length = value("content-length")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        vec![b'x'; length]
    }

    /// The whole request, `Host` included; `None` where the encoding lacks a character.
    #[must_use]
    pub fn request(&self, encoding: Encoding) -> Option<Vec<u8>> {
        let mut out = self.method.clone().into_bytes();
        out.push(b' ');
        out.extend(encoding.encode(&self.uri)?);
        if !self.version.is_empty() {
            out.push(b' ');
            out.extend(self.version.bytes());
        }
        out.extend_from_slice(b"\r\nHost: localhost\r\n");
        for (name, value) in self.fields() {
            out.extend(encoding.encode(&name)?);
            out.extend_from_slice(b": ");
            out.extend(encoding.encode(&value)?);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        let body = self.body();
        match body.as_slice() {
            b"hello" => out.extend_from_slice(b"5\r\nhello\r\n0\r\n\r\n"),
            plain => out.extend_from_slice(plain),
        }
        Some(out)
    }
}

/// The probes.
///
/// # Panics
/// When the file is not as described.
#[must_use]
pub fn probes(dir: &std::path::Path) -> Vec<Probe> {
    let text = std::fs::read_to_string(dir.join("h1-probe.json")).expect("read h1-probe.json");
    serde_json::from_str(&text).expect("h1-probe.json is a list of cases")
}

/// The desync cases with the name of their file.
///
/// # Panics
/// When a file is not as described.
#[must_use]
pub fn desync(dir: &std::path::Path) -> Vec<(String, Desync)> {
    let entries = std::fs::read_dir(dir.join("desync")).expect("the folder desync");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "yaml"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("read a desync file");
        let list: Vec<Desync> =
            serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        cases.extend(list.into_iter().map(|case| (name.clone(), case)));
    }
    assert!(!cases.is_empty(), "no desync cases in {}", dir.display());
    cases
}

/// How many request heads these bytes seem to hold, read as carelessly as a bad server would.
#[must_use]
pub fn heads_in(mut tape: &[u8]) -> usize {
    let mut count = 0;
    while let Some(at) = find(tape, b" HTTP/1.") {
        count += 1;
        tape = &tape[at + 8..];
    }
    count
}

/// How long a case may stay unanswered before that counts as silence.
pub const SILENT_AFTER: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_reads_every_form_that_the_suite_uses() {
        use Pass::{Class, ClassThenClose, Close, Not, Status, Timeout};
        let cases: [(&str, &[Pass]); 8] = [
            ("!101", &[Not(101)]),
            ("2xx", &[Class(2)]),
            ("2xx + close", &[ClassThenClose(2)]),
            ("400 or 2xx/404", &[Status(400), Class(2), Status(404)]),
            (
                "400 or close (pass), 2xx (warn)",
                &[Status(400), Close, Class(2)],
            ),
            (
                "400/405/501 or close",
                &[Status(400), Status(405), Status(501), Close],
            ),
            (
                "400/505/close/timeout",
                &[Status(400), Status(505), Close, Timeout],
            ),
            ("200 or 400", &[Status(200), Status(400)]),
        ];
        for (text, want) in cases {
            assert_eq!(expectation(text).as_deref(), Ok(want), "{text}");
        }
        assert!(expectation("maybe").is_err());
    }

    #[test]
    fn heads_are_counted_even_where_they_are_smuggled_in_a_body() {
        assert_eq!(
            heads_in(b"GET / HTTP/1.1\r\n\r\nxxGET /b HTTP/1.0\r\n\r\n"),
            2
        );
        assert_eq!(heads_in(b""), 0);
    }
}
