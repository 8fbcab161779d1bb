//! Which requests are recorded.

use weir_tests::origin::Origin;
use weir_tests::weir::Weir;

use super::receiver::Receiver;
use super::{SPAN, TRACE, ask, parts, traced, traceparent};

#[test]
fn whoever_begins_a_trace_decides_and_we_do_where_nobody_did() {
    let origin = Origin::ok("app");
    let receiver = Receiver::start();
    let deferred = format!("b3: {TRACE}-{SPAN}\r\n");
    let section = |sampling: &str, trust: bool| {
        let otlp = receiver.otlp("grpc");
        traced(
            &origin,
            &format!("sampling: {sampling}, trustCaller: {trust}, {otlp}"),
        )
    };
    let weir = Weir::start(&section("0", true));
    let mut recorded = 0;
    for (sampling, trust, fields, expected) in [
        ("0", true, String::new(), false),
        ("0", true, traceparent("01"), true),
        ("0", true, traceparent("00"), false),
        ("0", true, deferred.clone(), false),
        ("100", true, String::new(), true),
        ("100", true, traceparent("00"), false),
        ("100", true, deferred, true),
        ("100", true, "b3: 0\r\n".to_owned(), false),
        ("0", false, traceparent("01"), false),
        ("100", false, traceparent("00"), true),
    ] {
        let setup = section(sampling, trust);
        if std::fs::read_to_string(weir.config()).expect("the file") != setup.render(weir.ports()) {
            // The same process throughout: what is asked for changes while it runs.
            weir.apply(&setup);
        }
        origin.clear();
        ask(&weir, &fields);
        let (_, _, flags) = parts(origin.only().get("traceparent").expect("a parent"));
        assert_eq!(flags == "01", expected, "{sampling} {trust} {fields:?}");
        recorded += 2 * usize::from(expected);
    }
    // Whatever was recorded by mistake would have come before the last.
    assert_eq!(receiver.wait_for(recorded).len(), recorded);
}

#[test]
fn a_share_is_kept_to() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&traced(&origin, "sampling: 12.5"));
    let mut client = weir.client();
    const REQUESTS: usize = 2000;
    for _ in 0..REQUESTS {
        assert_eq!(client.get("a.example", "/").status(), 200);
    }
    let requests = origin.requests();
    let sampled = requests.iter().filter(|seen| {
        let (_, _, flags) = parts(seen.get("traceparent").expect("a root"));
        flags == "01"
    });
    // 250 expected; six standard deviations are 89.
    let sampled = sampled.count();
    assert!((161..=339).contains(&sampled), "{sampled} of {REQUESTS}");
}

#[test]
fn a_change_of_the_receiver_is_followed_and_an_end_of_tracing_too() {
    let origin = Origin::ok("app");
    let (first, second) = (Receiver::start(), Receiver::start());
    let to = |receiver: &Receiver, protocol| {
        traced(
            &origin,
            &format!("sampling: 100, {}", receiver.otlp(protocol)),
        )
    };
    let weir = Weir::start(&to(&first, "grpc"));
    ask(&weir, "");
    first.wait_for(2);
    weir.apply(&to(&second, "http"));
    ask(&weir, "");
    second.wait_for(2);
    weir.apply(&weir_tests::config::Setup::to(&origin));
    origin.clear();
    ask(&weir, &traceparent("01"));
    let seen = origin.only();
    let expected = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(
        seen.get("traceparent"),
        Some(&*expected),
        "it passes as it came"
    );
    weir.apply(&to(&first, "http"));
    ask(&weir, "");
    first.wait_for(4);
    assert_eq!((first.spans().len(), second.spans().len()), (4, 2));
}
