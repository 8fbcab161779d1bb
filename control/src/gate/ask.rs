//! Which requests are passed.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, Request};

use crate::discovery::engine::allowed::Question;

/// A request that may be passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) question: Question,
    /// Path and parameters, as the engine is asked.
    pub(super) target: String,
}

/// Why a request is not passed. The engine sees nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("only GET is passed on")]
    Method,
    #[error("a request with a body is not passed on")]
    Body,
    #[error("a connection is never taken over")]
    Upgrade,
    #[error("the request names a path and nothing in front of it")]
    Form,
    #[error("this path is not passed on; see `weir docker-gate --help` for those that are")]
    Path,
    #[error("this parameter is not passed on")]
    Parameter,
}

impl Asked {
    /// Reads a request's head; its body is never read.
    pub(super) fn read<B>(request: &Request<B>) -> Result<Self, Denied> {
        let uri = request.uri();
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(Denied::Form);
        }
        if request.method() != http::Method::GET {
            return Err(Denied::Method);
        }
        headers(request.headers())?;
        let path = uri.path();
        let bare = unversioned(path);
        let question = Question::of(request.method(), bare).ok_or(Denied::Path)?;
        let mut target = path.to_owned();
        if let Some(query) = uri.query().filter(|query| !query.is_empty()) {
            parameters(question, query)?;
            target.push('?');
            target.push_str(query);
        }
        Ok(Self { question, target })
    }

    /// Whether the answer has no end of its own.
    pub(super) fn is_stream(&self) -> bool {
        self.question == Question::Events
    }
}

fn headers(headers: &HeaderMap) -> Result<(), Denied> {
    if headers.contains_key(UPGRADE) {
        return Err(Denied::Upgrade);
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter();
    let empty = lengths.into_iter().all(|length| length == "0");
    match empty && !headers.contains_key(TRANSFER_ENCODING) && !headers.contains_key(EXPECT) {
        true => Ok(()),
        false => Err(Denied::Body),
    }
}

/// The path without `/v1.41` in front. Anything that only resembles a version is left where it is, and is no path that
/// is passed on.
fn unversioned(path: &str) -> &str {
    let Some(rest) = path.strip_prefix("/v1.") else {
        return path;
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    match (digits, &rest[digits..]) {
        (1..=3, bare) if bare.starts_with('/') => bare,
        _ => path,
    }
}

/// What discovery says beside the path: which events, and from when on. The lists take nothing, since a parameter may
/// cost the engine much (`size`) or widen what it tells (`all`).
fn parameters(question: Question, query: &str) -> Result<(), Denied> {
    const OF_EVENTS: [&str; 3] = ["since", "until", "filters"];
    let known = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        question == Question::Events && OF_EVENTS.contains(&name)
    };
    match query.split('&').all(known) {
        true => Ok(()),
        false => Err(Denied::Parameter),
    }
}

/// How often refusals are told; those in between are counted.
const TELL: Duration = Duration::from_secs(1);
/// Characters of a path in the log.
const SHOWN: usize = 200;

/// Logs refusals, without letting whoever asks fill the disk.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    last: Mutex<Option<(Instant, u64)>>,
}

impl Refusals {
    pub(super) fn tell<B>(&self, request: &Request<B>, denied: &Denied) {
        let now = Instant::now();
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let unsaid = match &mut *last {
            Some((at, unsaid)) if now.duration_since(*at) < TELL => {
                *unsaid += 1;
                return;
            }
            Some((_, unsaid)) => *unsaid,
            None => 0,
        };
        *last = Some((now, 0));
        let path: String = request.uri().path().chars().take(SHOWN).collect();
        tracing::warn!(method = %request.method(), path, unsaid, "refused: {denied}");
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn read(method: Method, uri: &str, fields: &[(&str, &str)]) -> Result<Asked, Denied> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Asked::read(&request.body(()).unwrap())
    }

    #[test]
    fn what_discovery_asks_is_passed_with_and_without_a_version() {
        for (uri, question) in [
            ("/version", Question::Version),
            ("/_ping", Question::Ping),
            ("/v1.41/containers/json", Question::Containers),
            ("/v1.41/containers/0123ab/json", Question::Container),
            ("/v1.44/services", Question::Services),
            ("/tasks?", Question::Tasks),
            (
                "/v1.41/events?since=1.5&filters=%7B%22type%22%3A%5B%22container%22%5D%7D",
                Question::Events,
            ),
        ] {
            let asked = read(Method::GET, uri, &[("content-length", "0")]).unwrap();
            assert_eq!(asked.question, question, "{uri}");
            assert_eq!(asked.target, uri.trim_end_matches('?'));
        }
    }

    #[test]
    fn everything_else_is_denied_by_what_is_wrong_with_it() {
        let get = |uri: &str| read(Method::GET, uri, &[]).unwrap_err();
        for uri in [
            "/info",
            "//containers/json",
            "/v1.41//containers/json",
            "/containers/json/",
            "/containers/%6ason",
            "/%63ontainers/json",
            "/containers/web/json",
            "/containers/../info",
            "/v1.41/../containers/json",
            "/v1.41/v1.41/containers/json",
            "/v2.0/containers/json",
            "/v1./containers/json",
            "/v1.41.1/containers/json",
            "/v1.9999/containers/json",
            "/V1.41/containers/json",
            "/containers/abc/logs",
            "/containers/abc/archive?path=/etc/shadow",
            "/secrets",
            "/configs",
            "/swarm/unlockkey",
            "/images/json",
        ] {
            assert_eq!(get(uri), Denied::Path, "{uri}");
        }
        assert_eq!(get("http://engine/containers/json"), Denied::Form);
        for uri in [
            "/containers/json?all=1",
            "/containers/json?size=1",
            "/containers/abc/json?size=1",
            "/services?filters={}",
            "/events?follow=1",
            "/events?since=1&&until=2",
        ] {
            assert_eq!(get(uri), Denied::Parameter, "{uri}");
        }
        for method in [
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
        ] {
            let denied = read(method.clone(), "/containers/json", &[]);
            assert_eq!(denied, Err(Denied::Method), "{method}");
        }
        for (name, value, denied) in [
            ("upgrade", "tcp", Denied::Upgrade),
            ("content-length", "2", Denied::Body),
            ("transfer-encoding", "chunked", Denied::Body),
            ("expect", "100-continue", Denied::Body),
        ] {
            let answer = read(Method::GET, "/containers/json", &[(name, value)]);
            assert_eq!(answer, Err(denied), "{name}");
        }
    }
}
