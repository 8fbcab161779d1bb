//! Backpressure: who is slow waits, and nobody's memory pays for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::wire::chunks;

const MIB: usize = 1024 * 1024;
/// How much more memory the process may hold for the slow ones, all buffers and allocator slack together.
const GROWTH_KIB: usize = 12 * 1024;

/// Waits until a count has not moved for a while, and gives it.
fn settled(count: &AtomicUsize) -> usize {
    let mut last = (count.load(Ordering::SeqCst), 0);
    eventually("the flow to come to a stop", || {
        std::thread::sleep(Duration::from_millis(20));
        let now = count.load(Ordering::SeqCst);
        last = if now == last.0 && now > 0 {
            (now, last.1 + 1)
        } else {
            (now, 0)
        };
        (last.1 > 15).then_some(now)
    })
}

#[test]
fn a_slow_reader_stops_the_origin_and_costs_no_memory() {
    const CLIENTS: usize = 10;
    const BODY: usize = 64 * MIB;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let origin = Origin::start(move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n"))?;
        let block = vec![b'z'; 64 * 1024];
        for _ in 0..BODY / block.len() {
            exchange.wire.patience = Duration::from_secs(60);
            exchange.send(&block)?;
            counter.fetch_add(block.len(), Ordering::SeqCst);
        }
        Ok(After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin).route("warm", "backendRefs: [{ name: app }]"));
    let before = weir.rss_kib();
    let mut readers: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = weir.client();
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            client.wire.head().expect("a head").expect("an answer");
            client
        })
        .collect();
    let stopped_at = settled(&sent);
    let grown = weir.rss_kib().saturating_sub(before);
    assert!(
        stopped_at < CLIENTS * BODY / 2,
        "the origin sent {stopped_at} bytes to readers that do not read"
    );
    assert!(
        grown < GROWTH_KIB,
        "memory grew by {grown} KiB for {CLIENTS} slow readers"
    );
    let mut one = readers.pop().expect("a reader");
    let body = one
        .wire
        .exactly(BODY)
        .expect("the whole body, once it is read");
    assert!(body.iter().all(|&b| b == b'z'), "the body is intact");
}

#[test]
fn an_origin_that_does_not_read_stops_the_client_and_costs_no_memory() {
    const CLIENTS: usize = 10;
    let origin = Origin::start(|exchange| {
        // Holds the connection open and reads nothing until the client gives up.
        while exchange.wire.stream().peer_addr().is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let before = weir.rss_kib();
    let sent = Arc::new(AtomicUsize::new(0));
    let writers: Vec<Client> = (0..CLIENTS)
        .map(|_| {
            let mut client = weir.client();
            client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000000\r\n\r\n");
            let mut stream = client.wire.stream().try_clone().expect("a second handle");
            let counter = Arc::clone(&sent);
            std::thread::spawn(move || {
                let block = vec![b'z'; 64 * 1024];
                while std::io::Write::write_all(&mut stream, &block).is_ok() {
                    counter.fetch_add(block.len(), Ordering::SeqCst);
                }
            });
            client
        })
        .collect();
    let stopped_at = settled(&sent);
    let grown = weir.rss_kib().saturating_sub(before);
    assert!(
        stopped_at < CLIENTS * 50 * MIB,
        "weir took {stopped_at} bytes for an origin that does not read"
    );
    assert!(
        grown < GROWTH_KIB,
        "memory grew by {grown} KiB for {CLIENTS} stuck uploads"
    );
    for client in &writers {
        // Ends the writing threads.
        let _ = client.wire.stream().shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn a_slow_stream_is_passed_on_as_it_comes() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n")?;
        for n in 0..5 {
            exchange.send(format!("8\r\ndata: {n}\n\r\n"))?;
            // The next one only comes when the client asks for nothing: it must not wait in a buffer.
            std::thread::sleep(Duration::from_millis(30));
        }
        exchange.wire.to_end()?;
        Ok(After::Close)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    client.wire.head().expect("a head").expect("an answer");
    for n in 0..5 {
        let mut event = Vec::new();
        while event.len() < 8 {
            let size =
                usize::from_str_radix(&client.wire.line().expect("a chunk size"), 16).expect("hex");
            event.extend(client.wire.exactly(size).expect("a chunk"));
            client.wire.exactly(2).expect("its CRLF");
        }
        assert_eq!(event, format!("data: {n}\n").as_bytes());
    }
}

#[test]
fn a_thousand_idle_connections_are_cheap_and_do_not_disturb() {
    let origin = Origin::ok("idle");
    let weir = Weir::start(&Setup::to(&origin));
    assert_eq!(weir.get("a.example", "/").status(), 200);
    let before = weir.rss_kib();
    let mut crowd: Vec<Client> = (0..1000).map(|_| weir.client()).collect();
    for client in crowd.iter_mut().step_by(10) {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let grown = weir.rss_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "1000 idle connections hold {grown} KiB");
    assert_eq!(weir.get("a.example", "/").status(), 200);
}

#[test]
fn a_body_that_starts_after_its_answer_did_still_arrives() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        let body = exchange.body()?;
        exchange.send(chunks(&body.data, 1000))?;
        Ok(After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.wire.head().expect("a head").expect("an answer");
    assert_eq!(head.status(), 200);
    let data = vec![b'x'; 50_000];
    client.send(chunks(&data, 700));
    let body = client.wire.chunked().expect("the echo");
    assert_eq!(body.data, data);
}
