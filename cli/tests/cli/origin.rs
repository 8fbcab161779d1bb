//! `weir origin` over raw sockets.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{connect, exchange, get, origin, run, text};

const LOCAL: &[&str] = &["--listen", "127.0.0.1:0"];

fn options<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [LOCAL, more].concat()
}

#[test]
fn it_says_who_it_is_as_a_line_or_as_json() {
    let (_origin, at) = origin(
        &options(&["--name", "shop-canary-1", "--version", "canary"]),
        1,
    );
    let answer = get(at[0], "/cart?x=1");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("x-origin-name: shop-canary-1\r\n"),
        "{answer}"
    );
    assert!(answer.contains("x-origin-version: canary\r\n"), "{answer}");
    assert!(
        answer.ends_with("\r\n\r\nshop-canary-1 canary\n"),
        "{answer}"
    );

    let request = "POST /cart?x=1 HTTP/1.1\r\nhost: t\r\naccept: application/json\r\nx-a: 1\r\nx-a: 2\r\n\
                   content-length: 0\r\nconnection: close\r\n\r\n";
    let answer = exchange(at[0], request);
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["name"], "shop-canary-1");
    assert_eq!(
        (&body["method"], &body["path"], &body["query"]),
        (&"POST".into(), &"/cart".into(), &"x=1".into())
    );
    assert_eq!(body["headers"]["x-a"], "1, 2");
    assert!(get(at[0], "/?json").contains("application/json"));
}

#[test]
fn it_fails_exactly_the_share_that_is_asked_for() {
    let (_origin, at) = origin(LOCAL, 1);
    let statuses: Vec<bool> = (0..20)
        .map(|_| get(at[0], "/?fail=10%25").contains(" 500 "))
        .collect();
    assert_eq!(
        statuses.iter().filter(|failed| **failed).count(),
        2,
        "{statuses:?}"
    );
    assert!(get(at[0], "/status/503").starts_with("HTTP/1.1 503"));
    assert!(get(at[0], "/status/42").starts_with("HTTP/1.1 400"));
}

#[test]
fn bytes_have_a_length_and_streams_have_none() {
    let (_origin, at) = origin(LOCAL, 1);
    let answer = get(at[0], "/bytes/100000");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-length: 100000"), "{head}");
    assert_eq!(body.len(), 100_000);

    let started = Instant::now();
    let answer = get(at[0], "/stream/3?interval=50ms");
    assert!(
        started.elapsed() >= Duration::from_millis(100),
        "two intervals lie between three chunks"
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    assert_eq!(body.matches("chunk ").count(), 3, "{body}");
}

#[test]
fn an_echo_streams_before_the_body_is_complete() {
    let (_origin, at) = origin(LOCAL, 1);
    let mut stream = connect(at[0]);
    stream
        .write_all(
            b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
        )
        .unwrap();
    read_until(&mut stream, "first");
    stream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    read_until(&mut stream, "second");
}

#[test]
fn an_early_answer_does_not_wait_for_the_body() {
    let (_origin, at) = origin(LOCAL, 1);
    let mut stream = connect(at[0]);
    stream
        .write_all(b"POST /early HTTP/1.1\r\nhost: t\r\ncontent-length: 1000000\r\n\r\n")
        .unwrap();
    read_until(&mut stream, "answers early");
}

#[test]
fn health_is_what_was_posted_last() {
    let (_origin, at) = origin(LOCAL, 1);
    assert!(get(at[0], "/healthz").starts_with("HTTP/1.1 200"));
    let post = "POST /healthz?status=503 HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    assert!(exchange(at[0], post).starts_with("HTTP/1.1 200"));
    for path in ["/healthz", "/ready", "/live"] {
        assert!(get(at[0], path).starts_with("HTTP/1.1 503"), "{path}");
    }
    assert!(
        get(at[0], "/healthz?status=200").starts_with("HTTP/1.1 503"),
        "a GET changes nothing"
    );
}

#[test]
fn a_close_sends_nothing_at_all() {
    let (_origin, at) = origin(LOCAL, 1);
    assert_eq!(get(at[0], "/close"), "");
}

#[test]
fn trailers_come_to_a_client_that_takes_them() {
    let (_origin, at) = origin(LOCAL, 1);
    let request = "GET /trailers HTTP/1.1\r\nhost: t\r\nte: trailers\r\nconnection: close\r\n\r\n";
    let answer = exchange(at[0], request);
    assert!(
        answer.ends_with("0\r\nx-origin-checksum: two-chunks\r\nx-origin-end: yes\r\n\r\n"),
        "{answer}"
    );
}

/// RFC 6455: the key of its example, then one masked text frame and its echo.
#[test]
fn a_websocket_echoes_what_it_is_sent() {
    let (_origin, at) = origin(LOCAL, 1);
    let mut stream = connect(at[0]);
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nhost: t\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
              sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let head = read_until(&mut stream, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(
        head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        "{head}"
    );
    let mask = [1, 2, 3, 4];
    let masked: Vec<u8> = b"Hello"
        .iter()
        .enumerate()
        .map(|(i, byte)| byte ^ mask[i % 4])
        .collect();
    stream
        .write_all(&[&[0x81, 0x85][..], &mask, &masked].concat())
        .unwrap();
    let mut echo = [0; 7];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"\x81\x05Hello");
}

#[test]
fn several_ports_have_names_of_their_own_on_every_thread() {
    let (_origin, at) = origin(
        &options(&["--count", "3", "--name", "shop", "--threads", "2"]),
        3,
    );
    for (i, address) in at.iter().enumerate() {
        for _ in 0..4 {
            assert!(get(*address, "/").ends_with(&format!("shop-{} stable\n", i + 1)));
        }
    }
}

#[test]
fn after_sigterm_a_request_in_flight_is_finished() {
    let (mut origin, at) = origin(LOCAL, 1);
    let mut stream = connect(at[0]);
    stream
        .write_all(b"GET /delay/300ms HTTP/1.1\r\nhost: t\r\n\r\n")
        .unwrap();
    // The answer to a second connection shows that the first one was taken up.
    get(at[0], "/");
    origin.terminate();
    let answer = read_until(&mut stream, "origin stable\n");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(origin.end(), Some(0));
    assert!(
        TcpStream::connect(at[0]).is_err(),
        "nothing listens any more"
    );
}

#[test]
fn a_drain_ends_at_its_time() {
    let (mut origin, at) = origin(&options(&["--drain", "200ms"]), 1);
    let mut stream = connect(at[0]);
    stream
        .write_all(b"GET /hang HTTP/1.1\r\nhost: t\r\n\r\n")
        .unwrap();
    get(at[0], "/");
    origin.terminate();
    assert_eq!(origin.end(), Some(0));
}

#[test]
fn a_taken_port_is_named() {
    let (_origin, at) = origin(LOCAL, 1);
    let output = run(&["origin", "--listen", &at[0].to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&at[0].to_string()),
        "{}",
        text(&output.stderr)
    );
}

/// Reads until the text has come; panics at the end of the stream.
fn read_until(stream: &mut TcpStream, what: &str) -> String {
    let mut reader = BufReader::new(stream);
    let mut seen = String::new();
    while !seen.contains(what) {
        let bytes = reader.fill_buf().unwrap();
        assert!(!bytes.is_empty(), "the stream ended with {seen:?}");
        seen.push_str(&String::from_utf8_lossy(bytes));
        let taken = bytes.len();
        reader.consume(taken);
    }
    seen
}

#[test]
fn below_http_it_says_who_it_is_and_sends_back_what_it_gets() {
    let args = [
        "--tcp",
        "127.0.0.1:0",
        "--udp",
        "127.0.0.1:0",
        "--name",
        "db",
    ];
    let (_origin, at) = origin(&args, 2);
    let mut stream = connect(at[0]);
    stream.write_all(b"hello").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert_eq!(said, "db stable\nhello");

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    socket.send_to(b"hello", at[1]).unwrap();
    let mut buffer = [0; 100];
    let (len, _) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"db stable hello");
}
