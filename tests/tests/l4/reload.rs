//! Changes of the configuration while streams go on.

use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::{eventually, within};
use weir_tests::weir::Weir;

use super::support::{TcpOrigin, UdpClient, UdpOrigin, connect, expect};

// semantics 32, 33
#[test]
fn a_hundred_changes_close_no_stream() {
    let (stable, other) = (TcpOrigin::named("hi"), TcpOrigin::named("hi"));
    let datagrams = UdpOrigin::named("u");
    let variant = |n: usize| {
        let endpoints = match n % 2 {
            0 => vec![("stable", stable.addr())],
            _ => vec![("stable", stable.addr()), ("canary", other.addr())],
        };
        let versions = format!("versions: [{{ name: stable, weight: {} }}]", 50 + n % 50);
        let setup = Setup::new()
            .protocol("tcp")
            .workers(2)
            .service_with("db", &endpoints, &versions)
            .service("dns", &[("stable", datagrams.addr())])
            .stream("db", "backendRefs: [{ name: db }]");
        match n % 3 {
            0 => setup.service(&format!("extra-{n}"), &[("stable", other.addr())]),
            _ => setup,
        }
    };
    let weir = Weir::start(&variant(0));
    let udp = weir_tests::ports::free();
    let with_udp = |n: usize| {
        let listeners = format!(
            "listeners:\n  - {{ name: dns, bind: \"{udp}\", protocol: udp, udp: {{ idleTimeout: {}s }} }}\n",
            30 + n % 2
        );
        let route = "routes:\n  - { name: dns, listeners: [dns], rules: [{ backendRefs: [{ name: dns }] }] }\n";
        variant(n)
            .render(weir.ports())
            .replace("listeners:\n", &listeners)
            .replace("routes:\n", route)
    };
    let mut streams: Vec<_> = (0..10).map(|_| connect(&weir)).collect();
    for stream in &mut streams {
        expect(stream, "hi");
    }
    let mut session = None;
    for n in 1..=100 {
        let before = weir.generation();
        weir.rewrite_text(&with_udp(n));
        within(
            Duration::from_secs(10),
            "the change to come into force",
            || (weir.generation() > before).then_some(()),
        );
        let text = format!("{n};");
        for stream in &mut streams {
            stream.send(&text).expect("send");
        }
        for stream in &mut streams {
            expect(stream, &text);
        }
        expect(&mut connect(&weir), "hi");
        let client = session.get_or_insert_with(|| UdpClient::at(udp));
        assert_eq!(client.ask(&text), format!("u:{text}"));
    }
    let mut sources = datagrams.sources();
    sources.dedup();
    assert_eq!(sources.len(), 1, "one session through all of it");
}

// semantics 32
#[test]
fn a_listener_of_streams_can_come_and_go_and_its_streams_stay() {
    let (origin, tcp) = (Origin::ok("app"), TcpOrigin::named("hi"));
    let setup = Setup::to(&origin).service("db", &[("stable", tcp.addr())]);
    let weir = Weir::start(&setup);
    let second = weir_tests::ports::free();
    let with_second = setup
        .render(weir.ports())
        .replace(
            "listeners:\n",
            &format!("listeners:\n  - {{ name: db, bind: \"{second}\", protocol: tcp }}\n"),
        )
        .replace(
            "routes:\n",
            "routes:\n  - { name: db, listeners: [db], rules: [{ backendRefs: [{ name: db }] }] }\n",
        );
    weir.rewrite_text(&with_second);
    let mut stream = eventually("the second listener", || Client::try_connect(second).ok()).wire;
    expect(&mut stream, "hi");
    weir.rewrite(&setup);
    eventually("the end of the second listener", || {
        Client::try_connect(second).is_err().then_some(())
    });
    stream.send("still").expect("send");
    expect(&mut stream, "still");
    assert_eq!(weir.get("a.example", "/").status(), 200);
}

#[test]
fn a_listener_that_changes_its_protocol_keeps_its_address() {
    let (origin, tcp) = (Origin::ok("app"), TcpOrigin::named("hi"));
    let weir = Weir::start(&Setup::to(&origin));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    weir.apply(
        &Setup::new()
            .protocol("tcp")
            .service("db", &[("stable", tcp.addr())])
            .stream("db", "backendRefs: [{ name: db }]"),
    );
    expect(&mut connect(&weir), "hi");
    assert_eq!(
        weir.json("/api/v1/listeners")["listeners"][0]["protocol"],
        "tcp"
    );
}
