//! The stream of events, one line each, with only those that discovery hears of.
//!
//! An event can tell what was run in a container, in its very name (`exec_start: sh -c …`), and it carries every label. So
//! the gate goes by its own list, whatever the client asked the engine for.

use std::collections::VecDeque;
use std::io;

use futures_util::{Stream, stream};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};

use super::shape::Shape;
use crate::discovery::engine::allowed::Question;
use crate::discovery::engine::{EVENT_TYPES, EVENTS};

/// Longest event, in bytes: a container may have hundreds of labels.
const MAX_LINE: usize = 1024 * 1024;

/// What is passed on of an event, with the end of its line; `None` for one that is not.
fn passed(line: &[u8]) -> Option<Bytes> {
    let event = Shape::of(Question::Events).read(line).ok()?;
    let word = |name: &str| event[name].as_str().unwrap_or_default();
    // `health_status: healthy` has more to it than the word.
    let action = match word("Action").split_once(": ") {
        Some(("health_status", _)) => "health_status",
        _ => word("Action"),
    };
    let heard = EVENT_TYPES.contains(&word("Type")) && EVENTS.contains(&action);
    let mut text = serde_json::to_vec(&event).ok().filter(|_| heard)?;
    text.push(b'\n');
    Some(text.into())
}

struct Lines {
    engine: Incoming,
    rest: Vec<u8>,
    ready: VecDeque<Bytes>,
}

impl Lines {
    fn take(&mut self, data: &[u8]) -> io::Result<()> {
        let mut parts = data.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            if self.rest.len() + part.len() > MAX_LINE {
                return Err(io::Error::other("an event is larger than the gate takes"));
            }
            self.rest.extend_from_slice(part);
            if parts.peek().is_some() {
                self.ready.extend(passed(&self.rest));
                self.rest.clear();
            }
        }
        Ok(())
    }
}

/// The engine's events as they are passed on.
pub(super) fn filtered(engine: Incoming) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    let lines = Lines {
        engine,
        rest: Vec::new(),
        ready: VecDeque::new(),
    };
    stream::try_unfold(lines, |mut lines| async move {
        loop {
            if let Some(line) = lines.ready.pop_front() {
                return Ok(Some((Frame::data(line), lines)));
            }
            match lines.engine.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        lines.take(data)?;
                    }
                }
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(None),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &str) -> Option<String> {
        passed(line.as_bytes()).map(|b| String::from_utf8(b.to_vec()).unwrap())
    }

    #[test]
    fn an_event_passes_without_what_it_carries_along() {
        let event = r#"{"status":"kill","id":"a","from":"img","Type":"container","Action":"kill","scope":"local",
            "Actor":{"ID":"a","Attributes":{"signal":"15","secret":"hush","name":"web"}},"timeNano":5}"#;
        assert_eq!(
            text(&event.replace('\n', "")).unwrap(),
            "{\"Action\":\"kill\",\"Actor\":{\"Attributes\":{\"signal\":\"15\"},\"ID\":\"a\"},\"Type\":\"container\",\
             \"scope\":\"local\",\"timeNano\":5}\n"
        );
        let healthy =
            r#"{"Type":"container","Action":"health_status: healthy","Actor":{"ID":"a"}}"#;
        assert!(text(healthy).unwrap().contains("health_status: healthy"));
    }

    #[test]
    fn what_was_run_in_a_container_is_not_told() {
        for line in [
            r#"{"Type":"container","Action":"exec_start: sh -c hush"}"#,
            r#"{"Type":"container","Action":"exec_create: hush"}"#,
            r#"{"Type":"container","Action":"start: hush"}"#,
            r#"{"Type":"secret","Action":"create","Actor":{"ID":"s"}}"#,
            r#"{"Type":"image","Action":"pull"}"#,
            "not json",
            "",
        ] {
            assert_eq!(text(line), None, "{line}");
        }
    }
}
