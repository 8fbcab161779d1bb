//! Each of the four ways from a client to an endpoint carries the same messages.

use http::{Method, Response};
use weir_tests::h2;
use weir_tests::origin::{After, Origin};
use weir_tests::pki::Authority;
use weir_tests::program::Program;
use weir_tests::tls::{Connector, acceptor};
use weir_tests::weir::Weir;

use crate::support::{Ask, Echo, SUM, Speaks, WAYS, ask, fronted, pattern, request, sum, to};

#[test]
fn bodies_of_every_size_and_their_trailers_come_through_whole_both_ways() {
    for (front, back) in WAYS {
        let echo = Echo::start(back);
        let weir = Weir::start(&to(back, echo.addr()));
        for size in [0, 1, 64 * 1024, 5 * 1024 * 1024] {
            let body = pattern(size);
            for (path, known) in [("/known", true), ("/unknown", false)] {
                let what = Ask {
                    body: &body,
                    known,
                    ..Ask::of("POST", path)
                };
                let case = format!("{front:?} to {back:?}, {size} bytes, {path}");
                let got = ask(front, &weir, &what);
                assert_eq!(got.status, 200, "{case}");
                assert!(got.body == body, "the answer changed: {case}");
                let (up, trailer) = echo.last();
                assert!(up == body, "the request changed: {case}");
                let down = got.trailers.iter().find(|(name, _)| name == SUM);
                let down = down.map(|(_, value)| value.as_str());
                let expected = (!known).then_some(("up", "down"));
                assert_eq!(trailer.as_deref(), expected.map(|(up, _)| up), "{case}");
                assert_eq!(down, expected.map(|(_, down)| down), "{case}");
            }
        }
    }
}

#[test]
fn get_and_head_have_no_body_where_none_belongs() {
    for (front, back) in WAYS {
        let echo = Echo::start(back);
        let weir = Weir::start(&to(back, echo.addr()));
        for method in ["GET", "HEAD"] {
            let got = ask(front, &weir, &Ask::of(method, "/x?q=1"));
            let case = format!("{method}, {front:?} to {back:?}");
            assert_eq!((got.status, got.body.len()), (200, 0), "{case}");
            assert_eq!(got.get("content-length"), Some("0"), "{case}");
        }
    }
}

#[test]
fn statuses_without_a_body_end_with_their_head() {
    let h1 = Origin::start(|exchange| {
        let status = &exchange.head.word(1)[1..];
        let length = if status == "304" {
            "Content-Length: 7\r\n"
        } else {
            ""
        };
        exchange.send(format!(
            "HTTP/1.1 {status} X\r\n{length}etag: \"x\"\r\n\r\n"
        ))?;
        Ok(After::Keep)
    });
    let h2 = h2::Origin::start(|seen| {
        let status: u16 = seen.uri.path()[1..].parse().expect("a status");
        let mut reply = h2::Reply {
            body: Vec::new(),
            ..h2::Reply::status(status)
        };
        if status == 304 {
            reply
                .response
                .headers_mut()
                .insert("content-length", 7.into());
        }
        reply
    });
    for (front, back) in WAYS {
        let addr = match back {
            Speaks::H1 => h1.addr(),
            Speaks::H2 => h2.addr(),
        };
        let weir = Weir::start(&to(back, addr));
        for status in [204, 304] {
            for method in ["GET", "HEAD"] {
                let got = ask(front, &weir, &Ask::of(method, &format!("/{status}")));
                let case = format!("{method} {status}, {front:?} to {back:?}");
                assert_eq!((got.status, got.body.len()), (status, 0), "{case}");
                let length = (status == 304).then_some("7");
                assert_eq!(got.get("content-length"), length, "{case}");
            }
        }
    }
}

#[test]
fn interim_answers_reach_the_client_before_the_final_one() {
    let h1 = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")?;
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n")?;
        exchange.body()?;
        exchange.reply(200, "", "done")
    });
    let weir = Weir::start(&to(Speaks::H1, h1.addr()));
    let client = weir.h2c();
    let what = Ask {
        fields: &[("expect", "100-continue")],
        known: false,
        ..Ask::of("POST", "/")
    };
    let mut stream = client.open(request(&client, &what), false);
    let first = stream.interim().expect("a first");
    assert_eq!(
        (first.status.as_u16(), &first.headers["link"]),
        (103, &"</a.css>".parse().unwrap())
    );
    assert_eq!(stream.interim().expect("a second").status, 100);
    stream.send(b"now", true);
    assert_eq!(stream.response().text(), "done");
    assert_eq!(h1.only().data(), b"now");
}

#[test]
fn interim_answers_of_an_endpoint_of_http2_reach_both_kinds_of_clients() {
    let origin = h2::Origin::start(|_| h2::Reply {
        interim: vec![
            Response::builder()
                .status(103)
                .header("link", "</a.css>")
                .body(())
                .unwrap(),
        ],
        ..h2::Reply::default()
    });
    let weir = Weir::start(&to(Speaks::H2, origin.addr()));
    let answer = weir.get("a.example", "/");
    assert_eq!((answer.status(), answer.interim.len()), (200, 1));
    assert_eq!(answer.interim[0].get("link"), Some("</a.css>"));
    let client = weir.h2c();
    let mut stream = client.open(client.request(Method::GET, "a.example", "/"), true);
    assert_eq!(stream.interim().expect("hints").status, 103);
    assert_eq!(stream.response().text(), "OK");
}

#[test]
fn an_answer_that_comes_before_the_body_is_read_is_delivered_whole() {
    let origin = Program::origin(&[]);
    for (front, back) in WAYS {
        let weir = Weir::start(&to(back, origin.addr()));
        if front == Speaks::H1 {
            let mut client = weir.client();
            client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nfirst");
            assert_eq!(client.response().status(), 200, "{front:?} to {back:?}");
            continue;
        }
        let client = weir.h2c();
        let mut stream = client.open(client.request(Method::POST, "a", "/early"), false);
        // The answer may be there before this is on its way, and the stream over with it.
        let _ = stream.try_send(b"first", false);
        assert_eq!(stream.response().status, 200, "{front:?} to {back:?}");
        assert_eq!(client.get("a", "/").status, 200, "the connection goes on");
    }
}

#[test]
fn heads_beyond_the_limit_are_431_and_the_connection_goes_on() {
    let echo = Echo::start(Speaks::H2);
    let (_weir, client) = fronted(echo.addr());
    let large = "x".repeat(20_000);
    let what = Ask {
        fields: &[("x-large", &large)],
        ..Ask::of("GET", "/")
    };
    assert_eq!(
        client.exchange(request(&client, &what), b"").status,
        431,
        "one field"
    );
    let names: Vec<String> = (0..120).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let what = Ask {
        fields: &many,
        ..Ask::of("GET", "/")
    };
    assert_eq!(
        client.exchange(request(&client, &what), b"").status,
        431,
        "many"
    );
    let large = "x".repeat(15_000);
    let fields: Vec<(&str, &str)> = names[..5]
        .iter()
        .map(|n| (n.as_str(), &large[..]))
        .collect();
    let what = Ask {
        fields: &fields,
        ..Ask::of("GET", "/")
    };
    assert_eq!(
        client.exchange(request(&client, &what), b"").status,
        431,
        "all together"
    );
    let what = Ask {
        fields: &fields[..3],
        ..Ask::of("GET", "/")
    };
    assert_eq!(client.exchange(request(&client, &what), b"").status, 200);
}

#[test]
fn over_tls_both_ways_alpn_decides_and_the_messages_are_the_same() {
    let authority = Authority::new("all");
    let dir = tempfile::tempdir().expect("a directory");
    let files = authority.server(&["a.example"]).write(dir.path(), "a");
    let ca = authority.write(dir.path(), "ca");
    let tls = acceptor(
        &authority.server(&["app.internal"]),
        &["h2", "http/1.1"],
        None,
    );
    let h2 = h2::Origin::start_with(&::h2::server::Builder::new(), Some(tls), |seen| h2::Reply {
        body: seen.body.clone().unwrap_or_default(),
        trailers: Some(sum("down")),
        ..h2::Reply::default()
    });
    let tls = acceptor(&authority.server(&["app.internal"]), &["http/1.1"], None);
    let h1 = Origin::start_tls(tls, |exchange| {
        let body = exchange.body()?.data;
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))?;
        exchange.send(body)?;
        Ok(After::Keep)
    });
    let body = pattern(300_000);
    for (addr, speaks) in [(h2.addr(), "h2"), (h1.addr(), "http/1.1")] {
        let validation = format!(
            "tls: {{ validation: {{ caCertificates: [\"{}\"], hostname: app.internal }} }}",
            ca.display()
        );
        let setup = weir_tests::config::Setup::new()
            .https(&[&files])
            .service_with("app", &[("stable", addr)], &validation)
            .route("app", "backendRefs: [{ name: app }]");
        let weir = Weir::start(&setup);
        for alpn in ["h2", "http/1.1"] {
            let connector = Connector::trusting(&authority, "a.example", &[alpn]);
            let got = match alpn {
                "h2" => {
                    let client = weir.h2(&connector);
                    let request = client.request(Method::POST, "a.example", "/");
                    client.exchange(request, &body).body
                }
                _ => {
                    let mut client = weir.tls(&connector);
                    let head = format!(
                        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
                        body.len()
                    );
                    client.send(head).send(&body).response().body.data
                }
            };
            assert!(got == body, "{alpn} to {speaks}");
        }
    }
    assert_eq!(h2.count(), 2);
    let seen = &h2.requests()[0];
    assert_eq!(seen.uri.scheme_str(), Some("https"));
    assert_eq!(seen.get("x-forwarded-proto"), Some("https"));
    assert_eq!(h1.count(), 2);
}
