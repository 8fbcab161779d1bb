//! Mirrors: the copy arrives, and whatever becomes of it the original does not notice.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;
use weir_tests::wire::chunks;
use weir_tests::{ports, say};

fn mirrored(origin: &Origin, target: std::net::SocketAddr, mirror: &str) -> Setup {
    let filters = format!(
        "{{ type: RequestHeaderModifier, requestHeaderModifier: {{ set: [{{ name: x-env, value: prod }}] }} }}, \
         {{ type: RequestMirror, requestMirror: {{ {mirror} }} }}"
    );
    Setup::new()
        .service("app", &[("stable", origin.addr())])
        .service("next", &[("v2", target)])
        .route(
            "app",
            &format!("filters: [{filters}], backendRefs: [{{ name: app }}]"),
        )
}

/// An origin that never answers.
fn hanging() -> Origin {
    Origin::start(|exchange| {
        // The end of the connection ends the wait.
        exchange.wire.some()?;
        Ok(After::Close)
    })
}

/// Copies counted with that result.
fn counted(weir: &Weir, result: &str) -> usize {
    let label = format!("result=\"{result}\"");
    weir.metric("weir_mirror_total", &[&label]) as usize
}

fn wait_counted(weir: &Weir, result: &str, count: usize) {
    eventually(&format!("{count} copies {result}"), || {
        (counted(weir, result) >= count).then_some(())
    });
}

#[test]
fn a_copy_arrives_as_the_endpoint_gets_the_original() {
    let (origin, shadow) = (Origin::ok("app"), Origin::ok("shadow"));
    let weir = Weir::start(&mirrored(
        &origin,
        shadow.addr(),
        "backendRef: { name: next, version: v2 }",
    ));
    let mut client = weir.client();
    for request in [
        "GET /a?q=1 HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(),
        "HEAD /h HTTP/1.1\r\nHost: a.example\r\n\r\n".to_owned(),
        "POST /b HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "PUT /e HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n".to_owned(),
        format!(
            "POST /c HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            String::from_utf8(chunks(b"some chunks", 4)).unwrap()
        ),
    ] {
        origin.clear();
        shadow.clear();
        let method = request.split(' ').next().unwrap().to_owned();
        let response = client.send(&request).response_to(&method);
        assert_eq!(response.get("x-origin"), Some("app"), "{request}");
        let copy = eventually("the copy with its body", || {
            shadow.requests().pop().filter(|seen| seen.body.is_some())
        });
        let original = origin.only();
        assert_eq!(copy.head, original.head, "{request}");
        assert_eq!(copy.data(), original.data(), "{request}");
        assert_eq!(copy.get("x-env"), Some("prod"));
    }
    wait_counted(&weir, "sent", 5);
    assert_eq!(shadow.accepted(), 1, "one connection carries all copies");
}

#[test]
fn a_body_that_comes_slowly_is_copied_when_it_is_whole() {
    let (origin, shadow) = (Origin::ok("app"), Origin::ok("shadow"));
    let weir = Weir::start(&mirrored(
        &origin,
        shadow.addr(),
        "backendRef: { name: next }",
    ));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60000\r\n\r\n");
    client.send(vec![b'a'; 30_000]);
    origin.wait_for(1);
    client.send(vec![b'b'; 30_000]);
    assert_eq!(client.response().status(), 200);
    let copy = eventually("the copy with its body", || {
        shadow.requests().pop().filter(|seen| seen.body.is_some())
    });
    assert_eq!(copy.data(), origin.only().data());
}

#[test]
fn a_body_that_is_too_large_is_not_copied_and_is_counted() {
    let (origin, shadow) = (Origin::ok("app"), Origin::ok("shadow"));
    let weir = Weir::start(&mirrored(
        &origin,
        shadow.addr(),
        "backendRef: { name: next }",
    ));
    let large = vec![b'x'; 64 * 1024 + 1];
    let mut client = weir.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
        large.len()
    ));
    assert_eq!(client.send(&large).response().status(), 200);
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.send(chunks(&large, 9000)).response().status(), 200);
    wait_counted(&weir, "too-large", 2);
    assert_eq!(origin.requests()[1].data(), large);
    assert!(shadow.requests().is_empty());
}

#[test]
fn a_mirror_that_is_dead_or_gone_changes_nothing() {
    let origin = Origin::ok("app");
    let refusing = ports::free();
    let weir = Weir::start(&mirrored(&origin, refusing, "backendRef: { name: next }"));
    let mut client = weir.client();
    for _ in 0..20 {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    wait_counted(&weir, "failed", 20);
    // A service that is not there yet gets no copies.
    let unknown = mirrored(&origin, refusing, "backendRef: { name: next, version: v9 }");
    weir.apply(&unknown);
    assert_eq!(client.get("a.example", "/").status(), 200);
    wait_counted(&weir, "failed", 21);
}

#[test]
fn a_mirror_that_hangs_costs_the_original_nothing_and_is_bounded() {
    let origin = Origin::ok("app");
    let hanging = hanging();
    let weir = Weir::start(&mirrored(
        &origin,
        hanging.addr(),
        "backendRef: { name: next }",
    ));
    let mut client = weir.client();
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let taken = start.elapsed();
    say(&format!(
        "100 requests beside a mirror that hangs: {taken:?}"
    ));
    // Had each waited for its copy, it would have been the copy's 15 seconds.
    assert!(taken < Duration::from_secs(10), "{taken:?}");
    // 64 are under way, and there is no room for more.
    assert_eq!(counted(&weir, "dropped"), 36);
    eventually("64 copies under way", || {
        (hanging.requests().len() == 64).then_some(())
    });
}

#[test]
fn a_mirror_that_hangs_is_given_up_with_the_routes_time() {
    let origin = Origin::ok("app");
    let hanging = hanging();
    let filter = "{ type: RequestMirror, requestMirror: { backendRef: { name: next } } }";
    let weir = Weir::start(
        &Setup::new()
            .service("app", &[("stable", origin.addr())])
            .service("next", &[("stable", hanging.addr())])
            .route(
                "app",
                &format!(
                    "filters: [{filter}], backendRefs: [{{ name: app }}], timeouts: {{ request: 300ms }}"
                ),
            ),
    );
    assert_eq!(weir.get("a.example", "/").status(), 200);
    wait_counted(&weir, "failed", 1);
    eventually("the connection closed", || {
        (hanging.open() == 0).then_some(())
    });
}

#[test]
fn copies_leave_half_of_a_limit_to_requests_of_the_same_service() {
    let (origin, hanging) = (Origin::ok("app"), hanging());
    let filter =
        "{ type: RequestMirror, requestMirror: { backendRef: { name: app, version: v2 } } }";
    for limit in [
        "http: { http2MaxRequests: 4 }",
        "tcp: { maxConnections: 4 }",
    ] {
        hanging.hang_up();
        hanging.clear();
        let setup = Setup::new()
            .service_with(
                "app",
                &[("stable", origin.addr()), ("v2", hanging.addr())],
                &format!("connectionPool: {{ {limit} }}"),
            )
            .route(
                "app",
                &format!("filters: [{filter}], backendRefs: [{{ name: app, version: stable }}]"),
            );
        let weir = Weir::start(&setup);
        let mut client = weir.client();
        for _ in 0..50 {
            assert_eq!(client.get("a.example", "/").status(), 200, "{limit}");
        }
        wait_counted(&weir, "dropped", 48);
        let under_way = hanging.requests().len();
        assert!((1..=2).contains(&under_way), "{under_way} copies, {limit}");
    }
}

#[test]
fn copies_that_fail_eject_nobody() {
    let origin = Origin::ok("app");
    let failing = Origin::raw("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", After::Keep);
    let setup = Setup::new()
        .service("app", &[("stable", origin.addr())])
        .service_with(
            "next",
            &[("v2", failing.addr())],
            "outlierDetection: { consecutive5xxErrors: 1, maxEjectionPercent: 100 }",
        )
        .route(
            "app",
            "filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: next } } }], backendRefs: [{ name: app }]",
        );
    let weir = Weir::start(&setup);
    let mut client = weir.client();
    for _ in 0..20 {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    wait_counted(&weir, "sent", 20);
    assert_eq!(weir.metric("weir_ejections_active", &[]), 0.0);
}

#[test]
fn a_drain_waits_for_no_copy() {
    let origin = Origin::ok("app");
    let hanging = hanging();
    let setup =
        mirrored(&origin, hanging.addr(), "backendRef: { name: next }").top("gracePeriod: 100ms");
    let mut weir = Weir::start(&setup);
    assert_eq!(weir.get("a.example", "/").status(), 200);
    hanging.wait_for(1);
    let start = Instant::now();
    weir.signal(Signal::TERM);
    assert!(weir.wait_exit().success());
    // The copy alone would take its 15 seconds.
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_answer_of_any_kind_is_thrown_away() {
    let origin = Origin::ok("app");
    for (answer, after, result) in [
        (
            "HTTP/1.1 500 Oh no\r\nContent-Length: 2\r\n\r\nno",
            After::Keep,
            "sent",
        ),
        (
            "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
            After::Keep,
            "sent",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            After::Keep,
            "sent",
        ),
        ("HTTP/1.0 200 OK\r\n\r\nto the end", After::Close, "sent"),
        (
            "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            After::Keep,
            "failed",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
            After::Close,
            "failed",
        ),
        ("nonsense\r\n\r\n", After::Keep, "failed"),
        ("", After::Reset, "failed"),
    ] {
        let shadow = Origin::raw(answer, after);
        let weir = Weir::start(&mirrored(
            &origin,
            shadow.addr(),
            "backendRef: { name: next }",
        ));
        let mut client = weir.client();
        assert_eq!(client.get("a.example", "/").text(), "OK", "{answer:?}");
        wait_counted(&weir, result, 1);
        assert_eq!(client.get("a.example", "/").text(), "OK", "{answer:?}");
    }
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let origin = Origin::ok("app");
    let endless = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            exchange.send([b'x'; 64 * 1024])?;
        }
    });
    let weir = Weir::start(&mirrored(
        &origin,
        endless.addr(),
        "backendRef: { name: next }",
    ));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    wait_counted(&weir, "sent", 1);
    eventually("the connection closed", || {
        (endless.open() == 0).then_some(())
    });
}

#[test]
fn a_part_of_the_requests_is_copied_and_upgrades_never_are() {
    let (origin, shadow) = (Origin::ok("app"), Origin::ok("shadow"));
    let weir = Weir::start(&mirrored(
        &origin,
        shadow.addr(),
        "backendRef: { name: next }, percent: 25",
    ));
    let mut client = weir.client();
    for _ in 0..400 {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let copies = eventually("all copies", || {
        let (sent, dropped) = (counted(&weir, "sent"), counted(&weir, "dropped"));
        (sent == shadow.requests().len() && dropped == 0).then_some(sent)
    });
    // Five standard deviations around 100.
    assert!((57..=143).contains(&copies), "{copies} of 400");
    let all = mirrored(&origin, shadow.addr(), "backendRef: { name: next }");
    weir.apply(&all);
    shadow.clear();
    let asked =
        "GET /up HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(client.send(asked).response().status(), 200);
    std::thread::sleep(SILENCE);
    assert!(shadow.requests().iter().all(|seen| seen.target() != "/up"));
}
