//! Messages and their bodies: keep-alive, pipelining, lengths, chunks, trailers, HEAD, HTTP/1.0.

use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;
use weir_tests::wire::chunks;

/// Answers with the request's target and body, and with the body's trailers as fields.
fn echo() -> Origin {
    Origin::start(|exchange| {
        let body = exchange.body()?;
        let target = exchange.head.word(1).to_owned();
        let trailers: String = body
            .trailers
            .iter()
            .map(|(n, v)| format!("trailer-{n}: {v}\r\n"))
            .collect();
        let text = format!("{target} {}", String::from_utf8_lossy(&body.data));
        exchange.reply(200, &trailers, &text)
    })
}

#[test]
fn one_connection_serves_many_requests_over_one_connection_to_the_origin() {
    let origin = echo();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for n in 0..50 {
        let response = client.get("a.example", &format!("/{n}"));
        assert_eq!(
            (response.status(), response.text()),
            (200, format!("/{n} "))
        );
        assert!(!response.closes());
    }
    assert_eq!(origin.accepted(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|exchange| {
        let body = exchange.body()?;
        // The first is the slowest, so that an answer out of order would overtake it.
        if exchange.head.word(1) == "/0" {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        let text = format!(
            "{}{}",
            exchange.head.word(1),
            String::from_utf8_lossy(&body.data)
        );
        exchange.reply(200, "", &text)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let mut all = Vec::new();
    for n in 0..20 {
        match n % 3 {
            0 => all.extend(format!("GET /{n} HTTP/1.1\r\nHost: a.example\r\n\r\n").bytes()),
            1 => all.extend(
                format!("POST /{n} HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabc")
                    .bytes(),
            ),
            _ => {
                all.extend(format!("POST /{n} HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n").bytes());
                all.extend(chunks(b"defg", 3));
            }
        }
    }
    client.send(all);
    for n in 0..20 {
        let body = ["", "abc", "defg"][n % 3];
        assert_eq!(client.response().text(), format!("/{n}{body}"));
    }
}

#[test]
fn a_body_arrives_whole_whatever_its_framing_and_size() {
    let origin = Origin::start(|exchange| {
        let body = exchange.body()?;
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.data.len()
        ))?;
        exchange.send(&body.data)?;
        Ok(After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for size in [0, 1, 1000, 16 * 1024, 64 * 1024 + 1, 3_000_000] {
        let data: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        for chunk in [None, Some(1 + size / 7), Some(100_000)] {
            let mut request = b"POST /echo HTTP/1.1\r\nHost: a.example\r\n".to_vec();
            match chunk {
                None => {
                    request.extend(format!("Content-Length: {size}\r\n\r\n").bytes());
                    request.extend(&data);
                }
                Some(chunk) => {
                    request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                    request.extend(chunks(&data, chunk));
                }
            }
            // An origin that answers only after the last byte: sending and reading do not overlap.
            let response = client.send(request).response();
            assert_eq!(response.status(), 200);
            assert!(
                response.body.data == data,
                "{size} bytes in chunks of {chunk:?} came back changed"
            );
        }
    }
}

#[test]
fn a_chunked_request_split_at_every_byte_is_the_same_request() {
    let origin = echo();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let request = "POST /split HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    for byte in request.as_bytes() {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "/split hello!");
    assert_eq!(client.get("a.example", "/next").text(), "/next ");
}

#[test]
fn trailers_pass_towards_the_origin_and_back() {
    let origin = Origin::start(|exchange| {
        let body = exchange.body()?;
        let sum = body
            .trailers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case("x-sum"))
            .map_or("none", |(_, v)| v);
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-back\r\nx-got: {sum}\r\n\r\n2\r\nOK\r\n0\r\nx-back: {sum}\r\n\r\n"
        ))?;
        Ok(After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-sum: 42\r\n\r\n");
        let response = client.response();
        assert_eq!(response.get("x-got"), Some("42"), "the request's trailer");
        assert_eq!(
            response.body.trailers,
            [("x-back".to_owned(), "42".to_owned())],
            "the response's trailer"
        );
    }
}

#[test]
fn a_trailer_cannot_smuggle_what_only_a_header_may_say() {
    let origin = echo();
    let weir = Weir::start(&Setup::to(&origin));
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "X-Forwarded-For",
        "Authorization",
    ] {
        origin.clear();
        let mut client = weir.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{name}: 6.6.6.6\r\n\r\n"));
        let status = client.response().status();
        assert!([200, 400].contains(&status), "{name}: {status}");
        for seen in origin.requests() {
            let passed = seen
                .body
                .iter()
                .flat_map(|b| &b.trailers)
                .any(|(n, _)| n.eq_ignore_ascii_case(name));
            assert!(!passed, "the trailer {name} passed");
        }
    }
}

#[test]
fn a_head_request_gets_the_length_and_no_body() {
    for framing in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{framing}\r\nx-origin: head\r\n\r\n");
        let origin = Origin::start(move |exchange| {
            let whole = if exchange.head.word(0) == "HEAD" {
                String::new()
            } else {
                "5\r\nhello\r\n0\r\n\r\n".to_owned()
            };
            exchange.send(format!(
                "{answer}{}",
                if framing.starts_with('C') && !whole.is_empty() {
                    "hello"
                } else {
                    &whole
                }
            ))?;
            Ok(After::Keep)
        });
        let weir = Weir::start(&Setup::to(&origin));
        let mut client = weir.client();
        client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\nGET /next HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let head = client.response_to("HEAD");
        assert_eq!(head.status(), 200);
        if framing.starts_with('C') {
            assert_eq!(head.get("content-length"), Some("5"));
        }
        assert_eq!(
            client.response().text(),
            "hello",
            "{framing}: the next answer starts where it should"
        );
    }
}

#[test]
fn statuses_without_a_body_leave_the_connection_in_step() {
    let origin = Origin::start(|exchange| match exchange.head.word(1) {
        "/204" => exchange
            .send("HTTP/1.1 204 No Content\r\n\r\n")
            .map(|()| After::Keep),
        // A 304 names the length that a 200 would have had (RFC 9110, section 15.4.5).
        "/304" => exchange
            .send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\netag: \"x\"\r\n\r\n")
            .map(|()| After::Keep),
        _ => exchange.reply(200, "", "OK"),
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for target in ["/204", "/304", "/200", "/204", "/200"] {
        let response = client.get("a.example", target);
        assert_eq!(response.status().to_string(), target[1..]);
    }
    assert_eq!(
        origin.accepted(),
        1,
        "the origin's connection is as good as before"
    );
}

#[test]
fn a_1_0_client_gets_a_plain_body_and_a_close() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        After::Keep,
    );
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    let head = client.wire.head().expect("a head").expect("an answer");
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.get("transfer-encoding"),
        None,
        "HTTP/1.0 knows no chunks"
    );
    assert_eq!(client.closed(), b"hello!");
    assert_eq!(
        origin.only().head.word(2),
        "HTTP/1.1",
        "towards the origin it is 1.1"
    );
}

#[test]
fn a_1_0_client_may_ask_to_keep_the_connection() {
    let origin = echo();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET /a HTTP/1.0\r\nHost: a.example\r\nConnection: keep-alive\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "/a ");
    match response
        .get("connection")
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        Some("keep-alive") => assert_eq!(client.get("a.example", "/b").text(), "/b "),
        _ => assert_eq!(client.closed(), b"", "what is not kept is closed"),
    }
}

#[test]
fn connection_close_is_honoured_and_said() {
    let origin = echo();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    let response = client.response();
    assert_eq!(response.text(), "/a ");
    assert!(response.closes());
    assert_eq!(client.closed(), b"");
    assert_eq!(weir.get("a.example", "/b").status(), 200);
    assert_eq!(
        origin.accepted(),
        1,
        "the client's close is not the origin's"
    );
}

#[test]
fn a_body_without_length_ends_with_the_origins_connection_and_is_chunked_to_the_client() {
    let origin = Origin::raw(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end",
        After::Close,
    );
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for _ in 0..3 {
        let response = client.get("a.example", "/");
        assert_eq!(response.text(), "until the end");
        assert!(
            response.head.chunked(),
            "the client's connection goes on: {:?}",
            response.head
        );
    }
}

#[test]
fn a_1_0_origin_is_understood() {
    let origin = Origin::raw(
        "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold",
        After::Close,
    );
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    for _ in 0..2 {
        let response = client.get("a.example", "/");
        assert_eq!(
            (response.text().as_str(), response.head.word(0)),
            ("old", "HTTP/1.1")
        );
    }
}

#[test]
fn a_client_that_closes_its_half_still_gets_its_answer() {
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        std::thread::sleep(std::time::Duration::from_millis(100));
        exchange.reply(200, "", "late but whole")
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
    client.wire.finish().expect("close this half");
    assert_eq!(client.response().text(), "late but whole");
    assert_eq!(client.closed(), b"");
}
