//! Bodies that are sent again: whole, once, and only where that is safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use weir_tests::config::Setup;
use weir_tests::origin::{After, Origin};
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;
use weir_tests::wire::{bytes, chunks};

/// Resets each connection with its first request, once it has the whole of its body.
fn resetting() -> Origin {
    Origin::start(|exchange| {
        exchange.body()?;
        Ok(After::Reset)
    })
}

/// The two in turn, a retry as soon as can be.
fn in_turn(first: &Origin, second: &Origin) -> Weir {
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", first.addr()), ("stable", second.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { consecutive5xxErrors: 0, consecutiveLocalOriginFailures: 0 }",
        )
        .route(
            "app",
            "backendRefs: [{ name: app }], retry: { attempts: 1, on: [reset-before-request, 503], backoff: { base: 1ms, max: 1ms } }",
        );
    Weir::start(&setup)
}

/// Bytes that are nowhere the same as a little further on.
fn body(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| b'a' + u8::try_from((at * 7 + at / 251) % 26).unwrap_or_default())
        .collect()
}

fn put(method: &str, length: usize) -> Vec<u8> {
    let head = format!(
        "{method} /thing HTTP/1.1\r\nHost: a.example\r\nX-Mine: 1\r\nContent-Length: {length}\r\n\r\n"
    );
    [bytes(&head), body(length)].concat()
}

// semantics 28
#[test]
fn a_put_that_an_endpoint_drops_arrives_whole_and_once_at_another() {
    let (bad, good) = (resetting(), Origin::ok("good"));
    let weir = in_turn(&bad, &good);
    let mut client = weir.client();
    for round in 1..=4 {
        client.send(put("PUT", 10 * 1024));
        assert_eq!(client.response().status(), 200, "round {round}");
        let seen = good.requests();
        assert_eq!(seen.len(), round);
        let last = seen.last().expect("one at least");
        assert_eq!(last.data(), body(10 * 1024));
        assert_eq!(last.get("x-mine"), Some("1"));
        assert_eq!(last.head.length().ok().flatten(), Some(10 * 1024));
    }
    assert!(!bad.requests().is_empty(), "it was asked in its turn");
    assert!(weir.metric("weir_retries_total", &["reset-before-request"]) >= 1.0);
    assert_eq!(weir.metric("weir_retry_body_too_large_total", &[]), 0.0);
}

// semantics 28
#[test]
fn a_chunked_put_is_sent_again_with_its_trailers() {
    let (bad, good) = (resetting(), Origin::ok("good"));
    let weir = in_turn(&bad, &good);
    let mut client = weir.client();
    for round in 1..=4 {
        let mut message = bytes(
            "PUT /thing HTTP/1.1\r\nHost: a.example\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        message.extend(chunks(&body(5000), 700));
        message.truncate(message.len() - 2);
        message.extend(b"X-Sum: 5000\r\n\r\n");
        client.send(message);
        assert_eq!(client.response().status(), 200, "round {round}");
        let seen = good.requests();
        let last = seen.last().and_then(|seen| seen.body.clone());
        let last = last.expect("a body that arrived whole");
        assert_eq!((seen.len(), &last.data), (round, &body(5000)));
        assert_eq!(last.trailers, [("X-Sum".to_owned(), "5000".to_owned())]);
    }
    assert!(!bad.requests().is_empty());
}

// semantics 28
#[test]
fn a_body_half_sent_goes_on_at_the_next_endpoint_where_it_began() {
    // The first to be asked, whichever it is, drops the request with half of its body.
    let dropped = Arc::new(AtomicBool::new(false));
    let fickle = || {
        let dropped = Arc::clone(&dropped);
        Origin::start(move |exchange| {
            if !dropped.load(Ordering::SeqCst) {
                exchange.wire.exactly(3000)?;
                dropped.store(true, Ordering::SeqCst);
                return Ok(After::Reset);
            }
            exchange.body()?;
            exchange.reply(200, "", "OK")
        })
    };
    let (one, other) = (fickle(), fickle());
    let weir = in_turn(&one, &other);
    let message = put("PUT", 6000);
    let mut client = weir.client();
    client.send(&message[..message.len() - 3000]);
    eventually("the second to be asked", || {
        let both = [one.requests(), other.requests()].concat();
        (both.len() == 2).then_some(())
    });
    client.send(&message[message.len() - 3000..]);
    assert_eq!(client.response().status(), 200);
    let whole: Vec<_> = [one.requests(), other.requests()]
        .concat()
        .into_iter()
        .filter_map(|seen| seen.body)
        .collect();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].data, body(6000));
}

// semantics 28
#[test]
fn a_body_sent_again_is_held_for_an_answer_that_calls_for_it_too() {
    let busy = Origin::start(|exchange| {
        exchange.body()?;
        exchange.reply(503, "", "busy")
    });
    let good = Origin::ok("good");
    let weir = in_turn(&busy, &good);
    let mut client = weir.client();
    for round in 1..=4 {
        client.send(put("DELETE", 20_000));
        assert_eq!(client.response().status(), 200, "round {round}");
    }
    let seen = good.requests();
    assert!(seen.len() == 4 && seen.iter().all(|seen| seen.data() == body(20_000)));
    assert!(!busy.requests().is_empty());
}

// semantics 28
#[test]
fn a_body_beyond_what_is_held_is_not_sent_again_and_counted() {
    let (bad, worse) = (resetting(), resetting());
    let weir = in_turn(&bad, &worse);
    let chunked = bytes(
        "PUT /thing HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    let chunked = [chunked, chunks(&body(100 * 1024), 4096)].concat();
    for (sent, message) in [put("PUT", 100 * 1024), chunked].into_iter().enumerate() {
        let mut client = weir.client();
        client.send(message);
        assert_eq!(client.response().status(), 502);
        let asked = bad.requests().len() + worse.requests().len();
        assert_eq!(asked, sent + 1, "once each");
        eventually("the metric", || {
            let counted = weir.metric("weir_retry_body_too_large_total", &[]);
            (counted >= (sent + 1) as f64).then_some(())
        });
    }
    assert_eq!(weir.metric("weir_retries_total", &[]), 0.0);
}

// semantics 25
#[test]
fn a_body_sent_again_and_again_gets_no_more_time_than_one_request_has() {
    let silent = || {
        Origin::start(|exchange| {
            exchange.body()?;
            // Until the proxy closes the connection.
            exchange.wire.some()?;
            Ok(After::Close)
        })
    };
    let (one, other) = (silent(), silent());
    let setup = Setup::new()
        .service("app", &[("stable", one.addr()), ("stable", other.addr())])
        .route(
            "app",
            "backendRefs: [{ name: app }], timeouts: { request: 5s, backendRequest: 3s }, \
             retry: { attempts: 10, on: [gateway-error], backoff: { base: 1ms, max: 1ms } }",
        );
    let weir = Weir::start(&setup);
    let start = Instant::now();
    let mut client = weir.client();
    client.send(put("PUT", 1000));
    assert_eq!(client.response().status(), 504);
    let took = start.elapsed();
    assert!(took > Duration::from_millis(4500), "{took:?}");
    assert!(
        took < Duration::from_secs(15),
        "eleven tries are 33 s: {took:?}"
    );
    assert_eq!(one.requests().len() + other.requests().len(), 2);
}

// semantics 27
#[test]
fn a_post_is_never_sent_again_however_small_its_body() {
    let (bad, worse) = (resetting(), resetting());
    let weir = in_turn(&bad, &worse);
    for sent in 1..=4 {
        let mut client = weir.client();
        client.send(put("POST", 10));
        assert_eq!(client.response().status(), 502);
        assert_eq!(bad.requests().len() + worse.requests().len(), sent);
    }
    assert_eq!(weir.metric("weir_retry_body_too_large_total", &[]), 0.0);
}
