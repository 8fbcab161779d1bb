//! Hedging: a slow try goes on beside the next one, and the first answer counts.

use std::time::Duration;

use weir_tests::origin::{After, Origin};
use weir_tests::weir::Weir;

use super::{fault, routed, timed, total};

const HEDGED: &str = "timeouts: { request: 10s, backendRequest: 200ms }, retry: { attempts: 1, on: [connect-failure], hedge: true }";

/// One at a time, so that the first try goes to the first endpoint.
const IN_TURN: &str = "loadBalancer: { simple: ROUND_ROBIN }, outlierDetection: { consecutive5xxErrors: 0, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 0 }";

#[test]
fn the_second_endpoint_answers_where_the_first_is_slow() {
    let slow = Origin::slow("slow", Duration::from_secs(5));
    let quick = Origin::ok("quick");
    let weir = Weir::start(&routed(&[slow.addr(), quick.addr()], IN_TURN, HEDGED));
    let mut hedged = 0;
    for _ in 0..10 {
        let before = slow.count();
        let (response, took) = timed(&weir);
        assert_eq!(response.status(), 200);
        assert!(took < Duration::from_secs(2), "{took:?}");
        if slow.count() > before {
            hedged += 1;
            assert!(took >= Duration::from_millis(150), "{took:?}");
        }
    }
    assert!(hedged >= 1, "nothing was hedged");
    fault(
        "one of two takes 5 s, hedging after 200 ms",
        "every answer within 2 s",
        &format!("10 of 10; {hedged} were hedged"),
    );
}

#[test]
fn the_first_try_still_counts_where_it_answers_before_the_second() {
    let slow = Origin::slow("slow", Duration::from_millis(600));
    let slower = Origin::slow("slower", Duration::from_secs(8));
    let weir = Weir::start(&routed(&[slow.addr(), slower.addr()], IN_TURN, HEDGED));
    for _ in 0..4 {
        let (response, took) = timed(&weir);
        assert_eq!(
            (response.status(), response.get("x-origin")),
            (200, Some("slow"))
        );
        // The slow one from its own start, whichever came first.
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
    let two_each = total(&[&slow, &slower]);
    assert!(
        (5..=8).contains(&two_each),
        "{two_each} tries for 4 requests"
    );
}

#[test]
fn the_last_tries_are_waited_for_until_the_request_is_over() {
    let slow = [700, 900].map(|ms| Origin::slow("slow", Duration::from_millis(ms)));
    let weir = Weir::start(&routed(&[slow[0].addr(), slow[1].addr()], IN_TURN, HEDGED));
    let (response, took) = timed(&weir);
    assert_eq!(response.status(), 200, "both were parked, and one answered");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_post_is_not_made_twice() {
    let slow = Origin::slow("slow", Duration::from_millis(600));
    let other = Origin::slow("other", Duration::from_millis(600));
    let weir = Weir::start(&routed(&[slow.addr(), other.addr()], IN_TURN, HEDGED));
    let mut client = weir.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().status(), 504);
    assert_eq!(total(&[&slow, &other]), 1);
}

#[test]
fn an_endpoint_that_breaks_off_while_parked_is_no_answer() {
    let broken = Origin::start(|exchange| {
        exchange.body()?;
        std::thread::sleep(Duration::from_millis(500));
        Ok(After::Close)
    });
    let slow = Origin::slow("slow", Duration::from_millis(900));
    let weir = Weir::start(&routed(&[broken.addr(), slow.addr()], IN_TURN, HEDGED));
    for _ in 0..3 {
        let (response, _) = timed(&weir);
        assert_eq!(
            (response.status(), response.get("x-origin")),
            (200, Some("slow"))
        );
    }
}
