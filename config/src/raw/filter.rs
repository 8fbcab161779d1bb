//! Filters as a file writes them: the Gateway API's, and `DirectResponse`, `RateLimit` and `FaultInjection` of our own.

use super::At;
use super::object::{object, words};
use super::traffic::{FaultInjection, RateLimit, RequestMirror};

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
