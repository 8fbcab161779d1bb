//! Connections of clients from their first stream to their GOAWAY, and what changes of the configuration do to them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use rustix::process::Signal;
use weir_tests::config::Setup;
use weir_tests::h2::{Client, Origin, Reply};
use weir_tests::pki::Authority;
use weir_tests::program::Program;
use weir_tests::tls::Connector;
use weir_tests::wait::{SILENCE, eventually, within};
use weir_tests::weir::Weir;

use crate::support::{Speaks, fronted, to, to_with};

fn slow(time: Duration) -> Origin {
    Origin::start(move |seen| Reply {
        wait: if seen.uri.path() == "/slow" {
            time
        } else {
            Duration::ZERO
        },
        ..Reply::default()
    })
}

#[test]
fn a_connection_without_streams_is_sent_away_in_order_after_the_idle_timeout() {
    let origin = slow(Duration::from_millis(1200));
    let setup = to(Speaks::H2, origin.addr()).listener("limits: { idleTimeout: 400ms }");
    let weir = Weir::start(&setup);
    let mut client = weir.h2c();
    let start = Instant::now();
    // A stream that goes on is no idleness.
    assert_eq!(client.get("a.example", "/slow").status, 200);
    client.closed().expect("a GOAWAY without an error");
    let took = start.elapsed();
    assert!(
        (Duration::from_millis(1550)..Duration::from_secs(4)).contains(&took),
        "{took:?}"
    );
}

#[test]
fn a_connection_of_age_takes_no_more_streams_and_finishes_those_it_has() {
    let origin = slow(Duration::from_millis(2500));
    let setup = to(Speaks::H2, origin.addr())
        .listener("http2: { maxConnectionAge: 1s, maxConnectionAgeGrace: 10s }");
    let weir = Weir::start(&setup);
    let mut client = weir.h2c();
    let stream = client.open(client.request(Method::GET, "a.example", "/slow"), true);
    let refused = within(Duration::from_secs(3), "the GOAWAY", || {
        client
            .try_exchange(client.request(Method::GET, "a.example", "/"), b"")
            .err()
    });
    assert!(refused.is_go_away(), "{refused}");
    assert_eq!(stream.response().status, 200);
    client.closed().expect("an end without an error");
}

#[test]
fn streams_that_outlast_the_grace_end_with_the_connection() {
    let origin = slow(Duration::from_secs(20));
    let setup = to(Speaks::H2, origin.addr())
        .listener("http2: { maxConnectionAge: 1s, maxConnectionAgeGrace: 300ms }");
    let weir = Weir::start(&setup);
    let client = weir.h2c();
    let start = Instant::now();
    let stream = client.open(client.request(Method::GET, "a.example", "/slow"), true);
    assert!(stream.try_response().is_err());
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// GETs on one connection after another until told to stop; a server that says GOAWAY is left. How many were answered,
/// and on how many connections.
fn load(weir: &Weir, stop: &AtomicBool, done: &AtomicUsize) -> usize {
    let mut connections = 0;
    let mut client: Option<Client> = None;
    while !stop.load(Ordering::SeqCst) {
        let connected = client.get_or_insert_with(|| {
            connections += 1;
            weir.h2c()
        });
        match connected.try_open(connected.request(Method::GET, "a.example", "/"), true) {
            Ok(stream) => {
                let answer = stream
                    .try_response()
                    .unwrap_or_else(|e| panic!("a request failed: {e}"));
                assert_eq!(answer.status, 200, "{}", answer.text());
                done.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) if error.is_go_away() || connected.is_closed() => client = None,
            Err(error) => panic!("no stream: {error}"),
        }
    }
    connections
}

#[test]
fn sigterm_says_goaway_finishes_streams_and_fails_no_request() {
    let origin = slow(Duration::from_millis(1500));
    let setup = to(Speaks::H2, origin.addr()).workers(2);
    let mut weir = Weir::start(&setup.top("gracePeriod: 1s").top("drainTimeout: 10s"));
    let mut early = weir.h2c();
    let flying = early.open(early.request(Method::GET, "a.example", "/slow"), true);
    origin.wait_for(1);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| load(&weir, &stop, &done)))
            .collect();
        eventually("load", || (done.load(Ordering::SeqCst) > 50).then_some(()));
        weir.signal(Signal::TERM);
        eventually("readiness to fail", || {
            weir.try_admin("/ready")
                .is_ok_and(|r| r.status() == 503)
                .then_some(())
        });
        // Who looks at readiness goes elsewhere within the grace.
        stop.store(true, Ordering::SeqCst);
        for load in loads {
            load.join().expect("no request failed");
        }
    });
    assert_eq!(
        flying.response().status,
        200,
        "in flight when the signal came"
    );
    early.closed().expect("a GOAWAY without an error");
    assert_eq!(weir.wait_exit().code(), Some(0), "{}", weir.logs());
}

#[test]
fn changes_under_load_close_no_connection_and_fail_no_request() {
    let origins = [slow(Duration::ZERO), slow(Duration::ZERO)];
    let variant = |n: usize| {
        let endpoints = [("stable", origins[0].addr()), ("stable", origins[1].addr())];
        Setup::new()
            .workers(2)
            .service_with("app", &endpoints[..1 + n % 2], "appProtocol: h2c")
            .route("app", "backendRefs: [{ name: app }]")
            .rules(
                "extra",
                &format!("hostnames: [extra-{n}.example]"),
                &["backendRefs: [{ name: app }]"],
            )
    };
    let weir = Weir::start(&variant(0));
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let loads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| load(&weir, &stop, &done)))
            .collect();
        for n in 1..=40 {
            weir.apply(&variant(n));
        }
        stop.store(true, Ordering::SeqCst);
        for load in loads {
            assert_eq!(
                load.join().expect("no request failed"),
                1,
                "connections of one client"
            );
        }
    });
    assert!(done.load(Ordering::SeqCst) > 100);
}

#[test]
fn a_removed_endpoint_finishes_its_streams_and_gets_no_more() {
    let [old, new] = [slow(Duration::from_millis(800)), slow(Duration::ZERO)];
    let (weir, client) = fronted(old.addr());
    let flying = client.open(client.request(Method::GET, "a.example", "/slow"), true);
    old.wait_for(1);
    weir.apply(&to(Speaks::H2, new.addr()));
    for _ in 0..5 {
        assert_eq!(client.get("a.example", "/").status, 200);
    }
    assert_eq!(flying.response().status, 200);
    assert_eq!((old.count(), new.count()), (1, 5));
    eventually("the old connection to close", || {
        (old.open() == 0).then_some(())
    });
}

#[test]
fn a_removed_endpoint_that_does_not_finish_is_cut_off_in_time() {
    let [old, new] = [slow(Duration::from_secs(20)), slow(Duration::ZERO)];
    let (weir, client) = fronted(old.addr());
    let flying = client.open(client.request(Method::GET, "a.example", "/slow"), true);
    old.wait_for(1);
    let start = Instant::now();
    weir.apply(&to_with(Speaks::H2, new.addr(), "drainTimeout: 300ms", ""));
    assert_eq!(flying.response().status, 502);
    assert!(start.elapsed() < Duration::from_secs(5));
    eventually("the old connection to close", || {
        (old.open() == 0).then_some(())
    });
}

#[test]
fn a_listener_without_http2_speaks_http1_alone() {
    let origin = Program::origin(&[]);
    let authority = Authority::new("all");
    let dir = tempfile::tempdir().expect("a directory");
    let files = authority.server(&["a.example"]).write(dir.path(), "a");
    let off = |setup: Setup| setup.listener("http2: { enabled: false }");
    let weir = Weir::start(&off(to(Speaks::H1, origin.addr())));
    let mut client = weir.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.response().status(), 505);
    let weir = Weir::start(&off(to(Speaks::H1, origin.addr())).https(&[&files]));
    let both = Connector::trusting(&authority, "a.example", &["h2", "http/1.1"]);
    assert!(
        Client::try_connect_tls(weir.addr(), &both).is_err(),
        "h2 was chosen"
    );
    assert_eq!(weir.tls(&both).get("a.example", "/").status(), 200);
}

#[test]
fn a_change_of_protocol_lets_go_of_the_connections_of_the_old_one() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to(Speaks::H1, origin.addr()));
    let client = weir.h2c();
    let spoken = |client: &Client| {
        let answer = client.get("a.example", "/?json").json();
        answer["httpVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    assert_eq!(spoken(&client), "HTTP/1.1");
    for (speaks, expected) in [
        (Speaks::H2, "HTTP/2.0"),
        (Speaks::H1, "HTTP/1.1"),
        (Speaks::H2, "HTTP/2.0"),
    ] {
        // One in use at the change comes back behind it.
        let flying = client.open(
            client.request(Method::GET, "a.example", "/delay/600ms"),
            true,
        );
        std::thread::sleep(SILENCE);
        weir.apply(&to(speaks, origin.addr()));
        assert_eq!(spoken(&client), expected);
        assert_eq!(flying.response().status, 200);
        for _ in 0..3 {
            assert_eq!(
                spoken(&client),
                expected,
                "the old connection is used again"
            );
        }
    }
    eventually("one connection, and no old one", || {
        (weir.metric("weir_upstream_connections", &[]) <= 1.0).then_some(())
    });
}

#[test]
fn from_clear_to_tls_no_request_goes_in_clear_any_more() {
    let plain = Program::origin(&[]);
    let weir = Weir::start(&to(Speaks::H1, plain.addr()));
    let client = weir.h2c();
    let flying = client.open(
        client.request(Method::GET, "a.example", "/delay/600ms"),
        true,
    );
    std::thread::sleep(SILENCE);
    let tls = "tls: { validation: { insecureSkipVerify: true } }";
    weir.apply(&to_with(
        Speaks::H1,
        plain.addr(),
        tls,
        "retry: { attempts: 0 }",
    ));
    assert_eq!(flying.response().status, 200);
    for _ in 0..3 {
        // The endpoint speaks no TLS, so what is answered went in clear.
        assert_eq!(client.get("a.example", "/").status, 503);
    }
}
