//! From the YAML tree to raw objects, with every mistake reported and none fatal.

use std::sync::Arc;

use super::{At, Later, Scalar};
use crate::Diagnostic;
use crate::diagnostic::{Place, suggest};
use crate::model::Source;
use crate::yaml::{Key, Kind, Mark, Node};

/// Something that can be read from a value; what is wrong goes to the reader, and `None` comes back.
pub(crate) trait Read: Sized {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;
}

/// Reads one file.
pub(crate) struct Reader<'a> {
    path: Arc<str>,
    found: &'a mut Vec<Diagnostic>,
    errors: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(path: Arc<str>, found: &'a mut Vec<Diagnostic>) -> Self {
        Self {
            path,
            found,
            errors: 0,
        }
    }

    /// Errors so far: an object with more of them after reading than before is broken.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    pub(crate) fn place(&self, mark: Mark) -> Place {
        let source = Source::File {
            path: Arc::clone(&self.path),
            line: mark.line,
            column: mark.column,
        };
        Place {
            source,
            span: Some(mark.span),
        }
    }

    pub(crate) fn error(&mut self, mark: Mark, message: impl Into<String>, help: Option<String>) {
        let mut diagnostic = Diagnostic::error(&self.place(mark), message);
        diagnostic.help = help;
        self.found.push(diagnostic);
        self.errors += 1;
    }

    pub(crate) fn mapping<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Node)]> {
        match &node.kind {
            Kind::Mapping(entries) => Some(entries),
            Kind::Refused => self.reported(),
            _ => {
                self.error(
                    node.mark,
                    format!("{what} is a mapping of keys, not {}", node.describe()),
                    None,
                );
                None
            }
        }
    }

    /// The value of a known key; one without a value is as if it were not written, and that is said.
    pub(crate) fn field<T: Read>(&mut self, (key, value): &(Key, Node)) -> Option<T> {
        if matches!(value.kind, Kind::Null) {
            let message = format!(
                "{:?} has no value, so it is as if it were not written",
                key.text
            );
            let help = "give it a value or remove the key; {} stands for a mapping of defaults";
            self.found
                .push(Diagnostic::warning(&self.place(key.mark), message).help(help));
            return None;
        }
        T::read(value, self)
    }

    /// Nothing can be read, and why was said before.
    fn reported<T>(&mut self) -> Option<T> {
        self.errors += 1;
        None
    }

    pub(crate) fn unknown(&mut self, key: &Key, what: &str, known: &[&str]) {
        let help = match key.text.as_str() {
            "<<" => "merge keys are not read; use an alias for the whole value".to_owned(),
            text => suggest(text, known),
        };
        self.error(
            key.mark,
            format!("unknown key {:?} in {what}", key.text),
            Some(help),
        );
    }
}

impl<T: Scalar> Read for At<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let text = match &node.kind {
            Kind::Scalar(text) => text,
            Kind::Refused => return reader.reported(),
            _ => {
                reader.error(
                    node.mark,
                    format!("{} is expected here, not {}", T::WHAT, node.describe()),
                    None,
                );
                return None;
            }
        };
        match T::parse(text) {
            Ok(value) => Some(Self {
                value,
                place: reader.place(node.mark),
            }),
            Err(refused) => {
                reader.error(node.mark, refused.message, refused.help);
                None
            }
        }
    }
}

/// What is large and mostly absent is boxed, so that ten thousand services do not each hold room for every policy.
impl<T: Read> Read for Box<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        T::read(node, reader).map(Box::new)
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Sequence(items) => {
                let mut all: Vec<T> = items
                    .iter()
                    .filter_map(|item| T::read(item, reader))
                    .collect();
                // Most lists of a large configuration hold one item; a vector starts with room for four.
                all.shrink_to_fit();
                Some(all)
            }
            Kind::Refused => reader.reported(),
            _ => {
                let help = "write - before each item, or put them in [ ]".to_owned();
                reader.error(
                    node.mark,
                    format!("a list is expected here, not {}", node.describe()),
                    Some(help),
                );
                None
            }
        }
    }
}

impl Read for Later {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            place: reader.place(node.mark),
        })
    }
}
