//! Middlewares of Traefik: what each of them does to a router's alternatives.
//!
//! One that cannot be said is reported. If it is there to keep somebody out, or nobody knows what it is for, the router is left
//! out with it: a route without it would answer for more than was asked. One that is there for comfort is left out alone.

use std::collections::BTreeMap;

use super::clause::Clause;
use super::redirect;
use super::shaping::Shaping;
use super::sort::{Settings, duration, flag};
use crate::diagnostic::{Diagnostic, Place};
use crate::raw::{
    self, At, Filter, FilterKind, Meta, RateLimitKey, Retry, Scalar, StrictTransportSecurity,
};

/// Chains within chains.
const MAX_DEPTH: usize = 8;

/// What a route can do without.
const COMFORT: [(&str, &str); 8] = [
    ("compress", "answers are passed on as endpoints encode them"),
    (
        "buffering",
        "bodies are streamed, and held as far as a retry needs them",
    ),
    ("contenttype", "no Content-Type is made up"),
    (
        "circuitbreaker",
        "weir.outlier and weir.pool say when an endpoint or a service is given a rest",
    ),
    (
        "inflightreq",
        "weir.pool.http2MaxRequests bounds the requests of a service",
    ),
    ("errors", "answers of endpoints are passed on as they are"),
    ("grpcweb", "the filter GrpcWeb of a file does that"),
    (
        "encodedcharacters",
        "paths are brought into one form, or refused",
    ),
];

/// Why a router cannot be as it was asked.
pub(super) type Refusal = Box<Diagnostic>;

/// The middlewares of all containers.
pub(super) struct Middlewares {
    pub(super) all: BTreeMap<String, Settings>,
}

impl Middlewares {
    /// Lets those that a router names do their work on an alternative, in that order. There may be several in its place
    /// after that.
    pub(super) fn apply(
        &self,
        names: &At<String>,
        clause: Clause,
        found: &mut Vec<Diagnostic>,
    ) -> Result<Vec<Shaping>, Refusal> {
        let mut all = vec![Shaping::of(clause)];
        let mut settings = Vec::new();
        self.resolve(names, 0, &mut settings)?;
        for (name, one) in settings {
            let mut next = Vec::new();
            for shaping in all {
                next.extend(apply_one(name, one, shaping, found)?);
            }
            all = next;
        }
        Ok(all)
    }

    /// The settings by name, those of chains in their place.
    fn resolve<'a>(
        &'a self,
        names: &At<String>,
        depth: usize,
        out: &mut Vec<(&'a str, &'a Settings)>,
    ) -> Result<(), Refusal> {
        for name in super::names(&names.value) {
            let bare = super::local(name);
            let known = bare.and_then(|name| self.all.get_key_value(name));
            let Some((name, settings)) = known else {
                let message = format!("no container defines the middleware {name:?}");
                let help = "middlewares of files and of other providers are not read";
                return Err(Diagnostic::error(&names.place, message).help(help).into());
            };
            if out.len() > 64 || depth > MAX_DEPTH {
                let message = "the chains of middlewares are too long, or lead into themselves";
                return Err(Diagnostic::error(&names.place, message).into());
            }
            match settings.get("chain.middlewares") {
                Some(chain) => self.resolve(chain, depth + 1, out)?,
                None => out.push((name, settings)),
            }
        }
        Ok(())
    }
}

/// One middleware: settings with the same first word.
pub(super) struct Middleware<'a> {
    name: &'a str,
    kind: String,
    settings: &'a Settings,
    pub(super) place: Place,
}

impl<'a> Middleware<'a> {
    pub(super) fn text(&self, key: &str) -> Option<&'a At<String>> {
        let at = self.settings.get(&format!("{}.{key}", self.kind))?;
        Some(at).filter(|at| !at.value.is_empty())
    }

    fn value<T: Scalar>(
        &self,
        key: &str,
        text: impl Fn(&str) -> String,
    ) -> Result<Option<At<T>>, Refusal> {
        let Some(at) = self.text(key) else {
            return Ok(None);
        };
        match T::parse(&text(&at.value)) {
            Ok(value) => Ok(Some(At::new(value, at.place.clone()))),
            Err(refused) => Err(Diagnostic::error(&at.place, refused.message).into()),
        }
    }

    pub(super) fn number<T: Scalar>(&self, key: &str) -> Result<Option<At<T>>, Refusal> {
        self.value(key, str::to_owned)
    }

    pub(super) fn is_on(&self, key: &str) -> bool {
        self.text(key)
            .is_some_and(|at| flag(&at.value) == Some(true))
    }

    pub(super) fn refuse(&self, why: &str) -> Refusal {
        let message = format!("the middleware {:?} ({}) {why}", self.name, self.kind);
        let help = "the router is left out, as without it it would do more than was asked";
        Diagnostic::error(&self.place, message).help(help).into()
    }

    pub(super) fn meta(&self) -> Meta {
        Meta {
            place: self.place.clone(),
            broken: false,
        }
    }

    fn filter(&self, kind: FilterKind) -> Filter {
        Filter {
            meta: self.meta(),
            kind: Some(At::new(kind, self.place.clone())),
            ..Filter::default()
        }
    }

    /// Says of each setting that is not among these that it is not read.
    pub(super) fn only(&self, known: &[&str], found: &mut Vec<Diagnostic>) {
        let start = format!("{}.", self.kind);
        for (key, at) in self.settings {
            let rest = key.strip_prefix(&start).unwrap_or_default();
            if !rest.is_empty() && !known.contains(&rest) {
                let message = format!("not read: {rest} of the middleware {}", self.kind);
                found.push(Diagnostic::warning(&at.place, message));
            }
        }
    }
}

fn apply_one(
    name: &str,
    settings: &Settings,
    shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Vec<Shaping>, Refusal> {
    let mut kinds: Vec<&str> = settings
        .keys()
        .filter_map(|key| key.split('.').next())
        .collect();
    kinds.dedup();
    let place = settings
        .values()
        .next()
        .map(|at| at.place.clone())
        .unwrap_or_default();
    let middleware = Middleware {
        name,
        kind: kinds.first().copied().unwrap_or_default().to_owned(),
        settings,
        place,
    };
    if kinds.len() != 1 {
        return Err(middleware.refuse("is of several kinds at once"));
    }
    let kind = middleware.kind.as_str();
    if let Some((_, why)) = COMFORT.iter().find(|(comfort, _)| *comfort == kind) {
        let message = format!("the middleware {name:?} ({kind}) is not read: {why}");
        found.push(Diagnostic::warning(&middleware.place, message));
        return Ok(vec![shaping]);
    }
    match kind {
        "stripprefix" => strip_prefix(&middleware, shaping, found),
        "addprefix" => {
            middleware.only(&["prefix"], found);
            let prefix = middleware
                .text("prefix")
                .ok_or_else(|| middleware.refuse("has no prefix"))?;
            shaping
                .add(prefix)
                .map(|one| vec![one])
                .map_err(|why| middleware.refuse(why))
        }
        "replacepath" => {
            middleware.only(&["path"], found);
            let path = middleware
                .text("path")
                .ok_or_else(|| middleware.refuse("has no path"))?;
            Ok(vec![shaping.replace(path)])
        }
        "replacepathregex" => replace_regex(&middleware, shaping, found),
        "headers" => super::headers::apply(middleware.settings, &middleware.place, shaping, found)
            .map(|one| vec![one])
            .map_err(|why| middleware.refuse(&why)),
        "redirectscheme" => redirect::scheme(&middleware, shaping, found).map(|one| vec![one]),
        "redirectregex" => redirect::regex(&middleware, shaping, found).map(|one| vec![one]),
        "ratelimit" => rate_limit(&middleware, shaping, found).map(|one| vec![one]),
        "retry" => retry(&middleware, shaping, found).map(|one| vec![one]),
        _ => Err(middleware.refuse("is not supported")),
    }
}

fn strip_prefix(
    middleware: &Middleware<'_>,
    shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Vec<Shaping>, Refusal> {
    middleware.only(&["prefixes", "forceslash"], found);
    let prefixes = middleware
        .text("prefixes")
        .ok_or_else(|| middleware.refuse("has no prefixes"))?;
    let all: Vec<String> = super::names(&prefixes.value)
        .map(|prefix| prefix.trim_end_matches('/').to_owned())
        .filter(|prefix| !prefix.is_empty())
        .collect();
    if all.iter().any(|prefix| !prefix.starts_with('/')) {
        return Err(middleware.refuse("names a prefix that does not begin with a slash"));
    }
    shaping
        .strip(&all, &prefixes.place)
        .map_err(|why| middleware.refuse(why))
}

/// `^/old/(.*)` to `/new/$1`: another prefix.
fn replace_regex(
    middleware: &Middleware<'_>,
    shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Vec<Shaping>, Refusal> {
    middleware.only(&["regex", "replacement"], found);
    let (Some(regex), Some(replacement)) =
        (middleware.text("regex"), middleware.text("replacement"))
    else {
        return Err(middleware.refuse("needs a regex and a replacement"));
    };
    let old = regex
        .value
        .strip_prefix('^')
        .map(|rest| rest.trim_end_matches('$'));
    let old = old.and_then(|old| old.strip_suffix("/(.*)"));
    let new = ["/$1", "/${1}"]
        .iter()
        .find_map(|end| replacement.value.strip_suffix(end));
    let plain = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_/".contains(&b))
    };
    match (old, new) {
        (Some(old), Some(new)) if plain(old) && plain(new) && old.starts_with('/') => {
            let prefix = At::new(new.to_owned(), replacement.place.clone());
            shaping
                .exchange(old, &prefix)
                .map_err(|why| middleware.refuse(why))
        }
        _ => Err(middleware.refuse("is more than another prefix, as in ^/old/(.*) to /new/$1")),
    }
}

fn rate_limit(
    middleware: &Middleware<'_>,
    mut shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Shaping, Refusal> {
    let header = "sourcecriterion.requestheadername";
    let depth = "sourcecriterion.ipstrategy.depth";
    middleware.only(&["average", "period", "burst", header, depth], found);
    if middleware.is_on("sourcecriterion.requesthost") {
        return Err(middleware.refuse("limits by host, which a route does not"));
    }
    let Some(average) = middleware
        .number::<u32>("average")?
        .filter(|at| at.value > 0)
    else {
        // As Traefik has it, 0 is no limit.
        return Ok(shaping);
    };
    if let Some(at) = middleware.text(depth) {
        let message =
            "not read: how many hops are trusted is said of a listener, under trustedProxies";
        found.push(Diagnostic::warning(&at.place, message));
    }
    let at = |key: RateLimitKey| Some(At::new(key, middleware.place.clone()));
    let by_header = middleware.text(header).cloned();
    let mut limit = middleware.filter(FilterKind::RateLimit);
    limit.rate_limit = Some(Box::new(raw::RateLimit {
        meta: middleware.meta(),
        per: middleware.value("period", duration)?,
        // As Traefik has it, one at a time unless something else is said.
        burst: middleware
            .number("burst")?
            .or_else(|| Some(At::new(1, average.place.clone()))),
        requests: Some(average),
        key: match by_header {
            Some(_) => at(RateLimitKey::Header),
            None => at(RateLimitKey::ClientIp),
        },
        header: by_header,
        max_keys: None,
    }));
    shaping.filters.push(limit);
    Ok(shaping)
}

/// Traefik counts all tries, Weir those beyond the first.
fn retry(
    middleware: &Middleware<'_>,
    mut shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Shaping, Refusal> {
    middleware.only(&["attempts", "initialinterval"], found);
    let attempts = middleware.number::<u8>("attempts")?;
    shaping.retry = Some(Retry {
        meta: middleware.meta(),
        attempts: attempts.map(|at| At::new(at.value.saturating_sub(1), at.place)),
        backoff: middleware
            .value("initialinterval", duration)?
            .map(|base| raw::Backoff {
                meta: middleware.meta(),
                base: Some(base),
                max: None,
            }),
        ..Retry::default()
    });
    Ok(shaping)
}

/// `Strict-Transport-Security` as a filter.
pub(super) fn hsts(place: &Place, settings: StrictTransportSecurity) -> Filter {
    Filter {
        meta: Meta {
            place: place.clone(),
            broken: false,
        },
        kind: Some(At::new(FilterKind::StrictTransportSecurity, place.clone())),
        strict_transport_security: Some(settings),
        ..Filter::default()
    }
}
