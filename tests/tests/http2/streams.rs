//! Many streams: shared connections to endpoints, their bounds, and streams that clients give up.

use std::time::{Duration, Instant};

use h2::Reason;
use h2::server::Builder;
use http::Method;
use weir_tests::config::Setup;
use weir_tests::h2::{Origin, Reply, Stream};
use weir_tests::program::Program;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;
use weir_tests::{h2 as peers, origin};

use crate::support::{Speaks, fronted, to, to_with};

/// Answers each request after that time.
fn slow(time: Duration) -> Origin {
    slow_with(&Builder::new(), time)
}

fn slow_with(builder: &Builder, time: Duration) -> Origin {
    Origin::start_with(builder, None, move |_| Reply {
        wait: time,
        ..Reply::default()
    })
}

/// That many GETs at once on one connection.
fn open(client: &peers::Client, count: usize, path: &str) -> Vec<Stream> {
    (0..count)
        .map(|_| client.open(client.request(Method::GET, "a.example", path), true))
        .collect()
}

fn all_are_answered(streams: Vec<Stream>) {
    for stream in streams {
        assert_eq!(stream.response().status, 200);
    }
}

#[test]
fn a_hundred_streams_are_served_side_by_side() {
    let origin = Program::origin(&[]);
    for back in [Speaks::H1, Speaks::H2] {
        let weir = Weir::start(&to(back, origin.addr()));
        let client = weir.h2c();
        assert_eq!(client.get("a.example", "/").status, 200);
        assert_eq!(client.max_streams(), 100);
        let start = Instant::now();
        all_are_answered(open(&client, 100, "/delay/200ms"));
        let took = start.elapsed();
        assert!(took < Duration::from_secs(5), "one after another: {took:?}");
    }
}

#[test]
fn a_burst_on_a_cold_start_shares_one_connection_and_so_do_those_that_follow() {
    let origin = slow(Duration::from_millis(50));
    let (weir, client) = fronted(origin.addr());
    all_are_answered(open(&client, 60, "/"));
    assert_eq!((origin.count(), origin.accepted()), (60, 1));
    for _ in 0..10 {
        assert_eq!(weir.get("a.example", "/").status(), 200);
    }
    assert_eq!((origin.count(), origin.accepted()), (70, 1));
}

#[test]
fn the_endpoints_limit_of_streams_is_kept_from_the_first_burst_on() {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(5);
    let origin = slow_with(&builder, Duration::from_millis(100));
    let weir = Weir::start(&to(Speaks::H2, origin.addr()));
    all_are_answered(open(&weir.h2c(), 20, "/"));
    assert_eq!(origin.count(), 20, "none was refused and sent again");
    assert_eq!(origin.accepted(), 4, "five on each");
}

#[test]
fn who_finds_all_connections_full_waits_for_a_stream_to_end() {
    let origin = slow(Duration::from_millis(50));
    let keys = "connectionPool: { tcp: { maxConnections: 1 }, http: { maxConcurrentStreams: 2 } }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), keys, ""));
    let start = Instant::now();
    all_are_answered(open(&weir.h2c(), 12, "/"));
    assert_eq!((origin.count(), origin.accepted()), (12, 1));
    let took = start.elapsed();
    let expected = Duration::from_millis(300)..Duration::from_secs(5);
    assert!(expected.contains(&took), "two at a time: {took:?}");
}

#[test]
fn a_limit_of_connections_to_an_endpoint_does_not_take_it_for_full_while_streams_are_free() {
    let origin = slow(Duration::from_millis(50));
    let keys = "connectionPool: { tcp: { maxConnectionsPerEndpoint: 1 } }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), keys, ""));
    let client = weir.h2c();
    assert_eq!(client.get("a.example", "/").status, 200);
    all_are_answered(open(&client, 20, "/"));
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn an_idle_connection_to_one_endpoint_makes_room_for_another() {
    let origins = [slow(Duration::ZERO), slow(Duration::ZERO)];
    let endpoints = [("stable", origins[0].addr()), ("stable", origins[1].addr())];
    let keys = "appProtocol: h2c, connectionPool: { tcp: { maxConnections: 1 } }";
    let setup = Setup::new()
        .service_with("app", &endpoints, keys)
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    let start = Instant::now();
    for _ in 0..30 {
        assert_eq!(client.get("a.example", "/").status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(3));
    assert!(origins.iter().all(|origin| origin.count() > 0));
    assert!(origins.iter().map(Origin::open).sum::<usize>() <= 1);
}

#[test]
fn a_connection_is_worn_after_as_many_requests_as_are_set() {
    let origin = slow(Duration::ZERO);
    let keys = "connectionPool: { http: { maxRequestsPerConnection: 3 } }";
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), keys, ""));
    let client = weir.h2c();
    for _ in 0..7 {
        assert_eq!(client.get("a.example", "/").status, 200);
    }
    let on: Vec<usize> = origin
        .requests()
        .iter()
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(on, [0, 0, 0, 1, 1, 1, 2]);
    eventually("the worn ones to close", || {
        (origin.open() == 1).then_some(())
    });
}

#[test]
fn each_stream_of_a_connection_is_balanced_by_itself() {
    let origins = [slow(Duration::ZERO), slow(Duration::ZERO)];
    let endpoints = [("stable", origins[0].addr()), ("stable", origins[1].addr())];
    let setup = Setup::new()
        .service_with(
            "app",
            &endpoints,
            "appProtocol: h2c, loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    all_are_answered(open(&client, 20, "/"));
    assert_eq!(origins.each_ref().map(Origin::count), [10, 10]);
}

#[test]
fn a_stream_that_its_client_resets_is_cancelled_at_the_endpoint_and_harms_no_other() {
    // By whatever code it is reset: only a server may say that it has had enough of a body (RFC 9113, section 8.1).
    for code in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let origin = slow(Duration::from_secs(60));
        let (weir, client) = fronted(origin.addr());
        let mut partial = client.open(client.request(Method::POST, "a.example", "/"), false);
        partial.send(b"some", false);
        let mut whole = client.open(client.request(Method::GET, "a.example", "/"), true);
        origin.wait_for(2);
        partial.reset(code);
        whole.reset(code);
        let seen = within(Duration::from_secs(2), "the cancel at the endpoint", || {
            let requests = origin.requests();
            requests.iter().find_map(|seen| seen.reset)
        });
        assert_eq!(seen, Reason::CANCEL, "{code:?}");
        weir.counts("weir_requests_total", &["flag=\"DC\""], 2.0);
        assert_eq!((client.is_closed(), origin.open()), (false, 1));
    }
}

#[test]
fn an_endpoint_of_http1_sees_the_end_of_its_connection_when_the_client_resets_or_leaves() {
    for leaves in [false, true] {
        let origin = origin::Origin::start(|exchange| {
            // Waits for the end, without an answer.
            exchange.wire.some()?;
            Ok(origin::After::Close)
        });
        let weir = Weir::start(&to(Speaks::H1, origin.addr()));
        let client = weir.h2c();
        let mut stream = client.open(client.request(Method::GET, "a.example", "/"), true);
        origin.wait_for(1);
        match leaves {
            true => drop((stream, client)),
            false => stream.reset(Reason::CANCEL),
        }
        within(Duration::from_secs(2), "the end at the endpoint", || {
            (origin.open() == 0).then_some(())
        });
    }
}

#[test]
fn a_client_whose_connection_is_lost_cancels_all_that_it_had_asked_for() {
    let origin = slow(Duration::from_secs(10));
    let (_weir, client) = fronted(origin.addr());
    let streams: Vec<Stream> = (0..10)
        .map(|_| client.open(client.request(Method::POST, "a.example", "/"), false))
        .collect();
    origin.wait_for(10);
    drop((streams, client));
    within(Duration::from_secs(2), "ten cancels", || {
        let resets = origin
            .requests()
            .iter()
            .filter(|seen| seen.reset.is_some())
            .count();
        (resets == 10).then_some(())
    });
    assert_eq!(origin.open(), 1);
}
