//! Properties of the translation, over heads that no client in its right mind would send.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::http::h1::head::{Known, Parsed, parse_request, parse_response};

/// Names that mean something to a proxy, or look as if they did.
const NAMES: [&str; 24] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "http2-settings",
    "host",
    "cookie",
    "expect",
    "trailer",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
    "content_length",
    "content.length",
    "transfer--encoding",
    "sec-websocket-key",
    "sec-websocket-accept",
    "x-a",
    "x-b",
    "set-cookie",
    "date",
];

const VALUES: [&str; 14] = [
    "0",
    "5",
    "5, 5",
    "+5",
    "chunked",
    "gzip, chunked",
    "close, x-a",
    "100-continue",
    "a.example",
    "trailers",
    "h2c",
    "websocket",
    "a=1; b=2",
    "",
];

fn name() -> impl Strategy<Value = HeaderName> {
    let token = "[a-z0-9!#$%&'*+.^_`|~-]{1,12}".prop_map(|text| text.parse().expect("a token"));
    prop_oneof![
        3 => select(&NAMES[..]).prop_map(HeaderName::from_static),
        1 => token,
    ]
}

fn value() -> impl Strategy<Value = HeaderValue> {
    let bytes = vec(any::<u8>(), 0..20)
        .prop_filter_map("a value", |bytes| HeaderValue::from_bytes(&bytes).ok());
    prop_oneof![
        2 => select(&VALUES[..]).prop_map(HeaderValue::from_static),
        1 => bytes,
        1 => "[ \t]{0,2}[ -~]{0,12}[ \t]{0,2}".prop_filter_map("a value", |text| text.parse().ok()),
    ]
}

fn fields() -> impl Strategy<Value = HeaderMap> {
    vec((name(), value()), 0..8).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        map
    })
}

fn uri() -> impl Strategy<Value = Uri> {
    let path = prop_oneof![
        Just("/".to_owned()),
        Just("*".to_owned()),
        "/[ -~]{0,20}",
        "[ -~]{0,20}",
        "http://[a-z.:@]{0,12}/[ -~]{0,8}",
        "/\\PC{0,10}",
    ];
    let authority = prop_oneof![
        Just("a.example".to_owned()),
        "[a-z.:@\\[\\]%0-9-]{0,16}",
        "[ -~]{0,16}",
    ];
    (path, proptest::option::weighted(0.8, authority)).prop_filter_map(
        "a URI",
        |(path, authority)| {
            let mut parts = http::uri::Parts::default();
            parts.path_and_query = Some(http::uri::PathAndQuery::try_from(path).ok()?);
            if let Some(authority) = authority {
                parts.authority = Some(authority.parse().ok()?);
                parts.scheme = Some(http::uri::Scheme::HTTP);
            }
            Uri::from_parts(parts).ok()
        },
    )
}

fn method() -> impl Strategy<Value = http::Method> {
    let names = select(vec![
        "GET", "HEAD", "POST", "PUT", "OPTIONS", "CONNECT", "TRACE", "PRI",
    ]);
    prop_oneof![
        3 => names.prop_map(|name| name.parse().expect("a method")),
        1 => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}".prop_map(|name| name.parse().expect("a token")),
    ]
}

prop_compose! {
    fn any_request()(
        method in method(),
        uri in uri(),
        headers in fields(),
        protocol in proptest::option::weighted(0.2, select(vec!["websocket", "WebSocket", "connect-udp"])),
    ) -> request::Parts {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if let Some(protocol) = protocol {
            *request.method_mut() = http::Method::CONNECT;
            request.extensions_mut().insert(Protocol::from_static(protocol));
        }
        request.into_parts().0
    }
}

prop_compose! {
    fn any_answer()(status in 100u16..1000, headers in fields()) -> response::Parts {
        let mut answer = Response::new(());
        *answer.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        *answer.headers_mut() = headers;
        answer.into_parts().0
    }
}

/// Values of that name, as a reader of text has them.
fn said<'a>(map: &'a HeaderMap, name: &HeaderName) -> Vec<&'a [u8]> {
    let values = map.get_all(name).iter();
    values.map(|value| value.as_bytes().trim_ascii()).collect()
}

fn ends_once(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"\r\n\r\n") == Some(text.len() - 4)
        && memchr::memchr_iter(b'\n', text).all(|at| at > 0 && text[at - 1] == b'\r')
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    /// What is known from the writing of a head is what its text says.
    #[test]
    fn a_head_that_was_written_is_the_one_that_a_parser_finds(parts in any_request(), get_body: bool) {
        let limits = Limits { get_body, ..Limits::default() };
        let mut buffer = Rc::<BufferPool>::default().small();
        let mut written = RequestHead::default();
        let key = || [b'A'; 24];
        if read_request(&parts, true, key, &mut buffer, &limits, &mut written).is_err() {
            return Ok(());
        }
        let text = buffer.filled();
        let mut parsed = RequestHead::default();
        let found = parse_request(text, &limits, &mut parsed);
        prop_assert_eq!(found, Ok(Parsed::Complete(text.len())), "{}", text.escape_ascii());
        prop_assert_eq!(format!("{written:?}"), format!("{parsed:?}"), "{}", text.escape_ascii());
    }

    #[test]
    fn a_request_becomes_one_of_http1_that_says_the_same_or_none(
        parts in any_request(),
        ended: bool,
        get_body: bool,
    ) {
        let limits = Limits { get_body, ..Limits::default() };
        let Ok(text) = request(&parts, ended, &limits) else { return Ok(()) };
        prop_assert!(ends_once(&text), "{}", text.escape_ascii());
        let mut head = RequestHead::default();
        let parsed = parse_request(&text, &limits, &mut head);
        prop_assert_eq!(parsed, Ok(Parsed::Complete(text.len())), "{}", text.escape_ascii());
        let tunnel = parts.extensions.get::<Protocol>().is_some();
        prop_assert_eq!(head.upgrade.is_some(), tunnel);
        let method = if tunnel { "GET" } else { parts.method.as_str() };
        prop_assert_eq!(head.method.text(&text), method);
        let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
        let host = authority.or(parts.headers.get(HOST).map(|host| host.as_bytes()));
        prop_assert_eq!(Some(head.host.span().get(&text)), host.map(|host| host.trim_ascii()));
        let length = parts.headers.get(CONTENT_LENGTH);
        let may_wait = get_body || !matches!(head.kind, Method::Get | Method::Head);
        let expected = match length {
            Some(length) => Framing::Length(length.to_str().unwrap().trim().parse().unwrap()),
            None if ended || tunnel || !may_wait => Framing::None,
            None => Framing::Chunked,
        };
        prop_assert_eq!(head.framing, expected);
        // Each field that is neither for one hop nor ours to say goes on as it came, and none is added but ours.
        for name in parts.headers.keys() {
            let known = Known::of(name.as_str().as_bytes());
            let is_ours = known.is_identity() || matches!(known, Known::Host | Known::Cookie);
            if known.is_hop_by_hop() || is_ours || name == "sec-websocket-key" {
                continue;
            }
            let named = head.fields.iter().filter(|f| f.name.get(&text) == name.as_str().as_bytes());
            let got: Vec<&[u8]> = named.map(|field| field.value.get(&text)).collect();
            prop_assert_eq!(got, said(&parts.headers, name), "{}", name);
        }
        for field in &head.fields {
            let name = field.name.text(&text).to_ascii_lowercase();
            let ours = ["host", "x-forwarded-host", "x-request-id", "transfer-encoding", "connection", "upgrade", "sec-websocket-key"];
            prop_assert!(ours.contains(&&*name) || parts.headers.contains_key(&*name), "{}", name);
        }
        // And back: an endpoint of HTTP/2 is asked for the same.
        let back = request_to_h2(&text, tunnel).expect("a request");
        prop_assert_eq!(back.method(), &parts.method);
        prop_assert_eq!(back.uri().path(), parts.uri.path());
        prop_assert_eq!(back.uri().query(), parts.uri.query());
        for name in ["connection", "transfer-encoding", "upgrade", "host", "te"] {
            prop_assert!(!back.headers().contains_key(name), "{}", name);
        }
    }

    #[test]
    fn an_answer_becomes_one_of_http1_that_says_the_same_or_none(
        parts in any_answer(),
        ended: bool,
        method in select(vec![Method::Get, Method::Head, Method::Post]),
    ) {
        let limits = Limits::default();
        let Ok(text) = answer(&parts, ended, method, &limits) else { return Ok(()) };
        prop_assert!(ends_once(&text), "{}", text.escape_ascii());
        let mut head = ResponseHead::default();
        let parsed = parse_response(&text, &limits, method, &mut head);
        prop_assert_eq!(parsed, Ok(Parsed::Complete(text.len())), "{}", text.escape_ascii());
        let status = parts.status.as_u16();
        prop_assert_eq!(head.status, status);
        let bodiless = status < 200 || matches!(status, 204 | 304) || method == Method::Head;
        let expected = match parts.headers.get(CONTENT_LENGTH) {
            _ if bodiless => Framing::None,
            Some(length) => Framing::Length(length.to_str().unwrap().trim().parse().unwrap()),
            None if ended => Framing::Length(0),
            None => Framing::Chunked,
        };
        prop_assert_eq!(head.framing, expected);
        for name in parts.headers.keys() {
            let is_length = *name == CONTENT_LENGTH;
            let is_dropped = Known::of(name.as_str().as_bytes()).is_hop_by_hop();
            if is_dropped || (is_length && (status < 200 || status == 204)) {
                continue;
            }
            let named = head.fields.iter().filter(|f| f.name.get(&text) == name.as_str().as_bytes());
            let got: Vec<&[u8]> = named.map(|field| field.value.get(&text)).collect();
            prop_assert_eq!(got, said(&parts.headers, name), "{}", name);
        }
        let back = answer_to_h2(&text).expect("an answer");
        prop_assert_eq!(back.status(), parts.status);
        for name in ["connection", "transfer-encoding", "upgrade", "keep-alive"] {
            prop_assert!(!back.headers().contains_key(name), "{}", name);
        }
    }
}
