//! What a client's frames do to its connection, byte by byte.

use std::time::{Duration, Instant};

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::h2::raw::{self, Frame, PREFACE, block, flag, kind};
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

/// The head of a POST whose body is to follow.
fn post(stream: u32, path: &str) -> Vec<u8> {
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"a.example"),
        (b":path", path.as_bytes()),
    ];
    Frame::bytes(kind::HEADERS, flag::END_HEADERS, stream, &block(&fields))
}

/// Reads up to the answer on that stream, and asserts that nothing ends the connection before.
fn answer(client: &mut Client, stream: u32) -> Frame {
    let frame = raw::until(client, |frame| {
        frame.kind == kind::GOAWAY || frame.kind == kind::HEADERS && frame.stream == stream
    });
    assert_eq!(frame.kind, kind::HEADERS, "{frame:?}");
    frame
}

const PROTOCOL_ERROR: u32 = 1;

#[test]
fn who_does_not_begin_with_settings_is_told_at_once_and_who_says_none_in_time() {
    let origin = Origin::ok("");
    let setup = Setup::to(&origin).listener("limits: { headTimeout: 1s }");
    let weir = Weir::start(&setup);
    let ping = Frame::bytes(kind::PING, 0, 0, b"01234567");
    let half = &Frame::bytes(kind::SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])[..12];
    for (first, in_time) in [(&ping[..], false), (b"", true), (half, true)] {
        let mut client = Client::connect(weir.addr());
        let start = Instant::now();
        client.send([PREFACE, first].concat());
        let goaway = raw::until(&mut client, |frame| frame.kind == kind::GOAWAY);
        assert_eq!(goaway.code(), Some(PROTOCOL_ERROR), "{first:?}");
        let took = start.elapsed();
        let expected = match in_time {
            true => Duration::from_millis(900)..Duration::from_secs(4),
            false => Duration::ZERO..Duration::from_millis(800),
        };
        assert!(expected.contains(&took), "{first:?} after {took:?}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_stream_that_lasts_outlives_a_thousand_others_that_were_answered_before_they_ended() {
    let origin = Origin::ok("");
    let early = "matches: [{ path: { type: PathPrefix, value: /early } }], filters: [{ type: DirectResponse, directResponse: { status: 413 } }]";
    let setup = Setup::new()
        .service("app", &[("stable", origin.addr())])
        .rules("app", "", &[early, "backendRefs: [{ name: app }]"]);
    let weir = Weir::start(&setup);
    let mut client = raw::connect(weir.addr());
    client.send(post(1, "/"));
    let mut stream = 3;
    while stream < 2 * 1200 {
        let batch: Vec<u32> = (stream..).step_by(2).take(50).collect();
        let heads = batch.iter().flat_map(|stream| post(*stream, "/early"));
        client.send(heads.collect::<Vec<_>>());
        stream += 100;
        for _ in batch {
            // Each is told to send no more of its body, and minds it without a word.
            let frame = raw::until(&mut client, |frame| frame.kind == kind::RST_STREAM);
            assert_eq!(frame.code(), Some(0));
        }
    }
    client.send(Frame::bytes(kind::DATA, 0, 1, b"some"));
    client.send(Frame::bytes(kind::DATA, flag::END_STREAM, 1, b"more"));
    answer(&mut client, 1);
    let seen = origin.requests();
    let body = seen[0].body.as_ref().expect("all of it");
    assert_eq!(body.data, b"somemore");
}

#[test]
fn large_heads_are_held_to_two_mib_and_more_are_taken_when_they_are_done() {
    let origin = Origin::start(|exchange| {
        exchange.body()?;
        std::thread::sleep(Duration::from_millis(500));
        exchange.reply(200, "", "").map(|_| After::Keep)
    });
    let weir = Weir::start(&Setup::to(&origin));
    let mut client = raw::connect(weir.addr());
    let value = vec![b'v'; 14_000];
    let names = ["x-a", "x-b", "x-c", "x-d"];
    // 56 KB in five frames, of which 37 fit.
    let head = |stream: u32| {
        let fields = names.map(|name| (name.as_bytes(), &value[..]));
        let mut out = post(stream, "/");
        out[4] = flag::END_STREAM;
        for (at, field) in fields.iter().enumerate() {
            let flags = if at == 3 { flag::END_HEADERS } else { 0 };
            let part = block(std::slice::from_ref(field));
            out.extend(Frame::bytes(kind::CONTINUATION, flags, stream, &part));
        }
        out
    };
    for round in 0..2 {
        let streams: Vec<u32> = (1 + 80 * round..).step_by(2).take(40).collect();
        let heads = streams.iter().flat_map(|stream| head(*stream));
        client.send(heads.collect::<Vec<_>>());
        let came = raw::answered_or_refused(&mut client, streams.len());
        assert_eq!(came, (37, 3));
    }
    assert_eq!(origin.requests().len(), 74, "what is refused is not asked");
}
