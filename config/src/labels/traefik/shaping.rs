//! One alternative of a rule, and what middlewares make of its requests.

use super::clause::{Clause, is_below};
use crate::diagnostic::Place;
use crate::raw::{
    At, Filter, FilterKind, Header, HeaderModifier, Meta, PathKind, PathMatch, PathRewrite,
    RequestRedirect, Retry, RewriteKind, RouteMatch, UrlRewrite, ValueMatch,
};

/// Alternatives that a list of prefixes may make of one.
const MAX_SPLIT: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct Shaping {
    pub(super) clause: Clause,
    /// What the matched path, or the matched prefix of it, has become; `None`: it is as it was.
    path: Option<At<String>>,
    /// Whatever was asked for, it is this path.
    whole: bool,
    pub(super) request: HeaderModifier,
    pub(super) response: HeaderModifier,
    pub(super) filters: Vec<Filter>,
    pub(super) redirect: Option<RequestRedirect>,
    /// The redirect is for requests of another scheme only.
    pub(super) by_scheme: bool,
    pub(super) retry: Option<Retry>,
}

impl Shaping {
    pub(super) fn of(clause: Clause) -> Self {
        Self {
            clause,
            path: None,
            whole: false,
            request: HeaderModifier::default(),
            response: HeaderModifier::default(),
            filters: Vec::new(),
            redirect: None,
            by_scheme: false,
            retry: None,
        }
    }

    /// What is matched, without a slash at its end: a prefix or a path.
    fn matched(&self) -> Result<(PathKind, String), &'static str> {
        match &self.clause.path {
            None => Ok((PathKind::PathPrefix, String::new())),
            Some((PathKind::RegularExpression, _)) => {
                Err("changes a path that is matched by a regular expression")
            }
            Some((PathKind::PathPrefix, path)) => {
                Ok((PathKind::PathPrefix, path.trim_end_matches('/').to_owned()))
            }
            Some((PathKind::Exact, path)) => Ok((PathKind::Exact, path.clone())),
        }
    }

    /// What the matched part is now.
    fn now(&self) -> Result<(PathKind, String), &'static str> {
        let (kind, matched) = self.matched()?;
        let now = self.path.as_ref().map_or(matched, |at| at.value.clone());
        Ok((kind, now))
    }

    fn become_path(mut self, path: String, place: &Place) -> Self {
        self.path = Some(At::new(path, place.clone()));
        self
    }

    /// The first of these prefixes that a path begins with is taken off.
    pub(super) fn strip(
        self,
        prefixes: &[String],
        place: &Place,
    ) -> Result<Vec<Self>, &'static str> {
        self.swap(prefixes, "", place, true)
    }

    /// Where a path begins with this prefix, that one takes its place.
    pub(super) fn exchange(self, old: &str, new: &At<String>) -> Result<Vec<Self>, &'static str> {
        self.swap(&[old.to_owned()], &new.value, &new.place, false)
    }

    fn swap(
        self,
        prefixes: &[String],
        new: &str,
        place: &Place,
        tells: bool,
    ) -> Result<Vec<Self>, &'static str> {
        if self.whole {
            return Ok(vec![self]);
        }
        let (kind, now) = self.now()?;
        let swapped = |shaping: Self, prefix: &str, rest: &str| {
            let mut shaping = shaping.become_path(format!("{new}{rest}"), place);
            if tells {
                shaping.set_request("X-Forwarded-Prefix", prefix, place);
            }
            shaping
        };
        let mut out = Vec::new();
        for prefix in prefixes {
            if is_below(&now, prefix) {
                let rest = now
                    .strip_prefix(prefix.as_str())
                    .unwrap_or_default()
                    .to_owned();
                out.push(swapped(self, prefix, &rest));
                return Ok(out);
            }
            // Some of the requests begin with it: they become an alternative of their own, which is the longer match.
            if kind == PathKind::PathPrefix && is_below(prefix, &now) {
                let more = prefix.strip_prefix(now.as_str()).unwrap_or_default();
                let (_, matched) = self.matched()?;
                let mut narrow = self.clone();
                narrow.clause.path = Some((PathKind::PathPrefix, format!("{matched}{more}")));
                out.push(swapped(narrow, prefix, ""));
            }
            if out.len() > MAX_SPLIT {
                return Err("names too many prefixes");
            }
        }
        out.push(self);
        Ok(out)
    }

    /// Puts a prefix in front of the path.
    pub(super) fn add(self, prefix: &At<String>) -> Result<Self, &'static str> {
        let added = prefix.value.trim_end_matches('/');
        let path = match self.whole {
            true => self
                .path
                .as_ref()
                .map(|at| at.value.clone())
                .unwrap_or_default(),
            false => self.now()?.1,
        };
        Ok(self.become_path(format!("{added}{path}"), &prefix.place))
    }

    /// Whatever was asked for, this path is.
    pub(super) fn replace(mut self, path: &At<String>) -> Self {
        self.whole = true;
        self.path = Some(path.clone());
        self
    }

    pub(super) fn set_request(&mut self, name: &str, value: &str, place: &Place) {
        set(&mut self.request, name, value, place);
    }

    pub(super) fn set_response(&mut self, name: &str, value: &str, place: &Place) {
        set(&mut self.response, name, value, place);
    }

    /// The conditions as a route has them.
    pub(super) fn route_match(&self, meta: &Meta) -> RouteMatch {
        let place = &meta.place;
        let at = |text: &str| Some(At::new(text.to_owned(), place.clone()));
        let values = |all: &[super::clause::Value]| {
            let one = |v: &super::clause::Value| ValueMatch {
                meta: meta.clone(),
                kind: Some(At::new(v.kind, place.clone())),
                name: at(&v.name),
                value: at(&v.value),
            };
            let all: Vec<ValueMatch> = all.iter().map(one).collect();
            Some(all).filter(|all| !all.is_empty())
        };
        // A prefix that is replaced has to be there.
        let rooted = (PathKind::PathPrefix, "/".to_owned());
        let path = self
            .clause
            .path
            .as_ref()
            .or(self.path.as_ref().map(|_| &rooted));
        RouteMatch {
            meta: meta.clone(),
            path: path.map(|(kind, value)| PathMatch {
                meta: meta.clone(),
                kind: Some(At::new(*kind, place.clone())),
                value: at(value),
            }),
            headers: values(&self.clause.headers),
            query_params: values(&self.clause.query),
            method: self.clause.method.as_deref().and_then(at),
            grpc: None,
        }
    }

    /// All that is done, as a route has it.
    pub(super) fn into_filters(self, meta: &Meta) -> Vec<Filter> {
        let place = &meta.place;
        let filter = |kind: FilterKind| Filter {
            meta: meta.clone(),
            kind: Some(At::new(kind, place.clone())),
            ..Filter::default()
        };
        let rewrite = self
            .redirect
            .is_none()
            .then(|| self.rewrite(meta))
            .flatten();
        let mut filters = self.filters;
        if !is_empty(&self.request) {
            filters.push(Filter {
                request_header_modifier: Some(self.request),
                ..filter(FilterKind::RequestHeaderModifier)
            });
        }
        if !is_empty(&self.response) {
            filters.push(Filter {
                response_header_modifier: Some(self.response),
                ..filter(FilterKind::ResponseHeaderModifier)
            });
        }
        if let Some(redirect) = self.redirect {
            filters.push(Filter {
                request_redirect: Some(redirect),
                ..filter(FilterKind::RequestRedirect)
            });
        }
        if let Some(path) = rewrite {
            filters.push(Filter {
                url_rewrite: Some(UrlRewrite {
                    meta: meta.clone(),
                    hostname: None,
                    path: Some(path),
                }),
                ..filter(FilterKind::UrlRewrite)
            });
        }
        filters
    }

    fn rewrite(&self, meta: &Meta) -> Option<PathRewrite> {
        let path = self.path.clone()?;
        let slashed = |mut at: At<String>| {
            if at.value.is_empty() {
                at.value.push('/');
            }
            at
        };
        let prefix = match &self.clause.path {
            None | Some((PathKind::PathPrefix, _)) => !self.whole,
            Some(_) => false,
        };
        let kind = match prefix {
            true => RewriteKind::ReplacePrefixMatch,
            false => RewriteKind::ReplaceFullPath,
        };
        let (full, part) = match prefix {
            true => (None, Some(slashed(path.clone()))),
            false => (Some(slashed(path.clone())), None),
        };
        Some(PathRewrite {
            meta: meta.clone(),
            kind: Some(At::new(kind, path.place)),
            replace_full_path: full,
            replace_prefix_match: part,
        })
    }
}

fn is_empty(modifier: &HeaderModifier) -> bool {
    modifier.set.is_none() && modifier.remove.is_none()
}

/// Sets a field, or takes it away where the value is empty. The last word counts.
fn set(modifier: &mut HeaderModifier, name: &str, value: &str, place: &Place) {
    modifier.meta.place = place.clone();
    let same = |text: &str| text.eq_ignore_ascii_case(name);
    for all in modifier.set.iter_mut() {
        all.retain(|field| !field.name.as_ref().is_some_and(|at| same(&at.value)));
    }
    for all in modifier.remove.iter_mut() {
        all.retain(|at| !same(&at.value));
    }
    let at = |text: &str| At::new(text.to_owned(), place.clone());
    match value.is_empty() {
        true => modifier.remove.get_or_insert_default().push(at(name)),
        false => modifier.set.get_or_insert_default().push(Header {
            meta: Meta {
                place: place.clone(),
                broken: false,
            },
            name: Some(at(name)),
            value: Some(at(value)),
        }),
    }
}
