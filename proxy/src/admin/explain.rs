//! Why a request would go where it goes, without sending it.
//!
//! The route table, the split and the states are those that requests meet, and none of them is changed
//! by asking: where it would be a version's or an endpoint's *turn*, the answer names the candidates and draws none.

mod candidates;
mod destination;
mod key;
mod limits;
mod question;

pub(super) use question::Question;

use weir_config::model::{Filter, Listener, Percent, Route};
use weir_decide::authorize::{Asked, Call};
use weir_decide::path::{PathError, canonicalize};
use weir_decide::route::{Found, Outcome, RouteTable};

use super::error::ApiError;
use super::types::{Explanation, Matched, Request, Tried};
use super::{View, text};
use crate::http::error::ProxyError;
use crate::runtime::ListenerState;
use crate::snapshot::{ListenerTable, Snapshot};
use crate::telemetry::Flag;
use destination::Lead;

/// What would happen, in short.
struct Verdict {
    text: String,
    status: Option<u16>,
    flag: Flag,
}

impl Verdict {
    /// An answer of Weir's own, as the request path gives it.
    fn refusal(error: &ProxyError) -> Self {
        let status = error.status();
        Self {
            text: format!("{status}: {error}"),
            status: Some(status),
            flag: error.flag(),
        }
    }
}

/// Answers a question about the current generation.
pub(super) fn answer(view: &impl View, question: Question) -> Result<Explanation, ApiError> {
    let snapshot = view.snapshot();
    let mut listeners = view.listeners();
    if let Some(stream) = listeners
        .iter()
        .find(|l| l.protocol.is_stream() && question.listener.as_deref() == Some(l.name.as_str()))
    {
        return Err(ApiError::Invalid(format!(
            "the listener {} is of {}, and this explains requests of http",
            stream.name,
            stream.protocol.text()
        )));
    }
    listeners.retain(|state| !state.protocol.is_stream());
    let (listener, reason) = choose_listener(&snapshot, &listeners, &question)?;
    let table = listener.and_then(|state| snapshot.listener(state.id));
    let mut request = described(&question, listener, reason);
    let blank = |request, verdict: Verdict| Explanation {
        generation: snapshot.generation,
        request,
        verdict: verdict.text,
        status: verdict.status,
        flag: (verdict.flag != Flag::None).then(|| verdict.flag.text().to_owned()),
        matched: None,
        tried: Vec::new(),
        destination: None,
    };
    let Some(table) = table else {
        let text = "not received: there is no listener".to_owned();
        return Ok(blank(
            request,
            Verdict {
                text,
                status: None,
                flag: Flag::None,
            },
        ));
    };
    let path = match canonical(&question.path, &table.listener) {
        Ok(path) => path,
        Err(error) => {
            request.path_error = Some(error.to_string());
            return Ok(blank(request, Verdict::refusal(&ProxyError::Path(error))));
        }
    };
    request.canonical_path = Some(path.clone());
    let tried = tried(&table.table, &question, &path);
    if let Some(verdict) = forbidden(table, &question, &path) {
        return Ok(Explanation {
            tried,
            ..blank(request, verdict)
        });
    }
    let Some(found) = table.table.find(&question.request(&path)) else {
        let explanation = blank(request, Verdict::refusal(&ProxyError::NoRoute));
        return Ok(Explanation {
            tried,
            ..explanation
        });
    };
    let (verdict, destination) = lead(&snapshot, table, &found, &question);
    let matched = Some(matched(table, &found));
    Ok(Explanation {
        matched,
        tried,
        destination,
        ..blank(request, verdict)
    })
}

/// What a caller is told that may not ask this.
fn forbidden(table: &ListenerTable, question: &Question, path: &str) -> Option<Verdict> {
    let guard = table.guard.as_ref()?;
    let call = Call {
        listener: table.listener.name.as_str(),
        principal: question.identity.as_deref(),
        peer: question.client,
        client: question.client,
        port: guard.port(),
        server_name: Some(question.host.as_str()).filter(|host| !host.is_empty()),
        request: Some(Asked {
            host: &question.host,
            method: &question.method,
            path,
            headers: question.headers.as_slice(),
        }),
    };
    let judged = guard.judge(&call, None);
    let mut verdict = Verdict::refusal(&ProxyError::Forbidden);
    let who = question.identity.as_deref().unwrap_or("no identity");
    let why = match judged.policy {
        Some(policy) => format!("the policy {policy} refuses it"),
        None => "no policy admits it".to_owned(),
    };
    verdict.text = format!("{}: {why} (asked with {who})", verdict.text);
    (!judged.admitted).then_some(verdict)
}

/// The listener that was asked for, or the likeliest.
fn choose_listener<'a>(
    snapshot: &Snapshot,
    listeners: &'a [ListenerState],
    question: &Question,
) -> Result<(Option<&'a ListenerState>, &'static str), ApiError> {
    if let Some(name) = &question.listener {
        let named = listeners
            .iter()
            .find(|state| state.name.as_str() == name.as_str());
        let Some(named) = named else {
            let known: Vec<_> = listeners.iter().map(|state| state.name.as_str()).collect();
            return Err(ApiError::NotFound(format!(
                "there is no listener {name}; known: {}",
                known.join(", ")
            )));
        };
        return Ok((Some(named), "asked for"));
    }
    if let [only] = listeners {
        return Ok((Some(only), "the only one"));
    }
    if let Some(state) = listeners
        .iter()
        .find(|state| state.bind.port() == question.port)
    {
        return Ok((Some(state), "its port is the URL's"));
    }
    let mut by_name: Vec<_> = listeners.iter().collect();
    by_name.sort_by(|a, b| a.name.cmp(&b.name));
    let answers = |state: &&&ListenerState| {
        let table = snapshot.listener(state.id);
        table.is_some_and(|table| {
            let path = canonical(&question.path, &table.listener);
            path.is_ok_and(|path| table.table.find(&question.request(&path)).is_some())
        })
    };
    match by_name.iter().find(answers) {
        Some(state) => Ok((Some(state), "a rule of it matches")),
        None => Ok((by_name.first().copied(), "the first by name")),
    }
}

fn canonical(path: &str, listener: &Listener) -> Result<String, PathError> {
    // An absolute target without a path, and OPTIONS *, are matched as the root.
    let path = if matches!(path, "" | "*") { "/" } else { path };
    canonicalize(path.as_bytes(), listener.path_policy, &mut Vec::new()).map(str::to_owned)
}

fn described(question: &Question, listener: Option<&ListenerState>, reason: &str) -> Request {
    Request {
        method: question.method.clone(),
        host: question.host.clone(),
        path: question.path.clone(),
        canonical_path: None,
        path_error: None,
        query: question.query.clone(),
        headers: question.headers.clone(),
        client: question.client.to_string(),
        listener: listener.map(|state| state.name.to_string()),
        listener_reason: reason.to_owned(),
    }
}

fn tried(table: &RouteTable, question: &Question, path: &str) -> Vec<Tried> {
    let asked = table.explain(&question.request(path));
    let rows = asked.into_iter().map(|tried| {
        let route = &table.routes()[tried.route];
        Tried {
            route: route.name.to_string(),
            rule: tried.rule + 1,
            condition: condition(route, tried.rule, tried.matched),
            matched: tried.outcome == Outcome::Matched,
            outcome: tried.outcome.to_string(),
        }
    });
    rows.collect()
}

fn condition(route: &Route, rule: usize, matched: usize) -> String {
    let condition = route
        .rules
        .get(rule)
        .and_then(|rule| rule.matches.get(matched));
    condition.map(text::condition).unwrap_or_default()
}

fn matched(table: &ListenerTable, found: &Found) -> Matched {
    let rule = &table.rules[found.id.index()];
    let (route, rule) = (&rule.route, rule.rule());
    Matched {
        route: route.name.to_string(),
        rule: found.rule + 1,
        condition: condition(route, found.rule, found.matched),
        prefix_len: found.prefix_len,
        filters: rule.filters.iter().map(text::filter).collect(),
        timeout: rule.timeouts.request.map(text::duration),
        backend_timeout: rule.timeouts.backend_request.map(text::duration),
        retry: text::retry(&rule.retry),
        source: route.source.to_string(),
    }
}

/// Where the rule that answers leads.
fn lead(
    snapshot: &Snapshot,
    table: &ListenerTable,
    found: &Found,
    question: &Question,
) -> (Verdict, Option<super::types::Destination>) {
    let rule = &table.rules[found.id.index()];
    let filters = &rule.rule().filters;
    // A fault comes before any other answer; what is left to chance is told with the filters.
    let fault = filters.iter().find_map(|filter| match filter {
        Filter::Fault(fault) => {
            let abort = fault.abort.filter(|abort| abort.percent == Percent::ALL)?;
            Some((abort.status, filter, Flag::FI))
        }
        _ => None,
    });
    let reply = filters.iter().find_map(|filter| match filter {
        Filter::Redirect(redirect) => Some((redirect.status, filter, Flag::DI)),
        Filter::DirectResponse { status, .. } => Some((*status, filter, Flag::DI)),
        _ => None,
    });
    if let Some((status, filter, flag)) = fault.or(reply) {
        let text = format!("{status} by a filter: {}", text::filter(filter));
        return (
            Verdict {
                text,
                status: Some(status),
                flag,
            },
            None,
        );
    }
    let (lead, destination) = destination::of(snapshot, rule, question);
    let verdict = match lead {
        Lead::NoBackend => Verdict::refusal(&ProxyError::NoBackend),
        Lead::NoEndpoint => Verdict::refusal(&ProxyError::NoEndpoint),
        Lead::Forwarded(text) => Verdict {
            text,
            status: None,
            flag: Flag::None,
        },
    };
    (verdict, Some(destination))
}
