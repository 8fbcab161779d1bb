//! Middlewares that answer with another address.

use super::middleware::{Middleware, Refusal};
use super::shaping::Shaping;
use crate::diagnostic::Diagnostic;
use crate::raw::{At, RequestRedirect};

/// The same address by another scheme.
pub(super) fn scheme(
    middleware: &Middleware<'_>,
    mut shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Shaping, Refusal> {
    middleware.only(&["scheme", "port", "permanent"], found);
    let scheme = middleware
        .text("scheme")
        .ok_or_else(|| middleware.refuse("has no scheme"))?;
    shaping.redirect = Some(RequestRedirect {
        meta: middleware.meta(),
        scheme: Some(scheme.clone()),
        port: middleware.number("port")?,
        status_code: Some(status(middleware)),
        ..RequestRedirect::default()
    });
    shaping.by_scheme = true;
    Ok(shaping)
}

/// Traefik answers 302 to GET and 307 to the others, for good 301 and 308; of each pair the second keeps the method of all.
fn status(middleware: &Middleware<'_>) -> At<u16> {
    let status = match middleware.is_on("permanent") {
        true => 308,
        false => 307,
    };
    At::new(status, middleware.place.clone())
}

/// `^https?://old.example.com/(.*)` to `https://new.example.com/$1`: another host.
pub(super) fn regex(
    middleware: &Middleware<'_>,
    mut shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Shaping, Refusal> {
    middleware.only(&["regex", "replacement", "permanent"], found);
    let (Some(regex), Some(replacement)) =
        (middleware.text("regex"), middleware.text("replacement"))
    else {
        return Err(middleware.refuse("needs a regex and a replacement"));
    };
    let why = "is more than another host, as in ^https?://old.example.com/(.*) to https://new.example.com/$1, on a router of \
               that host alone";
    let refuse = || middleware.refuse(why);
    let from = regex.value.trim_start_matches('^').trim_end_matches('$');
    let from = ["https?://", "http(s)?://", "http://", "https://"]
        .iter()
        .find_map(|scheme| from.strip_prefix(scheme))
        .and_then(|rest| rest.strip_suffix("/(.*)"))
        .ok_or_else(refuse)?
        .replace("\\.", ".")
        .to_ascii_lowercase();
    let (scheme, to) = replacement.value.split_once("://").ok_or_else(refuse)?;
    let to = ["/$1", "/${1}"]
        .iter()
        .find_map(|end| to.strip_suffix(end))
        .ok_or_else(refuse)?;
    let host = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    if !host(&from)
        || !host(to)
        || shaping.clause.hosts != [from]
        || !matches!(scheme, "http" | "https")
    {
        return Err(refuse());
    }
    let at = |text: &str| Some(At::new(text.to_owned(), replacement.place.clone()));
    shaping.redirect = Some(RequestRedirect {
        meta: middleware.meta(),
        scheme: at(scheme),
        hostname: at(to),
        status_code: Some(status(middleware)),
        ..RequestRedirect::default()
    });
    Ok(shaping)
}
