//! Origins that break the rules: a 502 for the client, and the connection is never used again.

use std::time::Duration;

use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

/// Answers `/bad` with these bytes and keeps its connection open; anything else properly.
fn two_faced(bad: Vec<u8>, after: After) -> Origin {
    Origin::start(move |exchange| {
        exchange.body()?;
        match exchange.head.word(1) {
            "/bad" => {
                exchange.send(&bad)?;
                Ok(after)
            }
            _ => exchange.reply(200, "", "good"),
        }
    })
}

/// No retries, so that one bad answer is one bad answer.
fn setup(origin: &Origin) -> Setup {
    Setup::new()
        .service("app", &[("stable", origin.addr())])
        .route(
            "app",
            "backendRefs: [{ name: app }], retry: { attempts: 0 }, timeouts: { request: 3s }",
        )
}

fn check(what: &str, bad: Vec<u8>, after: After) {
    let origin = two_faced(bad, after);
    let weir = Weir::start(&setup(&origin));
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/first").text(), "good");
    let response = client.get("a.example", "/bad");
    assert_eq!(response.status(), 502, "{what}: {:?}", response.head);
    assert_eq!(weir.get("a.example", "/next").text(), "good", "{what}");
    let last = origin.requests().pop().expect("a request");
    assert_eq!(last.target(), "/next", "{what}");
    // Not the second: a look at an endpoint that gave no answer is a connection, too.
    assert_ne!(
        last.connection, 0,
        "{what}: the bad connection was used again"
    );
}

#[test]
fn an_answer_with_two_framings_is_502() {
    check(
        "CL and TE",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec(),
        After::Keep,
    );
    check(
        "two lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        After::Keep,
    );
    check(
        "a list of lengths",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc".to_vec(),
        After::Keep,
    );
    check(
        "chunked twice",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "chunked not last",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "chunked in 1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        After::Keep,
    );
}

#[test]
fn an_answer_with_a_malformed_length_is_502() {
    for length in [
        "+5",
        "-1",
        "0x5",
        "",
        "5 5",
        "99999999999999999999999",
        "five",
    ] {
        check(
            length,
            format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello").into_bytes(),
            After::Keep,
        );
    }
}

#[test]
fn an_answer_that_is_no_http_is_502() {
    check(
        "garbage",
        b"\x16\x03\x01garbage\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "an HTTP/2 preface",
        b"\0\0\x12\x04\0\0\0\0\0".repeat(20),
        After::Close,
    );
    check(
        "HTTP/2.0",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "HTTP/1.x",
        b"HTTP/1.x 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a status of two digits",
        b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a status of four digits",
        b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a status below 100",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a field without colon",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nnocolon\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "an empty name",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n: v\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a space before the colon",
        b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a folded field",
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "NUL in a value",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
    check(
        "a bare CR in a value",
        b"HTTP/1.1 200 OK\r\nx: a\rb\r\nContent-Length: 0\r\n\r\n".to_vec(),
        After::Keep,
    );
}

#[test]
fn an_answer_that_ends_in_its_head_is_502() {
    check("nothing", Vec::new(), After::Close);
    check("half a status line", b"HTTP/1.1 2".to_vec(), After::Close);
    check(
        "half a head",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n".to_vec(),
        After::Close,
    );
    check(
        "a reset",
        b"HTTP/1.1 200 OK\r\nContent-".to_vec(),
        After::Reset,
    );
    check(
        "only 100s",
        b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        After::Close,
    );
}

#[test]
fn an_answer_too_large_in_its_head_is_502() {
    let many: String = (0..2000).map(|n| format!("x-{n}: v\r\n")).collect();
    check(
        "2000 fields",
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{many}\r\n").into_bytes(),
        After::Keep,
    );
    check(
        "a field of 200 KiB",
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx: {}\r\n\r\n",
            "v".repeat(200_000)
        )
        .into_bytes(),
        After::Keep,
    );
    check(
        "a head without end",
        format!(
            "HTTP/1.1 200 OK\r\n{}",
            "x: yyyyyyyyyyyyyyyy\r\n".repeat(50_000)
        )
        .into_bytes(),
        After::Keep,
    );
}

#[test]
fn a_flood_of_informational_answers_is_502() {
    check(
        "1xx without end",
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(20_000),
        After::Keep,
    );
}

#[test]
fn bytes_after_a_body_reach_nobody_and_end_the_connection() {
    let extras: [(&str, &[u8]); 4] = [
        ("after a length", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrueHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake"),
        ("after the last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntrue\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake"),
        ("a body on 204", b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfake"),
        ("a body on 304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nfake"),
    ];
    for (what, answer) in extras {
        let origin = two_faced(answer.to_vec(), After::Keep);
        let weir = Weir::start(&setup(&origin));
        let mut client = weir.client();
        let response = client.get("a.example", "/bad");
        assert!(
            [200, 204, 304, 502].contains(&response.status()),
            "{what}: {}",
            response.status()
        );
        assert!(!response.text().contains("fake"), "{what}");
        for n in 0..5 {
            assert_eq!(
                weir.get("a.example", &format!("/{n}")).text(),
                "good",
                "{what}: the next answer is the next request's own"
            );
        }
        let connections: Vec<usize> = origin
            .requests()
            .iter()
            .map(|seen| seen.connection)
            .collect();
        assert!(
            connections[1..].iter().all(|&c| c != connections[0]),
            "{what}: the bad connection was used again: {connections:?}"
        );
    }
}

#[test]
fn an_answer_sent_before_the_question_is_never_taken_for_it() {
    let origin = Origin::start(|exchange| {
        exchange.reply(200, "", "first")?;
        if exchange.index == 0 {
            std::thread::sleep(Duration::from_millis(50));
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")?;
        }
        Ok(After::Keep)
    });
    let weir = Weir::start(&setup(&origin));
    let mut client = weir.client();
    for _ in 0..5 {
        let answer = client.get("a.example", "/");
        // On a busy machine both may arrive in one read: then neither is believed.
        assert!(
            answer.text() == "first" || answer.status() == 502,
            "{answer:?}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_body_cut_short_is_never_made_whole() {
    let cuts: [(&str, &[u8]); 4] = [
        (
            "a length not reached",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        ),
        (
            "no last chunk",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        ),
        (
            "a chunk cut",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello",
        ),
        (
            "a bad chunk size",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
        ),
    ];
    for (what, answer) in cuts {
        let origin = two_faced(answer.to_vec(), After::Close);
        let weir = Weir::start(&setup(&origin));
        let mut client = weir.client();
        client.send("GET /bad HTTP/1.1\r\nHost: a.example\r\n\r\n");
        match client.try_response("GET") {
            Ok(Some(refusal)) => assert_eq!(refusal.status(), 502, "{what}: {refusal:?}"),
            Ok(None) => panic!("{what}: closed without a word"),
            Err(cut) => {
                assert!(
                    !weir_tests::wire::is_timeout(&cut),
                    "{what}: neither cut nor refused: {cut}"
                );
            }
        }
        assert_eq!(weir.get("a.example", "/next").text(), "good", "{what}");
    }
}
