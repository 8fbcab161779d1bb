//! Models with everything that one can hold, drawn at random.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use weir_config::model::*;

mod authorization;
mod rule;
mod service;
mod tls;

pub(crate) type Text = Arc<str>;

pub(crate) fn text(from: &'static [&'static str]) -> impl Strategy<Value = Text> {
    select(from).prop_map(Arc::from)
}

pub(crate) fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (1u64..100_000).prop_map(Duration::from_millis),
        (1u64..100_000).prop_map(Duration::from_secs),
        (1_000_000u64..10_000_000_000).prop_map(Duration::from_nanos),
    ]
}

pub(crate) fn weight() -> impl Strategy<Value = Weight> {
    prop_oneof![
        Just(Weight::ONE),
        Just(Weight::ZERO),
        Just(Weight::MAX),
        (0u32..2000).prop_map(|tenths| Weight::from_tenths(tenths).unwrap()),
        (0u32..100).prop_map(|whole| Weight::from_tenths(whole * 10).unwrap()),
    ]
}

pub(crate) fn percent() -> impl Strategy<Value = Percent> {
    (0u16..=1000).prop_map(|tenths| format!("{}.{}", tenths / 10, tenths % 10).parse().unwrap())
}

pub(crate) fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        Just(Source::default()),
        (
            text(&["weir.yaml", "/etc/weir/a b.yaml"]),
            any::<u32>(),
            any::<u32>()
        )
            .prop_map(|(path, line, column)| Source::File { path, line, column }),
        (
            text(&["shop-1"]),
            text(&["0123abcd"]),
            text(&["weir.host", ""])
        )
            .prop_map(|(container, id, label)| Source::Label {
                container,
                id,
                label
            }),
    ]
}

pub(crate) fn address() -> impl Strategy<Value = SocketAddr> {
    // None that cannot be called.
    let v4 = (1u8..=223, any::<[u8; 3]>(), 1u16..)
        .prop_map(|(a, [b, c, d], port)| SocketAddr::from(([a, b, c, d], port)));
    let v6 = (any::<[u16; 7]>(), 1u16..).prop_map(|([b, c, d, e, f, g, h], port)| {
        SocketAddr::from(([0x2001, b, c, d, e, f, g, h], port))
    });
    prop_oneof![v4, v6, Just("[fe80::1%3]:80".parse().unwrap())]
}

pub(crate) fn host() -> impl Strategy<Value = HostPattern> {
    let hosts = [
        "shop.example.com",
        "a.shop.example.com",
        "*.example.com",
        "*.shop.example.com",
        "10.0.0.1",
        "[::1]",
        "localhost",
        "x_y.example",
    ];
    select(hosts.to_vec()).prop_map(|text| HostPattern::parse(text).unwrap().unwrap())
}

pub(crate) fn hosts(least: usize) -> impl Strategy<Value = Vec<HostPattern>> {
    btree_set(host(), least..4).prop_map(|set| set.into_iter().collect())
}

pub(crate) fn service_name() -> impl Strategy<Value = ServiceName> {
    let names = ["shop", "cart", "api/v1", "a:b@c", "x_y"];
    let long = "n".repeat(253);
    prop_oneof![
        9 => select(names.to_vec()).prop_map(|name| ServiceName::new(name).unwrap()),
        1 => Just(ServiceName::new(&long).unwrap()),
    ]
}

pub(crate) fn version_name() -> impl Strategy<Value = VersionName> {
    select(vec!["stable", "canary", "v2"]).prop_map(|name| VersionName::new(name).unwrap())
}

pub(crate) fn backend() -> impl Strategy<Value = BackendRef> {
    (
        service_name(),
        proptest::option::of(version_name()),
        weight(),
    )
        .prop_map(|(service, version, weight)| BackendRef {
            service,
            version,
            weight,
        })
}

fn networks() -> impl Strategy<Value = Vec<ipnet::IpNet>> {
    let nets = [
        "10.0.0.0/8",
        "0.0.0.0/0",
        "::/0",
        "fd00::/8",
        "192.168.1.1/32",
    ];
    vec(
        select(nets.to_vec()).prop_map(|net| net.parse().unwrap()),
        1..4,
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let sizes = (
        1usize..65_536,
        1usize..1_000_000,
        1usize..100_000,
        1usize..100_000,
    );
    let times = (duration(), duration(), duration(), duration());
    (sizes, times, any::<bool>()).prop_map(|(sizes, times, get_body)| Limits {
        max_headers: sizes.0,
        max_header_bytes: sizes.1,
        max_field_bytes: sizes.2,
        max_request_line_bytes: sizes.3,
        get_body,
        head_timeout: times.0,
        handshake_timeout: times.1,
        idle_timeout: times.2,
        stream_idle_timeout: times.3,
    })
}

fn http2() -> impl Strategy<Value = Http2> {
    let window = || 1u32..2_147_483_648;
    let age = proptest::option::of(duration());
    (any::<bool>(), 1u32.., window(), window(), age, duration()).prop_map(
        |(
            enabled,
            max_concurrent_streams,
            stream_window,
            connection_window,
            max_age,
            max_age_grace,
        )| Http2 {
            enabled,
            max_concurrent_streams,
            stream_window,
            connection_window,
            max_age,
            max_age_grace,
        },
    )
}

fn udp() -> impl Strategy<Value = UdpLimits> {
    (duration(), 1usize..1_000_000, 1usize..65_536).prop_map(
        |(idle_timeout, max_sessions, max_packet)| UdpLimits {
            idle_timeout,
            max_sessions,
            max_packet,
        },
    )
}

fn trusted() -> impl Strategy<Value = TrustedHops> {
    prop_oneof![
        Just(TrustedHops::None),
        any::<u8>().prop_map(TrustedHops::Count),
        networks().prop_map(TrustedHops::Networks),
    ]
}

fn listener(name: String) -> impl Strategy<Value = Listener> {
    let proxy_protocol =
        (networks(), any::<bool>(), any::<bool>()).prop_map(|(from, required, pass_tlvs)| {
            ProxyProtocol {
                from,
                required,
                pass_tlvs,
            }
        });
    let first = (
        address(),
        select(Protocol::ALL.to_vec()),
        trusted(),
        any::<bool>(),
        limits(),
    );
    let second = (
        any::<bool>(),
        proptest::option::of(proxy_protocol),
        udp(),
        tls::listener(),
        http2(),
        source(),
    );
    let third = (
        proptest::option::of(authorization::authorization()),
        select(vec![
            ForwardClientCert::Sanitize,
            ForwardClientCert::SanitizeSet,
            ForwardClientCert::AppendForward,
        ]),
    );
    (first, second, third, any::<bool>()).prop_map(move |(first, second, third, defaults)| {
        let (bind, protocol, trusted_hops, strict, limits) = first;
        let (via, proxy_protocol, udp, tls, http2, source) = second;
        let mut own = Listener::new(ListenerName::new(&name).unwrap(), bind, protocol);
        own.tls = (protocol == Protocol::Https).then(|| Arc::new(tls));
        if !defaults {
            own.trusted_hops = trusted_hops;
            own.path_policy = if strict {
                PathPolicy::Strict
            } else {
                PathPolicy::Canonicalize
            };
            own.limits = limits;
            own.via = via;
            own.proxy_protocol = proxy_protocol.filter(|_| protocol != Protocol::Udp);
            own.udp = udp;
            own.http2 = http2;
            (own.authorization, own.client_cert) = (third.0.map(Arc::new), third.1);
            own.source = source;
        }
        own
    })
}

fn tracing() -> impl Strategy<Value = Tracing> {
    let known = vec![
        Propagation::TraceContext,
        Propagation::B3,
        Propagation::B3Multi,
    ];
    let otlp = (
        any::<bool>(),
        any::<u16>(),
        text(&["", "/otlp"]),
        duration(),
    )
        .prop_map(|(https, port, path, timeout)| Otlp {
            https,
            host: "collector.example".to_owned(),
            port,
            path: path.to_string(),
            protocol: if https {
                OtlpProtocol::Grpc
            } else {
                OtlpProtocol::Http
            },
            headers: std::vec![(Arc::from("authorization"), Secret::new("Bearer \"x\""))],
            timeout,
            service_name: "weir".to_owned(),
        });
    let named = proptest::option::of(text(&["x-trace-id"]));
    (
        0u16..=10_000,
        vec(select(known), 1..3),
        any::<bool>(),
        named,
        proptest::option::of(otlp),
    )
        .prop_map(
            |(sampling, propagation, trust_caller, response_header, otlp)| Tracing {
                sampling: Sampling::from_hundredths(sampling),
                propagation,
                trust_caller,
                response_header,
                otlp,
            },
        )
}

fn route(name: String) -> impl Strategy<Value = (Route, Vec<Index>)> {
    let age = prop_oneof![Just(0), any::<u64>()];
    (
        vec(any::<Index>(), 0..3),
        hosts(0),
        vec(rule::rule(), 1..4),
        age,
        source(),
    )
        .prop_map(move |(on, hostnames, rules, age, source)| {
            let route = Route {
                name: RouteName::new(&name).unwrap(),
                listeners: Vec::new(),
                hostnames,
                rules,
                age,
                source,
            };
            (route, on)
        })
}

fn stream(name: String) -> impl Strategy<Value = (StreamRoute, Vec<Index>)> {
    (
        vec(any::<Index>(), 1..3),
        hosts(0),
        vec(backend(), 1..4),
        any::<u64>(),
        source(),
    )
        .prop_map(move |(on, hostnames, backends, age, source)| {
            let stream = StreamRoute {
                name: RouteName::new(&name).unwrap(),
                listeners: Vec::new(),
                hostnames,
                backends,
                age,
                source,
            };
            (stream, on)
        })
}

/// The listeners of a kind that were drawn, each once.
fn drawn(all: &[Arc<Listener>], http: bool, on: &[Index]) -> Vec<ListenerName> {
    let fit: Vec<_> = all
        .iter()
        .filter(|own| own.protocol.is_http() == http)
        .collect();
    let mut names: Vec<ListenerName> = Vec::new();
    for index in on.iter().filter(|_| !fit.is_empty()) {
        let name = index.get(&fit).name.clone();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Any model that the compiler could have made.
pub(crate) fn model() -> impl Strategy<Value = Model> {
    let listeners = (0usize..4).prop_flat_map(|count| {
        (0..count)
            .map(|n| listener(format!("on-{n}")))
            .collect::<Vec<_>>()
    });
    let names = btree_set(service_name(), 0..4);
    let services =
        names.prop_flat_map(|names| names.into_iter().map(service::service).collect::<Vec<_>>());
    let routes = (0usize..4).prop_flat_map(|count| {
        (0..count)
            .map(|n| route(format!("r/{n}")))
            .collect::<Vec<_>>()
    });
    let streams = (0usize..3).prop_flat_map(|count| {
        (0..count)
            .map(|n| stream(format!("s/{n}")))
            .collect::<Vec<_>>()
    });
    let tracing = prop_oneof![Just(Tracing::default()), tracing()];
    (listeners, services, routes, streams, tracing).prop_map(
        |(listeners, services, routes, streams, tracing)| {
            let mut model = Model {
                listeners: listeners.into_iter().map(Arc::new).collect(),
                services: services.into_iter().map(Arc::new).collect(),
                tracing: Arc::new(tracing),
                ..Model::default()
            };
            for (mut route, on) in routes {
                route.listeners = drawn(&model.listeners, true, &on);
                model.routes.push(Arc::new(route));
            }
            for (mut stream, on) in streams {
                stream.listeners = drawn(&model.listeners, false, &on);
                let by_name = |name: &ListenerName| {
                    model
                        .listener(name.as_str())
                        .is_some_and(|own| own.protocol == Protocol::TlsPassthrough)
                };
                if !stream.listeners.iter().all(by_name) {
                    stream.hostnames.clear();
                }
                if !stream.listeners.is_empty() {
                    model.streams.push(Arc::new(stream));
                }
            }
            model.sort();
            model
        },
    )
}
