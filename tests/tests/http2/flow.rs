//! Windows joined end to end: who does not read holds nobody back, and nothing grows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use weir_tests::grpc::Call;
use weir_tests::h2::{Client, Stream};
use weir_tests::origin::{After, Origin};
use weir_tests::program::Program;
use weir_tests::wait::within;
use weir_tests::weir::Weir;

use crate::support::{Speaks, fronted, listen, pattern, to};

/// An endpoint whose answers never end, and the bytes that it was let send so far.
fn endless() -> (SocketAddr, Arc<AtomicUsize>) {
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let addr = listen(move |stream| connection(stream, Arc::clone(&count)));
    (addr, sent)
}

async fn connection(
    stream: tokio::net::TcpStream,
    count: Arc<AtomicUsize>,
) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (_request, mut respond) = accepted?;
        let mut out = respond.send_response(http::Response::new(()), false)?;
        let count = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                out.reserve_capacity(16 * 1024);
                let room = std::future::poll_fn(|cx| out.poll_capacity(cx)).await;
                let Some(Ok(room)) = room else { return };
                count.fetch_add(room, Ordering::SeqCst);
                if out.send_data(Bytes::from(vec![0; room]), false).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Asks for answers without end, and reads nothing but their heads.
fn unread(client: &Client, count: usize) -> Vec<Stream> {
    let get = || {
        client.open(
            client.request(Method::GET, "a.example", "/bytes/1000000000"),
            true,
        )
    };
    let mut streams: Vec<Stream> = (0..count).map(|_| get()).collect();
    for stream in &mut streams {
        assert_eq!(stream.head().expect("a head").status, 200);
    }
    streams
}

/// A connection whose own window is wide.
fn wide(weir: &Weir) -> Client {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_connection_window_size(16 * 1024 * 1024)
        .data_frame_budget(1 << 30);
    Client::connect_with(weir.addr(), &builder)
}

/// Waits until a count has stood still for a while.
fn settled(count: &AtomicUsize) -> usize {
    let mut last = (usize::MAX, std::time::Instant::now());
    within(Duration::from_secs(10), "the flow to stop", || {
        let now = count.load(Ordering::SeqCst);
        if now != last.0 {
            last = (now, std::time::Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(300)).then_some(now)
    })
}

#[test]
fn what_is_held_for_a_client_without_a_window_is_a_window_and_a_buffer_a_stream() {
    let (addr, sent) = endless();
    let weir = Weir::start(&to(Speaks::H2, addr));
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let client = Client::connect_with(weir.addr(), &builder);
    let before = weir.rss_kib();
    let _streams = unread(&client, 50);
    let held = settled(&sent) / 50;
    assert!(
        held <= 64 * 1024 + 72 * 1024 + 16 * 1024,
        "{held} bytes a stream"
    );
    let grown = weir.rss_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB for 50 streams");
}

#[test]
fn a_client_that_does_not_read_stalls_neither_its_neighbours_nor_grows_memory() {
    let h1 = Origin::start(|exchange| {
        let size: usize = exchange.head.word(1)[7..].parse().expect("a size");
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n"))?;
        for _ in 0..size / 100_000 {
            exchange.send([b'x'; 100_000])?;
        }
        Ok(After::Keep)
    });
    let h2 = Program::origin(&[]);
    for (back, addr) in [(Speaks::H1, h1.addr()), (Speaks::H2, h2.addr())] {
        let weir = Weir::start(&to(back, addr));
        let client = wide(&weir);
        assert_eq!(client.get("a.example", "/bytes/100000").body.len(), 100_000);
        let _slow = unread(&client, 10);
        let before = weir.rss_kib();
        for _ in 0..100 {
            assert_eq!(client.get("a.example", "/bytes/100000").body.len(), 100_000);
        }
        let grown = weir.rss_kib().saturating_sub(before);
        assert!(grown < 8 * 1024, "{grown} KiB more, {back:?}");
    }
}

#[test]
fn clients_that_do_not_read_leave_the_endpoints_connection_to_the_others() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to(Speaks::H2, origin.addr()));
    let slow: Vec<Client> = (0..8).map(|_| wide(&weir)).collect();
    let _streams: Vec<_> = slow.iter().map(|client| unread(client, 10)).collect();
    let good = weir.h2c();
    for _ in 0..10 {
        assert_eq!(
            good.get("a.example", "/bytes/1000000").body.len(),
            1_000_000
        );
    }
}

#[test]
fn small_messages_that_one_client_does_not_read_do_not_break_the_connection_of_all() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to(Speaks::H2, origin.addr()));
    let slow: Vec<Client> = (0..3).map(|_| wide(&weir)).collect();
    let path = "/weir.origin.v1.Echo/ServerStream";
    let many = [("x-origin-count", "1000000")];
    let mut calls: Vec<Call> = (0..30)
        .map(|n| Call::start(&slow[n % 3], path, &many))
        .collect();
    for call in &mut calls {
        call.send(b"hi");
        call.finish();
        assert_eq!(call.stream().head().expect("a head").status, 200);
    }
    let good = weir.h2c();
    for _ in 0..100 {
        assert_eq!(good.get("a.example", "/bytes/10000").body.len(), 10_000);
    }
    for call in &mut calls {
        assert!(
            (0..2000).all(|_| call.message().is_some()),
            "the stream goes on"
        );
    }
}

#[test]
fn a_burst_of_small_messages_is_no_abuse() {
    let origin = Program::origin(&[]);
    let (weir, client) = fronted(origin.addr());
    let mut call = Call::start(&client, "/weir.origin.v1.Echo/ClientStream", &[]);
    for _ in 0..20_000 {
        call.send(b"hi");
    }
    call.finish();
    assert_eq!(call.stream().head().expect("a head").status, 200);
    assert_eq!(
        call.message().expect("an answer"),
        b"20000 messages, 40000 bytes"
    );
    assert_eq!(weir.metric("weir_h2_abuse_total", &[]), 0.0);
}

#[test]
fn an_upload_that_pauses_stalls_neither_its_neighbours_nor_grows_memory() {
    let origin = Program::origin(&[]);
    for back in [Speaks::H1, Speaks::H2] {
        let weir = Weir::start(&to(back, origin.addr()));
        let client = weir.h2c();
        let mut paused: Vec<Stream> = (0..10)
            .map(|_| client.open(client.request(Method::POST, "a.example", "/echo"), false))
            .collect();
        for stream in &mut paused {
            stream.send(b"first", false);
            assert_eq!(stream.head().expect("a head").status, 200);
        }
        let body = pattern(50_000);
        let before = weir.rss_kib();
        for _ in 0..50 {
            let request = client.request(Method::POST, "a.example", "/echo");
            assert!(client.exchange(request, &body).body == body, "{back:?}");
        }
        let grown = weir.rss_kib().saturating_sub(before);
        assert!(grown < 8 * 1024, "{grown} KiB more, {back:?}");
        for mut stream in paused {
            stream.send(b" and last", true);
            let mut all = Vec::new();
            while let Some(data) = stream.data().expect("the echo") {
                all.extend_from_slice(&data);
            }
            assert_eq!(all, b"first and last");
        }
    }
}

#[test]
fn an_upload_that_nobody_reads_stops_at_its_window() {
    let (addr, _) = endless();
    let (_weir, client) = fronted(addr);
    let mut stream = client.open(client.request(Method::POST, "a.example", "/"), false);
    let taken = stream.send_within(Duration::from_millis(500), &vec![0; 4 * 1024 * 1024]);
    assert!(
        (32 * 1024..=400 * 1024).contains(&taken),
        "{taken} bytes were taken"
    );
}
