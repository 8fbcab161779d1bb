//! TCP: both ends hear each other as if nobody stood between them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use weir_tests::config::Setup;
use weir_tests::ports;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;
use weir_tests::wire::Wire;

use super::support::{TcpOrigin, connect, connect_from, echo, expect, log_lines};

fn setup(origins: &[(&str, &TcpOrigin)]) -> Setup {
    let endpoints: Vec<_> = origins.iter().map(|(v, o)| (*v, o.addr())).collect();
    Setup::new()
        .protocol("tcp")
        .access_log("json")
        .service("db", &endpoints)
        .stream("db", "backendRefs: [{ name: db }]")
}

#[test]
fn bytes_pass_both_ways_and_the_stream_is_counted_and_logged() {
    let origin = TcpOrigin::named("hi ");
    let weir = Weir::start(&setup(&[("stable", &origin)]));
    let mut client = connect(&weir);
    expect(&mut client, "hi ");
    client.send("hello").expect("send");
    expect(&mut client, "hello");
    assert_eq!(weir.metric("weir_downstream_connections", &["web"]), 1.0);
    client.finish().expect("end");
    assert_eq!(client.to_end().expect("the end"), b"");
    let line = log_lines(&weir, 1).remove(0);
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(text("protocol"), "tcp", "{line}");
    assert_eq!((text("route"), text("service")), ("db".into(), "db".into()));
    assert_eq!(
        (text("version"), text("flags")),
        ("stable".into(), "-".into())
    );
    assert_eq!(
        (line["bytes_in"].as_u64(), line["bytes_out"].as_u64()),
        (Some(5), Some(8))
    );
    assert_eq!(line["attempts"].as_u64(), Some(1));
    let labels = ["protocol=\"tcp\"", "flag=\"-\"", "version=\"stable\""];
    weir.counts("weir_streams_total", &labels, 1.0);
    weir.counts("weir_stream_received_bytes_total", &["db"], 5.0);
    weir.counts("weir_stream_sent_bytes_total", &["db"], 8.0);
    weir.counts("weir_downstream_connections", &["web"], 0.0);
    assert_eq!(weir.metric("weir_requests_total", &[]), 0.0);
}

#[test]
fn a_client_that_has_ended_still_gets_the_answer() {
    let origin = TcpOrigin::start(|mut wire| {
        let all = wire.to_end().unwrap_or_default();
        let _ = wire.send(format!("{} bytes", all.len()));
    });
    let weir = Weir::start(&setup(&[("stable", &origin)]));
    let mut client = connect(&weir);
    client.send([7; 100_000]).expect("send");
    client.finish().expect("end");
    assert_eq!(client.to_end().expect("the answer"), b"100000 bytes");
}

#[test]
fn an_endpoint_that_has_ended_still_gets_the_rest() {
    let (told, heard) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let origin = TcpOrigin::start(move |mut wire| {
        let _ = wire.send("bye");
        let _ = wire.finish();
        let rest = wire.to_end().unwrap_or_default();
        let _ = told.lock().expect("the lock").send(rest);
    });
    let weir = Weir::start(&setup(&[("stable", &origin)]));
    let mut client = connect(&weir);
    assert_eq!(client.to_end().expect("the end"), b"bye");
    client.send("and more").expect("send after the end");
    client.finish().expect("end");
    let rest = heard
        .recv_timeout(Duration::from_secs(15))
        .expect("the rest");
    assert_eq!(rest, b"and more");
}

#[test]
fn a_large_transfer_arrives_whole_both_ways() {
    let origin = TcpOrigin::start(|mut wire| echo(&mut wire));
    let weir = Weir::start(&setup(&[("stable", &origin)]));
    let data: Vec<u8> = (0..8_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut client = connect(&weir);
    let mut writer = Wire::new(client.stream().try_clone().expect("a second handle"), None);
    let sent = data.clone();
    let writing = std::thread::spawn(move || {
        writer.send(&sent).expect("send");
        writer.finish().expect("end");
    });
    let got = client.to_end().expect("all of it");
    writing.join().expect("the writer");
    assert!(
        got == data,
        "{} of {} bytes, or others",
        got.len(),
        data.len()
    );
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let origin = TcpOrigin::start(|mut wire| {
        let _ = wire.exactly(2);
        wire.reset_on_close();
    });
    let weir = Weir::start(&setup(&[("stable", &origin)]));
    let mut client = connect(&weir);
    client.send("go").expect("send");
    let error = client.some().expect_err("not an orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    assert_eq!(log_lines(&weir, 1)[0]["flags"], "UC");
}

#[test]
fn a_stream_on_which_nothing_moves_ends() {
    let origin = TcpOrigin::named("hi");
    let setup = setup(&[("stable", &origin)]).listener("limits: { streamIdleTimeout: 600ms }");
    let weir = Weir::start(&setup);
    let mut client = connect(&weir);
    expect(&mut client, "hi");
    let start = Instant::now();
    // What moves keeps it open past the timeout.
    while start.elapsed() < Duration::from_millis(1200) {
        client.send(".").expect("send");
        expect(&mut client, ".");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(client.to_end().expect("the end"), b"");
    assert_eq!(log_lines(&weir, 1)[0]["flags"], "SI");
}

#[test]
fn a_connection_that_fails_goes_to_another_endpoint() {
    let origin = TcpOrigin::named("alive");
    // Nobody listens there.
    let dead = ports::free();
    let setup = Setup::new()
        .protocol("tcp")
        .access_log("json")
        .service_with(
            "db",
            &[("stable", dead), ("stable", origin.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .stream("db", "backendRefs: [{ name: db }]");
    let weir = Weir::start(&setup);
    for _ in 0..10 {
        expect(&mut connect(&weir), "alive");
    }
    assert!(weir.metric("weir_retries_total", &["connect-failure"]) >= 4.0);
    let lines = log_lines(&weir, 10);
    assert!(lines.iter().any(|l| l["attempts"] == 2) && lines.iter().all(|l| l["flags"] == "-"));
}

#[test]
fn without_an_endpoint_or_a_route_the_connection_is_closed() {
    let dead = ports::free();
    let setup = Setup::new()
        .protocol("tcp")
        .access_log("json")
        .service("db", &[("stable", dead)])
        .service("none", &[]);
    for (routed, flag) in [
        (
            setup.clone().stream("db", "backendRefs: [{ name: db }]"),
            "UF",
        ),
        (
            setup.clone().stream("db", "backendRefs: [{ name: none }]"),
            "UH",
        ),
        (setup.clone(), "NR"),
    ] {
        let weir = Weir::start(&routed);
        let mut client = connect(&weir);
        assert_eq!(client.to_end().unwrap_or_default(), b"");
        assert_eq!(log_lines(&weir, 1)[0]["flags"], flag);
    }
}

// semantics 18, 19
#[test]
fn versions_share_connections_by_weight() {
    let (stable, second, canary) = (
        TcpOrigin::named("s"),
        TcpOrigin::named("s"),
        TcpOrigin::named("c"),
    );
    let endpoints = [
        ("stable", stable.addr()),
        ("stable", second.addr()),
        ("canary", canary.addr()),
    ];
    let weir = Weir::start(
        &Setup::new()
            .protocol("tcp")
            .service_with(
                "db",
                &endpoints,
                "versions: [{ name: stable, weight: 90 }, { name: canary, weight: 10 }]",
            )
            .stream("db", "backendRefs: [{ name: db }]"),
    );
    let mut names = String::new();
    for _ in 0..100 {
        let name = connect(&weir).exactly(1).expect("a name");
        names.push(char::from(name[0]));
    }
    assert_eq!(names.matches('c').count(), 10, "{names}");
    assert!(!names.contains("cc"), "smooth: {names}");
}

// semantics 10
#[test]
fn an_open_stream_weighs_on_its_endpoint() {
    let (first, second) = (TcpOrigin::named("1"), TcpOrigin::named("2"));
    let weir = Weir::start(&setup(&[("stable", &first), ("stable", &second)]));
    let mut open: Vec<Wire> = (0..20).map(|_| connect(&weir)).collect();
    for wire in &mut open {
        wire.exactly(1).expect("a name");
    }
    assert_eq!((first.accepted(), second.accepted()), (10, 10));
    let endpoints = weir.json("/api/v1/endpoints");
    for endpoint in endpoints["endpoints"].as_array().expect("a list") {
        assert_eq!(endpoint["inFlight"], 10, "{endpoint}");
    }
}

// semantics 9, 10
#[test]
fn connections_beyond_the_limit_are_refused_at_once_and_those_there_are_stay() {
    let origin = TcpOrigin::named("hi");
    let setup = Setup::new()
        .protocol("tcp")
        .workers(2)
        .access_log("json")
        .service_with(
            "db",
            &[("stable", origin.addr())],
            "connectionPool: { tcp: { maxConnections: 3 } }",
        )
        .stream("db", "backendRefs: [{ name: db }]");
    let weir = Weir::start(&setup);
    let mut open: Vec<Wire> = (0..3).map(|_| connect(&weir)).collect();
    for wire in &mut open {
        expect(wire, "hi");
    }
    for _ in 0..5 {
        assert_eq!(connect(&weir).to_end().unwrap_or_default(), b"");
    }
    assert!(log_lines(&weir, 5).iter().all(|line| line["flags"] == "UO"));
    assert_eq!(origin.accepted(), 3);
    // Whoever leaves makes room.
    drop(open.pop());
    eventually("room for another", || {
        (connect(&weir).exactly(2).ok()? == b"hi").then_some(())
    });
    for wire in &mut open {
        wire.send("x").expect("send");
        expect(wire, "x");
    }
}

#[test]
fn an_endpoint_that_takes_no_connections_is_ejected() {
    let origin = TcpOrigin::named("alive");
    let dead = ports::free();
    let setup = Setup::new()
        .protocol("tcp")
        .access_log("json")
        .service_with(
            "db",
            &[("stable", dead), ("stable", origin.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }, \
             outlierDetection: { splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 3 }",
        )
        .stream("db", "backendRefs: [{ name: db }]");
    let weir = Weir::start(&setup);
    for _ in 0..10 {
        expect(&mut connect(&weir), "alive");
    }
    assert_eq!(weir.metric("weir_retries_total", &["connect-failure"]), 3.0);
    let endpoints = weir.json("/api/v1/endpoints");
    let states: Vec<_> = endpoints["endpoints"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|e| e["state"].clone())
        .collect();
    assert!(states.contains(&"ejected".into()), "{states:?}");
}

#[test]
fn a_client_keeps_its_endpoint_where_addresses_are_hashed() {
    let origins = [
        TcpOrigin::named("1"),
        TcpOrigin::named("2"),
        TcpOrigin::named("3"),
    ];
    let endpoints: Vec<_> = origins.iter().map(|o| ("stable", o.addr())).collect();
    let setup = Setup::new()
        .protocol("tcp")
        .service_with(
            "db",
            &endpoints,
            "loadBalancer: { consistentHash: { useSourceIp: true } }",
        )
        .stream("db", "backendRefs: [{ name: db }]");
    let weir = Weir::start(&setup);
    let mut names = Vec::new();
    for client in 1..30 {
        let source = format!("127.0.0.{client}");
        let name = connect_from(&source, &weir).exactly(1).expect("a name");
        for _ in 0..3 {
            expect(&mut connect_from(&source, &weir), &name);
        }
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "all of them have clients");
}

// semantics 33
#[test]
fn a_removed_endpoint_keeps_its_streams_until_the_drain_timeout() {
    let (leaving, staying) = (TcpOrigin::named("leaving"), TcpOrigin::named("staying"));
    let with = |origin: &TcpOrigin| {
        Setup::new()
            .protocol("tcp")
            .access_log("json")
            .service_with("db", &[("stable", origin.addr())], "drainTimeout: 1s")
            .stream("db", "backendRefs: [{ name: db }]")
    };
    let weir = Weir::start(&with(&leaving));
    let mut old = connect(&weir);
    expect(&mut old, "leaving");
    weir.apply(&with(&staying));
    let start = Instant::now();
    expect(&mut connect(&weir), "staying");
    old.send("still").expect("send");
    expect(&mut old, "still");
    assert_eq!(old.to_end().expect("the end"), b"");
    let took = start.elapsed();
    assert!(took > Duration::from_millis(500), "{took:?}");
    let lines = eventually("the line of the old stream", || {
        let lines = log_lines(&weir, 1);
        lines.iter().any(|l| l["flags"] == "UC").then_some(lines)
    });
    assert!(!lines.is_empty());
}

// semantics 35
#[test]
fn sigterm_lets_streams_finish_and_then_exits() {
    let origin = TcpOrigin::named("hi");
    let setup = setup(&[("stable", &origin)])
        .top("gracePeriod: 100ms")
        .top("drainTimeout: 20s");
    let mut weir = Weir::start(&setup);
    let mut client = connect(&weir);
    expect(&mut client, "hi");
    weir.signal(Signal::TERM);
    within(Duration::from_secs(10), "no more connections", || {
        std::net::TcpStream::connect(weir.addr())
            .is_err()
            .then_some(())
    });
    client.send("still here").expect("send");
    expect(&mut client, "still here");
    let start = Instant::now();
    client.finish().expect("end");
    assert_eq!(client.to_end().expect("the end"), b"");
    assert_eq!(weir.wait_exit().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(10), "exits when idle");
}

#[test]
fn lists_show_what_is_below_http() {
    let origin = TcpOrigin::named("hi");
    let weir = Weir::start(&setup(&[("stable", &origin)]));
    expect(&mut connect(&weir), "hi");
    let listeners = weir.json("/api/v1/listeners");
    assert_eq!(listeners["listeners"][0]["protocol"], "tcp");
    assert_eq!(listeners["listeners"][0]["rules"], 1);
    let text = |args: &[&str]| String::from_utf8_lossy(&weir.cli(args).stdout).into_owned();
    let routes = text(&["routes"]);
    assert!(routes.contains("all of tcp"), "{routes}");
    assert!(text(&["listeners"]).contains("tcp"));
    let services = eventually("the stream to be counted", || {
        let services = weir.json("/api/v1/services");
        (services["services"][0]["versions"][0]["requests"] == 1).then_some(services)
    });
    assert_eq!(services["services"][0]["available"], 1);
}
