use super::*;
use crate::telemetry::trace::span::samples::ended;

const SECOND: u64 = 1_000_000_000;

fn resource() -> Resource {
    Resource {
        instance: "i".to_owned(),
        host: "h".to_owned(),
    }
}

fn spans(ended: Ended) -> Vec<Span> {
    let batch = [Box::new(ended)];
    let mut request = request(&batch, &resource(), "edge");
    let mut scopes = request.resource_spans.remove(0).scope_spans;
    scopes.remove(0).spans
}

fn get(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a| a.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn check(span: &Span, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(
            get(span, key).as_deref(),
            Some(*value),
            "{key} of {span:#?}"
        );
    }
    let mut keys: Vec<_> = span.attributes.iter().map(|a| &a.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), span.attributes.len(), "a key stands twice");
}

#[test]
fn a_request_is_a_server_span_and_each_try_a_client_span_below_it() {
    let ended = ended();
    let (trace, own, parent) = (ended.trace, ended.span, ended.parent.unwrap());
    let spans = spans(ended);
    let [server, first, second] = &spans[..] else {
        panic!("{spans:#?}")
    };
    for span in &spans {
        assert_eq!(span.trace_id, trace.bytes());
        assert_eq!(span.trace_state, "a=1");
        assert_eq!(span.flags & 0xff, 1);
    }
    assert_eq!(server.span_id, own.bytes());
    assert_eq!(server.parent_span_id, parent.bytes());
    assert_eq!(
        (server.kind(), &*server.name),
        (SpanKind::Server, "GET shop")
    );
    assert_eq!(server.flags & 0x300, 0x300, "the parent is remote");
    for (client, name) in [(first, "GET"), (second, "GET")] {
        assert_eq!(client.parent_span_id, own.bytes());
        assert_eq!((client.kind(), &*client.name), (SpanKind::Client, name));
        assert_eq!(client.flags & 0x300, 0x100, "the parent is not remote");
    }
    let times = |span: &Span| (span.start_time_unix_nano, span.end_time_unix_nano);
    let (start, end) = (999 * SECOND, 1_000 * SECOND);
    assert_eq!(times(server), (start, end));
    assert_eq!(times(first), (start, start + SECOND / 10));
    assert_eq!(
        times(second),
        (start + SECOND / 5, end),
        "it goes on until the request ends"
    );
}

#[test]
fn attributes_have_the_names_of_the_conventions() {
    let spans = spans(ended());
    check(
        &spans[0],
        &[
            ("http.request.method", "GET"),
            ("url.scheme", "https"),
            ("url.path", "/cart"),
            ("server.address", "shop.example.com"),
            ("server.port", "8080"),
            ("client.address", "192.0.2.7"),
            ("network.peer.address", "10.0.0.1"),
            ("network.peer.port", "4711"),
            ("network.protocol.version", "1.1"),
            ("http.response.status_code", "200"),
            ("http.route", "shop"),
            ("user_agent.original", "curl/8"),
            ("weir.listener", "web"),
            ("weir.service", "shop"),
            ("weir.version", "canary"),
            ("weir.request_id", "a1b2"),
        ],
    );
    assert_eq!(get(&spans[0], "error.type"), None);
    check(
        &spans[1],
        &[
            ("url.full", "http://shop.example.com:8080/cart"),
            ("server.address", "127.0.0.1"),
            ("server.port", "9001"),
            ("network.peer.address", "127.0.0.1"),
            ("weir.endpoint", "shop/127.0.0.1:9001"),
            ("error.type", "UF"),
        ],
    );
    assert_eq!(spans[1].status.as_ref().unwrap().message, "no connection");
    check(
        &spans[2],
        &[
            ("http.request.resend_count", "1"),
            ("http.response.status_code", "200"),
        ],
    );
    assert_eq!(get(&spans[1], "http.request.resend_count"), None);
}

#[test]
fn an_error_is_told_by_status_or_flag_and_a_client_that_left_is_none_of_ours() {
    for (status, flag, error, failed) in [
        (200, Flag::None, None, false),
        (404, Flag::NR, None, false),
        (500, Flag::None, Some("500"), true),
        (503, Flag::UH, Some("503"), true),
        (200, Flag::UC, Some("UC"), true),
        (200, Flag::DC, Some("DC"), false),
        (0, Flag::DC, Some("DC"), false),
    ] {
        let spans = spans(Ended {
            status,
            flag,
            ..ended()
        });
        let server = &spans[0];
        assert_eq!(
            get(server, "error.type").as_deref(),
            error,
            "{status} {flag:?}"
        );
        let code = server.status.as_ref().unwrap().code();
        assert_eq!(code == StatusCode::Error, failed, "{status} {flag:?}");
        let cut = flag == Flag::UC;
        assert_eq!(
            get(&spans[2], "error.type").is_some(),
            cut,
            "of the last try"
        );
    }
}

#[test]
fn a_call_tells_how_it_ended_and_is_an_error_where_its_server_failed() {
    for (code, flag, error, failed) in [
        (0, Flag::None, None, false),
        (1, Flag::DC, Some("DC"), false),
        (2, Flag::None, Some("UNKNOWN"), true),
        (3, Flag::None, None, false),
        (4, Flag::None, Some("DEADLINE_EXCEEDED"), true),
        (4, Flag::UT, Some("UT"), true),
        (5, Flag::None, None, false),
        (8, Flag::RL, None, false),
        (12, Flag::NR, Some("UNIMPLEMENTED"), true),
        (13, Flag::None, Some("INTERNAL"), true),
        (14, Flag::UH, Some("UNAVAILABLE"), true),
        (15, Flag::None, Some("DATA_LOSS"), true),
        (16, Flag::None, None, false),
    ] {
        let spans = spans(Ended {
            flag,
            grpc_status: Some(code),
            ..ended()
        });
        let server = &spans[0];
        let said = code.to_string();
        check(
            server,
            &[("rpc.system", "grpc"), ("rpc.grpc.status_code", &said)],
        );
        assert_eq!(get(server, "error.type").as_deref(), error, "{code}");
        let status = server.status.as_ref().unwrap().code();
        assert_eq!(status == StatusCode::Error, failed, "{code}");
    }
    assert_eq!(get(&spans(ended())[0], "rpc.system"), None);
}

#[test]
fn a_try_tells_how_its_endpoint_ended_the_call() {
    for (code, error) in [(0, None), (5, Some("NOT_FOUND")), (14, Some("UNAVAILABLE"))] {
        let mut ended = ended();
        ended.tries[1].grpc_status = Some(code);
        let spans = spans(ended);
        check(&spans[2], &[("rpc.grpc.status_code", &code.to_string())]);
        assert_eq!(get(&spans[2], "error.type").as_deref(), error, "{code}");
        assert_eq!(get(&spans[1], "rpc.system"), None, "it made none");
    }
}

#[test]
fn a_method_that_is_not_known_stands_beside_and_names_nothing() {
    let spans = spans(Ended {
        method: "_OTHER",
        other_method: Some("BREW".into()),
        route: None,
        ..ended()
    });
    check(
        &spans[0],
        &[
            ("http.request.method", "_OTHER"),
            ("http.request.method_original", "BREW"),
        ],
    );
    assert_eq!(spans[0].name, "HTTP");
}

#[test]
fn a_host_is_split_from_its_port() {
    for (host, scheme, expected) in [
        ("a.example", "http", ("a.example", 80)),
        ("a.example", "https", ("a.example", 443)),
        ("a.example:8080", "http", ("a.example", 8080)),
        ("[::1]", "http", ("::1", 80)),
        ("[::1]:81", "http", ("::1", 81)),
        ("", "http", ("", 80)),
        (":", "http", ("", 80)),
        ("a:99999", "http", ("a", 80)),
    ] {
        assert_eq!(authority(host, scheme), expected, "{host:?}");
    }
}

#[test]
fn the_process_is_named() {
    let batch = [Box::new(ended())];
    let request = request(&batch, &resource(), "edge");
    let resource = request.resource_spans[0].resource.as_ref().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|a| &*a.key).collect();
    assert_eq!(
        keys,
        [
            "service.name",
            "service.version",
            "service.instance.id",
            "host.name"
        ]
    );
    assert_eq!(resource.attributes[0], text("service.name", "edge"));
}
