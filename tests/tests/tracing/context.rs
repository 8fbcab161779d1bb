//! What the endpoint, the client and the log are told of a trace.

use serde_json::Value;
use weir_tests::origin::Origin;
use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

use super::{SPAN, TRACE, ask, parts, traced, traceparent};

/// What the endpoint got in fields of traces, for a request with these.
fn told(weir: &Weir, origin: &Origin, fields: &str) -> Vec<(String, String)> {
    origin.clear();
    assert_eq!(ask(weir, fields).status(), 200, "{fields:?}");
    let fields = origin.only().head.fields.into_iter();
    let fields = fields.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let of_traces = |name: &str| {
        name.starts_with("x-b3-") || ["traceparent", "tracestate", "b3"].contains(&name)
    };
    fields.filter(|(name, _)| of_traces(name)).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn without_tracing_fields_of_traces_pass_as_they_came() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&weir_tests::config::Setup::to(&origin));
    for (name, value) in [
        ("traceparent", "00-anything-at-all"),
        ("tracestate", "X"),
        ("b3", "what?"),
        ("x-b3-sampled", "7"),
    ] {
        let got = told(&weir, &origin, &format!("{name}: {value}\r\n"));
        assert_eq!(got, [pair(name, value)]);
    }
    assert_eq!(told(&weir, &origin, ""), []);
}

#[test]
fn a_trace_that_is_not_recorded_goes_on_as_it_came_or_begins_unsampled() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&traced(
        &origin,
        "trustCaller: true, responseHeader: X-Trace",
    ));
    let state = "tracestate: a=1, b=2\r\ntracestate: c=3\r\n";
    let same = |flags: &str| pair("traceparent", &format!("00-{TRACE}-{SPAN}-{flags}"));
    let states = [pair("tracestate", "a=1, b=2"), pair("tracestate", "c=3")];
    // Ours stands behind what stays of the client's.
    let got = told(&weir, &origin, &format!("{}{state}", traceparent("01")));
    assert_eq!(got, [states[0].clone(), states[1].clone(), same("01")]);
    assert_eq!(told(&weir, &origin, &traceparent("00")), [same("00")]);
    let [(name, first)] = &told(&weir, &origin, "")[..] else {
        panic!("a root")
    };
    let [(_, second)] = &told(&weir, &origin, "")[..] else {
        panic!("a root")
    };
    let (first, second) = (parts(first), parts(second));
    assert_eq!((&**name, &*first.2), ("traceparent", "00"));
    assert_ne!(first.0, second.0, "each begins its own");
}

#[test]
fn what_is_malformed_begins_a_trace_and_takes_its_state_along() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&traced(&origin, "sampling: 0, responseHeader: x-trace"));
    let long = "x".repeat(3000);
    let valid = traceparent("01");
    for fields in [
        "traceparent: \r\n".to_owned(),
        format!("traceparent: {long}\r\n"),
        format!("{valid}{valid}"),
        format!("traceparent: 00-{TRACE}-{SPAN}-01-more\r\n"),
        format!("traceparent: ff-{TRACE}-{SPAN}-01\r\n"),
        format!("traceparent: 00-{}-{SPAN}-01\r\n", "0".repeat(32)),
        "b3: \r\n".to_owned(),
        format!("b3: {long}\r\n"),
        format!("x-b3-traceid: {TRACE}\r\n"),
        format!("x-b3-traceid: {TRACE}\r\nx-b3-spanid: {long}\r\n"),
    ] {
        let got = told(&weir, &origin, &format!("{fields}tracestate: a=1\r\n"));
        let [(name, value)] = &got[..] else {
            panic!("{fields:?} gave {got:?}")
        };
        assert_eq!(name, "traceparent");
        assert_ne!(parts(value).0, TRACE, "{fields:?}");
    }
    // A state that cannot be read goes alone.
    for state in [
        "A=1".to_owned(),
        "a".to_owned(),
        format!("a=1,b={long}"),
        "a=1,".repeat(33),
    ] {
        let got = told(&weir, &origin, &format!("{valid}tracestate: {state}\r\n"));
        assert_eq!(got.len(), 1, "{got:?}");
        assert_eq!(parts(&got[0].1).0, TRACE);
    }
}

#[test]
fn every_format_is_read_and_those_that_are_asked_for_are_written() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&traced(&origin, "propagation: [b3, b3multi, tracecontext]"));
    let written = [
        pair("b3", &format!("{TRACE}-{SPAN}-1")),
        pair("x-b3-traceid", TRACE),
        pair("x-b3-spanid", SPAN),
        pair("x-b3-sampled", "1"),
        pair("traceparent", &format!("00-{TRACE}-{SPAN}-01")),
    ];
    let several = format!(
        "X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\nX-B3-Sampled: 1\r\nX-B3-ParentSpanId: {SPAN}\r\n"
    );
    for fields in [
        traceparent("01"),
        format!("b3: {TRACE}-{SPAN}-1-05e3ac9a4f6e3b90\r\n"),
        several.clone(),
        format!("{}b3: 0\r\n", traceparent("01")),
    ] {
        assert_eq!(told(&weir, &origin, &fields), written, "{fields:?}");
    }
    weir.apply(&traced(&origin, "propagation: [b3]"));
    let got = told(
        &weir,
        &origin,
        &format!("{}tracestate: a=1\r\n", traceparent("01")),
    );
    assert_eq!(
        got,
        [written[0].clone()],
        "of what is not written nothing is left"
    );
    assert_eq!(told(&weir, &origin, &several), [written[0].clone()]);
}

#[test]
fn what_a_route_sets_stands_in_place_of_ours() {
    let origin = Origin::ok("app");
    let rule = "backendRefs: [{ name: app }], filters: [{ type: RequestHeaderModifier, \
                requestHeaderModifier: { set: [{ name: traceparent, value: mine }] } }]";
    let setup = weir_tests::config::Setup::new()
        .top("tracing: { sampling: 100 }")
        .service("app", &[("stable", origin.addr())])
        .route("app", rule);
    let weir = Weir::start(&setup);
    assert_eq!(
        told(&weir, &origin, &traceparent("01")),
        [pair("traceparent", "mine")]
    );
}

#[test]
fn the_client_is_told_the_trace_of_every_answer_once() {
    let origin = Origin::start(|exchange| exchange.reply(200, "X-Trace-Id: theirs\r\n", "ok"));
    let setup = traced(&origin, "responseHeader: x-trace-id").rules(
        "teapot",
        "hostnames: [teapot.example]",
        &["filters: [{ type: DirectResponse, directResponse: { status: 418 } }]"],
    );
    let weir = Weir::start(&setup);
    let answer = ask(&weir, &traceparent("00"));
    assert_eq!(answer.head.all("x-trace-id"), [TRACE]);
    let own = weir.get("teapot.example", "/");
    assert_eq!((own.status(), own.head.all("x-trace-id").len()), (418, 1));
    assert_eq!(own.get("x-trace-id").map(str::len), Some(32));
}

#[test]
fn the_log_has_the_ids_of_a_trace_that_came_and_of_one_that_begins() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&traced(&origin, "responseHeader: x-trace").access_log("json"));
    let line = |count: usize| -> Value {
        eventually("a line of the log", || {
            let out = weir.stdout();
            let line = out.lines().nth(count)?;
            serde_json::from_str(line).ok()
        })
    };
    ask(&weir, &traceparent("01"));
    let first = line(0);
    assert_eq!(
        (&first["trace_id"], &first["span_id"]),
        (&TRACE.into(), &SPAN.into())
    );
    origin.clear();
    ask(&weir, "");
    let (trace, span, _) = parts(origin.only().get("traceparent").expect("a root"));
    let second = line(1);
    assert_eq!(
        (&second["trace_id"], &second["span_id"]),
        (&trace.into(), &span.into())
    );
}

#[test]
fn without_tracing_the_log_has_the_ids_of_a_valid_traceparent_alone() {
    let origin = Origin::ok("app");
    let weir = Weir::start(&weir_tests::config::Setup::to(&origin).access_log("json"));
    ask(&weir, &traceparent("01"));
    ask(&weir, &format!("traceparent: 00-{TRACE}-{SPAN}-zz\r\n"));
    let lines: Vec<Value> = eventually("two lines of the log", || {
        let out = weir.stdout();
        let lines: Vec<_> = out.lines().map(str::to_owned).collect();
        (lines.len() == 2).then(|| {
            let read = |line: &String| serde_json::from_str(line).expect("a line of JSON");
            lines.iter().map(read).collect()
        })
    });
    assert_eq!(
        (&lines[0]["trace_id"], &lines[0]["span_id"]),
        (&TRACE.into(), &SPAN.into())
    );
    assert_eq!(
        (&lines[1]["trace_id"], &lines[1]["span_id"]),
        (&Value::Null, &Value::Null)
    );
}
