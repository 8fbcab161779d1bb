//! TLS passthrough: the name that a client asks for decides, and every byte goes on as it came.

use std::time::Duration;

use weir_tests::config::Setup;
use weir_tests::weir::Weir;
use weir_tests::wire::Wire;

use super::support::{TcpOrigin, connect, echo, expect, log_lines};

fn sized(width: usize, data: &[u8]) -> Vec<u8> {
    let size = data.len().to_be_bytes();
    [&size[size.len() - width..], data].concat()
}

/// A ClientHello that asks for that name, with padding to make it long, in records of at most that size.
fn client_hello(name: Option<&str>, padding: usize, record: usize) -> Vec<u8> {
    let mut extensions = [&[0, 21][..], &sized(2, &vec![0; padding])].concat();
    if let Some(name) = name {
        let entry = [&[0][..], &sized(2, name.as_bytes())].concat();
        extensions.extend_from_slice(&[0, 0]);
        extensions.extend_from_slice(&sized(2, &sized(2, &entry)));
    }
    let body = [
        &[3, 3][..],
        &[9; 32],
        &sized(1, b""),
        &sized(2, &[0x13, 1]),
        &sized(1, &[0]),
        &sized(2, &extensions),
    ]
    .concat();
    let message = [&[1][..], &sized(3, &body)].concat();
    let one = |data: &[u8]| [&[22, 3, 1][..], &sized(2, data)].concat();
    message.chunks(record).flat_map(one).collect()
}

fn hello(name: &str) -> Vec<u8> {
    client_hello(Some(name), 100, 16_384)
}

struct Fleet {
    exact: TcpOrigin,
    wild: TcpOrigin,
    deep: TcpOrigin,
    any: TcpOrigin,
}

impl Fleet {
    fn start() -> Self {
        Self {
            exact: TcpOrigin::named("exact:"),
            wild: TcpOrigin::named("wild:"),
            deep: TcpOrigin::named("deep:"),
            any: TcpOrigin::named("any:"),
        }
    }

    fn setup(&self, with_any: bool) -> Setup {
        let route = |setup: Setup, name: &str, origin: &TcpOrigin, hosts: &str| {
            let keys = format!("listeners: [web]{hosts}");
            let rule = format!("backendRefs: [{{ name: {name} }}]");
            setup
                .service(name, &[("stable", origin.addr())])
                .rules(name, &keys, &[&rule])
        };
        let mut setup = Setup::new()
            .protocol("tls-passthrough")
            .access_log("json")
            .listener("limits: { headTimeout: 1s }");
        for (name, origin, hosts) in [
            ("exact", &self.exact, ", hostnames: [shop.example.com]"),
            ("wild", &self.wild, ", hostnames: [\"*.example.com\"]"),
            ("deep", &self.deep, ", hostnames: [\"*.eu.example.com\"]"),
        ] {
            setup = route(setup, name, origin, hosts);
        }
        match with_any {
            true => route(setup, "any", &self.any, ""),
            false => setup,
        }
    }
}

/// A fatal alert, then the end.
fn expect_alert(client: &mut Wire, description: u8) {
    let got = client.to_end().expect("the end");
    assert_eq!(got, [21, 3, 3, 0, 2, 2, description]);
}

#[test]
fn the_name_decides_exact_before_longest_wildcard_before_any() {
    let fleet = Fleet::start();
    let weir = Weir::start(&fleet.setup(true));
    for (name, want) in [
        (Some("shop.example.com"), "exact:"),
        (Some("SHOP.Example.com"), "exact:"),
        (Some("other.example.com"), "wild:"),
        (Some("a.b.example.com"), "wild:"),
        (Some("shop.eu.example.com"), "deep:"),
        (Some("example.com"), "any:"),
        (Some("elsewhere.net"), "any:"),
        (None, "any:"),
    ] {
        let hello = client_hello(name, 100, 16_384);
        let mut client = connect(&weir);
        client.send(&hello).expect("send");
        expect(&mut client, want);
        let echoed = client.exactly(hello.len()).expect("the hello's echo");
        assert_eq!(echoed, hello, "not a byte of the hello is lost");
        client.send("more").expect("send");
        expect(&mut client, "more");
    }
    let mut client = connect(&weir);
    client.send(hello("shop.example.com")).expect("send");
    expect(&mut client, "exact:");
    drop(client);
    let line = log_lines(&weir, 9).pop().expect("a line");
    assert_eq!(line["protocol"], "tls-passthrough");
    assert_eq!(
        (&line["host"], &line["route"]),
        (&"shop.example.com".into(), &"exact".into())
    );
}

#[test]
fn a_hello_in_many_records_and_segments_is_understood() {
    let fleet = Fleet::start();
    let weir = Weir::start(&fleet.setup(false));
    for (padding, record) in [(0, 1), (50, 7), (12_000, 16_384), (8_000, 100)] {
        let hello = client_hello(Some("shop.example.com"), padding, record);
        let mut client = connect(&weir);
        let pieces = if hello.len() < 1000 { 3 } else { 900 };
        for piece in hello.chunks(pieces) {
            client.send(piece).expect("send");
            std::thread::sleep(Duration::from_micros(300));
        }
        expect(&mut client, "exact:");
        assert_eq!(client.exactly(hello.len()).expect("the echo"), hello);
    }
}

#[test]
fn a_name_that_no_route_has_is_told_by_an_alert() {
    let fleet = Fleet::start();
    let weir = Weir::start(&fleet.setup(false));
    for name in [Some("elsewhere.net"), Some("example.com"), None] {
        let mut client = connect(&weir);
        client.send(client_hello(name, 100, 16_384)).expect("send");
        expect_alert(&mut client, 112);
    }
    assert!(log_lines(&weir, 3).iter().all(|line| line["flags"] == "NR"));
}

#[test]
fn what_is_no_hello_is_refused_by_an_alert_and_reaches_nobody() {
    let fleet = Fleet::start();
    let weir = Weir::start(&fleet.setup(true));
    for (bytes, alert) in [
        (
            b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".to_vec(),
            10,
        ),
        (b"\x16\x03\x01\x00\x00".to_vec(), 50),
        (client_hello(Some("bad name"), 0, 16_384), 50),
        (client_hello(Some("shop.example.com"), 3_000, 1), 50),
        (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(), 10),
    ] {
        let mut client = connect(&weir);
        // It may be refused before all of it is sent.
        let _ = client.send(&bytes);
        expect_alert(&mut client, alert);
    }
    assert!(
        log_lines(&weir, 5)
            .iter()
            .all(|line| line["flags"] == "DPE")
    );
    assert_eq!(fleet.any.accepted() + fleet.exact.accepted(), 0);
}

#[test]
fn a_hello_that_does_not_arrive_in_time_ends_the_connection() {
    let fleet = Fleet::start();
    let weir = Weir::start(&fleet.setup(true));
    let hello = hello("shop.example.com");
    for start in [&hello[..0], &hello[..3], &hello[..hello.len() - 1]] {
        let mut client = connect(&weir);
        client.send(start).expect("send");
        assert_eq!(client.to_end().expect("the end"), b"");
    }
    assert_eq!(fleet.exact.accepted(), 0);
    assert!(
        log_lines(&weir, 3)
            .iter()
            .all(|line| line["flags"] == "DPE")
    );
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_told_by_an_alert() {
    let dead = weir_tests::ports::free();
    let weir = Weir::start(
        &Setup::new()
            .protocol("tls-passthrough")
            .service("dead", &[("stable", dead)])
            .stream("dead", "backendRefs: [{ name: dead }]"),
    );
    let mut client = connect(&weir);
    client.send(hello("shop.example.com")).expect("send");
    expect_alert(&mut client, 80);
}

#[test]
fn versions_share_connections_of_one_name() {
    let (stable, canary) = (
        TcpOrigin::start(|mut wire| {
            let _ = wire.send("s");
            echo(&mut wire);
        }),
        TcpOrigin::named("c"),
    );
    let weir = Weir::start(
        &Setup::new()
            .protocol("tls-passthrough")
            .service("shop", &[("stable", stable.addr()), ("canary", canary.addr())])
            .rules(
                "shop",
                "listeners: [web], hostnames: [shop.example.com]",
                &["backendRefs: [{ name: shop, version: stable, weight: 80 }, { name: shop, version: canary, weight: 20 }]"],
            ),
    );
    let mut canaries = 0;
    for _ in 0..50 {
        let mut client = connect(&weir);
        client.send(hello("shop.example.com")).expect("send");
        canaries += usize::from(client.exactly(1).expect("a name") == b"c");
    }
    assert_eq!(canaries, 10);
}
