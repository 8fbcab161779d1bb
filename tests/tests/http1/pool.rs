//! Connections to origins: reused, renewed, and retried only where that is safe.

use std::time::Duration;

use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::ports;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

/// Answers once on each connection, promises to keep it, and closes when the next request comes.
fn fickle() -> Origin {
    Origin::start(|exchange| {
        if exchange.index > 0 {
            return Ok(After::Close);
        }
        exchange.body()?;
        exchange.reply(200, "", "OK")
    })
}

// semantics 27
#[test]
fn the_idle_close_race_is_retried_for_an_idempotent_request() {
    let origin = fickle();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for n in 0..10 {
        let response = client.get("a.example", &format!("/{n}"));
        assert_eq!(response.status(), 200, "request {n}");
    }
}

// semantics 27
#[test]
fn a_post_that_may_have_been_processed_is_never_sent_twice() {
    let origin = fickle();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/warm").status(), 200);
    client.send("POST /pay HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
    let response = client.response();
    let posts = origin
        .requests()
        .iter()
        .filter(|seen| seen.method() == "POST")
        .count();
    assert!(posts <= 1, "the POST was sent {posts} times");
    assert_eq!(response.status(), 502, "and the client is told");
}

#[test]
fn an_origin_that_closed_an_idle_connection_is_noticed_in_time() {
    let origin = Origin::ok("closing");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for n in 0..5 {
        assert_eq!(client.get("a.example", "/").status(), 200);
        origin.hang_up();
        eventually("the close", || (origin.open() == 0).then_some(()));
        // Long enough for the close to arrive: then not even a POST is at risk.
        std::thread::sleep(Duration::from_millis(30));
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().status(), 200, "round {n}");
        origin.hang_up();
        std::thread::sleep(Duration::from_millis(30));
    }
}

// semantics 26
#[test]
fn an_endpoint_that_refuses_connections_costs_no_request() {
    let origin = Origin::ok("alive");
    let dead = ports::free();
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", dead), ("stable", origin.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    for n in 0..20 {
        let mut client = weir.client();
        match n % 2 {
            0 => assert_eq!(client.get("a.example", "/").status(), 200),
            _ => {
                // Nothing of the body was sent anywhere when a connection is refused.
                client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
                assert_eq!(client.response().status(), 200);
            }
        }
    }
    assert!(
        origin
            .requests()
            .iter()
            .filter(|seen| seen.method() == "POST")
            .all(|seen| seen.data() == b"hello")
    );
}

#[test]
fn a_service_whose_endpoints_all_refuse_answers_503_quickly() {
    let setup = Setup::new()
        .service(
            "app",
            &[("stable", ports::free()), ("stable", ports::free())],
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    let start = std::time::Instant::now();
    let status = weir.get("a.example", "/").status();
    assert!([502, 503].contains(&status), "{status}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn an_idempotent_request_is_retried_on_the_statuses_that_the_route_names() {
    let failing = Origin::start(|exchange| {
        exchange.body()?;
        exchange.reply(503, "", "down")
    });
    let fine = Origin::ok("fine");
    let rule = |on: &str| {
        format!(
            "backendRefs: [{{ name: app }}], retry: {{ attempts: 2, on: [{on}], backoff: {{ base: 1ms, max: 2ms }} }}"
        )
    };
    let service = |setup: Setup| {
        setup.service_with(
            "app",
            &[("stable", failing.addr()), ("stable", fine.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
    };
    let retrying = Weir::start(&service(Setup::new()).route("app", &rule("503")));
    for _ in 0..10 {
        assert_eq!(retrying.get("a.example", "/").status(), 200);
    }
    let plain = Weir::start(&service(Setup::new()).route("app", &rule("connect-failure")));
    let bad = (0..10)
        .filter(|_| plain.get("a.example", "/").status() == 503)
        .count();
    assert_eq!(
        bad, 5,
        "without the retry every other request meets the failing endpoint"
    );
    let mut client = retrying.client();
    failing.clear();
    for _ in 0..4 {
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
        client.response();
    }
    let posts = [&failing, &fine].map(|o| {
        o.requests()
            .iter()
            .filter(|seen| seen.method() == "POST")
            .count()
    });
    assert_eq!(
        posts.iter().sum::<usize>(),
        4,
        "a POST that was answered is not sent again: {posts:?}"
    );
}

#[test]
fn connection_close_from_the_origin_is_honoured() {
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        exchange
            .reply(200, "Connection: close\r\n", "OK")
            .map(|_| After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for _ in 0..5 {
        let response = client.get("a.example", "/");
        assert_eq!(response.status(), 200);
        assert!(!response.closes(), "the origin's close is not the client's");
    }
    assert_eq!(origin.accepted(), 5);
}

#[test]
fn a_connection_serves_as_many_requests_as_the_service_allows() {
    let origin = Origin::ok("few");
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", origin.addr())],
            "connectionPool: { http: { maxRequestsPerConnection: 3 } }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    for _ in 0..9 {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    assert_eq!(origin.accepted(), 3);
}

#[test]
fn an_idle_connection_to_an_origin_is_closed_after_its_time() {
    let origin = Origin::ok("idle");
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", origin.addr())],
            "connectionPool: { http: { idleTimeout: 300ms } }",
        )
        .route("app", "backendRefs: [{ name: app }]");
    let weir = Weir::start(&setup);
    assert_eq!(weir.get("a.example", "/").status(), 200);
    eventually("the idle connection to close", || {
        (origin.open() == 0).then_some(())
    });
    assert_eq!(weir.get("a.example", "/").status(), 200);
}

#[test]
fn a_connection_is_not_made_for_longer_than_the_connect_timeout() {
    // A listener with a full queue: connections to it hang.
    let full = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    rustix::net::bind(&full, &any).expect("bind");
    rustix::net::listen(&full, 0).expect("listen");
    let listener = std::net::TcpListener::from(full);
    let addr = listener.local_addr().expect("an address");
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)) {
        held.push(stream);
    }
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", addr)],
            "connectionPool: { tcp: { connectTimeout: 300ms } }",
        )
        .route(
            "app",
            "backendRefs: [{ name: app }], retry: { attempts: 0 }",
        );
    let weir = Weir::start(&setup);
    let start = std::time::Instant::now();
    let status = weir.get("a.example", "/").status();
    assert!([502, 503, 504].contains(&status), "{status}");
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "given up after {:?}",
        start.elapsed()
    );
}
