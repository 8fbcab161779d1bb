//! Clients that come again after they were sent away.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use weir_tests::client::Client;
use weir_tests::config::Setup;
use weir_tests::h2::raw::{Frame, PREFACE, answered_or_refused, block, flag, kind, until};
use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

/// SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, section 6.5.2).
const MAX_CONCURRENT_STREAMS: u8 = 3;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Connects from an address of loopback; and how many streams it is allowed.
fn connect(weir: &Weir, last: u8) -> (Client, u32) {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    let mut client = Client::connect_from(source, weir.addr());
    client.send(PREFACE);
    client.send(Frame::bytes(kind::SETTINGS, 0, 0, b""));
    let settings = until(&mut client, |frame| {
        frame.kind == kind::SETTINGS && frame.flags & flag::ACK == 0
    });
    let mut entries = settings.payload.chunks_exact(6);
    let entry = entries.find(|entry| entry[..2] == [0, MAX_CONCURRENT_STREAMS]);
    let value = entry.expect("a limit of streams")[2..].try_into();
    (client, u32::from_be_bytes(value.expect("four bytes")))
}

fn is_sent_away(weir: &Weir, last: u8) {
    let (mut client, _) = connect(weir, last);
    // In one piece: who sends on finds the connection closed.
    let pings = (0..150).flat_map(|_| Frame::bytes(kind::PING, 0, 0, b"01234567"));
    client.send(pings.collect::<Vec<_>>());
    let goaway = until(&mut client, |frame| frame.kind == kind::GOAWAY);
    assert_eq!(goaway.code(), Some(ENHANCE_YOUR_CALM));
}

/// Opens that many streams at once; how many of them are answered, and how many refused.
fn open(client: &mut Client, streams: u32) -> (usize, usize) {
    let fields: [(&[u8], &[u8]); 4] = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", b"a.example"),
        (b":path", b"/"),
    ];
    let all = flag::END_HEADERS | flag::END_STREAM;
    let heads = (0..streams).map(|at| 2 * at + 1);
    let heads = heads.flat_map(|stream| Frame::bytes(kind::HEADERS, all, stream, &block(&fields)));
    client.send(heads.collect::<Vec<_>>());
    answered_or_refused(client, streams as usize)
}

fn slow() -> Origin {
    Origin::start(|exchange| {
        exchange.body()?;
        std::thread::sleep(Duration::from_millis(300));
        exchange.reply(200, "", "OK").map(|_| After::Keep)
    })
}

#[test]
fn who_was_sent_away_may_open_few_streams_at_once_when_it_comes_again_and_others_as_many_as_ever() {
    let origin = slow();
    let weir = Weir::start(&Setup::to(&origin));
    is_sent_away(&weir, 2);
    let (mut again, streams) = connect(&weir, 2);
    assert_eq!(streams, 8);
    assert_eq!(open(&mut again, 20), (8, 12));
    assert_eq!(origin.requests().len(), 8);
    let (mut other, streams) = connect(&weir, 3);
    assert_eq!(streams, 100);
    assert_eq!(open(&mut other, 20), (20, 0));
}

#[test]
fn a_proxy_that_is_trusted_is_not_held_to_account_for_one_of_its_clients() {
    let origin = Origin::ok("");
    let setup = Setup::to(&origin).listener("trustedHops: [\"127.0.0.2/32\"]");
    let weir = Weir::start(&setup);
    for last in [2, 3] {
        is_sent_away(&weir, last);
    }
    assert_eq!(connect(&weir, 2).1, 100);
    assert_eq!(connect(&weir, 3).1, 8);
}
