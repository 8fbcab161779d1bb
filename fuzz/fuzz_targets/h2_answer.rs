//! An answer of HTTP/2, with whatever stands in it: refused, or one well-formed answer of HTTP/1 with the same status.

#![no_main]

use http::{HeaderName, HeaderValue, Response, StatusCode};
use libfuzzer_sys::{arbitrary, fuzz_target};
use weir_config::model::Limits;
use weir_proxy::http::h1::head::{Method, Parsed, ResponseHead, parse_response};
use weir_proxy::http::h2::translate;

#[derive(Debug, arbitrary::Arbitrary)]
struct Said {
    status: u16,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    length: Option<Vec<u8>>,
    ended: bool,
    head: bool,
}

fn build(said: &Said) -> Option<http::response::Parts> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(said.status).ok()?;
    for (name, value) in &said.fields {
        let name = HeaderName::from_bytes(name).ok()?;
        answer
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value).ok()?);
    }
    if let Some(length) = &said.length {
        let length = HeaderValue::from_bytes(length).ok()?;
        answer.headers_mut().append("content-length", length);
    }
    Some(answer.into_parts().0)
}

fuzz_target!(|said: Said| {
    let Some(parts) = build(&said) else { return };
    let limits = Limits::default();
    let asked = if said.head { Method::Head } else { Method::Get };
    let Ok(text) = translate::answer(&parts, said.ended, asked, &limits) else {
        return;
    };
    let mut head = ResponseHead::default();
    let parsed = parse_response(&text, &limits, asked, &mut head);
    assert_eq!(
        parsed,
        Ok(Parsed::Complete(text.len())),
        "{}",
        text.escape_ascii()
    );
    assert_eq!(head.status, said.status);
    let back = translate::answer_to_h2(&text).expect("an answer");
    assert_eq!(back.status(), parts.status);
});
