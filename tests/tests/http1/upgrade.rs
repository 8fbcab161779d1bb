//! Upgrades: byte tunnels after a 101, and only then.

use weir_tests::config::Setup;
use weir_tests::origin::{After, Exchange, Origin};
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;
use weir_tests::wire::find;

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const ACCEPT: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn echo_bytes(exchange: &mut Exchange<'_>) -> std::io::Result<After> {
    loop {
        let some = exchange.wire.some()?;
        if some.is_empty() {
            return Ok(After::Close);
        }
        exchange.send(some)?;
    }
}

/// Accepts an upgrade and echoes bytes; answers anything else with 200.
fn chat() -> Origin {
    Origin::start(|exchange| match exchange.head.get("upgrade") {
        Some(_) => {
            exchange.send(ACCEPT)?;
            echo_bytes(exchange)
        }
        None => exchange.reply(200, "", "OK"),
    })
}

#[test]
fn an_accepted_upgrade_becomes_a_byte_tunnel_both_ways() {
    let origin = chat();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    let answer = client.send(ASK).response();
    assert_eq!(answer.status(), 101);
    assert_eq!(
        answer.get("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(answer.get("upgrade"), Some("websocket"));
    for size in [1, 5, 70_000, 1_000_000] {
        let data: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
        let mut sending = client.wire.stream().try_clone().expect("a second handle");
        let copy = data.clone();
        let sender = std::thread::spawn(move || std::io::Write::write_all(&mut sending, &copy));
        assert!(
            client.wire.exactly(size).expect("the echo") == data,
            "{size} bytes came back changed"
        );
        sender.join().expect("the sender").expect("all was sent");
    }
    let seen = origin.only();
    assert_eq!(
        (seen.get("upgrade"), seen.get("sec-websocket-version")),
        (Some("websocket"), Some("13"))
    );
    assert!(
        seen.get("connection")
            .is_some_and(|c| c.to_ascii_lowercase().contains("upgrade"))
    );
}

#[test]
fn bytes_after_an_upgrade_are_held_until_the_origin_accepts() {
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let origin = Origin::start(move |exchange| {
        wait.lock()
            .expect("one connection")
            .recv()
            .expect("the test goes on");
        exchange.send(ACCEPT)?;
        echo_bytes(exchange)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send(ASK).send("EARLY BYTES");
    origin.wait_for(1);
    let before = client.wire.arriving(SILENCE).expect("an open connection");
    assert_eq!(before, b"", "no answer yet");
    let tape = origin.tapes().concat();
    assert!(
        find(&tape, b"EARLY").is_none(),
        "bytes of a tunnel that is not open passed: {}",
        String::from_utf8_lossy(&tape)
    );
    release.send(()).expect("the origin waits");
    assert_eq!(client.response().status(), 101);
    assert_eq!(client.wire.exactly(11).expect("the echo"), b"EARLY BYTES");
}

#[test]
fn after_a_refused_upgrade_the_framing_stays_http() {
    let origin = Origin::start(|exchange| match exchange.head.get("upgrade") {
        Some(_) => exchange.reply(403, "", "no"),
        None => exchange.reply(200, "", "OK"),
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client
        .send(ASK)
        .send("GET /next HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n");
    assert_eq!(client.response().status(), 403);
    if let Ok(Some(next)) = client.try_response("GET") {
        assert_eq!(next.status(), 200);
        let seen = origin.wait_for(2).remove(1);
        assert_eq!(
            seen.get("x-forwarded-for"),
            Some("127.0.0.1"),
            "the next request went through the proxy, not a tunnel"
        );
    }
}

#[test]
fn a_socket_that_carried_an_upgrade_is_never_pooled() {
    let origin = chat();
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    assert_eq!(client.send(ASK).response().status(), 101);
    drop(client);
    eventually("the tunnel's end at the origin", || {
        (origin.open() == 0).then_some(())
    });
    assert_eq!(weir.get("a.example", "/").status(), 200);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn one_half_of_a_tunnel_may_close_before_the_other() {
    let origin = Origin::start(|exchange| {
        exchange.send(ACCEPT)?;
        let all = exchange.wire.to_end()?;
        exchange.send(format!("{} bytes", all.len()))?;
        Ok(After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    assert_eq!(client.send(ASK).response().status(), 101);
    client
        .send("0123456789")
        .wire
        .finish()
        .expect("close this half");
    assert_eq!(client.closed(), b"10 bytes");
}

#[test]
fn an_upgrade_to_h2c_is_not_offered_to_the_origin() {
    let origin = Origin::ok("plain");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    let seen = origin.only();
    assert_eq!(
        (seen.get("upgrade"), seen.get("http2-settings")),
        (None, None),
        "{:?}",
        seen.head
    );
    assert!(
        !seen
            .get("connection")
            .unwrap_or_default()
            .to_ascii_lowercase()
            .contains("upgrade")
    );
}

#[test]
fn an_upgrade_header_without_its_connection_option_is_dropped() {
    let origin = Origin::ok("plain");
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    assert_eq!(origin.only().get("upgrade"), None);
}

#[test]
fn a_101_that_nobody_asked_for_is_a_bad_answer() {
    let origin = Origin::raw(ACCEPT, After::Keep);
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    assert_eq!(client.get("a.example", "/").status(), 502);
}
