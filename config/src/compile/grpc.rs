//! Matches on gRPC calls, which are paths of the form `/package.Service/Method` (gRPC over HTTP2, `Path`).

use std::sync::Arc;

use regex::Regex;

use super::report::Report;
use super::values;
use crate::model::PathMatch;
use crate::raw::{self, At, GrpcKind};

/// Longest name.
const MAX_NAME: usize = 1024;

/// The path of such a call.
pub(super) fn path(raw: &raw::GrpcMatch, report: &mut Report) -> Option<PathMatch> {
    if raw.meta.broken {
        return None;
    }
    if raw.service.is_none() && raw.method.is_none() {
        let help = "give it a service such as shop.Cart, a method or both";
        report.error_help(&raw.meta.place, "this gRPC match names nothing", help);
        return None;
    }
    let kind = raw.kind.as_ref().map_or(GrpcKind::Exact, |at| at.value);
    match kind {
        GrpcKind::Exact => exact(raw, report),
        GrpcKind::RegularExpression => pattern(raw, report),
    }
}

fn exact(raw: &raw::GrpcMatch, report: &mut Report) -> Option<PathMatch> {
    let service = raw.service.as_ref().map(|at| name(at, true, report));
    let method = raw.method.as_ref().map(|at| name(at, false, report));
    match (service, method) {
        (Some(service), Some(method)) => {
            let path = format!("/{}/{}", service?, method?);
            Some(PathMatch::Exact(Arc::from(path)))
        }
        (Some(service), None) => Some(PathMatch::Prefix(Arc::from(format!("/{}", service?)))),
        (None, Some(method)) => {
            let pattern = format!("^(?:/[^/]+/{})$", regex::escape(method?));
            Regex::new(&pattern).ok().map(PathMatch::Regex)
        }
        (None, None) => None,
    }
}

/// Identifiers of Protocol Buffers, with the dots of a package (Gateway API, `GRPCMethodMatch`).
fn name<'a>(at: &'a At<String>, dots: bool, report: &mut Report) -> Option<&'a str> {
    let identifier = |part: &str| {
        let letters = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        part.bytes().all(letters) && part.bytes().next().is_some_and(|b| !b.is_ascii_digit())
    };
    let fits = match dots {
        true => at.value.split('.').all(identifier),
        false => identifier(&at.value),
    };
    if !fits || at.value.len() > MAX_NAME {
        let (what, help) = match dots {
            true => (
                "a service of gRPC",
                "write it with its package, as in shop.Cart",
            ),
            false => ("a method of gRPC", "write its name alone, as in Add"),
        };
        report.error_help(&at.place, format!("{:?} is not {what}", at.value), help);
        return None;
    }
    Some(&at.value)
}

/// Each name is matched whole; one that is left out is any.
fn pattern(raw: &raw::GrpcMatch, report: &mut Report) -> Option<PathMatch> {
    let mut part = |at: &Option<At<String>>| match at {
        // Alone first: it must be an expression by itself.
        Some(at) => values::anchored(at, report).map(|_| format!("(?:{})", at.value)),
        None => Some("[^/]+".to_owned()),
    };
    let (service, method) = (part(&raw.service), part(&raw.method));
    let whole = At::new(format!("/{}/{}", service?, method?), raw.meta.place.clone());
    values::anchored(&whole, report).map(PathMatch::Regex)
}
