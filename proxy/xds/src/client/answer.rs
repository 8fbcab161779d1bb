//! What is said back: an answer to each response, and what is asked for from now on.

use std::collections::BTreeSet;

use weir_wire::Kind;

use super::Client;
use super::stream::{Pending, Stream};
use crate::limits::{NAMED_IN_ANSWER, REASON_BYTES};
use crate::message::{Request, Variant};
use crate::references::Key;
use crate::set::is_named;

/// Requests to be sent, and how many of them accept and refuse a response.
#[derive(Debug, Default, PartialEq)]
pub struct Answers {
    pub requests: Vec<Request>,
    pub accepted: usize,
    pub refused: usize,
}

impl Client {
    /// An answer to each response that was received, and changed subscriptions. A response with listeners that wait for their
    /// routes or certificates is answered when they are served, or cannot be.
    pub fn answers(&mut self) -> Answers {
        let wanted = self.wanted();
        let mut answers = Answers::default();
        let Some(mut stream) = self.stream.take() else {
            return answers;
        };
        let pending = std::mem::take(&mut stream.pending);
        let (late, due): (Vec<Pending>, Vec<Pending>) =
            pending.into_iter().partition(|it| self.is_early(it));
        stream.pending = late;
        let count = due.len();
        for (at, pending) in due.into_iter().enumerate() {
            let lines = self.lines(&pending, at + 1 == count);
            match lines.is_empty() {
                true => answers.accepted += 1,
                false => answers.refused += 1,
            }
            answers.requests.push(answer(&mut stream, pending, &lines));
        }
        for kind in Kind::ALL.into_iter().filter(|kind| is_named(*kind)) {
            let request = stream.follow(kind, &self.told, &wanted);
            answers.requests = join(answers.requests, request, stream.variant);
        }
        answers.requests.extend(self.ask_again(stream.variant));
        self.stream = Some(stream);
        self.forget_unwanted(&wanted);
        answers
    }

    /// Whether it cannot be said yet if what a response gives can be served.
    fn is_early(&self, pending: &Pending) -> bool {
        let lacks = |name: &String| self.told.lacks_for(pending.kind, name);
        pending.kind == Kind::Listener && self.waiting.is_some() && pending.names.iter().any(lacks)
    }

    /// What a response gives and is not in force, each with its reason; with the last one also what was not said otherwise.
    fn lines(&mut self, pending: &Pending, last: bool) -> Vec<String> {
        let troubles = [&self.refused, &self.unfit, &self.unbound];
        let why = |key: &Key| troubles.iter().find_map(|all| all.get(key)).cloned();
        let given = pending.names.iter();
        let mut keys: Vec<Key> = given.map(|name| (pending.kind, name.clone())).collect();
        self.unsaid.retain(|key| !keys.contains(key));
        if last {
            keys.append(&mut self.unsaid);
        }
        let with_reason = keys.iter().filter_map(|key| Some(line(key, &why(key)?)));
        let mut lines: Vec<String> = with_reason.collect();
        // While a set is held nothing that comes is in force.
        if pending.removes || last {
            lines.extend(self.held.map(str::to_owned));
        }
        lines
    }

    /// Has the server send again what it heard could not be served and can be now, so that it hears of that, too.
    fn ask_again(&mut self, variant: Variant) -> Option<Request> {
        let subscribe = std::mem::take(&mut self.well);
        (variant == Variant::Delta && !subscribe.is_empty()).then(|| Request {
            subscribe,
            ..Request::of(Kind::Listener)
        })
    }

    /// Lets go of what nothing names any more; what is in force has its own.
    fn forget_unwanted(&mut self, wanted: &BTreeSet<Key>) {
        for kind in Kind::ALL.into_iter().filter(|kind| is_named(*kind)) {
            let all = self.told.resources().of(kind);
            let unwanted: Vec<String> = all
                .filter(|it| !wanted.contains(&(kind, it.name.clone())))
                .map(|it| it.name.clone())
                .collect();
            for name in unwanted {
                self.told.remove(kind, &name);
            }
        }
        self.refused
            .retain(|key, _| !is_named(key.0) || wanted.contains(key));
    }
}

/// Adds a changed subscription. In the state of the world its names stand in the answer to the same type, if one is due.
fn join(mut requests: Vec<Request>, request: Option<Request>, variant: Variant) -> Vec<Request> {
    let Some(request) = request else {
        return requests;
    };
    let mut due = requests.iter_mut();
    match due.rfind(|it| it.type_url == request.type_url) {
        Some(due) if variant == Variant::StateOfTheWorld => due.names = request.names,
        _ => requests.push(request),
    }
    requests
}

fn answer(stream: &mut Stream, pending: Pending, lines: &[String]) -> Request {
    let kind = pending.kind;
    let refused = (!lines.is_empty()).then(|| reason(lines));
    if refused.is_none() {
        stream.accepted.insert(kind, pending.version);
    }
    let request = Request {
        nonce: pending.nonce,
        refused,
        ..Request::of(kind)
    };
    match stream.variant {
        Variant::Delta => request,
        Variant::StateOfTheWorld => Request {
            version: stream.accepted.get(&kind).cloned().unwrap_or_default(),
            names: stream.names(kind),
            ..request
        },
    }
}

/// `Cluster shop: why`.
pub(super) fn line((kind, name): &Key, why: &str) -> String {
    match name.is_empty() {
        true => why.to_owned(),
        false => format!("{kind:?} {name}: {why}"),
    }
}

/// All of them, as far as an answer has room.
fn reason(lines: &[String]) -> String {
    let mut text = lines[..lines.len().min(NAMED_IN_ANSWER)].join("; ");
    if text.len() > REASON_BYTES {
        let end = (0..=REASON_BYTES).rfind(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str(" ...");
    }
    if lines.len() > NAMED_IN_ANSWER {
        text.push_str(&format!("; and {} more", lines.len() - NAMED_IN_ANSWER));
    }
    text
}
