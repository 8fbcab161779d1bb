//! What an endpoint says of a call in trailers with nothing before them, where the route would have it tried again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Response};
use tokio::net::TcpStream;
use weir_tests::config::Setup;
use weir_tests::grpc::{self, Call};
use weir_tests::h2::{Origin, Reply};
use weir_tests::program::Program;
use weir_tests::weir::Weir;

use super::{ended, path};
use crate::support::{Ask, Speaks, ask, listen, to_with};

const RETRY: &str = "retry: { attempts: 2, on: [unavailable] }";

/// A head, then trailers, and no message.
fn empty(value: &'static str) -> Reply {
    Reply {
        body: Vec::new(),
        ..ended(value)
    }
}

fn setup(origin: &Origin) -> Setup {
    to_with(Speaks::H2, origin.addr(), "", RETRY)
}

#[test]
fn trailers_with_nothing_before_them_are_as_good_as_the_head() {
    let count = AtomicUsize::new(0);
    let origin = Origin::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => empty("14"),
        _ => ended("0"),
    });
    let weir = Weir::start(&setup(&origin));
    let answer = grpc::call(&weir.h2c(), "/shop.Cart/Add", &[b"one"], &[]);
    assert_eq!(
        (answer.trailer("grpc-status"), origin.count()),
        (Some("0"), 2)
    );
    assert_eq!(grpc::messages(&answer), [b"hello".to_vec()]);
    let bodies = origin.requests().into_iter().map(|seen| seen.body);
    assert!(
        bodies
            .into_iter()
            .all(|body| body == Some(grpc::frame(b"one")))
    );
    weir.counts("weir_retries_total", &["reason=\"grpc-status\""], 1.0);
}

#[test]
fn what_was_looked_at_arrives_whole_where_it_is_not_tried_again() {
    // A status that the policy does not name, one that outlives all tries, no message and no fault, and no status at all.
    for (reply, status, tries) in [
        (empty("9"), Some("9"), 1),
        (empty("14"), Some("14"), 3),
        (empty("0"), Some("0"), 1),
        (ended("0"), Some("0"), 1),
        (
            Reply {
                trailers: None,
                ..ended("0")
            },
            None,
            1,
        ),
        (
            Reply {
                trailers: None,
                ..empty("0")
            },
            None,
            1,
        ),
    ] {
        let mut reply = reply;
        if let Some(trailers) = &mut reply.trailers {
            trailers.insert("x-end", HeaderValue::from_static("yes"));
        }
        let expected = reply.clone();
        let origin = Origin::start(move |_| reply.clone());
        let weir = Weir::start(&setup(&origin));
        let answer = grpc::call(&weir.h2c(), "/shop.Cart/Add", &[b"one"], &[]);
        assert_eq!(answer.body, expected.body, "{status:?}");
        assert_eq!(answer.trailer("grpc-status"), status);
        assert_eq!(answer.trailers, expected.trailers);
        assert_eq!(answer.get("content-type"), Some("application/grpc"));
        assert_eq!(origin.count(), tries, "{status:?}");
    }
}

#[test]
fn callers_of_grpc_web_get_it_in_the_body_all_the_same() {
    let origin = Origin::start(|_| empty("9"));
    let rule = format!("filters: [{{ type: GrpcWeb }}], {RETRY}");
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", &rule));
    for front in [Speaks::H1, Speaks::H2] {
        let what = Ask {
            fields: &[("content-type", "application/grpc-web")],
            body: &grpc::frame(b"x"),
            ..Ask::of("POST", "/shop.Cart/Add")
        };
        let got = ask(front, &weir, &what);
        assert_eq!(got.body, b"\x80\0\0\0\x10grpc-status: 9\r\n", "{front:?}");
    }
}

/// Answers with a head at once, and with nothing behind it.
async fn silent(stream: TcpStream) {
    let mut connection = h2::server::handshake(stream).await.expect("a handshake");
    let mut held = Vec::new();
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let head = Response::builder().header("content-type", "application/grpc");
        let head = head.body(()).expect("a head");
        let stream: h2::SendStream<Bytes> = respond.send_response(head, false).expect("sent");
        held.push(stream);
    }
}

#[test]
fn a_head_does_not_wait_for_a_message_that_takes_its_time_nor_for_a_caller_that_waits_for_it() {
    let addr = listen(silent);
    let weir = Weir::start(&to_with(Speaks::H2, addr, "", RETRY));
    let client = weir.h2c();
    let start = Instant::now();
    let mut call = Call::start(&client, "/shop.Cart/Watch", &[]);
    call.send(b"x");
    call.finish();
    let head = call.stream().head_within(Duration::from_secs(3));
    assert_eq!(head.expect("in time").expect("a head").status, 200);
    assert!(start.elapsed() >= Duration::from_millis(75), "it looked");
    let mut call = Call::start(&client, "/shop.Cart/Talk", &[]);
    let head = call.stream().head_within(Duration::from_secs(3));
    assert_eq!(head.expect("in time").expect("a head").status, 200);
    // In turn, each message behind the answer to the one before.
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", RETRY));
    let client = weir.h2c();
    let mut call = Call::start(&client, &path("Bidi"), &[]);
    call.send(b"first");
    assert_eq!(call.stream().head().expect("a head").status, 200);
    for n in 0..5 {
        assert!(call.message().is_some(), "message {n}");
        call.send(b"more");
    }
    call.finish();
    assert!(call.message().is_some());
    assert_eq!((call.message(), call.status()), (None, 0));
}
