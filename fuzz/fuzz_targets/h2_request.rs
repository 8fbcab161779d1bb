//! A request of HTTP/2, with whatever stands in it: refused, or one well-formed request of HTTP/1 for the same host.

#![no_main]

use http::{HeaderName, HeaderValue, Method, Request, Uri};
use libfuzzer_sys::{arbitrary, fuzz_target};
use weir_config::model::Limits;
use weir_proxy::http::h1::head::{Framing, Parsed, RequestHead, parse_request};
use weir_proxy::http::h2::translate;

#[derive(Debug, arbitrary::Arbitrary)]
struct Asked {
    method: Vec<u8>,
    authority: Option<Vec<u8>>,
    path: Vec<u8>,
    fields: Vec<(Name, Vec<u8>)>,
    websocket: bool,
    ended: bool,
    get_body: bool,
}

#[derive(Debug, arbitrary::Arbitrary)]
enum Name {
    Known(u8),
    Any(Vec<u8>),
}

const NAMES: [&str; 12] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "te",
    "host",
    "cookie",
    "expect",
    "x-forwarded-for",
    "content_length",
    "sec-websocket-key",
    "http2-settings",
];

impl Name {
    fn text(&self) -> &[u8] {
        match self {
            Self::Known(at) => NAMES[usize::from(*at) % NAMES.len()].as_bytes(),
            Self::Any(bytes) => bytes,
        }
    }
}

fn build(asked: &Asked) -> Option<http::request::Parts> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(http::uri::PathAndQuery::try_from(&asked.path[..]).ok()?);
    if let Some(authority) = &asked.authority {
        uri.authority = Some(http::uri::Authority::try_from(&authority[..]).ok()?);
        uri.scheme = Some(http::uri::Scheme::HTTP);
    }
    let mut request = Request::new(());
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.method_mut() = Method::from_bytes(&asked.method).ok()?;
    if asked.websocket {
        *request.method_mut() = Method::CONNECT;
        let protocol = h2::ext::Protocol::from_static("websocket");
        request.extensions_mut().insert(protocol);
    }
    for (name, value) in &asked.fields {
        let name = HeaderName::from_bytes(name.text()).ok()?;
        request
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(request.into_parts().0)
}

fuzz_target!(|asked: Asked| {
    let Some(parts) = build(&asked) else { return };
    let limits = Limits {
        get_body: asked.get_body,
        ..Limits::default()
    };
    let Ok(text) = translate::request(&parts, asked.ended, &limits) else {
        return;
    };
    let mut head = RequestHead::default();
    let parsed = parse_request(&text, &limits, &mut head);
    assert_eq!(
        parsed,
        Ok(Parsed::Complete(text.len())),
        "{}",
        text.escape_ascii()
    );
    let host = match parts.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => parts.headers["host"].as_bytes().trim_ascii(),
    };
    assert_eq!(head.host.span().get(&text), host);
    assert_eq!(head.upgrade.is_some(), asked.websocket);
    assert!(
        asked.ended || head.framing != Framing::None || head.upgrade.is_some() || !asked.get_body
    );
    let back = translate::request_to_h2(&text, asked.websocket).expect("a request");
    assert_eq!(back.method(), &parts.method);
});
