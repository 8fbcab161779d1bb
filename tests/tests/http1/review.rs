//! What a hostile review found once, so that it stays closed.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use weir_tests::client::Answer;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;
use weir_tests::wire::{find, latin1};

/// What a route timeout of a second may take, the proxy's own work included.
const A_SECOND_AND_LITTLE_MORE: Duration = Duration::from_millis(1200);

/// Answers a PUT before it reads its body, so that what follows on the connection shows whether the
/// body ever ended; closes a connection that was used before as soon as the next head has come.
fn hasty() -> Origin {
    Origin::start(|exchange| {
        if exchange.index > 0 {
            return Ok(After::Close);
        }
        exchange.reply(200, "", "OK")?;
        exchange.body()?;
        Ok(After::Keep)
    })
}

// semantics 27
#[test]
fn an_empty_chunked_body_is_never_sent_again_without_its_end() {
    for (what, pieces) in [
        (
            "in one write",
            [
                "PUT /empty HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "",
            ],
        ),
        (
            "in two writes",
            [
                "PUT /empty HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n",
                "0\r\n\r\n",
            ],
        ),
    ] {
        let origin = hasty();
        let weir = Weir::start(&Setup::to(&origin));
        let mut client = weir.client();
        assert_eq!(client.get("a.example", "/warm").status(), 200);
        for piece in pieces {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = client.response().status();
        assert!([200, 502].contains(&status), "{what}: {status}");
        let next = weir.get("a.example", "/next");
        assert_eq!(next.status(), 200, "{what}: {}", next.text());
        for tape in origin.tapes() {
            let Some(at) = find(&tape, b"PUT ") else {
                continue;
            };
            let head = find(&tape[at..], b"\r\n\r\n").expect("a whole head") + at + 4;
            // Nothing at all is what a connection that was closed with the head may have got.
            let after = latin1(&tape[head..]);
            assert!(
                after.is_empty() || after.starts_with("0\r\n\r\n"),
                "{what}: the body's place was taken by {after:?}"
            );
        }
    }
}

#[test]
fn a_greeting_in_the_same_write_as_the_101_reaches_the_client() {
    const GREETING: &[u8] = b"\x81\x05hello";
    let origin = Origin::start(|exchange| {
        let accept =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        exchange.send([accept, GREETING].concat())?;
        let answer = exchange.wire.exactly(4)?;
        exchange.send(answer)?;
        Ok(After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n");
    assert_eq!(client.response().status(), 101);
    let greeting = client.wire.exactly(GREETING.len()).expect("the greeting");
    assert_eq!(greeting, GREETING);
    let echo = client.send("ping").wire.exactly(4).expect("the echo");
    assert_eq!(echo, b"ping", "and the tunnel is open behind it");
}

/// Everything to that address, for a second at most and only once.
fn a_second(addr: std::net::SocketAddr) -> Setup {
    Setup::new().service("app", &[("stable", addr)]).route(
        "app",
        "backendRefs: [{ name: app }], retry: { attempts: 0 }, timeouts: { request: 1s }",
    )
}

/// A busy machine may make one answer late, but not three in a row.
fn times_out_after_a_second(what: &str, ask: impl Fn() -> (Answer, Duration)) {
    let mut took = Vec::new();
    for _ in 0..3 {
        let (answer, time) = ask();
        assert_eq!(answer.status(), Some(504), "{what}: {answer:?} in {time:?}");
        assert!(
            time >= Duration::from_millis(900),
            "{what}: too early, {time:?}"
        );
        if time < A_SECOND_AND_LITTLE_MORE {
            return;
        }
        took.push(time);
    }
    panic!("{what}: 504 only after {took:?}");
}

#[test]
fn the_route_timeout_holds_while_an_endpoint_reads_nothing_of_a_large_body() {
    // The kernel accepts for it, and takes what fits the socket's buffers.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let weir = Weir::start(&a_second(deaf.local_addr().expect("its address")));
    times_out_after_a_second("a large body", || {
        let mut client = weir.client();
        let mut sending = client.wire.stream().try_clone().expect("a second handle");
        let start = Instant::now();
        client.send("POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000\r\n\r\n");
        // Ends with the connection: nobody takes the whole body.
        let sender =
            std::thread::spawn(move || while sending.write_all(&[b'x'; 65_536]).is_ok() {});
        let answer = client.answer("POST", Duration::from_secs(4));
        let took = start.elapsed();
        let _ = client.wire.stream().shutdown(std::net::Shutdown::Both);
        sender.join().expect("the sender");
        (answer, took)
    });
}

#[test]
fn the_route_timeout_holds_while_a_client_waits_for_a_100_that_never_comes() {
    let mute = Origin::start(|exchange| {
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let weir = Weir::start(&a_second(mute.addr()));
    times_out_after_a_second("Expect: 100-continue", || {
        let mut client = weir.client();
        let start = Instant::now();
        client.send("POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
        let answer = client.answer("POST", Duration::from_secs(4));
        (answer, start.elapsed())
    });
}

#[test]
fn no_forwarded_name_of_a_stranger_reaches_the_origin() {
    let origin = Origin::ok("fields");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-User: admin\r\nx-forwarded-uri: /admin\r\nX-FORWARDED-GROUPS: root\r\nX-Forwarding: mine\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let seen = origin.only();
    for name in ["x-forwarded-user", "x-forwarded-uri", "x-forwarded-groups"] {
        assert_eq!(seen.get(name), None, "{name} passed to the origin");
    }
    assert_eq!(seen.get("x-forwarding"), Some("mine"), "no such name");
}

#[test]
fn a_body_that_is_malformed_from_its_first_byte_is_502() {
    let origin = Origin::start(|exchange| match exchange.head.word(1) {
        "/bad" => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")?;
            Ok(After::Keep)
        }
        _ => exchange.reply(200, "", "good"),
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let response = client.get("a.example", "/bad");
    assert_eq!(response.status(), 502, "{:?}", response.head);
    assert_eq!(weir.get("a.example", "/next").text(), "good");
    let last = origin.requests().pop().expect("a request");
    assert_eq!(last.connection, 1, "the bad connection was used again");
}

#[test]
fn an_escape_of_an_escape_is_400_however_it_is_written() {
    let origin = Origin::ok("never");
    let weir = Weir::start(&Setup::to(&origin));
    for target in ["/%2561dmin", "/%25%36%31dmin"] {
        assert_eq!(weir.get("a.example", target).status(), 400, "{target}");
    }
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
}

#[test]
fn a_chunked_body_that_begins_after_the_answer_still_goes_up() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")?;
        let body = exchange.body()?.data;
        exchange.send(format!("{:x}\r\n", body.len()))?;
        exchange.send(body)?;
        exchange.send("\r\n0\r\n\r\n")?;
        Ok(After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.wire.head().expect("a head").expect("a head");
    assert_eq!(head.status(), 200);
    assert_eq!(
        client.wire.exactly(7).expect("the first chunk"),
        b"2\r\nhi\r\n"
    );
    client.send("4\r\nbody\r\n0\r\n\r\n");
    assert_eq!(client.wire.chunked().expect("the rest").data, b"body");
    assert_eq!(weir.metric("weir_panics_total", &[]), 0.0);
}
