use super::*;

fn request(text: &str) -> Result<RequestHead, HeadError> {
    let mut head = RequestHead::default();
    match parse_request(text.as_bytes(), &Limits::default(), &mut head)? {
        Parsed::Complete(_) => Ok(head),
        Parsed::Partial => panic!("partial: {text:?}"),
    }
}

fn response(text: &str, method: Method) -> Result<ResponseHead, HeadError> {
    let mut head = ResponseHead::default();
    match parse_response(text.as_bytes(), &Limits::default(), method, &mut head)? {
        Parsed::Complete(_) => Ok(head),
        Parsed::Partial => panic!("partial: {text:?}"),
    }
}

#[test]
fn a_plain_request_is_read_with_its_parts() {
    let text = "GET /a/b?x=1&y HTTP/1.1\r\nHost: Shop.example:8080\r\nCookie: a=1\r\n\r\n";
    let head = request(text).unwrap();
    let buf = text.as_bytes();
    assert_eq!(head.target.path.text(buf), "/a/b");
    assert_eq!(head.target.query.unwrap().text(buf), "x=1&y");
    assert_eq!(head.host.span().text(buf), "Shop.example:8080");
    assert!(head.keep_alive);
    assert_eq!(head.framing, Framing::None);
    assert_eq!(head.len, text.len());
}

#[test]
fn every_ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: -1",
        "Content-Length: 0x5",
        "Content-Length:",
        "Content-Length: 5 5",
        "Content-Length: 99999999999999999999",
        "Content_Length: 5",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: brotli, chunked",
        "Transfer-Encoding: , chunked",
        "Transfer---Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: chunked ",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "Transfer-Encoding:",
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        let got = request(&text);
        assert!(
            got.as_ref().is_err_and(|e| e.status() == 400),
            "{fields:?} gave {got:?}"
        );
    }
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        assert_eq!(request(text).unwrap_err().status(), 400, "{text:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(request(old).is_err());
}

#[test]
fn codings_before_a_final_chunked_are_kept() {
    for fields in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: deflate\t, chunked",
    ] {
        let head = request(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n"));
        assert!(
            head.is_ok_and(|head| head.framing == Framing::Chunked && head.has_codings),
            "{fields:?}"
        );
    }
}

#[test]
fn every_malformed_line_is_refused() {
    for text in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n X: fold\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n fold\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1\r\nHost: a\r\n\r\n",
        "GET / HTTP/01.1\r\nHost: a\r\n\r\n",
        "GET /\r\n\r\n",
        "GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET a/b HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded_For: b\r\n\r\n",
    ] {
        let got = request(text);
        assert!(
            got.as_ref().is_err_and(|e| e.status() == 400),
            "{text:?} gave {got:?}"
        );
    }
    assert_eq!(
        request("GET / HTTP/2.0\r\nHost: a\r\n\r\n")
            .unwrap_err()
            .status(),
        505
    );
    assert_eq!(
        request("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
            .unwrap_err()
            .status(),
        501
    );
}

#[test]
fn a_host_is_one_name_or_address_with_a_port() {
    for host in [
        "a",
        "a.b:80",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "a_b-c",
    ] {
        assert!(
            request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(),
            "{host}"
        );
    }
    for host in [
        "", "a,b", "a b", "u@a", "a/b", "a:", "a:x", "a:70000", "a:0", "[::1", "[x]", "a:1:2",
        "a?b", "a\\b",
    ] {
        assert!(
            request(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_err(),
            "{host}"
        );
    }
    assert!(request("GET / HTTP/1.1\r\n\r\n").is_err());
    assert!(request("GET / HTTP/1.0\r\n\r\n").is_ok());
    assert!(request("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n").is_err());
    assert!(request("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
    assert!(request("GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n").is_err());
    let text = "GET http://A/x?y HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        request(text).unwrap().target.path.text(text.as_bytes()),
        "/x"
    );
}

#[test]
fn connection_marks_what_it_names_but_never_the_framing_or_the_host() {
    let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Secret: s\r\n\
                Connection: close, X-SECRET, host, content-length\r\n\r\n";
    let head = request(text).unwrap();
    let dropped: Vec<_> = head
        .fields
        .iter()
        .filter(|f| f.drop)
        .map(|f| f.name.text(text.as_bytes()))
        .collect();
    assert_eq!(dropped, ["X-Secret", "Connection"]);
    assert!(!head.keep_alive);
}

#[test]
fn an_upgrade_needs_get_the_option_and_no_body() {
    let upgrade = |method: &str, rest: &str| {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{rest}\r\n\r\n");
        request(&text)
            .unwrap()
            .upgrade
            .map(|span| span.text(text.as_bytes()).to_string())
    };
    assert_eq!(
        upgrade("GET", "Connection: Upgrade\r\nUpgrade: websocket").as_deref(),
        Some("websocket")
    );
    assert_eq!(upgrade("GET", "Upgrade: websocket"), None);
    assert_eq!(
        upgrade("POST", "Connection: upgrade\r\nUpgrade: websocket"),
        None
    );
    assert_eq!(upgrade("GET", "Connection: upgrade\r\nUpgrade: h2c"), None);
    let with_body = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                     Content-Length: 3\r\n\r\n";
    let limits = Limits {
        get_body: true,
        ..Limits::default()
    };
    let mut head = RequestHead::default();
    parse_request(with_body.as_bytes(), &limits, &mut head).unwrap();
    assert_eq!(head.upgrade, None);
}

#[test]
fn the_limits_have_their_statuses() {
    let long = "x".repeat(9000);
    assert_eq!(
        request(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .unwrap_err()
            .status(),
        414
    );
    let big = "x".repeat(17_000);
    assert_eq!(
        request(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {big}\r\n\r\n"))
            .unwrap_err()
            .status(),
        431
    );
    let many = "X: y\r\n".repeat(100);
    assert_eq!(
        request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"))
            .unwrap_err()
            .status(),
        431
    );
    let crumbs = "a=b; ".repeat(100);
    assert_eq!(
        request(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: {crumbs}\r\n\r\n"
        ))
        .unwrap_err()
        .status(),
        431
    );
    let expect = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: tea\r\n\r\n";
    assert_eq!(request(expect).unwrap_err().status(), 417);
}

#[test]
fn a_head_cut_anywhere_is_partial_or_refused_but_never_whole() {
    let text = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    for end in 0..text.len() {
        let mut head = RequestHead::default();
        let got = parse_request(&text.as_bytes()[..end], &Limits::default(), &mut head);
        assert_eq!(got, Ok(Parsed::Partial), "cut at {end}");
    }
}

#[test]
fn a_response_has_the_body_that_its_status_and_fields_give() {
    let framing = |text: &str, method| response(text, method).map(|head| head.framing);
    let ok = "HTTP/1.1 200 OK\r\n";
    for (text, method, expected) in [
        (
            format!("{ok}Content-Length: 5\r\n\r\n"),
            Method::Get,
            Framing::Length(5),
        ),
        (
            format!("{ok}Content-Length: 5\r\n\r\n"),
            Method::Head,
            Framing::None,
        ),
        (
            format!("{ok}Transfer-Encoding: chunked\r\n\r\n"),
            Method::Get,
            Framing::Chunked,
        ),
        (format!("{ok}\r\n"), Method::Get, Framing::Close),
        ("HTTP/1.1 204 No\r\n\r\n".into(), Method::Get, Framing::None),
        (
            "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n".into(),
            Method::Get,
            Framing::None,
        ),
        ("HTTP/1.1 100 C\r\n\r\n".into(), Method::Get, Framing::None),
    ] {
        assert_eq!(framing(&text, method), Ok(expected), "{text:?}");
    }
    for text in [
        format!("{ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        format!("{ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        format!("{ok}Transfer-Encoding: gzip\r\n\r\n"),
        "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n".into(),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        "HTTP/1.1 99 x\r\n\r\n".into(),
        "ICY 200 OK\r\n\r\n".into(),
        format!("{ok}X: a\nY: b\r\n\r\n"),
    ] {
        assert!(framing(&text, Method::Get).is_err(), "{text:?}");
    }
}
