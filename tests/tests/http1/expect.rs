//! 1xx, `Expect: 100-continue`, and answers that come before the body is over.

use std::time::Duration;

use weir_tests::client::Answer;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::SILENCE;
use weir_tests::weir::Weir;

const CAREFUL_POST: &str =
    "POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn informational_answers_pass_in_front_of_the_final_one() {
    let origin = Origin::raw(
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
        After::Keep,
    );
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let response = client.get("a.example", "/");
    let interim: Vec<u16> = response.interim.iter().map(|head| head.status()).collect();
    assert_eq!((response.status(), interim), (200, vec![103, 102]));
    assert_eq!(response.interim[0].get("link"), Some("</a.css>"));
}

#[test]
fn a_1_0_client_never_sees_an_informational_answer() {
    let origin = Origin::raw(
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
        After::Keep,
    );
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let response = client
        .send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n")
        .response();
    assert!(
        response.interim.is_empty() && response.status() == 200,
        "{response:?}"
    );
}

#[test]
fn a_client_that_waits_for_100_gets_it_and_its_body_arrives() {
    let origin = Origin::start(|exchange| {
        if exchange.head.get("expect").is_some() {
            exchange.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = exchange.body()?;
        exchange.reply(200, "", &String::from_utf8_lossy(&body.data))
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for _ in 0..2 {
        let interim = client
            .send(CAREFUL_POST)
            .wire
            .head()
            .expect("a head")
            .expect("an answer");
        assert_eq!(interim.status(), 100);
        let response = client.send("hello").response();
        assert_eq!(
            (response.status(), response.text().as_str()),
            (200, "hello")
        );
        assert!(
            response.interim.is_empty(),
            "one 100 is enough: {:?}",
            response.interim
        );
    }
}

#[test]
fn a_refusal_before_the_body_never_lets_later_bytes_become_a_request() {
    let origin = Origin::start(|exchange| match exchange.head.word(0) {
        "POST" => exchange.reply(413, "", "too much").map(|_| After::Close),
        _ => exchange.reply(200, "", "OK"),
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let response = client.send(CAREFUL_POST).response();
    assert_eq!(response.status(), 413);
    // The client holds the body back and goes on: these bytes are a body, or nothing.
    let _ = client
        .wire
        .send("GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let after = client.answer("GET", Duration::from_secs(1));
    assert!(
        after.status() != Some(200),
        "the bytes after a refusal were served: {after:?}"
    );
    assert!(
        origin
            .requests()
            .iter()
            .all(|seen| seen.target() != "/smuggled"),
        "{:?}",
        origin.requests()
    );
}

#[test]
fn an_unknown_expectation_is_417_and_reaches_nobody() {
    let origin = Origin::ok("never");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let response = client
        .send("GET / HTTP/1.1\r\nHost: a.example\r\nExpect: 200-ok\r\n\r\n")
        .response();
    assert_eq!(response.status(), 417);
    assert!(origin.requests().is_empty());
}

#[test]
fn an_answer_that_comes_before_the_body_is_over_reaches_the_client_at_once() {
    let origin = Origin::start(|exchange| {
        exchange.reply(403, "Connection: close\r\n", "no thanks")?;
        // Lets the answer be read before unread bytes would reset the connection.
        let _ = exchange.wire.arriving(Duration::from_secs(2));
        Ok(After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000000\r\n\r\n");
    client.send(vec![b'x'; 10_000]);
    let response = client.response();
    assert_eq!(
        (response.status(), response.text().as_str()),
        (403, "no thanks")
    );
    // Most of the body was never sent, so nothing else can follow on this connection.
    client.wire.patience = Duration::from_secs(5);
    let mut sent = 0;
    while client.wire.send(vec![b'x'; 100_000]).is_ok() && sent < 200_000_000 {
        sent += 100_000;
    }
    assert!(sent < 200_000_000, "200 MB of an unwanted body were taken");
    assert_eq!(
        weir.get("a.example", "/next").status(),
        403,
        "and weir serves on"
    );
}

#[test]
fn an_early_answer_to_a_body_that_then_ends_leaves_both_connections_usable_or_closed() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")?;
        exchange.body()?;
        Ok(After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("POST /1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nhello");
    let response = client.response();
    assert_eq!(response.text(), "early");
    let sent = client
        .wire
        .send("worldPOST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n");
    match client.answer("POST", Duration::from_secs(2)) {
        Answer::Response(second) => assert_eq!(second.text(), "early"),
        Answer::Closed => {}
        Answer::Silence => panic!("neither an answer nor a close ({sent:?})"),
    }
    let targets: Vec<String> = origin
        .requests()
        .iter()
        .map(|seen| seen.target().to_owned())
        .collect();
    assert!(
        targets
            .iter()
            .all(|target| target == "/1" || target == "/2"),
        "{targets:?}"
    );
}

#[test]
fn a_client_that_leaves_takes_its_request_to_the_origin_with_it() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        loop {
            exchange.send("5\r\nhello\r\n")?;
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.wire.head().expect("a head").expect("an answer");
    assert_eq!(origin.open(), 1);
    drop(client);
    weir_tests::wait::eventually("the origin's connection to close", || {
        (origin.open() == 0).then_some(())
    });
}

#[test]
fn nothing_is_sent_to_a_client_that_has_not_asked() {
    let origin = Origin::ok("quiet");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    assert_eq!(
        client.wire.arriving(SILENCE).expect("an open connection"),
        b""
    );
    assert_eq!(
        origin.accepted(),
        0,
        "no request, no connection to the origin"
    );
    assert_eq!(client.get("a.example", "/").status(), 200);
}
