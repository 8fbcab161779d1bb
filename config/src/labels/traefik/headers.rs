//! The middleware `headers`: fields that are set, and the security fields that it knows by name.

use std::time::Duration;

use super::middleware::hsts;
use super::shaping::Shaping;
use super::sort::{Settings, flag};
use crate::diagnostic::{Diagnostic, Place};
use crate::raw::{Age, At, Meta, StrictTransportSecurity};

/// Fields of answers whose value is given, and those that are on or off.
const WITH_VALUE: [(&str, &str); 6] = [
    ("customframeoptionsvalue", "X-Frame-Options"),
    ("custombrowserxssvalue", "X-XSS-Protection"),
    ("contentsecuritypolicy", "Content-Security-Policy"),
    (
        "contentsecuritypolicyreportonly",
        "Content-Security-Policy-Report-Only",
    ),
    ("referrerpolicy", "Referrer-Policy"),
    ("permissionspolicy", "Permissions-Policy"),
];
const SWITCHED: [(&str, &str, &str); 3] = [
    ("framedeny", "X-Frame-Options", "DENY"),
    ("contenttypenosniff", "X-Content-Type-Options", "nosniff"),
    ("browserxssfilter", "X-XSS-Protection", "1; mode=block"),
];
/// Those that keep somebody out or send him elsewhere.
const PROTECTIVE: [&str; 6] = [
    "allowedhosts",
    "hostsproxyheaders",
    "sslredirect",
    "sslforcehost",
    "sslhost",
    "ssltemporaryredirect",
];

pub(super) fn apply(
    settings: &Settings,
    place: &Place,
    mut shaping: Shaping,
    found: &mut Vec<Diagnostic>,
) -> Result<Shaping, String> {
    for (key, at) in settings {
        let key = key.strip_prefix("headers.").unwrap_or_default();
        let on = flag(&at.value) == Some(true);
        if let Some(name) = key.strip_prefix("customrequestheaders.") {
            shaping.set_request(&written(name, at), &at.value, &at.place);
        } else if let Some(name) = key.strip_prefix("customresponseheaders.") {
            shaping.set_response(&written(name, at), &at.value, &at.place);
        } else if let Some((_, field)) = WITH_VALUE.iter().find(|(known, _)| *known == key) {
            shaping.set_response(field, &at.value, &at.place);
        } else if let Some((_, field, value)) = SWITCHED.iter().find(|(known, ..)| *known == key) {
            let named = settings.keys().any(|other| {
                let other = other.strip_prefix("headers.").unwrap_or_default();
                WITH_VALUE
                    .iter()
                    .any(|(known, of)| *known == other && of == field)
            });
            if on && !named {
                shaping.set_response(field, value, &at.place);
            }
        } else if PROTECTIVE.contains(&key) {
            return Err(format!("has {key}, which is not supported"));
        } else if !key.starts_with("sts") {
            let message = format!("not read: {key} of the middleware headers");
            let help = match key.starts_with("accesscontrol") {
                true => {
                    "answers of endpoints pass as they are, with the fields of CORS that these set"
                }
                false => "see docs/traefik.md for what is read",
            };
            found.push(Diagnostic::warning(&at.place, message).help(help));
        }
    }
    if let Some(filter) = transport_security(settings, place, found)? {
        shaping.filters.push(filter);
    }
    Ok(shaping)
}

/// The field's name as it was written: the settings are kept in lower case.
fn written(lower: &str, at: &At<String>) -> String {
    let label = super::label_of(at).rsplit('.').next().unwrap_or_default();
    match label.eq_ignore_ascii_case(lower) {
        true => label.to_owned(),
        false => lower.to_owned(),
    }
}

fn transport_security(
    settings: &Settings,
    place: &Place,
    found: &mut Vec<Diagnostic>,
) -> Result<Option<crate::raw::Filter>, String> {
    let text = |key: &str| settings.get(&format!("headers.{key}"));
    let Some(seconds) = text("stsseconds").filter(|at| at.value != "0") else {
        return Ok(None);
    };
    let age: u64 = seconds
        .value
        .parse()
        .map_err(|_| format!("has {:?} for stsSeconds, which is no number", seconds.value))?;
    let on = |key: &str| {
        let at = text(key)?;
        Some(At::new(flag(&at.value) == Some(true), at.place.clone()))
    };
    if let Some(at) = text("forcestsheader") {
        let message = "not read: Strict-Transport-Security is sent over TLS alone (RFC 6797)";
        found.push(Diagnostic::warning(&at.place, message));
    }
    Ok(Some(hsts(
        place,
        StrictTransportSecurity {
            meta: Meta {
                place: place.clone(),
                broken: false,
            },
            max_age: Some(At::new(
                Age(Duration::from_secs(age)),
                seconds.place.clone(),
            )),
            include_sub_domains: on("stsincludesubdomains"),
            preload: on("stspreload"),
        },
    )))
}
