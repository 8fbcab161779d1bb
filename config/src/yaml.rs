//! YAML text as a tree in which every key and value knows its place.
//!
//! This is the only module that knows the YAML library. It reads the library's event stream rather
//! than going through serde, because serde stops at the first mistake and turns `1.10` into a
//! number; here scalars stay as they were written and the reader above decides what they are.
//!
//! Bounded against hostile input: the size of a file, the number of nodes (aliases count by what they
//! expand to), the depth. A key given twice, a merge key, an own tag are errors.

mod build;
mod env;

use crate::Diagnostic;

pub(crate) use build::parse;
pub(crate) use env::Lookup;

/// Largest text read: 8 MiB.
pub(crate) const MAX_BYTES: usize = 8 << 20;
/// Most values in a file, aliases expanded: 500,000.
pub(crate) const MAX_NODES: usize = 500_000;
/// Deepest nesting: 64.
pub(crate) const MAX_DEPTH: usize = 64;

/// A position: line and column count from 1, the span in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) span: (usize, usize),
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// `~`, `null` or nothing at all.
    Null,
    /// A value that was reported and cannot be used, such as one with a variable that is not set.
    Refused,
    /// Text with `${ENV}` filled in; not yet a number or anything else.
    Scalar(String),
    Sequence(Vec<Node>),
    /// Keys are unique.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) mark: Mark,
}

impl Node {
    /// What it is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match self.kind {
            Kind::Null | Kind::Refused => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }

    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }
}

/// The documents of a text, and everything found on the way.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) documents: Vec<Node>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}
