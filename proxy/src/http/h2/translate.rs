//! A head from one version to the other in one step, as the request path does it in several: for fuzzers and tests, which
//! hold the result against what went in. No head of HTTP/2 may become more or other than one of HTTP/1.

use std::rc::Rc;

use http::{Request, Response, request, response};
use weir_config::model::Limits;

use super::head::{Asked, answer_of, read_answer, read_request, request_of};
use crate::buffer::BufferPool;
use crate::http::filter::Edits;
use crate::http::h1::head::{Framing, HeadError, Method, RequestHead, ResponseHead};
use crate::http::h1::write::{self, ClientCert, Connection, RequestParts, ResponseParts, Target};

/// The head of a request as an endpoint of HTTP/1 gets it; `ended`: it has no body.
///
/// # Errors
/// Why it is refused.
pub fn request(parts: &request::Parts, ended: bool, limits: &Limits) -> Result<Vec<u8>, HeadError> {
    let mut buffer = Rc::<BufferPool>::default().small();
    let mut head = RequestHead::default();
    let key = || [b'A'; 24];
    read_request(parts, ended, key, &mut buffer, limits, &mut head)?;
    if matches!(head.kind, Method::Get | Method::Head)
        && head.framing == Framing::Chunked
        && !limits.get_body
    {
        // Settled by what comes, which is nothing here.
        head.framing = Framing::None;
    }
    let bytes = buffer.filled();
    let mut out = Vec::new();
    write::request(
        &mut out,
        &RequestParts {
            target: Target {
                path: head.target.path.text(bytes),
                query: head.target.query.map(|query| query.get(bytes)),
            },
            head: &head,
            bytes,
            host: None,
            trusted: false,
            forwarded: b"",
            proto: "http",
            peer: b"",
            request_id: b"id",
            client_cert: ClientCert::default(),
            traced: None,
            timeout: None,
            edits: &Edits::default(),
            extra: b"",
            via: false,
        },
    );
    Ok(out)
}

/// The head of an answer as a client of HTTP/1 gets it; `asked`: the method that is answered.
///
/// # Errors
/// Why it is refused.
pub fn answer(
    parts: &response::Parts,
    ended: bool,
    asked: Method,
    limits: &Limits,
) -> Result<Vec<u8>, HeadError> {
    let mut buffer = Rc::<BufferPool>::default().small();
    let mut head = ResponseHead::default();
    let asked = Asked {
        method: asked,
        tunnel: None,
    };
    read_answer(parts, ended, asked, &mut buffer, limits, &mut head)?;
    let mut out = Vec::new();
    write::response(
        &mut out,
        &ResponseParts {
            head: &head,
            bytes: buffer.filled(),
            edits: &Edits::default(),
            extra: b"",
            set_cookie: b"",
            told: None,
            chunked: head.framing == Framing::Chunked,
            connection: Connection::Silent,
            via: false,
        },
    );
    Ok(out)
}

/// The head of a request to an endpoint of HTTP/2, from that to one of HTTP/1; `None` where it cannot be asked there.
#[must_use]
pub fn request_to_h2(text: &[u8], tunnel: bool) -> Option<Request<()>> {
    request_of(text, false, false, tunnel)
}

/// The same of an answer to a client.
#[must_use]
pub fn answer_to_h2(text: &[u8]) -> Option<Response<()>> {
    answer_of(text)
}

#[cfg(test)]
mod tests;
