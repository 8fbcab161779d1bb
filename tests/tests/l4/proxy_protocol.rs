//! PROXY headers: believed from those who may send them, refused from others, and sent on.

use std::time::Duration;

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::weir::Weir;
use weir_tests::wire::Wire;

use super::support::{TcpOrigin, connect, connect_from, echo, expect, log_lines};

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// 192.0.2.7:4711 to 203.0.113.9:443.
const ENDS: [u8; 12] = [192, 0, 2, 7, 203, 0, 113, 9, 0x12, 0x67, 1, 0xbb];
/// Something private, then a checksum.
const TLVS: [u8; 12] = [0xe0, 0, 2, b'h', b'i', 0x03, 0, 4, 1, 2, 3, 4];

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len())
        .expect("a short body")
        .to_be_bytes();
    [V2, &[command, family], &len, body].concat()
}

/// Sends all it gets back once the client has ended.
fn recorder() -> TcpOrigin {
    TcpOrigin::start(|mut wire| {
        let all = wire.to_end().unwrap_or_default();
        let _ = wire.send(all);
    })
}

fn setup(origin: &TcpOrigin, listener: &str, service: &str) -> Setup {
    let setup = Setup::new()
        .protocol("tcp")
        .access_log("json")
        .service_with("db", &[("stable", origin.addr())], service)
        .stream("db", "backendRefs: [{ name: db }]");
    match listener.is_empty() {
        true => setup,
        false => setup.listener(listener),
    }
}

/// Sends, ends, and gives what the recorder got.
fn recorded(client: &mut Wire, bytes: &[u8]) -> Vec<u8> {
    client.send(bytes).expect("send");
    client.finish().expect("end");
    client.to_end().expect("the echo")
}

const FROM_HERE: &str = "proxyProtocol: { from: [127.0.0.1/32] }";

#[test]
fn a_listed_peer_names_the_client_in_either_version() {
    let origin = recorder();
    let weir = Weir::start(&setup(&origin, FROM_HERE, ""));
    for (header, client) in [
        (
            b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n".to_vec(),
            "192.0.2.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n".to_vec(),
            "2001:db8::7",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0x21, 0x11, &ENDS), "192.0.2.7"),
        (v2(0x21, 0x11, &[&ENDS[..], &TLVS].concat()), "192.0.2.7"),
        (v2(0x20, 0x00, b""), "127.0.0.1"),
    ] {
        let before = log_lines(&weir, 0).len();
        let mut wire = connect(&weir);
        // In pieces: a header is not a segment.
        for piece in header.chunks(5) {
            wire.send(piece).expect("send");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(
            recorded(&mut wire, b"data"),
            b"data",
            "the header is taken off"
        );
        let line = log_lines(&weir, before + 1).pop().expect("a line");
        assert_eq!(line["client"], client, "{line}");
        assert_eq!(line["bytes_in"], 4);
    }
}

#[test]
fn a_header_is_sent_on_with_whom_it_is_for() {
    let origin = recorder();
    for (service, v1) in [("proxyProtocol: v1", true), ("proxyProtocol: v2", false)] {
        let weir = Weir::start(&setup(&origin, FROM_HERE, service));
        let mut wire = connect(&weir);
        wire.send("PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n")
            .expect("send");
        let got = recorded(&mut wire, b"data");
        let want = match v1 {
            true => b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\ndata".to_vec(),
            false => [v2(0x21, 0x11, &ENDS), b"data".to_vec()].concat(),
        };
        assert_eq!(got, want, "{}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn without_a_header_in_the_connection_itself_is_described() {
    // It speaks first, so the header must not wait for the client.
    let origin = TcpOrigin::start(|mut wire| {
        let line = wire.line().unwrap_or_default();
        let _ = wire.send(line);
        echo(&mut wire);
    });
    let weir = Weir::start(&setup(&origin, "", "proxyProtocol: v1"));
    let mut wire = connect(&weir);
    let port = wire.stream().local_addr().expect("an address").port();
    let listen = weir.addr().port();
    expect(
        &mut wire,
        format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {listen}"),
    );
}

#[test]
fn extensions_pass_only_where_that_is_asked_for() {
    let origin = recorder();
    let sent = v2(0x21, 0x11, &[&ENDS[..], &TLVS].concat());
    // The checksum was of the header that came.
    let passed = v2(0x21, 0x11, &[&ENDS[..], &TLVS[..5]].concat());
    let bare = v2(0x21, 0x11, &ENDS);
    for (tlvs, want) in [("pass", &passed), ("drop", &bare)] {
        let listener = format!("proxyProtocol: {{ from: [127.0.0.1/32], tlvs: {tlvs} }}");
        let weir = Weir::start(&setup(&origin, &listener, "proxyProtocol: v2"));
        let got = recorded(&mut connect(&weir), &sent);
        assert_eq!(&got, want, "tlvs: {tlvs}");
    }
}

#[test]
fn a_header_from_anybody_else_is_refused_and_its_connection_otherwise_served() {
    let origin = TcpOrigin::named("hi");
    let weir = Weir::start(&setup(&origin, FROM_HERE, ""));
    // Served as it is, though the endpoint speaks first.
    let mut honest = connect_from("127.0.0.2", &weir);
    expect(&mut honest, "hi");
    honest.send("P").expect("send");
    honest.send("ROXIMA").expect("send");
    expect(&mut honest, "PROXIMA");
    let mut short = connect_from("127.0.0.2", &weir);
    expect(&mut short, "hi");
    assert_eq!(recorded(&mut short, b"PROX"), b"PROX");
    for header in [
        &b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n"[..],
        &v2(0x21, 0x11, &ENDS),
    ] {
        let mut spoof = connect_from("127.0.0.2", &weir);
        expect(&mut spoof, "hi");
        let _ = spoof.send(header);
        let _ = spoof.send("data");
        let got = spoof.to_end().expect("the end");
        assert_eq!(got, b"", "nothing of it reached the endpoint");
    }
    let lines = log_lines(&weir, 3);
    let refused = lines.iter().filter(|line| line["flags"] == "DPE");
    assert_eq!(refused.count(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.2"));
}

#[test]
fn a_listed_peer_without_a_proper_header_in_time_is_refused() {
    let origin = TcpOrigin::named("hi");
    let listener = format!("{FROM_HERE}, limits: {{ headTimeout: 500ms }}");
    let weir = Weir::start(&setup(&origin, &listener, ""));
    for start in [
        &b"hello"[..],
        b"",
        b"PROXY TCP4 192.0.2.7",
        b"PROXY TCP4 192.0.2.7 203.0.113.9 99999 443\r\n",
        &v2(0x21, 0x11, &ENDS)[..20],
        &v2(0x21, 0x11, &[0; 5000]),
        &v2(0x31, 0x11, &ENDS),
    ] {
        let mut wire = connect(&weir);
        let _ = wire.send(start);
        assert_eq!(wire.to_end().expect("the end"), b"");
    }
    assert_eq!(origin.accepted(), 0);
    assert!(
        log_lines(&weir, 7)
            .iter()
            .all(|line| line["flags"] == "DPE")
    );
}

#[test]
fn where_it_is_not_required_a_listed_peer_may_do_without() {
    let origin = recorder();
    let listener = "proxyProtocol: { from: [127.0.0.0/8], required: false }";
    let weir = Weir::start(&setup(&origin, listener, ""));
    assert_eq!(recorded(&mut connect(&weir), b"plain"), b"plain");
    assert_eq!(recorded(&mut connect(&weir), b"PROXY UNKNOWN\r\nx"), b"x");
}

#[test]
fn over_http_the_header_names_the_client_of_every_request() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin).access_log("json").listener(FROM_HERE));
    let mut client = weir.client();
    client.send(
        "PROXY TCP4 192.0.2.7 203.0.113.9 4711 80\r\nGET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n",
    );
    assert_eq!(client.response().status(), 200);
    assert_eq!(client.get("a.example", "/2").status(), 200);
    for seen in origin.requests() {
        assert_eq!(seen.get("x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(seen.get("x-real-ip"), Some("192.0.2.7"));
    }
    let lines = log_lines(&weir, 2);
    assert!(
        lines
            .iter()
            .all(|line| line["client"] == "192.0.2.7" && line["peer"] == "192.0.2.7:4711")
    );
}

#[test]
fn over_http_a_header_from_anybody_else_is_a_bad_request() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&Setup::to(&origin).listener(FROM_HERE));
    for header in [
        &b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 80\r\n"[..],
        &v2(0x21, 0x11, &ENDS),
    ] {
        let mut spoof = connect_from("127.0.0.2", &weir);
        spoof.send(header).expect("send");
        let _ = spoof.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let head = spoof.head().expect("an answer").expect("a head");
        assert_eq!(head.status(), 400);
    }
    assert!(origin.requests().is_empty());
    let mut honest = connect_from("127.0.0.2", &weir);
    honest
        .send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        .expect("send");
    assert_eq!(
        honest.head().expect("an answer").expect("a head").status(),
        200
    );
}

#[test]
fn a_client_of_tls_is_named_before_its_hello() {
    let origin = recorder();
    let weir = Weir::start(
        &Setup::new()
            .protocol("tls-passthrough")
            .listener(FROM_HERE)
            .service_with("shop", &[("stable", origin.addr())], "proxyProtocol: v1")
            .stream("shop", "backendRefs: [{ name: shop }]"),
    );
    let line = b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 443\r\n";
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0]].concat();
    let len = u8::try_from(body.len()).expect("a short body");
    let hello = [&[22, 3, 1, 0, len + 4, 1, 0, 0, len][..], &body].concat();
    let sent = [&line[..], &hello].concat();
    assert_eq!(recorded(&mut connect(&weir), &sent), sent);
}
