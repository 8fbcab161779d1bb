//! Parts of the model in words, for lists and explanations.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use weir_config::model::{
    Balancer, Fault, Filter, HeaderEdits, HealthCheck, HealthProbe, Match, Mirror, PathMatch,
    PathModifier, RateLimit, RateLimitKey, Redirect, Retry, RetryOn, Rewrite, StickyKey, TcpProbe,
    ValueMatch,
};
use weir_decide::balance::{Measure, Score};
use weir_decide::outlier::Refused;

/// `PathPrefix /api, method GET, header x-canary = "always", query page ~ "[0-9]+"`
pub(super) fn condition(condition: &Match) -> String {
    let path = match &condition.path {
        PathMatch::Exact(path) => format!("Exact {path}"),
        PathMatch::Prefix(path) if path.is_empty() => "PathPrefix /".to_owned(),
        PathMatch::Prefix(path) => format!("PathPrefix {path}"),
        PathMatch::Regex(regex) => format!("RegularExpression {regex}"),
    };
    let method = condition
        .method
        .iter()
        .map(|method| format!("method {method}"));
    let headers = condition
        .headers
        .iter()
        .map(|(name, want)| format!("header {name} {}", value(want)));
    let query = condition
        .query
        .iter()
        .map(|(name, want)| format!("query {name} {}", value(want)));
    let parts: Vec<_> = std::iter::once(path)
        .chain(method)
        .chain(headers)
        .chain(query)
        .collect();
    parts.join(", ")
}

fn value(want: &ValueMatch) -> String {
    match want {
        ValueMatch::Exact(text) => format!("= {text:?}"),
        ValueMatch::Regex(regex) => format!("~ {:?}", regex.as_str()),
    }
}

/// `set request header x-env: prod`, `redirect to https (301)`
pub(super) fn filter(filter: &Filter) -> String {
    match filter {
        Filter::RequestHeaders(edits) => edits_text("request", edits),
        Filter::ResponseHeaders(edits) => edits_text("response", edits),
        Filter::Redirect(redirect) => redirect_text(redirect),
        Filter::Rewrite(Rewrite { hostname, path }) => {
            let host = hostname.iter().map(|host| format!("host to {host}"));
            let path = path.iter().map(modifier);
            format!(
                "rewrite {}",
                host.chain(path).collect::<Vec<_>>().join(" and ")
            )
        }
        Filter::DirectResponse {
            status,
            body,
            content_type,
        } => {
            format!(
                "answer {status} with {} bytes of {content_type}",
                body.len()
            )
        }
        Filter::RateLimit(limit) => limit_text(limit),
        Filter::Fault(fault) => fault_text(fault),
        Filter::Mirror(mirror) => mirror_text(mirror),
        Filter::Hsts(value) => format!("tell browsers to use https only ({value})"),
        Filter::GrpcWeb => "take gRPC-Web".to_owned(),
    }
}

/// `at most 100 requests in 1s, 50 at once, for each client address`
fn limit_text(limit: &RateLimit) -> String {
    let key = match &limit.key {
        RateLimitKey::Route => "in all".to_owned(),
        RateLimitKey::ClientIp => "for each client address".to_owned(),
        RateLimitKey::Header(name) => format!("for each value of header {name}"),
    };
    let RateLimit {
        requests, burst, ..
    } = limit;
    let per = duration(limit.per);
    format!("at most {requests} requests in {per}, {burst} at once, {key}")
}

fn fault_text(fault: &Fault) -> String {
    let delay = fault
        .delay
        .iter()
        .map(|delay| format!("delay {}% by {}", delay.percent, duration(delay.duration)));
    let abort = fault
        .abort
        .iter()
        .map(|abort| format!("answer {}% with {}", abort.percent, abort.status));
    delay.chain(abort).collect::<Vec<_>>().join(", ")
}

fn mirror_text(mirror: &Mirror) -> String {
    let version = mirror.version.iter().map(|version| format!("/{version}"));
    let to: String = std::iter::once(mirror.service.to_string())
        .chain(version)
        .collect();
    format!("copy {}% to {to}", mirror.percent)
}

fn edits_text(which: &str, edits: &HeaderEdits) -> String {
    let remove = edits
        .remove
        .iter()
        .map(|name| format!("remove {which} header {name}"));
    let set = edits
        .set
        .iter()
        .map(|(name, value)| format!("set {which} header {name}: {value}"));
    let add = edits
        .add
        .iter()
        .map(|(name, value)| format!("add {which} header {name}: {value}"));
    remove.chain(set).chain(add).collect::<Vec<_>>().join(", ")
}

fn redirect_text(redirect: &Redirect) -> String {
    let scheme = redirect
        .scheme
        .iter()
        .map(|scheme| format!("scheme to {scheme}"));
    let host = redirect
        .hostname
        .iter()
        .map(|host| format!("host to {host}"));
    let port = redirect.port.iter().map(|port| format!("port to {port}"));
    let path = redirect.path.iter().map(modifier);
    let parts: Vec<_> = scheme.chain(host).chain(port).chain(path).collect();
    match parts.is_empty() {
        true => format!("redirect to the same place ({})", redirect.status),
        false => format!("redirect {} ({})", parts.join(" and "), redirect.status),
    }
}

fn modifier(path: &PathModifier) -> String {
    match path {
        PathModifier::Full(to) => format!("path to {to}"),
        PathModifier::Prefix(to) => format!("prefix to {to}"),
    }
}

/// `2 more on connect-failure, 5xx`; `None` where nothing is tried again.
pub(super) fn retry(retry: &Retry) -> Option<String> {
    if retry.attempts == 0 || retry.on.is_empty() {
        return None;
    }
    let on: Vec<_> = retry.on.iter().map(|on| retry_on(*on)).collect();
    Some(format!("{} more on {}", retry.attempts, on.join(", ")))
}

fn retry_on(on: RetryOn) -> String {
    match on {
        RetryOn::ConnectFailure => "connect-failure".to_owned(),
        RetryOn::RefusedStream => "refused-stream".to_owned(),
        RetryOn::ResetBeforeRequest => "reset-before-request".to_owned(),
        RetryOn::FiveXx => "5xx".to_owned(),
        RetryOn::GatewayError => "gateway-error".to_owned(),
        RetryOn::Status(status) => status.to_string(),
        RetryOn::Grpc(condition) => condition.text().to_owned(),
    }
}

/// `cookie weir-bucket`
pub(super) fn sticky(key: &StickyKey) -> String {
    match key {
        StickyKey::Cookie { name, .. } => format!("cookie {name}"),
        StickyKey::Header(name) => format!("header {name}"),
        StickyKey::ClientIp => "client address".to_owned(),
    }
}

/// The DestinationRule name.
pub(super) fn balancer(balancer: &Balancer) -> &'static str {
    match balancer {
        Balancer::LeastRequest => "LEAST_REQUEST",
        Balancer::RoundRobin => "ROUND_ROBIN",
        Balancer::Random => "RANDOM",
        Balancer::PeakEwma => "PEAK_EWMA",
        Balancer::ConsistentHash(_) => "CONSISTENT_HASH",
    }
}

/// `GET /healthz every 2s`, `gRPC health of shop.Cart at port 50051 every 5s`
pub(super) fn health_check(check: &HealthCheck) -> String {
    let mut text = match &check.probe {
        HealthProbe::Tcp(TcpProbe { expect: None, .. }) => "TCP connect".to_owned(),
        HealthProbe::Tcp(TcpProbe {
            expect: Some(bytes),
            ..
        }) => format!("TCP \"{}\"", bytes.escape_ascii()),
        HealthProbe::Http(probe) => format!("{} {}", probe.method.as_str(), probe.path),
        HealthProbe::Grpc(probe) if probe.service.is_empty() => "gRPC health".to_owned(),
        HealthProbe::Grpc(probe) => format!("gRPC health of {}", probe.service),
    };
    if let Some(port) = check.port {
        text.push_str(&format!(" at port {port}"));
    }
    format!("{text} every {}", duration(check.interval))
}

/// `5 answers with a 5xx in a row, not ejected: no other endpoint would be left to serve`
pub(super) fn refused(refused: &Refused) -> String {
    format!("{}, not ejected: {}", refused.cause, refused.why)
}

/// `load 3 (2 in flight, 1 for failures)`, `33.33% of requests`
pub(super) fn measure(score: &Score) -> String {
    let burden = || match score.penalty {
        0 => format!("{} in flight", score.load),
        penalty => format!("{} in flight, {penalty} for failures", score.load),
    };
    match score.measure {
        Measure::Out => "out".to_owned(),
        Measure::Load(load) => format!("load {} ({})", short(load), burden()),
        Measure::CostUs(us) => format!("{} ms to expect ({})", short(us / 1000.0), burden()),
        Measure::Unmeasured { idle: true } => "not measured yet: it takes the next".to_owned(),
        Measure::Unmeasured { idle: false } => {
            "not measured yet, and busy: it waits for its first answer".to_owned()
        }
        Measure::Share(share) => format!("{}% of requests", percent(share)),
        Measure::Turn(turn) => format!("choice {} of the key", turn + 1),
    }
}

/// Two decimals at most.
fn short(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// `15s`, `1.5s`, `250ms`
pub(super) fn duration(duration: Duration) -> String {
    format!("{duration:?}")
}

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn time(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let millis = time.millisecond();
    let time = time.replace_millisecond(millis).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_default()
}

/// Rounded to a hundredth, so that a third does not fill a line.
pub(super) fn percent(share: f64) -> f64 {
    (share * 10_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::UNIX_EPOCH;

    use weir_config::model::{Abort, Delay, Percent};

    use super::*;

    #[test]
    fn a_check_reads_as_what_it_asks() {
        use weir_config::model::{GrpcProbe, HttpProbe};

        let probe = |probe| HealthCheck {
            probe,
            ..HealthCheck::default()
        };
        let pong = TcpProbe {
            send: None,
            expect: Some(Arc::from(&b"+PONG\r\n"[..])),
        };
        let cart = GrpcProbe {
            service: "shop.Cart".into(),
            authority: None,
        };
        let elsewhere = HealthCheck {
            port: std::num::NonZeroU16::new(9000),
            ..probe(HealthProbe::Http(HttpProbe::get("/up")))
        };
        for (check, text) in [
            (HealthCheck::default(), "TCP connect every 5s"),
            (probe(HealthProbe::Tcp(pong)), r#"TCP "+PONG\r\n" every 5s"#),
            (
                probe(HealthProbe::Grpc(GrpcProbe::default())),
                "gRPC health every 5s",
            ),
            (
                probe(HealthProbe::Grpc(cart)),
                "gRPC health of shop.Cart every 5s",
            ),
            (elsewhere, "GET /up at port 9000 every 5s"),
        ] {
            assert_eq!(health_check(&check), text);
        }
    }

    #[test]
    fn a_match_reads_as_it_is_written() {
        let all = Match {
            path: PathMatch::Prefix("/".into()),
            headers: vec![],
            query: vec![],
            method: None,
        };
        assert_eq!(condition(&all), "PathPrefix /");
        let some = Match {
            path: PathMatch::Exact("/api".into()),
            headers: vec![("x-canary".into(), ValueMatch::Exact("always".into()))],
            query: vec![("page".into(), ValueMatch::Exact("2".into()))],
            method: Some("GET".into()),
        };
        assert_eq!(
            condition(&some),
            r#"Exact /api, method GET, header x-canary = "always", query page = "2""#
        );
    }

    #[test]
    fn filters_read_as_sentences() {
        let pair = |a: &str, b: &str| -> (Arc<str>, Arc<str>) { (a.into(), b.into()) };
        let edits = HeaderEdits {
            set: vec![pair("x-env", "prod")],
            add: vec![],
            remove: vec!["x-secret".into()],
        };
        let redirect = Redirect {
            scheme: Some("https".into()),
            hostname: None,
            path: Some(PathModifier::Prefix("/new".into())),
            port: Some(8443),
            status: 301,
        };
        let rewrite = Rewrite {
            hostname: Some("inner".into()),
            path: Some(PathModifier::Full("/x".into())),
        };
        let direct = Filter::DirectResponse {
            status: 410,
            body: "gone".into(),
            content_type: "text/plain".into(),
        };
        let limit = RateLimit {
            requests: 100,
            per: Duration::from_secs(60),
            burst: 20,
            key: RateLimitKey::Header("x-api-key".into()),
            max_keys: 10_000,
        };
        let fault = Fault {
            delay: Some(Delay {
                duration: Duration::from_secs(2),
                percent: "10".parse().unwrap(),
            }),
            abort: Some(Abort {
                status: 503,
                percent: "0.5".parse().unwrap(),
            }),
        };
        let mirror = Mirror {
            service: "shop".parse().unwrap(),
            version: Some("canary".parse().unwrap()),
            percent: Percent::ALL,
        };
        for (filter, expected) in [
            (
                Filter::RequestHeaders(edits),
                "remove request header x-secret, set request header x-env: prod",
            ),
            (
                Filter::Redirect(redirect),
                "redirect scheme to https and port to 8443 and prefix to /new (301)",
            ),
            (
                Filter::Rewrite(rewrite),
                "rewrite host to inner and path to /x",
            ),
            (direct, "answer 410 with 4 bytes of text/plain"),
            (
                Filter::RateLimit(limit),
                "at most 100 requests in 60s, 20 at once, for each value of header x-api-key",
            ),
            (
                Filter::Fault(fault),
                "delay 10% by 2s, answer 0.5% with 503",
            ),
            (Filter::Mirror(mirror), "copy 100% to shop/canary"),
        ] {
            assert_eq!(super::filter(&filter), expected);
        }
    }

    #[test]
    fn times_and_shares_are_short() {
        let at = UNIX_EPOCH + Duration::from_nanos(1_794_000_896_007_654_321);
        assert_eq!(time(at), "2026-11-06T21:34:56.007Z");
        assert_eq!(percent(1.0 / 3.0), 33.33);
        assert_eq!(duration(Duration::from_millis(1500)), "1.5s");
    }
}
