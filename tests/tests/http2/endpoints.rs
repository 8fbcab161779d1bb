//! Endpoints of HTTP/2 that go away, refuse, break off, or speak something else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use h2::Reason;
use http::Method;
use rustix::process::{Pid, Signal, kill_process};
use weir_tests::h2::{Origin, Reply};
use weir_tests::program::Program;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::{h2 as peers, origin};

use crate::support::{Ask, Speaks, ask, ask_h2, fronted, fronted_pair, listen, to, to_with};

#[test]
fn connections_that_endpoints_close_with_goaway_under_load_lose_no_request() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| Reply {
        go_away: count.fetch_add(1, Ordering::SeqCst) % 7 == 6,
        ..Reply::default()
    });
    let weir = Weir::start(&to(Speaks::H2, origin.addr()).workers(2));
    std::thread::scope(|scope| {
        for client in 0..4 {
            let weir = &weir;
            scope.spawn(move || {
                let connection = weir.h2c();
                for n in 0..60 {
                    let method = if n % 2 == 0 { "GET" } else { "POST" };
                    let what = Ask {
                        body: if n % 2 == 0 { b"" } else { b"body" },
                        ..Ask::of(method, "/")
                    };
                    let got = ask_h2(&connection, &what);
                    let text = String::from_utf8_lossy(&got.body).into_owned();
                    assert_eq!(got.status, 200, "client {client}, request {n}: {text}");
                }
            });
        }
    });
    assert!(origin.accepted() > 10, "{} connections", origin.accepted());
    assert_eq!(weir.metric("weir_ejections_total", &[]), 0.0);
}

#[test]
fn a_burst_that_a_goaway_meets_is_asked_again_beyond_any_budget() {
    // The first connection takes ten streams and says GOAWAY: thirty more were on their way.
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| Reply {
        wait: Duration::from_millis(20),
        go_away: count.fetch_add(1, Ordering::SeqCst) == 0,
        ..Reply::default()
    });
    let (_weir, client) = fronted(origin.addr());
    for _ in 0..5 {
        let streams: Vec<_> = (0..80)
            .map(|_| client.open(client.request(Method::GET, "a.example", "/"), true))
            .collect();
        for stream in streams {
            assert_eq!(stream.response().status, 200);
        }
    }
}

#[test]
fn a_refused_stream_is_asked_for_again_also_with_the_body_of_a_post() {
    for front in [Speaks::H1, Speaks::H2] {
        let count = AtomicUsize::new(0);
        let origin = Origin::start(move |_| Reply {
            reset: (count.fetch_add(1, Ordering::SeqCst) == 0).then_some(Reason::REFUSED_STREAM),
            ..Reply::default()
        });
        let weir = Weir::start(&to(Speaks::H2, origin.addr()));
        let what = Ask {
            body: b"the body",
            ..Ask::of("POST", "/")
        };
        assert_eq!(ask(front, &weir, &what).status, 200, "{front:?}");
        let bodies: Vec<_> = origin
            .requests()
            .into_iter()
            .map(|seen| seen.body)
            .collect();
        let body = Some(b"the body".to_vec());
        assert_eq!(bodies, [body.clone(), body], "{front:?}");
        assert_eq!(weir.metric("weir_retries_total", &["refused-stream"]), 1.0);
    }
}

#[test]
fn a_stream_reset_before_its_answer_is_a_502_that_only_a_get_is_asked_again_for() {
    let origin = Origin::start(|_| Reply {
        reset: Some(Reason::INTERNAL_ERROR),
        ..Reply::default()
    });
    for front in [Speaks::H1, Speaks::H2] {
        let weir = Weir::start(&to(Speaks::H2, origin.addr()));
        for (method, tries) in [("POST", 1), ("GET", 3)] {
            origin.clear();
            let got = ask(front, &weir, &Ask::of(method, "/"));
            assert_eq!(
                (got.status, origin.count()),
                (502, tries),
                "{method}, {front:?}"
            );
        }
        assert_eq!(origin.open(), 1, "the connection goes on");
    }
}

#[test]
fn an_endpoint_that_resets_all_its_streams_is_ejected_although_its_connection_is_an_old_one() {
    let bad = Origin::start(|_| Reply {
        reset: Some(Reason::INTERNAL_ERROR),
        ..Reply::default()
    });
    let good = Origin::ok();
    let keys = "outlierDetection: { consecutive5xxErrors: 3, maxEjectionPercent: 100 }";
    let (_weir, client) = fronted_pair([bad.addr(), good.addr()], keys);
    for _ in 0..10 {
        let _ = ask_h2(&client, &Ask::of("POST", "/"));
    }
    assert_eq!(bad.count(), 3);
    assert_eq!(good.count(), 7);
}

#[test]
fn an_answer_that_breaks_off_looks_broken_to_the_client() {
    let origin = Origin::start(|_| Reply {
        body: vec![b'x'; 1000],
        cut: Some(Reason::INTERNAL_ERROR),
        ..Reply::default()
    });
    let (weir, client) = fronted(origin.addr());
    let error = client.try_exchange(client.request(Method::GET, "a.example", "/"), b"");
    assert_eq!(
        error.expect_err("no whole answer").reason(),
        Some(Reason::INTERNAL_ERROR)
    );
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = client.wire.head().expect("a head").expect("a head");
    assert_eq!(head.status(), 200);
    assert!(client.wire.chunked().is_err(), "no last chunk");
}

#[test]
fn an_answer_shorter_or_longer_than_it_says_never_looks_whole() {
    for length in ["5", "500"] {
        let origin = Origin::start(move |_| {
            let mut reply = Reply {
                body: vec![b'x'; 50],
                ..Reply::default()
            };
            reply
                .response
                .headers_mut()
                .insert("content-length", length.parse().unwrap());
            reply
        });
        let (weir, client) = fronted(origin.addr());
        let answer = client.try_exchange(client.request(Method::GET, "a.example", "/"), b"");
        assert!(
            answer.is_err() || answer.is_ok_and(|a| a.status == 502),
            "{length}"
        );
        let mut client = weir.client();
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let whole = client.try_response("GET");
        assert!(
            whole.is_err() || whole.is_ok_and(|a| a.is_some_and(|a| a.status() == 502)),
            "{length}"
        );
    }
}

#[test]
fn an_endpoint_that_dies_in_mid_answer_breaks_its_streams_off_and_the_next_are_told() {
    let origin = Program::origin(&[]);
    let (_weir, client) = fronted(origin.addr());
    let path = "/stream/1000?interval=20ms";
    let mut stream = client.open(client.request(Method::GET, "a.example", path), true);
    assert_eq!(stream.head().expect("a head").status, 200);
    assert!(stream.data().expect("data").is_some());
    drop(origin);
    let broken = eventually("the end of the stream", || match stream.data() {
        Ok(Some(_)) => None,
        other => Some(other),
    });
    assert!(broken.is_err(), "{broken:?}");
    assert_eq!(client.get("a.example", "/").status, 503);
}

#[test]
fn an_endpoint_that_speaks_no_http2_or_nothing_at_all_is_told_of_in_time() {
    let h1 = origin::Origin::ok("h1");
    let weir = Weir::start(&to(Speaks::H2, h1.addr()));
    assert_eq!(weir.get("a.example", "/").status(), 503);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = silent.local_addr().expect("an address");
    let keys = "connectionPool: { tcp: { connectTimeout: 300ms } }";
    let weir = Weir::start(&to_with(Speaks::H2, addr, keys, "retry: { attempts: 0 }"));
    let start = Instant::now();
    let client = weir.h2c();
    let streams: Vec<_> = (0..5)
        .map(|_| client.open(client.request(Method::GET, "a.example", "/"), true))
        .collect();
    for stream in streams {
        assert_eq!(stream.response().status, 504);
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_endpoint_that_takes_no_streams_is_not_asked_for_ever() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(0);
    let origin = Origin::start_with(&builder, None, |_| Reply::default());
    let weir = Weir::start(&to_with(
        Speaks::H2,
        origin.addr(),
        "",
        "retry: { attempts: 0 }",
    ));
    assert_eq!(
        peers::Client::connect(weir.addr())
            .get("a.example", "/")
            .status,
        502
    );
    assert!(origin.accepted() <= 3, "{}", origin.accepted());
}

#[test]
fn a_full_answer_whose_stream_is_reset_without_an_error_is_whole() {
    // RFC 9113, section 8.1: the endpoint wants no more of the request.
    let body = vec![b'x'; 40_000];
    let answer = body.clone();
    let addr = early(answer);
    let (_weir, client) = fronted(addr);
    for _ in 0..20 {
        let mut stream = client.open(client.request(Method::POST, "a.example", "/"), false);
        stream.send(b"some", false);
        let answer = stream.try_response().expect("a whole answer");
        assert!(answer.status == 200 && answer.body == body);
    }
}

/// Answers at once with that body, and then resets the stream with NO_ERROR.
fn early(body: Vec<u8>) -> std::net::SocketAddr {
    let body = bytes::Bytes::from(body);
    listen(move |stream| {
        let body = body.clone();
        async move {
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                let mut out = respond
                    .send_response(http::Response::new(()), false)
                    .expect("a head");
                out.send_data(body.clone(), true).expect("a body");
                // What drops the request unread resets its stream without an error.
            }
        }
    })
}

/// Stops a process as the kernel does, or lets it go on.
fn signal(program: &Program, signal: Signal) {
    let pid = i32::try_from(program.pid()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("signal it");
}

#[test]
fn requests_whose_endpoint_stands_still_go_elsewhere_before_their_time_is_up() {
    let (still, good) = (Program::origin(&[]), Origin::ok());
    let (weir, client) = fronted_pair([still.addr(), good.addr()], "");
    let get = || client.open(client.request(Method::GET, "a.example", "/"), true);
    for _ in 0..4 {
        assert_eq!(get().response().status, 200);
    }
    assert_eq!(good.count(), 2);
    signal(&still, Signal::STOP);
    let start = Instant::now();
    let mut streams: Vec<_> = (0..6).map(|_| get()).collect();
    // Five seconds of silence, and five for a PONG.
    for stream in &mut streams {
        let head = stream.head_within(Duration::from_secs(14));
        let head = head.expect("an answer in time").expect("an answer");
        assert_eq!(head.status, 200);
    }
    let took = start.elapsed();
    assert!(took > Duration::from_secs(8), "{took:?}");
    assert_eq!(good.count(), 8);
    let retried = weir.metric("weir_retries_total", &["reset-before-request"]);
    assert_eq!(retried, 3.0);
    signal(&still, Signal::CONT);
}

#[test]
fn an_endpoint_that_works_for_long_and_is_there_keeps_its_requests() {
    let origin = Origin::start(|_| Reply {
        wait: Duration::from_secs(13),
        ..Reply::default()
    });
    let (weir, client) = fronted(origin.addr());
    let mut stream = client.open(client.request(Method::GET, "a.example", "/"), true);
    let head = stream.head_within(Duration::from_secs(20));
    let head = head.expect("an answer in time").expect("an answer");
    assert_eq!(head.status, 200);
    assert_eq!((origin.count(), origin.accepted()), (1, 1));
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0);
}
