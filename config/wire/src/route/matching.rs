//! Conditions of a request: path, method, header fields, query parameters.

use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{HeaderMatcher, QueryParameterMatcher, RouteMatch};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher};
use weir_config::model::{Match, PathMatch, ValueMatch};

use crate::basic::is_true;
use crate::pattern;
use crate::refusal::{Refusal, Within as _, take};

/// Envoy's name for the method among the header fields.
const METHOD: &str = ":method";

pub(crate) fn encode(own: &Match) -> RouteMatch {
    let header = |name: &str, specifier| HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(specifier)),
        ..HeaderMatcher::default()
    };
    let method = own
        .method
        .iter()
        .map(|method| header(METHOD, exact(method)));
    let headers = own
        .headers
        .iter()
        .map(|(name, value)| header(name, string(value)));
    let query = own.query.iter().map(|(name, value)| QueryParameterMatcher {
        name: name.to_string(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(string(
            value,
        ))),
    });
    RouteMatch {
        headers: method.chain(headers).collect(),
        query_parameters: query.collect(),
        path_specifier: Some(match &own.path {
            PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
            PathMatch::Prefix(prefix) if &**prefix == "/" => PathSpecifier::Prefix("/".to_owned()),
            PathMatch::Prefix(prefix) => PathSpecifier::PathSeparatedPrefix(prefix.to_string()),
            PathMatch::Regex(regex) => {
                PathSpecifier::SafeRegex(regex_matcher(pattern::inner(regex)))
            }
        }),
        ..RouteMatch::default()
    }
}

fn string(value: &ValueMatch) -> StringMatcher {
    match value {
        ValueMatch::Exact(text) => exact(text),
        ValueMatch::Regex(regex) => StringMatcher {
            match_pattern: Some(MatchPattern::SafeRegex(regex_matcher(pattern::inner(
                regex,
            )))),
            ignore_case: false,
        },
    }
}

fn exact(text: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(MatchPattern::Exact(text.to_owned())),
        ignore_case: false,
    }
}

pub(crate) fn regex_matcher(pattern: &str) -> RegexMatcher {
    RegexMatcher {
        regex: pattern.to_owned(),
        engine_type: None,
    }
}

pub(crate) fn decode(wire: RouteMatch) -> Result<Match, Refusal> {
    take!(wire => RouteMatch { case_sensitive, headers, query_parameters, path_specifier } refuse {
        runtime_fraction, cookies, grpc, tls_context, dynamic_metadata, filter_state,
    });
    if case_sensitive
        .as_ref()
        .is_some_and(|value| !is_true(Some(value)))
    {
        return Err(Refusal::new("is false, which is not supported").within("case_sensitive"));
    }
    let mut own = Match {
        path: path(path_specifier)?,
        ..Match::every()
    };
    for (index, header) in headers.into_iter().enumerate() {
        let (name, value) = decode_header(header).at("headers", index)?;
        match (name.as_str(), value) {
            (METHOD, ValueMatch::Exact(method)) if own.method.is_none() => {
                own.method = Some(method)
            }
            (name, _) if name.starts_with(':') => {
                let why = format!("is about {name}, which is supported only for an exact :method");
                return Err(Refusal::new(why)).at("headers", index);
            }
            (name, value) => own.headers.push((Arc::from(name), value)),
        }
    }
    for (index, parameter) in query_parameters.into_iter().enumerate() {
        own.query
            .push(decode_query(parameter).at("query_parameters", index)?);
    }
    Ok(own)
}

fn path(specifier: Option<PathSpecifier>) -> Result<PathMatch, Refusal> {
    match specifier {
        None => Err(Refusal::missing("prefix")),
        Some(PathSpecifier::Path(path)) => Ok(PathMatch::Exact(Arc::from(path))),
        Some(PathSpecifier::Prefix(prefix)) if prefix == "/" || prefix.is_empty() => {
            Ok(PathMatch::Prefix(Arc::from("/")))
        }
        // A prefix of characters, which the model says as a pattern: its own prefixes are of whole segments.
        Some(PathSpecifier::Prefix(prefix)) => {
            let all = format!("{}(?s:.*)", regex::escape(&prefix));
            pattern::whole(&all).map(PathMatch::Regex).within("prefix")
        }
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => {
            match prefix.len() > 1 && prefix.starts_with('/') && !prefix.ends_with('/') {
                true => Ok(PathMatch::Prefix(Arc::from(prefix))),
                false => Err(Refusal::new(format!(
                    "is {prefix:?}; it begins with a slash, does not end with one, and is longer than that"
                ))
                .within("path_separated_prefix")),
            }
        }
        Some(PathSpecifier::SafeRegex(regex)) => decode_regex(regex)
            .map(PathMatch::Regex)
            .within("safe_regex"),
        Some(PathSpecifier::ConnectMatcher(_)) => Err(Refusal::unsupported("connect_matcher")),
        Some(PathSpecifier::PathMatchPolicy(_)) => Err(Refusal::unsupported("path_match_policy")),
    }
}

fn decode_header(wire: HeaderMatcher) -> Result<(String, ValueMatch), Refusal> {
    take!(wire => HeaderMatcher { name, header_match_specifier } refuse { invert_match, treat_missing_header_as_empty });
    let literal = |text: &str, before: &str, after: &str| {
        let all = format!("{before}{}{after}", regex::escape(text));
        pattern::whole(&all).map(ValueMatch::Regex)
    };
    #[allow(deprecated)]
    let value = match header_match_specifier {
        None | Some(HeaderMatchSpecifier::PresentMatch(true)) => present()?,
        Some(HeaderMatchSpecifier::PresentMatch(false)) => {
            return Err(Refusal::unsupported("present_match"));
        }
        Some(HeaderMatchSpecifier::ExactMatch(text)) => ValueMatch::Exact(Arc::from(text)),
        Some(HeaderMatchSpecifier::SafeRegexMatch(regex)) => decode_regex(regex)
            .map(ValueMatch::Regex)
            .within("safe_regex_match")?,
        Some(HeaderMatchSpecifier::PrefixMatch(text)) => literal(&text, "", ANYTHING)?,
        Some(HeaderMatchSpecifier::SuffixMatch(text)) => literal(&text, ANYTHING, "")?,
        Some(HeaderMatchSpecifier::ContainsMatch(text)) => literal(&text, ANYTHING, ANYTHING)?,
        Some(HeaderMatchSpecifier::RangeMatch(_)) => {
            return Err(Refusal::unsupported("range_match"));
        }
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => {
            decode_string(matcher).within("string_match")?
        }
    };
    Ok((name.to_ascii_lowercase(), value))
}

fn decode_query(wire: QueryParameterMatcher) -> Result<(Arc<str>, ValueMatch), Refusal> {
    take!(wire => QueryParameterMatcher { name, query_parameter_match_specifier } refuse {});
    let value = match query_parameter_match_specifier {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => present()?,
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
            return Err(Refusal::unsupported("present_match"));
        }
        Some(QueryParameterMatchSpecifier::StringMatch(matcher)) => {
            decode_string(matcher).within("string_match")?
        }
    };
    Ok((Arc::from(name), value))
}

const ANYTHING: &str = "(?s:.*)";

fn present() -> Result<ValueMatch, Refusal> {
    pattern::whole(ANYTHING).map(ValueMatch::Regex)
}

fn decode_string(wire: StringMatcher) -> Result<ValueMatch, Refusal> {
    let StringMatcher {
        match_pattern,
        ignore_case,
    } = wire;
    let pattern = match_pattern.ok_or_else(|| Refusal::missing("exact"))?;
    let (before, text, after) = match (pattern, ignore_case) {
        (MatchPattern::SafeRegex(regex), _) => {
            return decode_regex(regex)
                .map(ValueMatch::Regex)
                .within("safe_regex");
        }
        (MatchPattern::Exact(text), false) => return Ok(ValueMatch::Exact(Arc::from(text))),
        (MatchPattern::Exact(text), true) => ("", text, ""),
        (MatchPattern::Prefix(text), _) => ("", text, ANYTHING),
        (MatchPattern::Suffix(text), _) => (ANYTHING, text, ""),
        (MatchPattern::Contains(text), _) => (ANYTHING, text, ANYTHING),
        (MatchPattern::Custom(_), _) => return Err(Refusal::unsupported("custom")),
    };
    let case = if ignore_case { "(?i)" } else { "" };
    pattern::whole(&format!("{case}{before}{}{after}", regex::escape(&text))).map(ValueMatch::Regex)
}

fn decode_regex(wire: RegexMatcher) -> Result<regex::Regex, Refusal> {
    // Which engine is moot: there is one, and how large its programs grow is bounded already.
    let RegexMatcher { regex, engine_type } = wire;
    let _ = engine_type;
    pattern::whole(&regex)
}
