//! The alternatives of a rule, as a route's matches can say them.
//!
//! What cannot be said is an error, never left out of a condition: an alternative without one of its conditions would answer for
//! more than was asked.

use super::rule::Expr;
use crate::raw::{PathKind, ValueKind};

/// Alternatives of one rule.
const MAX_CLAUSES: usize = 64;

/// Conditions that all have to hold. Without hosts: every host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Clause {
    pub(super) hosts: Vec<String>,
    pub(super) path: Option<(PathKind, String)>,
    pub(super) headers: Vec<Value>,
    pub(super) query: Vec<Value>,
    pub(super) method: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) kind: ValueKind,
    pub(super) name: String,
    pub(super) value: String,
}

/// The alternatives of a rule, those of one kind with several hosts put together.
///
/// # Errors
/// What in it cannot be said.
pub(super) fn clauses(expr: &Expr) -> Result<Vec<Clause>, String> {
    let mut merged: Vec<Clause> = Vec::new();
    for clause in lay_out(expr, false)? {
        let bare = |c: &Clause| Clause {
            hosts: Vec::new(),
            ..c.clone()
        };
        let same = merged
            .iter_mut()
            .find(|other| !other.hosts.is_empty() && bare(other) == bare(&clause));
        match same {
            Some(other) if !clause.hosts.is_empty() => other.hosts.extend(clause.hosts),
            _ => merged.push(clause),
        }
    }
    for clause in &mut merged {
        clause.hosts.sort();
        clause.hosts.dedup();
    }
    match merged.is_empty() {
        true => Err("no request can meet all of its conditions".to_owned()),
        false => Ok(merged),
    }
}

fn lay_out(expr: &Expr, not: bool) -> Result<Vec<Clause>, String> {
    match (expr, not) {
        (Expr::Not(inner), _) => lay_out(inner, !not),
        (Expr::Or(all), false) | (Expr::And(all), true) => {
            let mut out = Vec::new();
            for one in all {
                out.extend(lay_out(one, not)?);
                bounded(&out)?;
            }
            Ok(out)
        }
        (Expr::And(all), false) | (Expr::Or(all), true) => {
            let mut out = vec![Clause::default()];
            for one in all {
                let more = lay_out(one, not)?;
                let mut both = Vec::new();
                for (a, b) in out.iter().flat_map(|a| more.iter().map(move |b| (a, b))) {
                    both.extend(join(a, b)?);
                    bounded(&both)?;
                }
                out = both;
            }
            Ok(out)
        }
        (Expr::Matcher { name, .. }, true) => Err(format!(
            "!{name}(…) cannot be said: a route names what it matches, not what it does not"
        )),
        (Expr::Matcher { name, values }, false) => matcher(name, values),
    }
}

fn bounded(clauses: &[Clause]) -> Result<(), String> {
    match clauses.len() > MAX_CLAUSES {
        true => Err(format!("it has more than {MAX_CLAUSES} alternatives")),
        false => Ok(()),
    }
}

/// Both conditions together; `None` where no request meets both.
fn join(a: &Clause, b: &Clause) -> Result<Option<Clause>, String> {
    let mut both = a.clone();
    if !b.hosts.is_empty() {
        if !a.hosts.is_empty() && a.hosts != b.hosts {
            let wild = a.hosts.iter().chain(&b.hosts).any(|h| h.contains('*'));
            return match wild {
                true => Err("two conditions on the host at once cannot be said".to_owned()),
                false => Ok(None),
            };
        }
        both.hosts.clone_from(&b.hosts);
    }
    match (&a.method, &b.method) {
        (Some(one), Some(other)) if one != other => return Ok(None),
        (None, Some(other)) => both.method = Some(other.clone()),
        _ => {}
    }
    both.path = match (&a.path, &b.path) {
        (one, None) => one.clone(),
        (None, other) => other.clone(),
        (Some(one), Some(other)) => match narrower(one, other) {
            Some(path) => path,
            None => {
                return Err("these two conditions on the path cannot be said at once".to_owned());
            }
        }
        .clone()
        .into(),
    };
    both.headers.extend(b.headers.clone());
    both.query.extend(b.query.clone());
    Ok(Some(both))
}

/// The one that is met only where the other is, too.
fn narrower<'a>(
    one: &'a (PathKind, String),
    other: &'a (PathKind, String),
) -> Option<&'a (PathKind, String)> {
    let covers = |wide: &(PathKind, String), narrow: &(PathKind, String)| {
        wide == narrow
            || wide.0 == PathKind::PathPrefix
                && narrow.0 != PathKind::RegularExpression
                && is_below(&narrow.1, &wide.1)
    };
    match (covers(one, other), covers(other, one)) {
        (true, _) => Some(other),
        (_, true) => Some(one),
        _ => None,
    }
}

/// Whether a path is that prefix or lies below it, by whole segments.
pub(super) fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn matcher(name: &str, values: &[String]) -> Result<Vec<Clause>, String> {
    let each =
        |make: &dyn Fn(&str) -> Result<Clause, String>| values.iter().map(|v| make(v)).collect();
    let path = |kind, value: String| Clause {
        path: Some((kind, value)),
        ..Clause::default()
    };
    match name {
        "Host" | "HostHeader" => each(&|host| Ok(host_clause(host.to_ascii_lowercase()))),
        "HostRegexp" => each(&|pattern| any_below(pattern)),
        "Path" => each(&|text| {
            Ok(match text.contains('{') {
                true => path(PathKind::RegularExpression, braces(text)?),
                false => path(PathKind::Exact, text.to_owned()),
            })
        }),
        "PathPrefix" => each(&|text| {
            Ok(match text.contains('{') {
                true => path(
                    PathKind::RegularExpression,
                    format!("{}(?:/.*)?", braces(text)?),
                ),
                false => path(PathKind::PathPrefix, text.to_owned()),
            })
        }),
        "PathRegexp" => each(&|text| Ok(path(PathKind::RegularExpression, anchored(text)))),
        "Method" => each(&|method| {
            Ok(Clause {
                method: Some(method.to_ascii_uppercase()),
                ..Clause::default()
            })
        }),
        "Header" | "Headers" => Ok(vec![header(values, ValueKind::Exact)?]),
        "HeaderRegexp" | "HeadersRegexp" => Ok(vec![header(values, ValueKind::RegularExpression)?]),
        "Query" => query(values, ValueKind::Exact),
        "QueryRegexp" => query(values, ValueKind::RegularExpression),
        "ClientIP" => Err(
            "ClientIP(…) is not supported: routes do not look at addresses of clients".to_owned(),
        ),
        "HostSNI" | "HostSNIRegexp" | "ALPN" => Err(format!(
            "{name}(…) is for routers of TCP, which are not read"
        )),
        _ => Err(format!("the matcher {name} is not known")),
    }
}

fn host_clause(host: String) -> Clause {
    Clause {
        hosts: vec![host],
        ..Clause::default()
    }
}

/// Of patterns of hosts those can be said that mean any name below a domain, or any at all.
fn any_below(pattern: &str) -> Result<Clause, String> {
    let refuse = || {
        format!(
            "HostRegexp(`{pattern}`) cannot be said; of patterns only `^.+\\.example\\.com$` (any name below a domain) and \
             `.+` (every host) can, since anything wider would answer for more than was asked"
        )
    };
    let bare = pattern.trim_start_matches('^').trim_end_matches('$');
    if matches!(bare, ".+" | ".*") {
        return Ok(Clause::default());
    }
    let (rest, escaped) = match bare.strip_prefix('{').and_then(|v2| v2.split_once('}')) {
        // {name:regex}.example.com
        Some((group, rest)) => {
            let any = matches!(group.split_once(':'), Some((_, ".+" | ".*")));
            (rest.strip_prefix('.').filter(|_| any), false)
        }
        None => {
            // Not anchored it would also take what only has the domain somewhere in it.
            let whole = pattern.starts_with('^') && pattern.ends_with('$');
            let below = ["(.+)\\.", ".+\\.", "(.*)\\.", ".*\\."].iter();
            let rest = below.clone().find_map(|start| bare.strip_prefix(start));
            (rest.filter(|_| whole), true)
        }
    };
    let domain = rest.map(|rest| match escaped {
        true => rest.replace("\\.", "\u{0}"),
        false => rest.replace('.', "\u{0}"),
    });
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '\u{0}';
    let domain = domain.filter(|d| !d.is_empty() && d.chars().all(plain));
    let domain = domain.ok_or_else(refuse)?.replace('\u{0}', ".");
    Ok(host_clause(format!("*.{}", domain.to_ascii_lowercase())))
}

/// `/products/{id:[0-9]+}` as a regular expression.
fn braces(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(&escape(before));
        let end = closing(after).ok_or_else(|| format!("{text:?} has a brace without an end"))?;
        let (group, tail) = (&after[..end], &after[end + 1..]);
        match group.split_once(':') {
            Some((_, regex)) => out.push_str(&format!("(?:{regex})")),
            None => out.push_str("[^/]+"),
        }
        rest = tail;
    }
    out.push_str(&escape(rest));
    Ok(out)
}

/// Where the brace that is open ends: a regular expression may have some of its own.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Traefik's expressions may match anywhere, those of a route match as a whole.
fn anchored(regex: &str) -> String {
    if regex.contains('|') {
        return format!(".*(?:{regex}).*");
    }
    let (start, rest) = match regex.strip_prefix('^') {
        Some(rest) => ("", rest),
        None => (".*", regex),
    };
    match rest.strip_suffix('$').filter(|rest| !rest.ends_with('\\')) {
        Some(rest) => format!("{start}{rest}"),
        None => format!("{start}{rest}.*"),
    }
}

fn header(values: &[String], kind: ValueKind) -> Result<Clause, String> {
    let [name, value] = values else {
        return Err("a matcher of headers has a name and a value".to_owned());
    };
    let headers = vec![value_match(name, value, kind)];
    Ok(Clause {
        headers,
        ..Clause::default()
    })
}

fn value_match(name: &str, value: &str, kind: ValueKind) -> Value {
    Value {
        kind,
        name: name.to_owned(),
        value: match kind {
            ValueKind::Exact => value.to_owned(),
            ValueKind::RegularExpression => anchored(value),
        },
    }
}

/// Query(`a`, `b`) of version 3, Query(`a=b`, `c=d`) of version 2, where each has to hold.
fn query(values: &[String], kind: ValueKind) -> Result<Vec<Clause>, String> {
    let pairs: Vec<(&str, &str)> = match values {
        [name, value] if !name.contains('=') => vec![(name, value)],
        all => all
            .iter()
            .map(|pair| {
                let split = pair.split_once('=');
                split.ok_or_else(|| "a matcher of the query has a name and a value".to_owned())
            })
            .collect::<Result<_, _>>()?,
    };
    let query = pairs
        .iter()
        .map(|(name, value)| value_match(name, value, kind));
    Ok(vec![Clause {
        query: query.collect(),
        ..Clause::default()
    }])
}

#[cfg(test)]
mod tests {
    use super::super::rule::parse;
    use super::*;

    fn laid_out(rule: &str) -> Result<Vec<String>, String> {
        let all = clauses(&parse(rule).unwrap())?;
        let values = |values: &[Value]| {
            let all = values.iter().map(|v| format!(" {}={}", v.name, v.value));
            all.collect::<String>()
        };
        let text = |c: &Clause| {
            let path = c
                .path
                .as_ref()
                .map(|(kind, path)| format!(" {kind:?} {path}"));
            let method = c.method.as_ref().map(|method| format!(" {method}"));
            format!(
                "{}{}{}{}{}",
                c.hosts.join(","),
                path.unwrap_or_default(),
                method.unwrap_or_default(),
                values(&c.headers),
                values(&c.query)
            )
        };
        Ok(all.iter().map(text).collect())
    }

    #[test]
    fn rules_are_laid_out_as_alternatives() {
        for (rule, expected) in [
            ("Host(`A.test`)", &["a.test"][..]),
            ("Host(`b.test`, `a.test`)", &["a.test,b.test"]),
            ("Host(`a.test`) || Host(`b.test`)", &["a.test,b.test"]),
            (
                "(Host(`a.test`) || Host(`b.test`)) && (Path(`/x`) || PathPrefix(`/y`))",
                &["a.test,b.test Exact /x", "a.test,b.test PathPrefix /y"],
            ),
            (
                "Host(`a.test`) && PathPrefix(`/x`) || PathPrefix(`/y`) && Method(`get`)",
                &["a.test PathPrefix /x", " PathPrefix /y GET"],
            ),
            (
                "PathPrefix(`/a`) && PathPrefix(`/a/b`)",
                &[" PathPrefix /a/b"],
            ),
            ("Path(`/a/b`) && PathPrefix(`/a`)", &[" Exact /a/b"]),
            ("Method(`GET`, `HEAD`)", &[" GET", " HEAD"]),
            ("!(!Host(`a.test`))", &["a.test"]),
            (
                "Header(`X-A`, `1`) && Headers(`X-B`, `2`)",
                &[" X-A=1 X-B=2"],
            ),
            ("HeaderRegexp(`X-A`, `^v[0-9]$`)", &[" X-A=v[0-9]"]),
            ("HeadersRegexp(`X-A`, `a|b`)", &[" X-A=.*(?:a|b).*"]),
            ("Query(`a`, `b`)", &[" a=b"]),
            ("Query(`a=b`, `c=d`)", &[" a=b c=d"]),
            (
                "PathRegexp(`^/x/[0-9]+`)",
                &[" RegularExpression /x/[0-9]+.*"],
            ),
            (
                "Path(`/p/{id:[0-9]{2}}/x.y`)",
                &[r" RegularExpression /p/(?:[0-9]{2})/x\.y"],
            ),
            (
                "PathPrefix(`/p/{id}`)",
                &[" RegularExpression /p/[^/]+(?:/.*)?"],
            ),
            (r"HostRegexp(`^.+\.example\.com$`)", &["*.example.com"]),
            ("HostRegexp(`{any:.+}.example.com`)", &["*.example.com"]),
            ("HostRegexp(`.*`)", &[""]),
        ] {
            let got = laid_out(rule);
            assert_eq!(
                got.as_deref(),
                Ok(&expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()[..]),
                "{rule}"
            );
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused_whole() {
        for (rule, says) in [
            ("Host(`a.test`) && ClientIP(`10.0.0.0/8`)", "ClientIP"),
            ("Host(`a.test`) && !PathPrefix(`/admin`)", "!PathPrefix"),
            ("!(Host(`a.test`) || Path(`/x`))", "!Host"),
            ("Hots(`a.test`)", "the matcher Hots"),
            (r"HostRegexp(`^[a-z]+\.example\.com$`)", "only"),
            (r"HostRegexp(`.+\.example\.com`)", "only"),
            (r"HostRegexp(`^.+.example.com$`)", "only"),
            ("HostRegexp(`{sub:[a-z]+}.example.com`)", "only"),
            ("PathPrefix(`/a`) && PathPrefix(`/b`)", "at once"),
            ("PathRegexp(`/a`) && PathPrefix(`/b`)", "at once"),
            ("Host(`a.test`) && Host(`b.test`)", "no request"),
            ("Method(`GET`) && Method(`POST`)", "no request"),
            ("Header(`a`)", "a name and a value"),
            ("Query(`a`)", "a name and a value"),
            ("Path(`/a/{b`)", "without an end"),
        ] {
            let refused = laid_out(rule).unwrap_err();
            assert!(refused.contains(says), "{rule}: {refused}");
        }
        let many = |n: usize| {
            let all = (0..n).map(|i| format!("Path(`/{i}`)"));
            all.collect::<Vec<_>>().join(" || ")
        };
        assert!(laid_out(&many(64)).is_ok());
        assert!(laid_out(&many(65)).unwrap_err().contains("alternatives"));
        let square = format!("({}) && ({})", many(30), "Method(`A`, `B`, `C`)");
        assert!(laid_out(&square).unwrap_err().contains("alternatives"));
    }
}
