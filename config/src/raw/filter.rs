//! Filters as a file writes them: the Gateway API's, and some of our own.

use std::time::Duration;

use schemars::{Schema, json_schema};

use super::object::{object, words};
use super::scalar::Refused;
use super::traffic::{FaultInjection, RateLimit, RequestMirror};
use super::{At, Scalar};

object! {
    /// Done to a request or its response. The field that `type` names holds the settings.
    Filter = "a filter" {
        #[schemars(required)]
        kind: At<FilterKind> = "type",
        request_header_modifier: HeaderModifier = "requestHeaderModifier",
        response_header_modifier: HeaderModifier = "responseHeaderModifier",
        request_redirect: RequestRedirect = "requestRedirect",
        url_rewrite: UrlRewrite = "urlRewrite",
        direct_response: DirectResponse = "directResponse",
        request_mirror: Box<RequestMirror> = "requestMirror",
        rate_limit: Box<RateLimit> = "rateLimit",
        fault_injection: Box<FaultInjection> = "faultInjection",
        strict_transport_security: StrictTransportSecurity = "strictTransportSecurity",
    }
}

words! {
    /// What a filter does.
    FilterKind = "a filter of this version" {
        RequestHeaderModifier = "RequestHeaderModifier",
        ResponseHeaderModifier = "ResponseHeaderModifier",
        RequestRedirect = "RequestRedirect",
        UrlRewrite = "URLRewrite",
        DirectResponse = "DirectResponse",
        RequestMirror = "RequestMirror",
        RateLimit = "RateLimit",
        FaultInjection = "FaultInjection",
        StrictTransportSecurity = "StrictTransportSecurity",
        GrpcWeb = "GrpcWeb",
    }
}

object! {
    /// Tells browsers to come over TLS only (RFC 6797).
    StrictTransportSecurity = "strictTransportSecurity" {
        /// How long they remember, such as 365d. 0s makes them forget. Default 365d.
        max_age: At<Age> = "maxAge",
        /// For every host below this one too. Default false.
        include_sub_domains: At<bool> = "includeSubDomains",
        /// Asks to be in the lists that browsers ship with. Default false.
        preload: At<bool> = "preload",
    }
}

/// A time that may be years: whole days, or as any duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Duration);

impl Scalar for Age {
    const WHAT: &'static str = "a time such as 365d or 12h";

    fn parse(text: &str) -> Result<Self, Refused> {
        let Some(days) = text.strip_suffix('d') else {
            return Duration::parse(text).map(Self);
        };
        let fits = !days.is_empty() && days.len() <= 5 && days.bytes().all(|b| b.is_ascii_digit());
        let days: Option<u64> = fits.then(|| days.parse().ok()).flatten();
        days.map(|days| Self(Duration::from_secs(days * 24 * 3600)))
            .ok_or_else(|| Refused {
                message: format!("{text:?} is not {}", Self::WHAT),
                help: None,
            })
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "integer"], "examples": ["365d"] })
    }
}

object! {
    /// Edits header fields: remove, then set, then add.
    HeaderModifier = "a header modifier" {
        set: Vec<Header> = "set",
        add: Vec<Header> = "add",
        remove: Vec<At<String>> = "remove",
    }
}

object! {
    /// A header field.
    Header = "a header" {
        #[schemars(required)]
        name: At<String> = "name",
        #[schemars(required)]
        value: At<String> = "value",
    }
}

object! {
    /// Answers with another address.
    RequestRedirect = "requestRedirect" {
        /// http or https. Default: as asked.
        scheme: At<String> = "scheme",
        hostname: At<String> = "hostname",
        path: PathRewrite = "path",
        port: At<u16> = "port",
        /// 301, 302, 303, 307 or 308. Default 302.
        status_code: At<u16> = "statusCode",
    }
}

object! {
    /// Changes what the endpoint is asked.
    UrlRewrite = "urlRewrite" {
        hostname: At<String> = "hostname",
        path: PathRewrite = "path",
    }
}

object! {
    /// How a path is replaced.
    PathRewrite = "a path rewrite" {
        #[schemars(required)]
        kind: At<RewriteKind> = "type",
        replace_full_path: At<String> = "replaceFullPath",
        replace_prefix_match: At<String> = "replacePrefixMatch",
    }
}

words! {
    /// What is replaced.
    RewriteKind = "a path rewrite type" { ReplaceFullPath = "ReplaceFullPath", ReplacePrefixMatch = "ReplacePrefixMatch" }
}

object! {
    /// An answer without asking an endpoint.
    DirectResponse = "directResponse" {
        /// 200 to 599. Default 200.
        status: At<u16> = "status",
        /// At most 64 KiB. Default empty.
        body: At<String> = "body",
        /// Default text/plain; charset=utf-8.
        content_type: At<String> = "contentType",
    }
}
