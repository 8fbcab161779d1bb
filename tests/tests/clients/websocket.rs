//! WebSocket over HTTP/2 (RFC 8441), with frames by hand: few clients of today do it alone.

use http::{Method, Request};
use weir_tests::h2::{Client, Stream};
use weir_tests::tls::Connector;

use crate::front::Front;

fn open(client: &Client, uri: &str) -> Stream {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(uri)
        .extension(h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    client.open(request.body(()).expect("a request"), false)
}

/// A whole binary message, masked with zeroes (RFC 6455, section 5.2).
fn message(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a message below 64 KiB");
    let mut out = match length {
        0..126 => vec![0x82, 0x80 | length as u8],
        _ => [&[0x82, 0x80 | 126][..], &length.to_be_bytes()].concat(),
    };
    out.extend([0; 4]);
    out.extend_from_slice(payload);
    out
}

/// The frame of the same message without a mask, as it comes back.
fn echo(payload: &[u8]) -> Vec<u8> {
    let mut out = message(payload);
    let head = out.len() - payload.len();
    out.drain(head - 4..head);
    out[1] &= 0x7f;
    out
}

fn converse(stream: &mut Stream) {
    assert_eq!(stream.head().expect("an answer").status, 200);
    for size in [0, 5, 125, 126, 60_000] {
        let payload = vec![b'x'; size];
        stream.send(&message(&payload), false);
        let want = echo(&payload);
        let mut got = Vec::new();
        while got.len() < want.len() {
            got.extend(stream.data().expect("an open stream").expect("more of it"));
        }
        assert!(got == want, "{size} bytes came back changed");
    }
}

#[test]
fn a_websocket_over_http_2_passes_messages_both_ways() {
    let front = Front::start();
    let connector = Connector::trusting(&front.authority, "localhost", &["h2"]);
    let plain = Client::connect(front.plain);
    let secure = Client::connect_tls(front.tls, &connector);
    for (client, scheme) in [(&plain, "http"), (&secure, "https")] {
        // The first answer comes behind the server's settings.
        assert_eq!(client.get("localhost", "/").status, 200);
        assert!(client.extended_connect(), "{scheme}: not offered");
        let mut one = open(client, &format!("{scheme}://localhost/ws"));
        let mut other = open(client, &format!("{scheme}://localhost/ws"));
        converse(&mut one);
        converse(&mut other);
        // Requests go on beside them, on the same connection.
        assert_eq!(client.get("localhost", "/").status, 200);
        one.send(b"\x88\x80\0\0\0\0", true);
        let close = one.data().expect("an open stream");
        assert_eq!(
            close.as_deref(),
            Some(&b"\x88\0"[..]),
            "the close comes back"
        );
        while let Some(data) = one.data().expect("an orderly end") {
            assert!(data.is_empty(), "{data:?} behind the close");
        }
        converse_after_head(&mut other);
    }
}

/// The neighbour of a stream that ended lives on.
fn converse_after_head(stream: &mut Stream) {
    stream.send(&message(b"still here"), false);
    let data = stream.data().expect("an open stream").expect("the echo");
    assert_eq!(data, echo(b"still here"));
}
