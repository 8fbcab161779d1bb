//! Connections as a whole, for services that speak something else than HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use weir_tests::origin::Origin;
use weir_tests::ports;
use weir_tests::wait::eventually;

use crate::plane::{Member, Plane};

/// Says who it is first, as some databases do, and then everything back.
fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let _ = stream.write_all(b"hello\n");
                let mut from = stream.try_clone().expect("clone");
                let _ = std::io::copy(&mut from, &mut stream);
            });
        }
    });
    addr
}

fn talk(addr: SocketAddr, size: usize) -> Option<()> {
    let mut stream = TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut hello = [0; 6];
    stream.read_exact(&mut hello).ok()?;
    assert_eq!(&hello, b"hello\n");
    let sent: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
    let mut writer = stream.try_clone().ok()?;
    let writing = sent.clone();
    let thread = std::thread::spawn(move || {
        let _ = writer.write_all(&writing);
        let _ = writer.shutdown(std::net::Shutdown::Write);
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).ok()?;
    thread.join().ok()?;
    assert!(
        got == sent,
        "{} of {} bytes came back",
        got.len(),
        sent.len()
    );
    Some(())
}

#[test]
fn a_connection_is_carried_over_mtls_both_ways_and_its_end_too() {
    let (web_app, listen) = (Origin::ok("web"), ports::free());
    let db =
        Member::new("db", greeter()).with(&format!(", protocol: tcp, listen: {}", listen.port()));
    let plane = Plane::start(&[Member::new("web", web_app.addr()), db], "", "");
    let (_web, db) = (plane.sidecar("web"), plane.sidecar("db"));
    eventually("the database", || talk(listen, 10));
    talk(listen, 3 << 20).expect("three MiB there and back");
    assert!(
        db.weir
            .metric("weir_tls_handshakes_total", &["mesh/inbound"])
            >= 2.0
    );
    // In plain text, strictly: not a byte.
    let inbound = plane.member("db").inbound;
    let mut stream = TcpStream::connect(inbound).expect("connect");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("a time");
    stream.write_all(b"hello?\n").expect("write");
    let mut got = Vec::new();
    let _ = stream.read_to_end(&mut got);
    assert!(!got.starts_with(b"hello"), "{got:?}");
}

#[test]
fn a_connection_ends_with_the_right_to_it() {
    let (web_app, listen) = (Origin::ok("web"), ports::free());
    let mode = |mode: &str| format!(", mode: {mode}, protocol: tcp, listen: {}", listen.port());
    let db = Member::new("db", greeter()).with(&mode("permissive"));
    let mut plane = Plane::start(&[Member::new("web", web_app.addr()), db], "", "");
    let (_web, _db) = (plane.sidecar("web"), plane.sidecar("db"));
    eventually("the database", || talk(listen, 10));
    let open = |addr: SocketAddr| {
        let mut stream = TcpStream::connect(addr).expect("connect");
        let time = Some(Duration::from_secs(15));
        stream.set_read_timeout(time).expect("a time");
        let mut hello = [0; 6];
        stream.read_exact(&mut hello).expect("hello");
        stream
    };
    // Ended, and not only silent for too long.
    let is_ended = |mut stream: TcpStream| match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    };
    let (secured, plain) = (open(listen), open(plane.member("db").inbound));
    plane.change(|members, _| members[1].mesh = mode("strict"));
    assert!(is_ended(plain), "in plain text, and that is not taken now");
    let mut echo = [0; 4];
    (&secured).write_all(b"more").expect("write");
    (&secured).read_exact(&mut echo).expect("it goes on");
    plane.order(&["mesh", "deny", "web", "db"]);
    assert!(is_ended(secured), "web may not call db");
}

#[test]
fn under_permissive_plain_text_is_served_too_and_counted() {
    let (web_app, listen) = (Origin::ok("web"), ports::free());
    let db = Member::new("db", greeter()).with(&format!(
        ", mode: permissive, protocol: tcp, listen: {}",
        listen.port()
    ));
    let plane = Plane::start(&[Member::new("web", web_app.addr()), db], "", "");
    let (_web, db) = (plane.sidecar("web"), plane.sidecar("db"));
    eventually("the database over mTLS", || talk(listen, 10));
    // The server speaks first: nothing comes from the client by which TLS could be told.
    talk(plane.member("db").inbound, 10).expect("in plain text");
    assert_eq!(
        db.weir
            .metric("weir_tls_handshakes_total", &["mesh/inbound", "plain"]),
        1.0
    );
}
