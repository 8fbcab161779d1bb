//! A router of Traefik as routes.

use super::clause::{self, Clause};
use super::middleware::{Middlewares, Refusal};
use super::rule;
use super::shaping::Shaping;
use super::sort::flag;
use super::{Defined, names};
use crate::diagnostic::Diagnostic;
use crate::model::{ListenerName, RouteName};
use crate::raw::{At, BackendRef, Meta, Route, Rule};

/// Settings of a router, other than those that are read.
const NOT_READ: [(&str, &str); 5] = [
    (
        "priority",
        "the more specific rule goes first, whatever the order or the length; see docs/traefik.md",
    ),
    (
        "tls.certresolver",
        "certificates are named under a listener of the configuration file",
    ),
    (
        "tls.domains",
        "certificates are chosen by the names in them",
    ),
    (
        "tls.options",
        "versions and client certificates are said of a listener",
    ),
    (
        "observability.",
        "logs, metrics and traces are of the whole process",
    ),
];

/// Where a router sends what it takes; `None`: it answers by itself.
pub(super) type Backend<'a> = &'a dyn Fn() -> Result<String, Refusal>;

pub(super) fn routes(
    router: &Defined<'_>,
    middlewares: &Middlewares,
    backend: Backend<'_>,
    found: &mut Vec<Diagnostic>,
) -> Result<Vec<Route>, Refusal> {
    let settings = &router.settings;
    let name = At::new(router.name.clone(), router.place());
    RouteName::new(&name.value)
        .map_err(|invalid| Diagnostic::error(&name.place, invalid.to_string()))?;
    let text = settings.get("rule").ok_or_else(|| {
        Diagnostic::error(&name.place, format!("the router {:?} has no rule", name.value))
            .help("write it, as in traefik.http.routers.NAME.rule=Host(`example.com`); there is no default")
    })?;
    let laid_out = rule::parse(&text.value).and_then(|expr| clause::clauses(&expr));
    let clauses = laid_out.map_err(|why| {
        Diagnostic::error(&text.place, format!("the rule is not read: {why}"))
            .help("the router is left out")
    })?;
    let listeners = listeners(router)?;
    tell_unread(router, listeners.is_empty(), found);
    let mut rules: Vec<(Vec<String>, Rule)> = Vec::new();
    for clause in clauses {
        for shaping in shapings(router, middlewares, clause, found)? {
            if shaping.by_scheme && listeners.len() != 1 {
                let message =
                    "a redirect to another scheme needs the one entry point that it is for";
                let help = "name it with entrypoints: on a listener of that scheme already it would lead to itself";
                return Err(Diagnostic::error(&name.place, message).help(help).into());
            }
            rules.push((
                shaping.clause.hosts.clone(),
                make_rule(shaping, text, backend)?,
            ));
        }
    }
    Ok(by_hosts(router, &name, text, &listeners, rules))
}

fn shapings(
    router: &Defined<'_>,
    middlewares: &Middlewares,
    clause: Clause,
    found: &mut Vec<Diagnostic>,
) -> Result<Vec<Shaping>, Refusal> {
    let Some(asked) = router.settings.get("middlewares") else {
        return Ok(vec![Shaping::of(clause)]);
    };
    let mut here = Vec::new();
    let shaped = middlewares.apply(asked, clause, &mut here);
    // Alternatives say the same of the same middlewares.
    for diagnostic in here {
        if !found.contains(&diagnostic) {
            found.push(diagnostic);
        }
    }
    shaped
}

fn listeners(router: &Defined<'_>) -> Result<Vec<At<String>>, Refusal> {
    let Some(at) = router.settings.get("entrypoints") else {
        return Ok(Vec::new());
    };
    let one = |name: &str| {
        ListenerName::new(name)
            .map(|_| At::new(name.to_owned(), at.place.clone()))
            .map_err(|invalid| Diagnostic::error(&at.place, invalid.to_string()).into())
    };
    names(&at.value).map(one).collect()
}

fn tell_unread(router: &Defined<'_>, everywhere: bool, found: &mut Vec<Diagnostic>) {
    for (key, at) in &router.settings {
        let known = matches!(
            key.as_str(),
            "rule" | "entrypoints" | "middlewares" | "service" | "rulesyntax"
        );
        if known {
            continue;
        }
        let unread = NOT_READ.iter().find(|(start, _)| key.starts_with(start));
        let message = match (key.as_str(), unread) {
            ("tls", _) if flag(&at.value) == Some(true) && everywhere => {
                "tls without entrypoints takes plain requests, too: a listener says what it speaks"
                    .to_owned()
            }
            ("tls", _) => continue,
            (_, Some((_, why))) => format!("not read: {why}"),
            (key, None) => format!("not read: {key} is not a setting of routers that is known"),
        };
        let mut warning = Diagnostic::warning(&at.place, message);
        if key == "tls" {
            warning = warning.help("name the listeners with protocol: https under entrypoints");
        }
        found.push(warning);
    }
}

fn make_rule(shaping: Shaping, text: &At<String>, backend: Backend<'_>) -> Result<Rule, Refusal> {
    let meta = meta(text);
    let answers = shaping.redirect.is_some();
    let backend_refs = match answers {
        true => None,
        false => Some(vec![BackendRef {
            meta: meta.clone(),
            name: Some(At::new(backend()?, text.place.clone())),
            version: None,
            weight: None,
        }]),
    };
    let retry = shaping.retry.clone().filter(|_| !answers).map(Box::new);
    let matches = Some(vec![shaping.route_match(&meta)]);
    let filters = shaping.into_filters(&meta);
    Ok(Rule {
        matches,
        filters: Some(filters).filter(|all| !all.is_empty()),
        backend_refs,
        retry,
        meta,
        ..Rule::default()
    })
}

/// One route for each set of hosts; all but the first are numbered.
fn by_hosts(
    router: &Defined<'_>,
    name: &At<String>,
    text: &At<String>,
    listeners: &[At<String>],
    rules: Vec<(Vec<String>, Rule)>,
) -> Vec<Route> {
    let mut routes: Vec<(Vec<String>, Vec<Rule>)> = Vec::new();
    for (hosts, rule) in rules {
        match routes.iter_mut().find(|(other, _)| *other == hosts) {
            Some((_, rules)) => add(rules, rule),
            None => routes.push((hosts, vec![rule])),
        }
    }
    let at = |text: &str, of: &At<String>| At::new(text.to_owned(), of.place.clone());
    let numbered = routes.into_iter().enumerate().map(|(n, (hosts, rules))| {
        let name = match n {
            0 => name.clone(),
            n => at(&format!("{}-{}", name.value, n + 1), name),
        };
        let hostnames: Vec<At<String>> = hosts.iter().map(|host| at(host, text)).collect();
        Route {
            meta: meta(text),
            name: Some(name),
            listeners: Some(listeners.to_vec()),
            every_listener: listeners.is_empty(),
            host_ages: vec![router.since; hostnames.len()],
            hostnames: Some(hostnames),
            rules: Some(rules),
            age: router.since,
            protocol: None,
        }
    });
    numbered.collect()
}

/// Alternatives of which the same becomes are one rule, so that what is counted for them is counted together.
fn add(rules: &mut Vec<Rule>, rule: Rule) {
    let bare = |rule: &Rule| Rule {
        matches: None,
        ..rule.clone()
    };
    match rules.iter_mut().find(|other| bare(other) == bare(&rule)) {
        Some(other) => {
            let matches = other.matches.get_or_insert_default();
            matches.extend(rule.matches.into_iter().flatten());
        }
        None => rules.push(rule),
    }
}

fn meta(at: &At<String>) -> Meta {
    Meta {
        place: at.place.clone(),
        broken: false,
    }
}
