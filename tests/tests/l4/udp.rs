//! UDP: a client's datagrams go to one endpoint, and the answers come from where it asked.

use std::time::Duration;

use rustix::process::Signal;
use weir_tests::config::Setup;
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;

use super::support::{UdpClient, UdpOrigin, log_lines};

fn setup(origins: &[&UdpOrigin]) -> Setup {
    let endpoints: Vec<_> = origins.iter().map(|o| ("stable", o.addr())).collect();
    Setup::new()
        .protocol("udp")
        .access_log("json")
        .service_with(
            "dns",
            &endpoints,
            "loadBalancer: { simple: ROUND_ROBIN }, drainTimeout: 500ms",
        )
        .stream("dns", "backendRefs: [{ name: dns }]")
}

fn dropped(weir: &Weir, reason: &str) -> f64 {
    weir.metric(
        "weir_datagrams_dropped_total",
        &[&format!("reason=\"{reason}\"")],
    )
}

#[test]
fn a_client_keeps_its_endpoint_and_the_session_is_counted_and_logged() {
    let (a, b) = (UdpOrigin::named("a"), UdpOrigin::named("b"));
    let weir = Weir::start(&setup(&[&a, &b]).listener("udp: { idleTimeout: 1s }"));
    let clients: Vec<_> = (0..6).map(|_| UdpClient::of(&weir)).collect();
    let mut names = Vec::new();
    for client in &clients {
        let first = client.ask("one");
        for n in 0..5 {
            assert_eq!(
                client.ask(&format!("{n}")),
                first.replace("one", &n.to_string())
            );
        }
        names.push(first);
    }
    names.sort();
    assert_eq!(
        names,
        ["a:one", "a:one", "a:one", "b:one", "b:one", "b:one"]
    );
    let sources = |origin: &UdpOrigin| {
        let mut sources = origin.sources();
        sources.sort();
        sources.dedup();
        sources.len()
    };
    assert_eq!(
        (sources(&a), sources(&b)),
        (3, 3),
        "a socket for each session"
    );
    assert_eq!(weir.metric("weir_downstream_connections", &["web"]), 6.0);
    // They end by themselves when nothing moves.
    let lines = log_lines(&weir, 6);
    assert!(
        lines
            .iter()
            .all(|l| l["protocol"] == "udp" && l["flags"] == "-" && l["service"] == "dns")
    );
    assert_eq!(lines[0]["bytes_in"], 8);
    assert_eq!(lines[0]["bytes_out"], 8 + 6 * 2);
    weir.counts("weir_streams_total", &["protocol=\"udp\""], 6.0);
    weir.counts("weir_downstream_connections", &["web"], 0.0);
}

#[test]
fn an_expired_session_begins_anew() {
    let origin = UdpOrigin::named("a");
    let weir = Weir::start(&setup(&[&origin]).listener("udp: { idleTimeout: 300ms }"));
    let client = UdpClient::of(&weir);
    assert_eq!(client.ask("1"), "a:1");
    log_lines(&weir, 1);
    assert_eq!(client.ask("2"), "a:2");
    let sources = origin.sources();
    assert_ne!(sources.first(), sources.last(), "another socket");
}

#[test]
fn sessions_are_bounded_and_what_is_too_much_is_counted() {
    let origin = UdpOrigin::named("a");
    let weir = Weir::start(&setup(&[&origin]).listener("udp: { maxSessions: 2, maxPacket: 100 }"));
    let (first, second, third) = (
        UdpClient::of(&weir),
        UdpClient::of(&weir),
        UdpClient::of(&weir),
    );
    first.ask("x");
    second.ask("x");
    assert_eq!(third.ask_within(b"x", SILENCE), None);
    assert!(dropped(&weir, "sessions") >= 1.0);
    assert_eq!(first.ask_within(&[7; 101], SILENCE), None);
    assert_eq!(dropped(&weir, "too-long"), 1.0);
    assert!(
        first
            .ask_within(&[7; 100], Duration::from_secs(10))
            .is_some()
    );
    assert_eq!(second.ask("still"), "a:still");
}

#[test]
fn a_large_datagram_passes_whole() {
    let origin = UdpOrigin::named("");
    let weir = Weir::start(&setup(&[&origin]));
    let data: Vec<u8> = (0..60_000u32).map(|n| (n % 251) as u8).collect();
    let answer = UdpClient::of(&weir).ask_within(&data, Duration::from_secs(10));
    let answer = answer.expect("an answer");
    assert_eq!(answer.len(), data.len() + 1);
    assert!(answer[1..] == data, "other bytes");
}

#[test]
fn when_an_endpoint_dies_its_clients_go_to_another() {
    let (a, b) = (UdpOrigin::named("a"), UdpOrigin::named("b"));
    let weir = Weir::start(&setup(&[&a, &b]));
    let clients: Vec<_> = (0..4).map(|_| UdpClient::of(&weir)).collect();
    for client in &clients {
        client.ask("x");
    }
    drop(a);
    for client in &clients {
        // The first datagram finds the port closed, which its machine says; a next one goes elsewhere.
        assert_eq!(client.ask("y"), "b:y");
    }
    let lines = log_lines(&weir, 2);
    assert!(lines.iter().all(|line| line["flags"] == "UC"), "{lines:#?}");
}

// semantics 9, 10
#[test]
fn a_session_counts_as_a_connection_of_its_service() {
    let origin = UdpOrigin::named("a");
    let weir = Weir::start(
        &Setup::new()
            .protocol("udp")
            .service_with(
                "dns",
                &[("stable", origin.addr())],
                "connectionPool: { tcp: { maxConnections: 1 } }",
            )
            .stream("dns", "backendRefs: [{ name: dns }]"),
    );
    let (first, second) = (UdpClient::of(&weir), UdpClient::of(&weir));
    assert_eq!(first.ask("x"), "a:x");
    assert_eq!(second.ask_within(b"x", SILENCE), None);
    assert_eq!(dropped(&weir, "overloaded"), 1.0);
    assert_eq!(first.ask("y"), "a:y");
}

#[test]
fn one_dead_endpoint_alone_costs_one_session_for_a_client_not_one_for_a_datagram() {
    let origin = UdpOrigin::named("a");
    let addr = origin.addr();
    let weir = Weir::start(&setup(&[&origin]));
    let client = UdpClient::of(&weir);
    client.ask("x");
    drop(origin);
    for _ in 0..20 {
        client.ask_within(b"y", Duration::from_millis(10));
    }
    let total = weir.metric("weir_downstream_connections_total", &["web"]);
    assert_eq!(total, 1.0, "{addr}");
}

// semantics 33
#[test]
fn when_an_endpoint_is_removed_its_clients_go_to_another_at_once() {
    let (a, b) = (UdpOrigin::named("a"), UdpOrigin::named("b"));
    let weir = Weir::start(&setup(&[&a]));
    let client = UdpClient::of(&weir);
    assert_eq!(client.ask("1"), "a:1");
    weir.apply(&setup(&[&b]));
    eventually("the other endpoint", || {
        (client.ask("2") == "b:2").then_some(())
    });
    assert_eq!(client.ask("3"), "b:3");
}

#[test]
fn without_an_endpoint_or_a_route_datagrams_are_dropped_and_counted() {
    let origin = UdpOrigin::named("a");
    let weir = Weir::start(&setup(&[]));
    let client = UdpClient::of(&weir);
    assert_eq!(client.ask_within(b"x", SILENCE), None);
    assert_eq!(dropped(&weir, "no-endpoint"), 1.0);
    weir.apply(&Setup::new().protocol("udp"));
    eventually("a datagram without a route", || {
        client.ask_within(b"x", Duration::from_millis(50));
        (dropped(&weir, "no-route") >= 1.0).then_some(())
    });
    weir.apply(&setup(&[&origin]));
    assert_eq!(client.ask("y"), "a:y");
}

#[test]
fn versions_share_sessions_by_weight() {
    let (stable, canary) = (UdpOrigin::named("s"), UdpOrigin::named("c"));
    let weir = Weir::start(
        &Setup::new()
            .protocol("udp")
            .service_with(
                "dns",
                &[("stable", stable.addr()), ("canary", canary.addr())],
                "versions: [{ name: canary, weight: 10 }]",
            )
            .stream("dns", "backendRefs: [{ name: dns }]"),
    );
    let clients: Vec<_> = (0..50).map(|_| UdpClient::of(&weir)).collect();
    let canaries = clients.iter().filter(|client| client.ask("x") == "c:x");
    assert_eq!(canaries.count(), 5);
}

#[test]
fn workers_share_the_clients() {
    let origin = UdpOrigin::named("a");
    let weir = Weir::start(&setup(&[&origin]).workers(2));
    let clients: Vec<_> = (0..40).map(|_| UdpClient::of(&weir)).collect();
    for round in 0..3 {
        for client in &clients {
            assert_eq!(client.ask(&round.to_string()), format!("a:{round}"));
        }
    }
    let mut sources = origin.sources();
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 40, "a session stays with its worker");
}

// semantics 35
#[test]
fn sigterm_serves_sessions_on_and_exits_when_they_are_silent() {
    let origin = UdpOrigin::named("a");
    let setup = setup(&[&origin])
        .top("gracePeriod: 100ms")
        .top("drainTimeout: 20s");
    let mut weir = Weir::start(&setup);
    let client = UdpClient::of(&weir);
    client.ask("x");
    let start = std::time::Instant::now();
    weir.signal(Signal::TERM);
    for n in 0..5 {
        assert_eq!(client.ask(&n.to_string()), format!("a:{n}"));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(weir.wait_exit().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "exits when silent"
    );
}
