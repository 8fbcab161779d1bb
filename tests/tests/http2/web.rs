//! gRPC-Web, for clients that see no trailers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use weir_tests::grpc;
use weir_tests::h2::{Origin, Reply};
use weir_tests::ports;
use weir_tests::program::Program;
use weir_tests::weir::Weir;

use crate::support::{Ask, Got, Speaks, ask, to_with};

const WEB: &str = "filters: [{ type: GrpcWeb }]";

/// The messages of a body, and the lines of its last frame.
fn parts(body: &[u8]) -> (Vec<Vec<u8>>, String) {
    let (mut rest, mut messages) = (body, Vec::new());
    while rest.len() >= 5 {
        let length = u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]) as usize;
        let payload = rest[5..5 + length].to_vec();
        if rest[0] & 0x80 != 0 {
            assert_eq!(rest.len(), 5 + length, "nothing comes behind the trailers");
            return (messages, String::from_utf8(payload).expect("text"));
        }
        messages.push(payload);
        rest = &rest[5 + length..];
    }
    panic!("no trailers in {body:?}");
}

fn call(front: Speaks, weir: &Weir, path: &str, text: bool, fields: &[(&str, &str)]) -> Got {
    let frame = grpc::frame(b"hello");
    let (kind, body) = match text {
        true => (
            "application/grpc-web-text+proto",
            STANDARD.encode(frame).into_bytes(),
        ),
        false => ("application/grpc-web+proto", frame),
    };
    let fields = [&[("content-type", kind)], fields].concat();
    let what = Ask {
        fields: &fields,
        body: &body,
        ..Ask::of("POST", path)
    };
    let mut got = ask(front, weir, &what);
    let plain = kind.strip_suffix("+proto");
    assert_eq!(
        (got.status, got.get("content-type")),
        (200, plain),
        "{front:?}"
    );
    if text {
        got.body = STANDARD.decode(&got.body).expect("base64");
    }
    got
}

#[test]
fn both_forms_go_through_over_both_versions_with_their_trailers_in_the_body() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", WEB));
    for front in [Speaks::H1, Speaks::H2] {
        for text in [false, true] {
            let got = call(front, &weir, "/weir.origin.v1.Echo/Unary", text, &[]);
            let (messages, trailers) = parts(&got.body);
            assert_eq!(messages, [b"hello".to_vec()], "{front:?}, {text}");
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
            assert_eq!(got.trailers, []);
            let count = [("x-origin-count", "5")];
            let got = call(
                front,
                &weir,
                "/weir.origin.v1.Echo/ServerStream",
                text,
                &count,
            );
            assert_eq!(parts(&got.body).0.len(), 5, "{front:?}, {text}");
            let status = [("x-origin-status", "9"), ("x-origin-message", "no")];
            let got = call(front, &weir, "/weir.origin.v1.Echo/Unary", text, &status);
            // In the body, or in the head where there is nothing but a head.
            let told = match got.get("grpc-status") {
                Some(status) => status.to_owned(),
                None => parts(&got.body).1,
            };
            assert!(told.contains('9'), "{told}");
        }
    }
}

#[test]
fn a_deadline_in_mid_stream_is_told_in_the_body_too() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", WEB));
    let fields = [
        ("grpc-timeout", "300m"),
        ("x-origin-count", "1000"),
        ("x-origin-interval", "20ms"),
    ];
    for front in [Speaks::H1, Speaks::H2] {
        for text in [false, true] {
            let got = call(
                front,
                &weir,
                "/weir.origin.v1.Echo/ServerStream",
                text,
                &fields,
            );
            let (messages, trailers) = parts(&got.body);
            assert!(
                messages.len() > 2 && trailers.contains("grpc-status: 4\r\n"),
                "{trailers}"
            );
        }
    }
}

#[test]
fn errors_of_ours_are_of_its_kind() {
    let weir = Weir::start(&to_with(Speaks::H2, ports::free(), "", WEB));
    for front in [Speaks::H1, Speaks::H2] {
        for kind in ["application/grpc-web", "application/grpc-web-text"] {
            let what = Ask {
                fields: &[("content-type", kind)],
                ..Ask::of("POST", "/a.B/C")
            };
            let got = ask(front, &weir, &what);
            assert_eq!((got.status, got.get("grpc-status")), (200, Some("14")));
            assert_eq!(got.get("content-type"), Some(kind));
        }
    }
}

#[test]
fn an_answer_that_is_none_of_grpc_tells_how_the_call_ended_by_its_status() {
    for (status, kind, code) in [
        (200, Some("text/html"), "2"),
        (200, None, "2"),
        (200, Some("application/grpcx"), "2"),
        (401, Some("text/plain; charset=utf-8"), "16"),
        (404, Some("text/plain; charset=utf-8"), "12"),
        (503, Some("application/json"), "14"),
    ] {
        let origin = Origin::start(move |_| {
            let mut reply = Reply::status(status);
            let fields = reply.response.headers_mut();
            if let Some(kind) = kind {
                fields.insert("content-type", HeaderValue::from_static(kind));
            }
            fields.insert("content-length", HeaderValue::from(reply.body.len()));
            fields.insert("x-kept", HeaderValue::from_static("yes"));
            reply
        });
        let keys = "outlierDetection: { consecutive5xxErrors: 4, maxEjectionPercent: 100 }";
        let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), keys, WEB));
        for front in [Speaks::H1, Speaks::H2] {
            for form in ["application/grpc-web", "application/grpc-web-text"] {
                let what = Ask {
                    fields: &[("content-type", form)],
                    ..Ask::of("POST", "/a.B/C")
                };
                let got = ask(front, &weir, &what);
                let said = (got.status, got.get("content-type"), got.get("grpc-status"));
                assert_eq!(said, (200, Some(form), Some(code)), "{status} {kind:?}");
                assert_eq!((got.get("x-kept"), &*got.body), (Some("yes"), &b""[..]));
                let why = format!("the endpoint answered with {status}, and not as gRPC");
                assert_eq!(got.get("grpc-message"), Some(&*why));
            }
        }
        // It counts for its endpoint as the same answer does to any other call.
        let ejections = f64::from(matches!(status, 200 | 503));
        weir.counts("weir_ejections_total", &[], ejections);
    }
}

#[test]
fn such_an_answer_over_http_1_leaves_the_clients_connection_in_order() {
    let origin = weir_tests::origin::Origin::start(|exchange| {
        exchange.body()?;
        exchange.reply(404, "Content-Type: text/plain\r\n", "there is no such page")
    });
    let weir = Weir::start(&to_with(Speaks::H1, origin.addr(), "", WEB));
    let mut client = weir.client();
    for _ in 0..3 {
        client.send("POST /a.B/C HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc-web\r\nContent-Length: 0\r\n\r\n");
        let got = client.response();
        assert_eq!((got.status(), got.get("grpc-status")), (200, Some("12")));
        assert_eq!((got.closes(), got.body.data), (false, Vec::new()));
    }
}

#[test]
fn the_answer_has_the_form_that_accept_names() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", WEB));
    let gone = Weir::start(&to_with(Speaks::H2, ports::free(), "", WEB));
    let (binary, text) = ("application/grpc-web", "application/grpc-web-text");
    for (asked, accept, answered) in [
        (binary, text, text),
        (text, binary, binary),
        (binary, "*/*", binary),
        (text, "*/*, application/grpc", text),
        (
            text,
            "application/grpc-web+proto, application/grpc-web-text;q=0.5",
            text,
        ),
        (
            binary,
            "text/html, application/grpc-web-text+proto ;q=0.9",
            text,
        ),
    ] {
        let frame = grpc::frame(b"hello");
        let body = match asked == text {
            true => STANDARD.encode(frame).into_bytes(),
            false => frame,
        };
        let kind = format!("{asked}+proto");
        let what = Ask {
            fields: &[("content-type", &kind), ("accept", accept)],
            body: &body,
            ..Ask::of("POST", "/weir.origin.v1.Echo/Unary")
        };
        for front in [Speaks::H1, Speaks::H2] {
            let got = ask(front, &weir, &what);
            assert_eq!(got.get("content-type"), Some(answered), "{asked} {accept}");
            let body = match answered == text {
                true => STANDARD.decode(&got.body).expect("base64"),
                false => got.body,
            };
            let (messages, trailers) = parts(&body);
            assert_eq!(messages, [b"hello".to_vec()], "{asked} {accept}");
            assert!(trailers.contains("grpc-status: 0\r\n"), "{trailers}");
            // As is one of ours.
            let got = ask(front, &gone, &what);
            assert_eq!(got.get("content-type"), Some(answered), "{asked} {accept}");
        }
    }
}

#[test]
fn text_that_is_no_base64_is_refused_as_a_call() {
    let origin = Program::origin(&[]);
    let weir = Weir::start(&to_with(Speaks::H2, origin.addr(), "", WEB));
    let what = Ask {
        fields: &[("content-type", "application/grpc-web-text")],
        body: b"***not base64***",
        ..Ask::of("POST", "/weir.origin.v1.Echo/Unary")
    };
    let got = ask(Speaks::H2, &weir, &what);
    assert_eq!((got.status, got.get("grpc-status")), (200, Some("13")));
}
