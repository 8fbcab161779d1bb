//! Rules: what they match, what they do, where they go.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use regex::Regex;
use weir_config::model::*;

use super::{Text, backend, duration, percent, service_name, text, version_name};

fn pattern() -> impl Strategy<Value = Regex> {
    let patterns = [
        "^(?:/a.*)$",
        "^(?:a|b)$",
        "^(?:a)|(?:b)$",
        "^(?:)$",
        "[0-9]+",
    ];
    select(patterns.to_vec()).prop_map(|text| Regex::new(text).unwrap())
}

fn value() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        text(&["always", "", "50%"]).prop_map(ValueMatch::Exact),
        pattern().prop_map(ValueMatch::Regex),
    ]
}

fn prefix() -> impl Strategy<Value = PathMatch> {
    text(&["/", "/api", "/api/v1", "/a.b+c"]).prop_map(PathMatch::Prefix)
}

fn conditions(path: BoxedStrategy<PathMatch>) -> impl Strategy<Value = Match> {
    let headers = vec((text(&["x-canary", "accept"]), value()), 0..3);
    let query = vec((text(&["q", "page"]), value()), 0..2);
    (path, headers, query, of(text(&["GET", "post"]))).prop_map(|(path, headers, query, method)| {
        Match {
            path,
            headers,
            query,
            method,
        }
    })
}

fn edits() -> impl Strategy<Value = HeaderEdits> {
    let name = || {
        text(&[
            "x-env",
            "cache-control",
            "content-type",
            "strict-transport-security",
        ])
    };
    let field = move || (name(), text(&["prod", "100%", "%%", "%REQ(x)%", "", "a b"]));
    (vec(field(), 0..3), vec(field(), 0..3), vec(name(), 0..2))
        .prop_map(|(set, add, remove)| HeaderEdits { set, add, remove })
}

fn modifier(prefixed: bool) -> impl Strategy<Value = PathModifier> {
    let full = text(&["/", "/new", "/a%20b", "/x/y/"]).prop_map(PathModifier::Full);
    let part = text(&["/", "/new", "/new/", ""]).prop_map(PathModifier::Prefix);
    match prefixed {
        true => prop_oneof![full, part].boxed(),
        false => full.boxed(),
    }
}

fn redirect(prefixed: bool) -> impl Strategy<Value = Filter> {
    let status = select(vec![301u16, 302, 303, 307, 308]);
    let first = (
        of(text(&["https", "http"])),
        of(text(&["new.example.com"])),
        of(modifier(prefixed)),
    );
    (first, of(1u16..), status).prop_map(|((scheme, hostname, path), port, status)| {
        Filter::Redirect(Redirect {
            scheme,
            hostname,
            path,
            port,
            status,
        })
    })
}

fn respond() -> impl Strategy<Value = Filter> {
    (
        200u16..600,
        text(&["", "hello", "100% of \u{e9}"]),
        text(&["text/plain", "text/html; charset=utf-8"]),
    )
        .prop_map(|(status, body, content_type)| Filter::DirectResponse {
            status,
            body,
            content_type,
        })
}

fn limit() -> impl Strategy<Value = Filter> {
    let key = prop_oneof![
        Just(RateLimitKey::Route),
        Just(RateLimitKey::ClientIp),
        text(&["x-api-key"]).prop_map(RateLimitKey::Header),
    ];
    (
        1u32..=1_000_000,
        1u64..=3600,
        1u32..=1_000_000,
        key,
        100u32..=1_000_000,
    )
        .prop_map(|(requests, per, burst, key, max_keys)| {
            Filter::RateLimit(RateLimit {
                requests,
                per: Duration::from_secs(per),
                burst,
                key,
                max_keys,
            })
        })
}

fn fault() -> impl Strategy<Value = Filter> {
    let delay = (1u64..=3_600_000, percent()).prop_map(|(millis, percent)| Delay {
        duration: Duration::from_millis(millis),
        percent,
    });
    let abort = (400u16..=599, percent()).prop_map(|(status, percent)| Abort { status, percent });
    (of(delay), of(abort)).prop_map(|(delay, abort)| Filter::Fault(Fault { delay, abort }))
}

fn common() -> impl Strategy<Value = Filter> {
    prop_oneof![
        edits().prop_map(Filter::RequestHeaders),
        edits().prop_map(Filter::ResponseHeaders),
        limit(),
    ]
}

fn forwarding(prefixed: bool) -> impl Strategy<Value = Vec<Filter>> {
    let rewrite = (of(text(&["inner.example.com"])), of(modifier(prefixed)))
        .prop_map(|(hostname, path)| Filter::Rewrite(Rewrite { hostname, path }));
    let mirror =
        (service_name(), of(version_name()), percent()).prop_map(|(service, version, percent)| {
            Filter::Mirror(Mirror {
                service,
                version,
                percent,
            })
        });
    let hsts = text(&["max-age=31536000; includeSubDomains"]).prop_map(Filter::Hsts);
    let any_order = vec(prop_oneof![common(), mirror], 0..4);
    (
        of(rewrite),
        of(fault()),
        of(hsts),
        any::<bool>(),
        any_order,
        any::<u64>(),
    )
        .prop_map(|(rewrite, fault, hsts, web, more, order)| {
            let mut all: Vec<Filter> = rewrite
                .into_iter()
                .chain(fault)
                .chain(hsts)
                .chain(more)
                .collect();
            if web {
                all.push(Filter::GrpcWeb);
            }
            // In some order or other.
            if !all.is_empty() {
                let by = (order % all.len() as u64) as usize;
                all.rotate_left(by);
            }
            all
        })
}

fn answering(prefixed: bool) -> impl Strategy<Value = Vec<Filter>> {
    (
        prop_oneof![redirect(prefixed), respond()],
        vec(common(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(answer, mut more, first)| {
            more.insert(if first { 0 } else { more.len() }, answer);
            more
        })
}

fn sticky() -> impl Strategy<Value = Sticky> {
    let name = || text(&["weir-bucket", "x-user"]);
    let key = prop_oneof![
        (name(), of(duration())).prop_map(|(name, max_age)| StickyKey::Cookie { name, max_age }),
        name().prop_map(|name: Text| StickyKey::Header(name)),
        Just(StickyKey::ClientIp),
    ];
    key.prop_map(|key| Sticky { key })
}

fn retry() -> impl Strategy<Value = Retry> {
    let grpc = select(vec![
        GrpcCondition::Cancelled,
        GrpcCondition::DeadlineExceeded,
        GrpcCondition::ResourceExhausted,
        GrpcCondition::Internal,
        GrpcCondition::Unavailable,
    ]);
    let on = prop_oneof![
        Just(RetryOn::ConnectFailure),
        Just(RetryOn::RefusedStream),
        Just(RetryOn::ResetBeforeRequest),
        Just(RetryOn::FiveXx),
        Just(RetryOn::GatewayError),
        (400u16..=599).prop_map(RetryOn::Status),
        grpc.prop_map(RetryOn::Grpc),
    ];
    let given = (
        any::<u8>(),
        vec(on, 0..5),
        duration(),
        duration(),
        any::<bool>(),
    )
        .prop_map(|(attempts, on, a, b, hedge)| Retry {
            attempts,
            on,
            backoff_base: a.min(b),
            backoff_max: a.max(b),
            hedge,
        });
    prop_oneof![Just(Retry::default()), given]
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    any::<(bool, bool)>().prop_flat_map(|(prefixed, answers)| {
        let path = match prefixed {
            true => prefix().boxed(),
            false => prop_oneof![
                prefix(),
                text(&["/", "/api/x"]).prop_map(PathMatch::Exact),
                pattern().prop_map(PathMatch::Regex),
            ]
            .boxed(),
        };
        let (filters, backends) = match answers {
            true => (answering(prefixed).boxed(), Just(Vec::new()).boxed()),
            false => (forwarding(prefixed).boxed(), vec(backend(), 0..4).boxed()),
        };
        let timeouts =
            (of(duration()), of(duration())).prop_map(|(request, backend_request)| Timeouts {
                request,
                backend_request,
            });
        (
            vec(conditions(path), 1..4),
            filters,
            backends,
            of(sticky()),
            timeouts,
            retry(),
        )
            .prop_map(
                |(matches, filters, backends, sticky, timeouts, retry)| Rule {
                    matches,
                    filters,
                    backends,
                    sticky,
                    timeouts,
                    retry,
                },
            )
    })
}
