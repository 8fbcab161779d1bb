//! A proper request, written by an encoder of this file's own: accepted, and read back as it was meant.

#![no_main]

use libfuzzer_sys::{arbitrary, fuzz_target};
use weir_config::model::Limits;
use weir_proxy::http::h1::body::Decoder;
use weir_proxy::http::h1::head::{Framing, Parsed, RequestHead, parse_request};

#[derive(Debug, arbitrary::Arbitrary)]
struct Request {
    method: u8,
    path: Vec<u8>,
    query: Option<Vec<u8>>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Option<Vec<u8>>,
    /// Chunk size; `None` is a Content-Length.
    chunk: Option<u8>,
    /// What follows on the connection.
    next: Vec<u8>,
}

const METHODS: [&str; 6] = ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "X-OWN"];

/// Each byte as one of the given characters.
fn drawn(bytes: &[u8], from: &[u8], limit: usize) -> String {
    bytes
        .iter()
        .take(limit)
        .map(|&b| char::from(from[usize::from(b) % from.len()]))
        .collect()
}

fuzz_target!(|request: Request| {
    let method = METHODS[usize::from(request.method) % METHODS.len()];
    let path = format!(
        "/{}",
        drawn(&request.path, b"abcXYZ019-._~!$&'()*+,;=:@/", 500)
    );
    let query = request
        .query
        .as_ref()
        .map(|q| drawn(q, b"abc019-._~!$&'()*+,;=:@/?%[]", 500));
    let fields: Vec<(String, String)> = request
        .fields
        .iter()
        .take(60)
        .map(|(name, value)| {
            // The letter in front keeps clear of the names that mean something.
            let name = format!("q{}", drawn(name, b"abcXYZ019-!#$%&'*+^`|~", 40));
            (
                name,
                drawn(value, b"abc XYZ,;:\"/=()<>@[]{}\\\t~", 200)
                    .trim_matches([' ', '\t'])
                    .to_owned(),
            )
        })
        .collect();
    let mut wire = format!("{method} {path}");
    if let Some(query) = &query {
        wire += &format!("?{query}");
    }
    wire += " HTTP/1.1\r\nHost: a.example\r\n";
    for (name, value) in &fields {
        wire += &format!("{name}: {value}\r\n");
    }
    let body = request.body.unwrap_or_default();
    let mut bytes = match request.chunk {
        Some(_) => (wire + "Transfer-Encoding: chunked\r\n\r\n").into_bytes(),
        None => (wire + &format!("Content-Length: {}\r\n\r\n", body.len())).into_bytes(),
    };
    let head_length = bytes.len();
    match request.chunk {
        Some(size) => {
            for chunk in body.chunks(usize::from(size).max(1)) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        None => bytes.extend_from_slice(&body),
    }
    bytes.extend_from_slice(&request.next);

    let mut head = RequestHead::default();
    let parsed = parse_request(&bytes, &Limits::default(), &mut head);
    assert_eq!(
        parsed,
        Ok(Parsed::Complete(head_length)),
        "{}",
        String::from_utf8_lossy(&bytes[..head_length])
    );
    assert_eq!(head.method.get(&bytes), method.as_bytes());
    assert_eq!(head.target.path.get(&bytes), path.as_bytes());
    assert_eq!(
        head.target.query.map(|q| q.get(&bytes).to_vec()),
        query.map(String::into_bytes)
    );
    let read: Vec<(&[u8], &[u8])> = head
        .fields
        .iter()
        .map(|f| (f.name.get(&bytes), f.value.get(&bytes)))
        .collect();
    for (name, value) in &fields {
        assert!(
            read.contains(&(name.as_bytes(), value.as_bytes())),
            "{name}: {value} is lost"
        );
    }
    match (request.chunk, head.framing) {
        (Some(_), Framing::Chunked) => {}
        (None, Framing::Length(length)) => assert_eq!(length, body.len() as u64),
        (None, Framing::None) => assert!(body.is_empty()),
        (_, other) => panic!("framed as {other:?}"),
    }
    let mut decoder = Decoder::new(head.framing);
    let (mut data, mut at) = (Vec::new(), head_length);
    while !decoder.is_done() {
        let decoded = decoder.decode(&mut bytes[at..]).expect("a proper body");
        assert!(
            decoded.consumed > 0,
            "a whole body is not enough for the decoder"
        );
        data.extend_from_slice(&bytes[at..][decoded.data]);
        at += decoded.consumed;
    }
    assert_eq!(data, body);
    assert_eq!(
        &bytes[at..],
        &request.next[..],
        "the next message starts where this one ends"
    );
});
