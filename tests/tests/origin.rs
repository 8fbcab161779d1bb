//! The test origin itself: what it speaks, and what it tells of a connection.

use http::{Method, Request};
use weir_tests::client::Client;
use weir_tests::grpc::{self, Call};
use weir_tests::h2;
use weir_tests::pki::Authority;
use weir_tests::program::Program;
use weir_tests::tls::{Connector, Offer};

const ECHO: &str = "/weir.origin.v1.Echo/";

#[test]
fn one_port_speaks_http_1_and_http_2_by_prior_knowledge() {
    let origin = Program::origin(&[]);
    let text = Client::connect(origin.addr())
        .get("a.example", "/?json")
        .text();
    assert!(text.contains(r#""httpVersion":"HTTP/1.1""#), "{text}");
    let client = h2::Client::connect(origin.addr());
    let answer = client.get("a.example", "/?json").json();
    assert_eq!(answer["httpVersion"], "HTTP/2.0");
    assert_eq!(answer["authority"], "a.example");
    assert!(answer["tls"].is_null());
    let mut post = client.request(Method::POST, "a.example", "/echo");
    post.headers_mut()
        .insert("x-a", http::HeaderValue::from_static("b"));
    assert_eq!(
        client.exchange(post, &vec![b'x'; 200_000]).body.len(),
        200_000
    );
}

#[test]
fn over_tls_alpn_chooses_and_the_json_tells_the_session() {
    let origin = Program::origin(&["--tls"]);
    let h2 = Connector::blind("localhost", &["h2", "http/1.1"]);
    let answer = h2::Client::connect_tls(origin.addr(), &h2).get("localhost", "/?json");
    let answer = answer.json();
    assert_eq!(answer["httpVersion"], "HTTP/2.0");
    let tls = &answer["tls"];
    assert_eq!(
        (&tls["version"], &tls["alpn"]),
        (&"TLSv1.3".into(), &"h2".into())
    );
    assert_eq!(tls["sni"], "localhost");
    let h1 = Connector::new(
        "localhost",
        &Offer {
            alpn: &["http/1.1"],
            versions: &[&rustls::version::TLS12],
            ..Offer::default()
        },
    );
    let text = Client::connect_tls(origin.addr(), &h1)
        .get("localhost", "/?json")
        .text();
    let tls = &serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["tls"];
    assert_eq!(
        (&tls["version"], &tls["alpn"]),
        (&"TLSv1.2".into(), &"http/1.1".into())
    );
}

#[test]
fn with_a_client_ca_a_client_shows_its_certificate_or_is_refused() {
    let authority = Authority::new("clients");
    let dir = tempfile::tempdir().expect("a directory");
    let server = authority
        .server(&["origin.example"])
        .write(dir.path(), "server");
    let ca = authority.write(dir.path(), "clients");
    let (cert, key) = (server.cert.to_string_lossy(), server.key.to_string_lossy());
    let ca = ca.to_string_lossy();
    let origin = Program::origin(&["--tls-cert", &cert, "--tls-key", &key, "--client-ca", &ca]);
    let client = authority.client(&["spiffe://test/one", "one.example"]);
    let offer = Offer {
        roots: Some(authority.roots()),
        alpn: &["h2"],
        client: Some(&client),
        ..Offer::default()
    };
    let known = Connector::new("origin.example", &offer);
    let answer = h2::Client::connect_tls(origin.addr(), &known).get("origin.example", "/?json");
    let names = answer.json()["tls"]["clientNames"].clone();
    assert_eq!(
        names,
        serde_json::json!(["one.example", "spiffe://test/one"])
    );
    let unknown = Connector::trusting(&authority, "origin.example", &[]);
    // With TLS 1.3 the refusal comes behind the client's handshake.
    let refused = Client::try_connect_tls(origin.addr(), &unknown).and_then(|mut client| {
        client.wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
        client.wire.some()
    });
    let why = refused.expect_err("no certificate, no answer").to_string();
    assert!(why.contains("CertificateRequired"), "{why}");
}

#[test]
fn grpc_calls_of_all_four_kinds_are_answered() {
    let origin = Program::origin(&[]);
    let client = h2::Client::connect(origin.addr());
    let path = |method: &str| format!("{ECHO}{method}");
    let answer = grpc::call(&client, &path("Unary"), &[b"hello"], &[]);
    assert_eq!(
        (answer.status, grpc::messages(&answer)),
        (200, vec![b"hello".to_vec()])
    );
    assert_eq!(answer.trailer("grpc-status"), Some("0"));
    let answer = grpc::call(
        &client,
        &path("ServerStream"),
        &[b"x"],
        &[("x-origin-count", "4")],
    );
    assert_eq!(grpc::messages(&answer).len(), 4);
    let answer = grpc::call(&client, &path("ClientStream"), &[b"x", b"yz"], &[]);
    assert_eq!(grpc::messages(&answer), [b"2 messages, 3 bytes".to_vec()]);
    let mut call = Call::start(&client, &path("Bidi"), &[]);
    call.send(b"one");
    call.stream().head().expect("a head before the end");
    assert_eq!(call.message().as_deref(), Some(&b"one"[..]));
    call.send(b"two");
    assert_eq!(call.message().as_deref(), Some(&b"two"[..]));
    call.finish();
    assert_eq!((call.message(), call.status()), (None, 0));
}

#[test]
fn a_grpc_call_ends_as_its_metadata_asks() {
    let origin = Program::origin(&[]);
    let client = h2::Client::connect(origin.addr());
    let unary = format!("{ECHO}Unary");
    let asked = [("x-origin-status", "14"), ("x-origin-message", "later")];
    for (path, metadata, want) in [
        (unary.as_str(), &asked[..], Some("14")),
        (&unary, &[("x-origin-fail", "100%")], Some("14")),
        (&unary, &[("x-origin-status", "99")], Some("3")),
        (&format!("{ECHO}None"), &[], Some("12")),
        (&unary, &[("x-origin-http-status", "503")], None),
    ] {
        let answer = grpc::call(&client, path, &[b"hello"], metadata);
        assert_eq!(answer.trailer("grpc-status"), want, "{path} {metadata:?}");
        let http = if want.is_some() { 200 } else { 503 };
        assert_eq!(answer.status, http, "{path} {metadata:?}");
    }
}

#[test]
fn the_health_service_says_what_healthz_says() {
    let origin = Program::origin(&[]);
    let client = h2::Client::connect(origin.addr());
    let check = "/grpc.health.v1.Health/Check";
    let watch = Call::start(&client, "/grpc.health.v1.Health/Watch", &[]);
    let mut watch = watch;
    watch.send(b"");
    watch.finish();
    watch.stream().head().expect("a head");
    assert_eq!(watch.message().as_deref(), Some(&[8, 1][..]));
    assert_eq!(
        grpc::messages(&grpc::call(&client, check, &[b""], &[])),
        [[8, 1]]
    );
    let unwell = client.request(Method::POST, "a.example", "/healthz?status=503");
    assert_eq!(client.exchange(unwell, b"").status, 200);
    assert_eq!(watch.message().as_deref(), Some(&[8, 2][..]));
    assert_eq!(
        grpc::messages(&grpc::call(&client, check, &[b""], &[])),
        [[8, 2]]
    );
    let unknown = grpc::call(&client, check, &[b"\x0a\x04shop"], &[]);
    assert_eq!(unknown.trailer("grpc-status"), Some("5"));
}

#[test]
fn a_websocket_echoes_over_http_2() {
    let origin = Program::origin(&[]);
    let client = h2::Client::connect(origin.addr());
    // The first answer comes behind the server's settings.
    assert_eq!(client.get("a.example", "/").status, 200);
    assert!(client.extended_connect());
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri("http://a.example/ws")
        .extension(::h2::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13");
    let mut stream = client.open(request.body(()).expect("a request"), false);
    // A masked text of `hi`, then a masked close (RFC 6455, section 5.2); the mask is zero.
    stream.send(b"\x81\x82\0\0\0\0hi", false);
    assert_eq!(stream.head().expect("an answer").status, 200);
    let echo = stream.data().expect("an open stream");
    assert_eq!(echo.as_deref(), Some(&b"\x81\x02hi"[..]));
}
