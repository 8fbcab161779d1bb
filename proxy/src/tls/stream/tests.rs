use std::future::poll_fn;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::tls::handshake;
use crate::tls::testing::{Authority, alarm, sessions, sockets};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A client and a server, both ours.
async fn pair(version: &'static SupportedProtocolVersion) -> (TlsStream, TlsStream) {
    let (mut near, mut far) = sockets().await;
    let (mut client, mut server) = sessions(&Authority::new(), version);
    let (one, other) = (alarm(), alarm());
    let mut nothing = &b""[..];
    let shaken = tokio::join!(
        async {
            handshake::drive(&mut near, &mut client, &mut &[][..], &one).await?;
            // The server waits for the client's `Finished`, which would go with the first data.
            let mut stream = of(near, client);
            poll_fn(|cx| stream.poll_flush(cx)).await?;
            Ok::<_, crate::tls::TlsError>(stream)
        },
        handshake::drive(&mut far, &mut server, &mut nothing, &other),
    );
    shaken.1.unwrap();
    (shaken.0.unwrap(), of(far, server))
}

fn of(tcp: TcpStream, connection: Connection) -> TlsStream {
    let info = TlsInfo::of(&connection);
    TlsStream::new(tcp, connection, info)
}

/// A client whose records are sent by hand, and a server.
async fn by_hand(version: &'static SupportedProtocolVersion) -> (TcpStream, Connection, TlsStream) {
    let (client, server) = pair(version).await;
    (client.tcp, client.session.connection, server)
}

/// The records for a plaintext.
fn seal(session: &mut Connection, plaintext: &[u8]) -> Vec<u8> {
    session.writer().write_all(plaintext).unwrap();
    queued(session)
}

/// The records that a session has to send.
fn queued(session: &mut Connection) -> Vec<u8> {
    let mut records = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut records).unwrap();
    }
    records
}

/// Polls once. What was sent to the stream before has arrived by then, or is on its way to do so.
async fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(poll(cx))).await
}

async fn read(stream: &mut TlsStream) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let count = stream.read(&mut bytes).await.unwrap();
    bytes.truncate(count);
    bytes
}

fn pending_bytes(stream: &mut TlsStream) -> usize {
    let state = stream.session.connection.process_new_packets().unwrap();
    state.tls_bytes_to_write()
}

/// Writes until nothing more is taken; what was.
async fn fill(stream: &mut TlsStream) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let next: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
        let slices = [IoSlice::new(&next[..7]), IoSlice::new(&next[7..])];
        match once(|cx| stream.poll_write_vectored(cx, &slices)).await {
            Poll::Ready(taken) => all.extend_from_slice(&next[..taken.unwrap()]),
            Poll::Pending => return all,
        }
    }
}

#[tokio::test]
async fn data_goes_both_ways_and_close_notify_is_the_end() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version).await;
        client.write_all(b"question").await.unwrap();
        assert_eq!(read(&mut server).await, b"question");
        server.write_all(b"answer").await.unwrap();
        assert_eq!(read(&mut client).await, b"answer");
        server.shutdown().await.unwrap();
        assert_eq!(read(&mut client).await, b"");
        poll_fn(|cx| client.poll_read_ready(cx)).await.unwrap();
        assert_eq!(read(&mut client).await, b"");
    }
}

#[tokio::test]
async fn a_side_that_has_closed_goes_on_reading() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version).await;
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        let error = client.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read(&mut server).await, b"last words");
        assert_eq!(read(&mut server).await, b"");
        let body = vec![7; 300_000];
        let mut got = Vec::new();
        let (sent, received) = tokio::join!(
            async {
                server.write_all(&body).await?;
                server.shutdown().await
            },
            client.read_to_end(&mut got)
        );
        sent.unwrap();
        received.unwrap();
        assert_eq!(got, body);
    }
}

#[tokio::test]
async fn an_end_without_close_notify_is_an_error_behind_the_data() {
    for version in VERSIONS {
        let (mut tcp, mut session, mut server) = by_hand(version).await;
        tcp.write_all(&seal(&mut session, b"half a bo"))
            .await
            .unwrap();
        drop(tcp);
        assert_eq!(read(&mut server).await, b"half a bo");
        poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
        for _ in 0..2 {
            let error = server.read(&mut [0; 10]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}

#[tokio::test]
async fn a_record_in_pieces_is_ready_when_it_is_whole() {
    for version in VERSIONS {
        for length in [1, 5_000, 16_384] {
            let (mut tcp, mut session, mut server) = by_hand(version).await;
            let plaintext = vec![1; length];
            let record = seal(&mut session, &plaintext);
            for at in [3, 5, record.len() / 2, record.len() - 1] {
                let from = [0, 3, 5, record.len() / 2, record.len() - 1]
                    .into_iter()
                    .rfind(|from| *from < at);
                tcp.write_all(&record[from.unwrap()..at]).await.unwrap();
                server.tcp.readable().await.unwrap();
                let ready = once(|cx| server.poll_read_ready(cx)).await;
                assert!(ready.is_pending(), "{at} of {}", record.len());
            }
            tcp.write_all(&record[record.len() - 1..]).await.unwrap();
            poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
            let mut got = vec![0; length];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(got, plaintext);
        }
    }
}

#[tokio::test]
async fn a_large_record_and_many_small_ones_behind_it_find_room() {
    for version in VERSIONS {
        for into in [1, 100, 4_000, 8_000, 30_000, 100_000] {
            let (mut tcp, mut session, mut server) = by_hand(version).await;
            let mut records = Vec::new();
            let mut expected = Vec::new();
            for size in [16_384, 1, 700, 16_384, 9, 16_000]
                .into_iter()
                .chain([20; 400])
            {
                let plaintext = vec![size as u8; size];
                records.extend(seal(&mut session, &plaintext));
                expected.extend(plaintext);
            }
            session.send_close_notify();
            records.extend(queued(&mut session));
            let (sent, got) = tokio::join!(tcp.write_all(&records), async {
                let mut got = Vec::new();
                let mut buffer = vec![0; into];
                loop {
                    poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
                    match server.read(&mut buffer).await.unwrap() {
                        0 => return got,
                        count => got.extend_from_slice(&buffer[..count]),
                    }
                }
            });
            sent.unwrap();
            assert_eq!(got.len(), expected.len(), "into {into}");
            assert_eq!(got, expected);
        }
    }
}

#[tokio::test]
async fn large_bodies_go_both_ways_at_once() {
    for version in VERSIONS {
        let (client, server) = pair(version).await;
        let body: Vec<u8> = (0..4_000_000u32).map(|at| (at % 253) as u8).collect();
        let whole = |stream: TlsStream| {
            let body = &body;
            async move {
                let (mut from, mut to) = tokio::io::split(stream);
                let mut got = vec![0; body.len()];
                let (read, written) = tokio::join!(from.read_exact(&mut got), async {
                    to.write_all(body).await?;
                    to.flush().await
                });
                read.unwrap();
                written.unwrap();
                got
            }
        };
        let (one, other) = tokio::join!(whole(client), whole(server));
        assert!(one == body && other == body);
    }
}

#[tokio::test]
async fn a_reader_that_is_slow_makes_no_memory_grow() {
    for version in VERSIONS {
        let (mut client, mut server) = pair(version).await;
        let taken = fill(&mut server).await;
        assert!(server.has_pending());
        let held = pending_bytes(&mut server);
        assert!(held <= MAX_PENDING + 8 * 40, "{held} held");
        let mut got = vec![0; taken.len()];
        let (read, flushed) = tokio::join!(client.read_exact(&mut got), server.flush());
        read.unwrap();
        flushed.unwrap();
        assert!(got == taken && !server.has_pending());
    }
}

#[tokio::test]
async fn what_waits_to_be_written_goes_out_while_only_reads_are_polled() {
    for ready_only in [false, true] {
        let (mut client, mut server) = pair(&TLS13).await;
        let taken = fill(&mut server).await;
        let mut got = vec![0; taken.len()];
        let (heard, ()) = tokio::join!(
            async {
                if ready_only {
                    poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
                }
                read(&mut server).await
            },
            async {
                client.read_exact(&mut got).await.unwrap();
                client.write_all(b"all of it").await.unwrap();
            }
        );
        assert_eq!(heard, b"all of it");
        assert!(got == taken);
    }
}

#[tokio::test]
async fn keys_are_renewed_on_the_way() {
    let (mut tcp, mut session, mut server) = by_hand(&TLS13).await;
    // Tickets have gone out by the time that a read waits.
    assert!(once(|cx| server.poll_read_ready(cx)).await.is_pending());
    session.refresh_traffic_keys().unwrap();
    let mut sent = queued(&mut session);
    sent.extend(seal(&mut session, b"with new keys"));
    tcp.write_all(&sent).await.unwrap();
    assert_eq!(read(&mut server).await, b"with new keys");
    // The answer is encrypted with new keys, too, after a message that says so.
    server.write_all(b"the same here").await.unwrap();
    let mut got = Vec::new();
    while got.is_empty() {
        let mut bytes = vec![0; 4096];
        let count = tcp.read(&mut bytes).await.unwrap();
        let mut bytes = &bytes[..count];
        while !bytes.is_empty() {
            session.read_tls(&mut bytes).unwrap();
            session.process_new_packets().unwrap();
        }
        let _ = session.reader().read_to_end(&mut got);
    }
    assert_eq!(got, b"the same here");
}

#[tokio::test]
async fn an_answer_in_two_slices_is_one_record() {
    let (mut tcp, mut session, mut server) = by_hand(&TLS13).await;
    tcp.write_all(&seal(&mut session, b"?")).await.unwrap();
    server.tcp.readable().await.unwrap();
    assert_eq!(read(&mut server).await, b"?");
    // Nobody was made to wait yet, so the tickets go with the answer.
    assert!(server.has_pending());
    let tickets = pending_bytes(&mut server);
    let slices = [
        IoSlice::new(b"head"),
        IoSlice::new(b""),
        IoSlice::new(b"body"),
    ];
    let taken = poll_fn(|cx| server.poll_write_vectored(cx, &slices)).await;
    assert_eq!(taken.unwrap(), 8);
    drop(server);
    let mut wire = Vec::new();
    tcp.read_to_end(&mut wire).await.unwrap();
    // A header, what it is, and a tag (RFC 8446, section 5.2).
    assert_eq!(wire.len() - tickets, 5 + 8 + 1 + 16);
}

#[tokio::test]
async fn what_is_not_tls_is_an_error_that_the_peer_is_told_of() {
    let (mut tcp, mut session, mut server) = by_hand(&TLS13).await;
    let mut sent = seal(&mut session, b"good");
    sent.extend([23, 3, 3, 0, 20]);
    sent.extend([0; 20]);
    tcp.write_all(&sent).await.unwrap();
    poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
    assert_eq!(read(&mut server).await, b"good");
    poll_fn(|cx| server.poll_read_ready(cx)).await.unwrap();
    for _ in 0..2 {
        let error = server.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    drop(server);
    let mut wire = Vec::new();
    tcp.read_to_end(&mut wire).await.unwrap();
    let mut wire = &wire[..];
    let told = loop {
        session.read_tls(&mut wire).unwrap();
        if let Err(error) = session.process_new_packets() {
            break error;
        }
    };
    let alert = rustls::AlertDescription::BadRecordMac;
    assert_eq!(told, rustls::Error::AlertReceived(alert));
}

#[tokio::test]
async fn a_connection_that_waits_is_clean_unless_something_unasked_came() {
    type Do = fn(&mut Connection) -> Vec<u8>;
    let cases: [(&str, bool, Do); 5] = [
        ("key update", true, |session| {
            session.refresh_traffic_keys().unwrap();
            queued(session)
        }),
        ("tickets", true, queued),
        ("plaintext", false, |session| seal(session, b"HTTP/1.1 408")),
        ("close_notify", false, |session| {
            session.send_close_notify();
            queued(session)
        }),
        ("no TLS", false, |_| {
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()
        }),
    ];
    for (what, clean, bytes) in cases {
        // The client waits in a pool; what the server says is made by hand.
        let (mut client, mut server) = pair(&TLS13).await;
        assert!(client.idle_is_clean());
        let bytes = bytes(&mut server.session.connection);
        server.tcp.write_all(&bytes).await.unwrap();
        client.tcp.readable().await.unwrap();
        assert_eq!(client.idle_is_clean(), clean, "{what}");
        if clean {
            let record = seal(&mut server.session.connection, b"still good");
            server.tcp.write_all(&record).await.unwrap();
            assert_eq!(read(&mut client).await, b"still good");
        }
    }
    let (mut client, server) = pair(&TLS13).await;
    drop(server);
    client.tcp.readable().await.unwrap();
    assert!(!client.idle_is_clean());
}
