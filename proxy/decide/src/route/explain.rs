//! Why a request went where it went: every match asked, in order, with the reason it did not hold.
//!
//! This is for people and asks every rule in turn, on purpose without the index, so that the two can be
//! held against each other in tests.

use std::fmt;

use weir_config::model::{Match, PathMatch, Route, ValueMatch};

use super::condition::{Conditions, Failure};
use super::rank::{HostRank, MatchRank, prefix_key};
use super::{Headers, Request, RouteTable, query};

/// One match of one rule, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Index of the route in [`RouteTable::routes`].
    pub route: usize,
    /// Index of the rule in its route.
    pub rule: usize,
    /// Index of the match in its rule.
    pub matched: usize,
    pub outcome: Outcome,
}

/// What came of a match. Its text continues "this rule ...".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This rule answers.
    Matched,
    /// All of its conditions hold, but a rule of higher precedence answers.
    Shadowed,
    Host {
        host: String,
        patterns: Vec<String>,
    },
    Path {
        path: String,
        want: String,
    },
    Method {
        method: String,
        want: String,
    },
    HeaderAbsent {
        name: String,
    },
    HeaderDiffers {
        name: String,
        value: String,
        want: String,
    },
    QueryAbsent {
        name: String,
    },
    QueryDiffers {
        name: String,
        value: String,
        want: String,
    },
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matched => f.write_str("matched"),
            Self::Shadowed => f.write_str("matches too, but a rule of higher precedence answers"),
            Self::Host { host, patterns } if host.is_empty() => {
                write!(
                    f,
                    "the request names no host, wanted {}",
                    patterns.join(", ")
                )
            }
            Self::Host { host, patterns } => {
                write!(f, "host {host} does not match {}", patterns.join(", "))
            }
            Self::Path { path, want } => write!(f, "path {path} {want}"),
            Self::Method { method, want } => write!(f, "method {method} is not {want}"),
            Self::HeaderAbsent { name } => write!(f, "header {name} is absent"),
            Self::HeaderDiffers { name, value, want } => {
                write!(f, "header {name} is {value:?}, {want}")
            }
            Self::QueryAbsent { name } => write!(f, "query parameter {name} is absent"),
            Self::QueryDiffers { name, value, want } => {
                write!(f, "query parameter {name} is {value:?}, {want}")
            }
        }
    }
}

impl RouteTable {
    /// Every match of every rule in order of precedence, those whose host does not fit last.
    pub fn explain<H: Headers + ?Sized>(&self, request: &Request<'_, H>) -> Vec<Tried> {
        let host = request.host.strip_suffix('.').unwrap_or(request.host);
        let mut ranked = Vec::new();
        for (route_at, route) in self.routes.iter().enumerate() {
            let fits = HostRank::best(route, host);
            for (rule_at, rule) in route.rules.iter().enumerate() {
                for (match_at, conditions) in rule.matches.iter().enumerate() {
                    let rank = MatchRank::new(route, rule_at, match_at, conditions);
                    ranked.push((
                        (fits.is_none(), fits, rank),
                        (route_at, rule_at, match_at, conditions),
                    ));
                }
            }
        }
        ranked.sort_by(|a, b| a.0.cmp(&b.0));

        let mut answered = false;
        let outcomes =
            ranked
                .into_iter()
                .map(|((_, fits, _), (route, rule, matched, conditions))| {
                    let missed = match fits {
                        None => Some(wrong_host(&self.routes[route], host)),
                        Some(_) => wrong_path(&conditions.path, request.path)
                            .or_else(|| wrong_rest(conditions, request)),
                    };
                    let outcome = missed.unwrap_or(if answered {
                        Outcome::Shadowed
                    } else {
                        Outcome::Matched
                    });
                    answered |= outcome == Outcome::Matched;
                    Tried {
                        route,
                        rule,
                        matched,
                        outcome,
                    }
                });
        outcomes.collect()
    }
}

fn wrong_host(route: &Route, host: &str) -> Outcome {
    let patterns = route
        .hostnames
        .iter()
        .map(|pattern| pattern.text())
        .collect();
    Outcome::Host {
        host: host.to_owned(),
        patterns,
    }
}

fn wrong_path(want: &PathMatch, path: &str) -> Option<Outcome> {
    let (fits, want) = match want {
        PathMatch::Exact(want) => (&**want == path, format!("is not {want}")),
        PathMatch::Prefix(prefix) => {
            let key = prefix_key(prefix);
            let rest = path.strip_prefix(key);
            let fits =
                key.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (fits, format!("is not under {prefix}"))
        }
        PathMatch::Regex(regex) => (
            regex.is_match(path),
            format!("does not match {}", regex.as_str()),
        ),
    };
    (!fits).then(|| Outcome::Path {
        path: path.to_owned(),
        want,
    })
}

fn wrong_rest<H: Headers + ?Sized>(want: &Match, request: &Request<'_, H>) -> Option<Outcome> {
    let failure = Conditions::new(want)?.first_failure(request)?;
    Some(match failure {
        Failure::Method => Outcome::Method {
            method: request.method.to_owned(),
            want: want.method.as_deref().unwrap_or_default().to_owned(),
        },
        Failure::HeaderAbsent(at) => Outcome::HeaderAbsent {
            name: want.headers[at].0.to_string(),
        },
        Failure::HeaderDiffers(at) => {
            let (name, value) = &want.headers[at];
            let values: Vec<_> = request
                .headers
                .values(name)
                .map(String::from_utf8_lossy)
                .collect();
            Outcome::HeaderDiffers {
                name: name.to_string(),
                value: values.join(", "),
                want: wanted(value),
            }
        }
        Failure::QueryAbsent(at) => Outcome::QueryAbsent {
            name: want.query[at].0.to_string(),
        },
        Failure::QueryDiffers(at) => {
            let (name, value) = &want.query[at];
            let raw = request
                .query_text()
                .and_then(|query| query::value(query, name))
                .unwrap_or_default();
            Outcome::QueryDiffers {
                name: name.to_string(),
                value: query::decode(raw).into_owned(),
                want: wanted(value),
            }
        }
    })
}

fn wanted(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(want) => format!("not {want:?}"),
        ValueMatch::Regex(regex) => format!("which does not match {}", regex.as_str()),
    }
}
