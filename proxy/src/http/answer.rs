//! Answers of our own: errors, redirects, direct responses.

use super::h1::write::line;

/// An answer that no endpoint gave.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Whole field lines to add.
    pub(crate) lines: &'a [u8],
    pub(crate) content_type: &'a str,
    pub(crate) body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// To a call of gRPC: how it ended stands in the head (gRPC over HTTP/2, `Trailers-Only`).
    pub(crate) fn of_call(lines: &'a [u8]) -> Self {
        Self {
            status: 200,
            lines,
            content_type: "",
            body: b"",
        }
    }
}

/// Writes an answer, and says how many bytes of it are its head; `head_only` for a HEAD. Statuses that have no body get
/// none (RFC 9110, section 6.4.1).
pub(crate) fn compose(
    out: &mut Vec<u8>,
    answer: &Answer<'_>,
    head_only: bool,
    close: bool,
) -> usize {
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(answer.status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(answer.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(answer.lines);
    let bodiless = matches!(answer.status, 100..=199 | 204 | 304);
    if !bodiless {
        if !answer.body.is_empty() {
            line(out, b"Content-Type", answer.content_type.as_bytes());
        }
        line(
            out,
            b"Content-Length",
            digits.format(answer.body.len()).as_bytes(),
        );
    }
    if close {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    let head_len = out.len();
    if !head_only && !bodiless {
        out.extend_from_slice(answer.body);
    }
    head_len
}

/// The phrase of a status (RFC 9110, section 15; RFC 6585).
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        410 => "Gone",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_length_and_head_gets_no_body() {
        let answer = Answer {
            status: 404,
            lines: b"X: y\r\n",
            content_type: "text/plain",
            body: b"no\n",
        };
        let mut out = Vec::new();
        compose(&mut out, &answer, false, true);
        let text = "HTTP/1.1 404 Not Found\r\nX: y\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n";
        assert_eq!(String::from_utf8(out.clone()).unwrap(), text);
        compose(&mut out, &answer, true, false);
        assert!(out.ends_with(b"Content-Length: 3\r\n\r\n"));
        compose(
            &mut out,
            &Answer {
                status: 204,
                ..answer
            },
            false,
            false,
        );
        assert!(out.ends_with(b"X: y\r\n\r\n"), "{}", out.escape_ascii());
    }
}
