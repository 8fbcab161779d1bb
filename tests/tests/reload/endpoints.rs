//! Endpoints that go, change their weight or are checked anew.

use std::net::SocketAddr;
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::load::Load;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{apply_text, weighted};

/// One endpoint whose requests have half a second once it is removed.
fn draining_fast(addr: SocketAddr) -> Setup {
    Setup::new()
        .service_with("app", &[("stable", addr)], "drainTimeout: 500ms")
        .route("app", "backendRefs: [{ name: app }]")
}

/// Replaces the endpoint that streams to this client: the stream is cut, in time, and does not look whole.
fn is_cut_when_replaced(weir: &Weir, client: &mut Client, staying: SocketAddr) {
    let start = std::time::Instant::now();
    weir.apply(&draining_fast(staying));
    let rest = client.closed();
    let took = start.elapsed();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "a body that was cut must not look whole"
    );
    assert!(
        took >= Duration::from_millis(400) && took < Duration::from_secs(5),
        "cut off after {took:?}"
    );
}

// semantics 33
#[test]
fn a_removed_endpoint_takes_nothing_new_and_finishes_what_it_has() {
    let (begin, begun) = std::sync::mpsc::channel();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let (begin, finished) = (
        std::sync::Mutex::new(begin),
        std::sync::Mutex::new(finished),
    );
    let leaving = Origin::start(move |exchange| {
        exchange.body()?;
        if exchange.head.word(1) == "/slow" {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")?;
            begin
                .lock()
                .expect("one at a time")
                .send(())
                .expect("the test listens");
            finished
                .lock()
                .expect("one at a time")
                .recv()
                .expect("the test goes on");
            exchange.send("later")?;
            return Ok(After::Keep);
        }
        exchange.reply(200, "x-origin: leaving\r\n", "OK")
    });
    let staying = Origin::ok("staying");
    let both = Setup::new()
        .service_with(
            "app",
            &[("stable", leaving.addr()), ("stable", staying.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let one = Setup::new()
        .service_with(
            "app",
            &[("stable", staying.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let only_leaving = Setup::new()
        .service_with(
            "app",
            &[("stable", leaving.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&only_leaving);
    let mut slow = weir.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    begun
        .recv_timeout(weir_tests::wait::PATIENCE)
        .expect("the slow request began");
    weir.apply(&both);
    weir.apply(&one);
    let count = leaving.requests().len();
    for _ in 0..20 {
        assert_eq!(weir.get("a.example", "/").get("x-origin"), Some("staying"));
    }
    assert_eq!(
        leaving.requests().len(),
        count,
        "nothing new for the removed endpoint"
    );
    finish.send(()).expect("the origin waits");
    assert_eq!(
        slow.response().text(),
        "firstlater",
        "what it had is finished"
    );
    eventually("the connections to the removed endpoint to close", || {
        (leaving.open() == 0).then_some(())
    });
}

// semantics 33
#[test]
fn a_removed_endpoint_is_cut_off_at_its_drain_timeout() {
    let leaving = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let staying = Origin::ok("staying");
    let weir = Weir::start(&draining_fast(leaving.addr()));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.wire.head().expect("a head").expect("an answer");
    is_cut_when_replaced(&weir, &mut client, staying.addr());
}

// semantics 14
#[test]
fn a_check_that_is_added_to_a_serving_service_loses_no_request() {
    let origin = Origin::ok("app");
    let with = |keys: &str| {
        Setup::new()
            .workers(2)
            .service_with("app", &[("stable", origin.addr())], keys)
            .route(
                "app",
                "backendRefs: [{ name: app }], retry: { attempts: 0 }",
            )
    };
    let weir = Weir::start(&with(""));
    let load = Load::gets(weir.addr(), 4, "a.example");
    load.advance(50);
    weir.apply(&with(
        "healthCheck: { http: { path: /healthy }, interval: 200ms }",
    ));
    eventually("a few checks", || {
        let requests = origin.requests();
        let checks = requests.iter().filter(|seen| seen.target() == "/healthy");
        (checks.count() >= 3).then_some(())
    });
    load.advance(50);
    load.stop_unharmed();
}

// semantics 33
#[test]
fn an_idle_client_is_not_closed_for_an_endpoint_that_once_refused_it() {
    let dead = weir_tests::ports::free();
    let alive = Origin::ok("alive");
    let with = |addr| {
        Setup::new()
            .service_with("app", &[("stable", addr)], "drainTimeout: 500ms")
            .route(
                "app",
                "backendRefs: [{ name: app }], retry: { attempts: 0 }",
            )
    };
    let weir = Weir::start(&with(dead));
    let mut client = weir.client();
    let refused = client.get("a.example", "/");
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(
        !refused.closes(),
        "a refusal of the endpoint, not of the client"
    );
    weir.apply(&with(alive.addr()));
    // Three times the drain timeout, and a margin for the timer's sweep.
    let rest = client
        .wire
        .arriving(Duration::from_millis(1800))
        .expect("an open connection");
    assert_eq!(rest, b"");
    let again = client.get("a.example", "/");
    assert_eq!(again.get("x-origin"), Some("alive"));
}

// semantics 16
#[test]
fn an_endpoint_whose_weight_changes_keeps_its_connections() {
    let origin = Origin::ok("app");
    let setup = Setup::to(&origin);
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/").status(), 200);
    for weight in [5, 2, 9] {
        apply_text(&weir, &weighted(&setup.render(weir.ports()), weight));
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    assert_eq!(origin.accepted(), 1, "connections opened");
}

// semantics 33
#[test]
fn a_quiet_stream_on_an_endpoint_weighted_anew_and_then_removed_is_cut_too() {
    let leaving = Origin::start(|exchange| {
        if exchange.head.word(1) != "/quiet" {
            return exchange.reply(200, "", "OK");
        }
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let staying = Origin::ok("staying");
    let weir = Weir::start(&draining_fast(leaving.addr()));
    let mut client = weir.client();
    client.send("GET /quiet HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.wire.head().expect("a head").expect("an answer");
    let before = draining_fast(leaving.addr()).render(weir.ports());
    apply_text(&weir, &weighted(&before, 5));
    // Every worker has taken the new weight up once it has answered by it.
    assert_eq!(weir.get("a.example", "/").status(), 200);
    is_cut_when_replaced(&weir, &mut client, staying.addr());
}
