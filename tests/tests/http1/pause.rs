//! Endpoints that ask to be left alone (`Retry-After`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use weir_tests::config::Setup;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

const RULE: &str = "backendRefs: [{ name: app }]";

/// Answers that many requests so, and then 200.
fn refusing(count: usize, status: u16, after: &'static str) -> Origin {
    let answered = AtomicUsize::new(0);
    Origin::start(move |exchange| {
        exchange.body()?;
        match answered.fetch_add(1, Ordering::SeqCst) < count {
            true => exchange.reply(status, &format!("Retry-After: {after}\r\n"), "busy"),
            false => exchange.reply(200, "", "OK"),
        }
    })
}

fn in_turn(first: &Origin, second: &Origin, rule: &str) -> Weir {
    let setup = Setup::new()
        .service_with(
            "app",
            &[("stable", first.addr()), ("stable", second.addr())],
            "loadBalancer: { simple: ROUND_ROBIN }",
        )
        .route("app", rule);
    Weir::start(&setup)
}

// semantics 11
#[test]
fn an_endpoint_that_asks_for_two_seconds_gets_no_request_for_that_time_and_then_again() {
    let (busy, good) = (refusing(1, 503, "2"), Origin::ok("good"));
    let weir = in_turn(&busy, &good, RULE);
    let mut client = weir.client();
    let asked = eventually("the endpoint to be asked first", || {
        let before = Instant::now();
        (client.get("a.example", "/").status() == 503).then_some(before)
    });
    good.clear();
    let meanwhile = eventually("the endpoint to be asked again", || {
        assert_eq!(client.get("a.example", "/").status(), 200);
        (busy.requests().len() > 1).then(|| good.requests().len())
    });
    let waited = asked.elapsed();
    // The proxy's clock may lag behind by a few milliseconds.
    assert!(waited > Duration::from_millis(1900), "{waited:?}");
    assert!(meanwhile >= 1, "the other one served meanwhile");
    client.get("a.example", "/");
    client.get("a.example", "/");
    assert!(busy.requests().len() > 2, "it has its turn again");
}

// semantics 11
#[test]
fn one_that_asks_for_a_pause_is_still_asked_when_it_is_the_last() {
    let busy = refusing(2, 503, "300");
    let weir = Weir::start(&Setup::to(&busy));
    let mut client = weir.client();
    let statuses = [(); 4].map(|()| client.get("a.example", "/").status());
    assert_eq!(statuses, [503, 503, 200, 200]);
    let told = weir.json("/api/v1/endpoints")["endpoints"][0].clone();
    let reason = told["reason"].as_str().unwrap_or_default();
    assert!(
        told["state"] == "ready" && reason.contains("asked for a pause"),
        "{told}"
    );
}

// semantics 26
#[test]
fn a_retry_goes_to_a_paused_endpoint_rather_than_to_one_that_was_tried() {
    let (one, other) = (refusing(100, 503, "300"), refusing(100, 503, "300"));
    let rule =
        format!("{RULE}, retry: {{ attempts: 1, on: [503], backoff: {{ base: 1ms, max: 1ms }} }}");
    let weir = in_turn(&one, &other, &rule);
    let mut client = weir.client();
    for round in 1..=10 {
        assert_eq!(client.get("a.example", "/").status(), 503);
        assert_eq!(one.requests().len(), round);
        assert_eq!(other.requests().len(), round);
    }
}

// semantics 11
#[test]
fn a_429_is_the_clients_business_and_pauses_nobody() {
    let (limited, good) = (refusing(100, 429, "300"), Origin::ok("good"));
    let weir = in_turn(&limited, &good, RULE);
    let mut client = weir.client();
    for _ in 0..10 {
        client.get("a.example", "/");
    }
    assert_eq!(limited.requests().len(), 5);
}
