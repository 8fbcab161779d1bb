//! WebSockets from and to either version (RFC 6455, RFC 8441).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request};
use sha1::{Digest as _, Sha1};
use weir_tests::config::Setup;
use weir_tests::h2::{Client, Origin};
use weir_tests::origin::{self, After};
use weir_tests::program::Program;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use crate::support::{Speaks, WAYS, pattern, to};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// A frame of binary data with a mask of zeros, as a client sends it.
fn masked(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u16::try_from(data.len()) {
        Ok(short @ 0..126) => frame.push(0x80 | short as u8),
        Ok(long) => {
            frame.push(0x80 | 126);
            frame.extend(long.to_be_bytes());
        }
        Err(_) => {
            frame.push(0x80 | 127);
            frame.extend((data.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(data);
    frame
}

/// The same as a server sends it.
fn plain(data: &[u8]) -> Vec<u8> {
    let mut frame = masked(data);
    frame[1] &= 0x7f;
    let mask = frame.len() - data.len() - 4;
    frame.drain(mask..mask + 4);
    frame
}

fn connect(client: &Client) -> Request<()> {
    let mut request = client.request(Method::CONNECT, "a.example", "/ws");
    let websocket = h2::ext::Protocol::from_static("websocket");
    request.extensions_mut().insert(websocket);
    request
        .headers_mut()
        .insert("sec-websocket-version", HeaderValue::from_static("13"));
    request
}

#[test]
fn frames_go_both_ways_whatever_client_and_endpoint_speak() {
    let origin = Program::origin(&[]);
    for (front, back) in WAYS {
        let weir = Weir::start(&to(back, origin.addr()));
        let case = format!("{front:?} to {back:?}");
        let sizes = [1, 200, 60_000];
        match front {
            Speaks::H1 => {
                let mut client = weir.client();
                let answer = client.send(ASK).response();
                assert_eq!(answer.status(), 101, "{case}: {}", answer.text());
                let accept = answer.head.all("sec-websocket-accept");
                assert_eq!(accept, ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="], "{case}");
                assert_eq!(answer.get("upgrade"), Some("websocket"), "{case}");
                for size in sizes {
                    let data = pattern(size);
                    client.send(masked(&data));
                    let expected = plain(&data);
                    let got = client.wire.exactly(expected.len()).expect("the echo");
                    assert!(got == expected, "{case}, {size} bytes");
                }
            }
            Speaks::H2 => {
                let client = weir.h2c();
                // The setting comes with the server's first frame.
                assert_eq!(client.get("a.example", "/").status, 200);
                assert!(client.extended_connect());
                let mut stream = client.open(connect(&client), false);
                let head = stream.head().expect("an answer");
                assert_eq!(head.status, 200, "{case}");
                for gone in [
                    "sec-websocket-accept",
                    "upgrade",
                    "connection",
                    "content-length",
                ] {
                    assert!(!head.headers.contains_key(gone), "{case}: {gone}");
                }
                for size in sizes {
                    let data = pattern(size);
                    stream.send(&masked(&data), false);
                    let expected = plain(&data);
                    let mut got = Vec::new();
                    while got.len() < expected.len() {
                        got.extend(stream.data().expect("the echo").expect("more"));
                    }
                    assert!(got == expected, "{case}, {size} bytes");
                }
            }
        }
    }
}

#[test]
fn a_tunnel_is_judged_as_the_get_that_it_stands_for() {
    let origin = Program::origin(&[]);
    let policy = "{ name: closed, action: deny, methods: [GET], paths: [/ws] }";
    let guarded = to(Speaks::H1, origin.addr()).listener(&format!("authorization: [{policy}]"));
    let weir = Weir::start(&guarded);
    assert_eq!(weir.client().send(ASK).response().status(), 403);
    let client = weir.h2c();
    assert_eq!(client.get("a.example", "/").status, 200);
    let mut stream = client.open(connect(&client), false);
    assert_eq!(stream.head().expect("an answer").status, 403);
}

#[test]
fn the_end_of_either_side_is_passed_on() {
    let origin = chat();
    let weir = Weir::start(&to(Speaks::H1, origin.addr()));
    let client = weir.h2c();
    let mut stream = client.open(connect(&client), false);
    assert_eq!(stream.head().expect("an answer").status, 200);
    stream.send(b"ping", false);
    assert_eq!(stream.data().expect("an echo").expect("data"), "ping");
    stream.send(b"", true);
    // The end may come in a frame of its own.
    while let Some(data) = stream.data().expect("an end") {
        assert!(data.is_empty(), "{data:?}");
    }
}

/// Accepts with the right key and echoes bytes.
fn chat() -> origin::Origin {
    answering(|key| {
        let accept = accept(key);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    })
}

fn answering(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> origin::Origin {
    origin::Origin::start(move |exchange| {
        let key = exchange
            .head
            .get("sec-websocket-key")
            .unwrap_or_default()
            .to_owned();
        exchange.send(answer(&key))?;
        loop {
            let some = exchange.wire.some()?;
            if some.is_empty() {
                return Ok(After::Close);
            }
            exchange.send(some)?;
        }
    })
}

fn accept(key: &str) -> String {
    let hash = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    STANDARD.encode(hash)
}

#[test]
fn each_client_of_http2_is_given_a_key_of_its_own() {
    let origin = chat();
    let weir = Weir::start(&to(Speaks::H1, origin.addr()));
    let client = weir.h2c();
    for _ in 0..2 {
        let mut stream = client.open(connect(&client), false);
        assert_eq!(stream.head().expect("an answer").status, 200);
    }
    let seen = origin.requests();
    let keys: Vec<&str> = seen
        .iter()
        .filter_map(|s| s.get("sec-websocket-key"))
        .collect();
    assert_eq!((keys.len(), keys[0].len()), (2, 24));
    assert_ne!(keys[0], keys[1]);
    assert_eq!(seen[0].get("upgrade"), Some("websocket"));
}

#[test]
fn what_does_not_accept_a_websocket_never_looks_to_a_client_of_http2_as_if_it_did() {
    let cases: [(&str, u16); 4] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK", 502),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
            502,
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            502,
        ),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
    ];
    for (text, status) in cases {
        let origin = answering(move |_| text.to_owned());
        let weir = Weir::start(&to(Speaks::H1, origin.addr()));
        let client = weir.h2c();
        let mut stream = client.open(connect(&client), false);
        assert_eq!(stream.head().expect("an answer").status, status, "{text}");
    }
}

#[test]
fn an_endpoint_of_http2_without_extended_connect_is_not_blamed_for_it() {
    let origin = Origin::ok();
    let weir = Weir::start(&to(Speaks::H2, origin.addr()));
    for _ in 0..10 {
        assert_eq!(weir.client().send(ASK).response().status(), 502);
    }
    assert_eq!(weir.get("a.example", "/").status(), 200);
    assert_eq!(weir.metric("weir_ejections_total", &[]), 0.0);
}

#[test]
fn another_upgrade_is_left_out_on_the_way_to_an_endpoint_of_http2() {
    let origin = Origin::ok();
    let weir = Weir::start(&to(Speaks::H2, origin.addr()));
    let ask = ASK.replace("websocket", "something");
    let answer = weir.client().send(ask).response();
    assert_eq!((answer.status(), answer.text()), (200, "OK".to_owned()));
    assert_eq!(origin.only().method, Method::GET);
}

#[test]
fn other_protocols_and_plain_connect_are_refused() {
    let origin = origin::Origin::ok("app");
    let weir = Weir::start(&to(Speaks::H1, origin.addr()));
    let client = weir.h2c();
    assert_eq!(client.get("a.example", "/").status, 200);
    let mut other = connect(&client);
    other
        .extensions_mut()
        .insert(h2::ext::Protocol::from_static("connect-udp"));
    let mut stream = client.open(other, false);
    assert_eq!(stream.head().expect("an answer").status, 501);
    let mut with_body = connect(&client);
    with_body
        .headers_mut()
        .insert("content-length", HeaderValue::from_static("0"));
    let mut stream = client.open(with_body, false);
    let refused = stream.head().expect_err("no answer to what is no request");
    assert_eq!(refused.reason(), Some(h2::Reason::PROTOCOL_ERROR));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_resets_its_tunnel_after_its_own_end_ends_it_at_the_endpoint() {
    let origin = answering(|key| {
        let accept = accept(key);
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        )
    });
    let weir = Weir::start(&Setup::to(&origin));
    let client = weir.h2c();
    let mut stream = client.open(connect(&client), false);
    assert_eq!(stream.head().expect("an answer").status, 200);
    stream.send(b"ping", false);
    assert_eq!(stream.data().expect("an echo").expect("data"), "ping");
    stream.reset(h2::Reason::CANCEL);
    eventually("the end at the endpoint", || {
        (origin.open() == 0).then_some(())
    });
}
