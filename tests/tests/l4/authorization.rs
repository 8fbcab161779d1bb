//! Who may connect: what is known of a client before it has said anything.

use std::time::Duration;

use weir_tests::config::Setup;
use weir_tests::wait::{SILENCE, eventually};
use weir_tests::weir::Weir;
use weir_tests::wire::Wire;

use super::support::{TcpOrigin, UdpClient, UdpOrigin, connect, connect_from, expect, log_lines};

fn tcp(origin: &TcpOrigin, policies: &str) -> Setup {
    Setup::new()
        .protocol("tcp")
        .access_log("json")
        .listener(&format!("authorization: [{policies}]"))
        .service("app", &[("stable", origin.addr())])
        .stream("app", "backendRefs: [{ name: app }]")
}

fn counted(weir: &Weir, result: &str) -> f64 {
    let result = format!("result=\"{result}\"");
    weir.metric("weir_authorization_total", &["listener=\"web\"", &result])
}

/// Ends without a byte.
fn is_closed(mut wire: Wire) -> bool {
    matches!(wire.some(), Ok(bytes) if bytes.is_empty()) || wire.some().is_err()
}

#[test]
fn a_connection_is_taken_from_networks_that_may_and_closed_for_others() {
    let origin = TcpOrigin::named("hello");
    let policy =
        "{ name: office, action: allow, ipBlocks: [127.0.0.0/24], notIpBlocks: [127.0.0.9] }";
    let weir = Weir::start(&tcp(&origin, policy));
    expect(&mut connect(&weir), "hello");
    assert!(is_closed(connect_from("127.0.1.1", &weir)));
    assert!(is_closed(connect_from("127.0.0.9", &weir)));
    assert_eq!(origin.accepted(), 1, "who may not connect reaches nobody");
    assert_eq!(
        (counted(&weir, "admitted"), counted(&weir, "refused")),
        (1.0, 2.0)
    );
    let lines = log_lines(&weir, 3);
    let refused = lines.iter().filter(|line| line["flags"] == "AZ");
    assert_eq!(refused.count(), 2, "{lines:?}");
}

#[test]
fn a_connection_has_no_path_and_no_identity_to_be_admitted_by() {
    let origin = TcpOrigin::named("hello");
    for (policies, served) in [
        ("{ name: a, action: allow, paths: [/] }", false),
        ("{ name: a, action: allow, from: ['*'] }", false),
        ("{ name: a, action: allow, notFrom: [web] }", true),
        ("{ name: a, action: deny, paths: [/admin] }", false),
        (
            "{ name: a, action: deny, methods: [GET], ipBlocks: [10.0.0.0/8] }",
            true,
        ),
        ("{ name: a, action: deny, from: [web] }", true),
        ("{ name: a, action: allow, ports: [1] }", false),
        ("{ name: a, action: deny, mode: log }", true),
    ] {
        let weir = Weir::start(&tcp(&origin, policies));
        match served {
            true => expect(&mut connect(&weir), "hello"),
            false => assert!(is_closed(connect(&weir)), "{policies}"),
        }
    }
}

#[test]
fn a_datagram_of_who_may_not_ask_is_dropped() {
    let origin = UdpOrigin::named("dns");
    let setup = |policy: &str| {
        Setup::new()
            .protocol("udp")
            .listener(&format!("authorization: [{policy}]"))
            .service("dns", &[("stable", origin.addr())])
            .stream("dns", "backendRefs: [{ name: dns }]")
    };
    let weir = Weir::start(&setup(
        "{ name: local, action: allow, ipBlocks: [127.0.0.0/8] }",
    ));
    assert_eq!(UdpClient::of(&weir).ask("x"), "dns:x");
    let closed = Weir::start(&setup(
        "{ name: others, action: allow, ipBlocks: [10.0.0.0/8] }",
    ));
    assert_eq!(UdpClient::of(&closed).ask_within(b"x", SILENCE), None);
    eventually("the drop to be counted", || {
        let reason = &["reason=\"forbidden\""];
        (closed.metric("weir_datagrams_dropped_total", reason) >= 1.0).then_some(())
    });
    assert_eq!(origin.sources().len(), 1);
}

#[test]
fn a_rule_that_comes_later_ends_what_it_does_not_admit_and_nothing_else() {
    let origin = TcpOrigin::named("hello");
    let all = "{ name: all, action: allow, ipBlocks: [127.0.0.0/8] }";
    let weir = Weir::start(&tcp(&origin, all));
    let two = || connect_from("127.0.0.2", &weir);
    let (mut still, mut busy, mut stays) = (two(), two(), connect(&weir));
    for wire in [&mut still, &mut busy, &mut stays] {
        expect(wire, "hello");
    }
    let busy = std::thread::spawn(move || {
        // What moves does not put it off.
        loop {
            if let Err(error) = busy.send("x").and_then(|()| busy.some().map(drop)) {
                return error;
            }
        }
    });
    weir.apply(&tcp(
        &origin,
        "{ name: no-two, action: deny, ipBlocks: [127.0.0.2] }",
    ));
    let broken = still.some().expect_err("what is refused is broken off");
    assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset);
    let kind = busy.join().expect("no panic").kind();
    let broken = [
        std::io::ErrorKind::ConnectionReset,
        std::io::ErrorKind::BrokenPipe,
    ];
    assert!(broken.contains(&kind), "{kind:?}");
    stays.send("on").expect("send");
    expect(&mut stays, "on");
    for line in log_lines(&weir, 2) {
        assert_eq!(
            (&line["flags"], &line["policy"]),
            (&"AZ".into(), &"no-two".into()),
            "{line}"
        );
        assert!(line["bytes_out"].as_u64() >= Some(5), "{line}");
    }
    assert_eq!(counted(&weir, "refused"), 2.0);
}

#[test]
fn a_session_that_a_later_rule_does_not_admit_ends() {
    let origin = UdpOrigin::named("dns");
    let setup = |authorization: &str| {
        Setup::new()
            .protocol("udp")
            .access_log("json")
            .listener(authorization)
            .service("dns", &[("stable", origin.addr())])
            .stream("dns", "backendRefs: [{ name: dns }]")
    };
    let weir = Weir::start(&setup(""));
    let client = UdpClient::of(&weir);
    assert_eq!(client.ask("x"), "dns:x");
    weir.apply(&setup(
        "authorization: [{ name: nobody, action: deny, ipBlocks: [127.0.0.0/8] }]",
    ));
    let line = log_lines(&weir, 1).remove(0);
    assert_eq!(
        (&line["flags"], &line["policy"]),
        (&"AZ".into(), &"nobody".into()),
        "{line}"
    );
    assert_eq!(client.ask_within(b"y", SILENCE), None);
    assert_eq!(origin.sources().len(), 1);
}

#[test]
fn who_is_behind_a_proxy_is_judged_by_the_header_that_is_believed() {
    let origin = TcpOrigin::named("hello");
    let setup = tcp(
        &origin,
        "{ name: one, action: allow, ipBlocks: [192.0.2.1] }",
    )
    .listener("proxyProtocol: { from: [127.0.0.0/8] }");
    let weir = Weir::start(&setup);
    let ask = |source: &str| {
        let mut wire = connect(&weir);
        wire.patience = Duration::from_secs(5);
        let header = format!("PROXY TCP4 {source} 127.0.0.1 1000 80\r\n");
        wire.send(header).expect("send");
        wire
    };
    expect(&mut ask("192.0.2.1"), "hello");
    assert!(is_closed(ask("192.0.2.2")));
}
