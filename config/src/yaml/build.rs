//! From the library's events to the tree.

use std::collections::HashMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::{Key, Kind, Lookup, MAX_BYTES, MAX_DEPTH, MAX_NODES, Mark, Node, Parsed};
use crate::Diagnostic;
use crate::diagnostic::Place;
use crate::model::Source;

/// Reads every document of a text. A syntax error ends the reading; what stood before it in
/// whole documents is kept, so that its own mistakes are reported too.
pub(crate) fn parse(path: &Arc<str>, text: &str, lookup: Lookup<'_>) -> Parsed {
    let mut builder = Builder {
        path,
        text,
        lookup,
        parsed: Parsed::default(),
        anchors: HashMap::new(),
        nodes: 0,
    };
    let start = Mark {
        line: 1,
        column: 1,
        span: (0, 0),
    };
    if text.len() > MAX_BYTES {
        builder.error(
            start,
            format!(
                "the file has {} bytes, at most {MAX_BYTES} are read",
                text.len()
            ),
        );
        return builder.parsed;
    }
    let mut options = Options::default();
    options.emit_comments = false;
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut events = Parser::new_from_str_with_options(text, options);
    if let Err(stop) = builder.documents(&mut events) {
        builder.error(stop.mark, stop.message);
    }
    builder.parsed
}

/// Why reading ended early.
struct Stop {
    mark: Mark,
    message: String,
}

struct Builder<'a> {
    path: &'a Arc<str>,
    text: &'a str,
    lookup: Lookup<'a>,
    parsed: Parsed,
    /// By the parser's anchor id, with the number of nodes an alias of it costs.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

type Next<'i> = Result<(Event<'i>, Span), ScanError>;

impl<'a> Builder<'a> {
    fn documents(&mut self, events: &mut dyn Iterator<Item = Next<'a>>) -> Result<(), Stop> {
        while let Some(next) = events.next() {
            let (event, span) = next.map_err(|error| self.scan_error(&error))?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {
                    self.anchors.clear()
                }
                Event::StreamEnd => break,
                event => {
                    let node = self.node(event, span, events, 0)?;
                    if !matches!(node.kind, Kind::Null) {
                        self.parsed.documents.push(node);
                    }
                }
            }
        }
        Ok(())
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        events: &mut dyn Iterator<Item = Next<'a>>,
        depth: usize,
    ) -> Result<Node, Stop> {
        let mark = self.mark(&span);
        let before = self.nodes;
        self.spend(1, mark)?;
        if depth > MAX_DEPTH {
            return Err(Stop {
                mark,
                message: format!("values are nested more than {MAX_DEPTH} deep"),
            });
        }
        let (kind, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), mark);
                (self.scalar(&text, style, mark), anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), mark);
                (self.sequence(events, depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), mark);
                (self.mapping(events, depth)?, anchor)
            }
            Event::Alias(id) => return self.alias(id, mark, depth),
            other => {
                return Err(Stop {
                    mark,
                    message: format!("a value was expected here, not {other:?}"),
                });
            }
        };
        let node = Node { mark, kind };
        if anchor != 0 {
            let cost = self.nodes - before;
            self.spend(cost, mark)?;
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, mark: Mark, depth: usize) -> Result<Node, Stop> {
        let Some((node, cost)) = self.anchors.get(&id) else {
            return Err(Stop {
                mark,
                message: "this alias is used inside of what it names".into(),
            });
        };
        let (node, cost) = (node.clone(), *cost);
        self.spend(cost, mark)?;
        if depth + height(&node) > MAX_DEPTH {
            return Err(Stop {
                mark,
                message: format!("values are nested more than {MAX_DEPTH} deep"),
            });
        }
        Ok(node)
    }

    fn sequence(
        &mut self,
        events: &mut dyn Iterator<Item = Next<'a>>,
        depth: usize,
    ) -> Result<Kind, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next(events)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Kind::Sequence(items));
            }
            items.push(self.node(event, span, events, depth + 1)?);
        }
    }

    fn mapping(
        &mut self,
        events: &mut dyn Iterator<Item = Next<'a>>,
        depth: usize,
    ) -> Result<Kind, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, u32> = HashMap::new();
        loop {
            let (event, span) = self.next(events)?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Kind::Mapping(entries));
            }
            let mark = self.mark(&span);
            let Event::Scalar(text, ..) = event else {
                return Err(Stop {
                    mark,
                    message: "a key must be plain text".into(),
                });
            };
            let key = Key {
                text: text.into_owned(),
                mark,
            };
            let (event, span) = self.next(events)?;
            let value = self.node(event, span, events, depth + 1)?;
            if let Some(line) = seen.get(&key.text) {
                let message = format!(
                    "the key {:?} is given twice, first on line {line}",
                    key.text
                );
                self.error(mark, message);
                continue;
            }
            seen.insert(key.text.clone(), mark.line);
            entries.push((key, value));
        }
    }

    fn next(
        &mut self,
        events: &mut dyn Iterator<Item = Next<'a>>,
    ) -> Result<(Event<'a>, Span), Stop> {
        match events.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan_error(&error)),
            None => Err(Stop {
                mark: self.end(),
                message: "the text ends in the middle of a value".into(),
            }),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, mark: Mark) -> Kind {
        if style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Kind::Null;
        }
        match super::env::expand(text, self.lookup) {
            Ok(text) => Kind::Scalar(text),
            Err(message) => {
                let place = self.place(mark);
                let help =
                    "set it, give a default as in ${NAME:-default}, or write $${ for a literal ${";
                self.parsed
                    .diagnostics
                    .push(Diagnostic::error(&place, message).help(help));
                Kind::Refused
            }
        }
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, mark: Mark) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            self.error(
                mark,
                format!("the tag {:?} has no meaning here", tag.original()),
            );
        }
    }

    fn spend(&mut self, nodes: usize, mark: Mark) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        match self.nodes > MAX_NODES {
            true => Err(Stop {
                mark,
                message: format!("the file holds more than {MAX_NODES} values, aliases expanded"),
            }),
            false => Ok(()),
        }
    }

    fn error(&mut self, mark: Mark, message: String) {
        let place = self.place(mark);
        self.parsed
            .diagnostics
            .push(Diagnostic::error(&place, message));
    }

    fn place(&self, mark: Mark) -> Place {
        let source = Source::File {
            path: Arc::clone(self.path),
            line: mark.line,
            column: mark.column,
        };
        Place {
            source,
            span: Some(mark.span),
        }
    }

    fn mark(&self, span: &Span) -> Mark {
        let range = span.byte_range().unwrap_or(0..0);
        let end = range.end.min(self.text.len());
        Mark {
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            column: u32::try_from(span.start.col())
                .unwrap_or(u32::MAX - 1)
                .saturating_add(1),
            span: (range.start.min(end), trimmed(self.text, range.start, end)),
        }
    }

    fn end(&self) -> Mark {
        let lines = self.text.lines().count().max(1);
        let at = self.text.len();
        Mark {
            line: u32::try_from(lines).unwrap_or(u32::MAX),
            column: 1,
            span: (at, at),
        }
    }

    fn scan_error(&self, error: &ScanError) -> Stop {
        let at = error
            .marker()
            .byte_offset()
            .unwrap_or(0)
            .min(self.text.len());
        let mark = Mark {
            line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX),
            column: u32::try_from(error.marker().col())
                .unwrap_or(u32::MAX - 1)
                .saturating_add(1),
            span: (at, at),
        };
        Stop {
            mark,
            message: format!("this is not YAML: {}", error.info()),
        }
    }
}

/// Block values end behind their line break; the last line is the one to point at.
fn trimmed(text: &str, start: usize, end: usize) -> usize {
    text.get(start..end)
        .map_or(end, |part| start + part.trim_end().len())
}

fn height(node: &Node) -> usize {
    match &node.kind {
        Kind::Null | Kind::Refused | Kind::Scalar(_) => 1,
        Kind::Sequence(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Kind::Mapping(entries) => {
            1 + entries
                .iter()
                .map(|(_, value)| height(value))
                .max()
                .unwrap_or(0)
        }
    }
}
