//! Heads of HTTP/2 as heads of HTTP/1, and back.
//!
//! A request that comes in frames is written down as the text of HTTP/1, and every check that one over HTTP/1 has to pass
//! is made of that text: so whatever the frames said, what goes on is one well-formed request, and routing, filters and log
//! see one kind of request. Where its parts stand is known from the writing. An answer likewise, but that its text is parsed.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, TE};
use http::{
    HeaderMap, Method as HttpMethod, Request, Response, StatusCode, Uri, request, response,
};
use weir_config::model::Limits;

use super::fields::{is_of_connection, lines_of, push_lines};
use super::websocket::{self, Key};
use crate::buffer::{Buffer, LARGE};
use crate::http::h1::head::{
    Field, Framing, HeadError, Known, Method, Parsed, RequestHead, ResponseHead, Span,
    parse_response, settle_request,
};

/// Text written at the end of a buffer, which grows once.
struct Text<'a> {
    buffer: &'a mut Buffer,
    overflow: bool,
}

impl<'a> Text<'a> {
    fn new(buffer: &'a mut Buffer) -> Self {
        Self {
            buffer,
            overflow: false,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.buffer.spare_mut().len() < bytes.len() && self.buffer.capacity() < LARGE {
            self.buffer.grow();
        }
        match self.buffer.spare_mut().get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.buffer.advance(bytes.len());
            }
            None => self.overflow = true,
        }
    }

    /// Bytes so far.
    fn len(&self) -> usize {
        self.buffer.len()
    }

    /// One field of a request, which is remembered.
    fn field(&mut self, name: &[u8], value: &[u8], fields: &mut Vec<Field>) {
        let start = self.len();
        self.line(name, value);
        let colon = start + name.len();
        let value_start = colon + 2;
        fields.push(Field::written(
            span(start, colon),
            span(value_start, value_start + value.len()),
        ));
    }

    /// One field.
    fn line(&mut self, name: &[u8], value: &[u8]) {
        self.parts([name, b": ", value, b"\r\n"]);
    }

    /// One after another. Nearly always there is room for all of them, which is then looked at once.
    fn parts(&mut self, parts: [&[u8]; 4]) {
        let len = parts.iter().map(|part| part.len()).sum();
        let Some(mut room) = self.buffer.spare_mut().get_mut(..len) else {
            return parts.into_iter().for_each(|part| self.push(part));
        };
        for part in parts {
            let (to, rest) = room.split_at_mut(part.len());
            to.copy_from_slice(part);
            room = rest;
        }
        self.buffer.advance(len);
    }
}

/// A head is bounded far below 4 GiB.
fn span(start: usize, end: usize) -> Span {
    Span {
        start: start as u32,
        end: end as u32,
    }
}

/// Reads a request into `head`, its text at the front of `buffer`. `ended`: it has no body. `key`: makes up what stands for the
/// nonce of a WebSocket's client, which HTTP/2 does without.
///
/// # Errors
/// Whatever would be refused of a request over HTTP/1, and an `:authority` that differs from Host (RFC 9113,
/// section 8.3.1).
pub(super) fn read_request(
    request: &request::Parts,
    ended: bool,
    key: impl FnOnce() -> Key,
    buffer: &mut Buffer,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    let tunnel = match request.extensions.get::<Protocol>() {
        Some(protocol) if protocol.as_str().eq_ignore_ascii_case("websocket") => true,
        Some(_) => return Err(HeadError::Method),
        None => false,
    };
    let has_authority = request.uri.authority().is_some();
    let scheme = request.uri.scheme_str().unwrap_or_default();
    let is_http = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if has_authority && !is_http && request.method != HttpMethod::CONNECT {
        return Err(HeadError::Syntax("its scheme is not http or https"));
    }
    if !tunnel && request.method == HttpMethod::CONNECT && !has_authority {
        return Err(HeadError::Syntax("CONNECT without an authority"));
    }
    let mut text = Text::new(buffer);
    let method = match tunnel {
        true => "GET",
        false => request.method.as_str(),
    };
    let target = target(&request.uri);
    text.parts([method.as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    head.method = span(0, method.len());
    let start = method.len() + 1;
    let target = span(start, start + target.len());
    let fields = &mut head.fields;
    fields.clear();
    write_host(&mut text, request, fields)?;
    write_fields(&mut text, &request.headers, tunnel, fields)?;
    if tunnel {
        text.field(b"connection", b"Upgrade", fields);
        text.field(b"upgrade", b"websocket", fields);
        // RFC 8441, section 5, has no key; an endpoint of HTTP/1 wants one (RFC 6455, section 4.1).
        text.field(websocket::KEY.as_bytes(), &key(), fields);
    }
    text.push(b"\r\n");
    if text.overflow {
        return Err(HeadError::FieldsTooLarge);
    }
    settle_request(buffer.filled(), target, limits, head)?;
    if tunnel && head.upgrade.is_none() {
        return Err(HeadError::Framing("a tunnel is asked for with a body"));
    }
    if !ended && !tunnel && head.framing == Framing::None {
        head.framing = Framing::Chunked;
        // For want of a body there was nothing to wait with.
        head.expects_continue = (head.fields.iter()).any(|field| field.known == Known::Expect);
    }
    Ok(())
}

fn target(uri: &Uri) -> &str {
    match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
        None | Some("") => "/",
        Some(target) => target,
    }
}

fn write_host(
    text: &mut Text<'_>,
    request: &request::Parts,
    fields: &mut Vec<Field>,
) -> Result<(), HeadError> {
    // There are few: to look at all of them is less than to look one up.
    let mut said =
        (request.headers.iter()).filter_map(|(name, value)| (*name == HOST).then_some(value));
    let (field, more) = (said.next(), said.next());
    if more.is_some() {
        return Err(HeadError::Host("there are two"));
    }
    let authority = request.uri.authority().map(|a| a.as_str().as_bytes());
    match (authority, field.map(|field| field.as_bytes())) {
        (Some(authority), Some(field)) if !authority.eq_ignore_ascii_case(field) => {
            Err(HeadError::Host("it differs from :authority"))
        }
        (Some(host), _) | (None, Some(host)) => {
            text.field(b"host", host, fields);
            Ok(())
        }
        (None, None) => Err(HeadError::Host("it is missing")),
    }
}

/// Crumbs of a cookie become one field again (RFC 9113, section 8.2.3).
fn write_fields(
    text: &mut Text<'_>,
    headers: &HeaderMap,
    tunnel: bool,
    fields: &mut Vec<Field>,
) -> Result<(), HeadError> {
    let mut cookies = false;
    for (name, value) in headers {
        // RFC 9113, section 8.2.1.
        if let [b' ' | b'\t', ..] | [.., b' ' | b'\t'] = value.as_bytes() {
            return Err(HeadError::Syntax("white space around the value of a field"));
        }
        match *name {
            HOST => {}
            COOKIE => cookies = true,
            TE if value == "trailers" => text.field(b"te", b"trailers", fields),
            // Seen to below us, too: what frames a body here must never come from there.
            _ if is_of_connection(name) => {
                return Err(HeadError::Syntax("a field of HTTP/1 alone"));
            }
            _ if tunnel && name == websocket::KEY => {}
            _ => text.field(name.as_str().as_bytes(), value.as_bytes(), fields),
        }
    }
    if cookies {
        let name = span(text.len(), text.len() + COOKIE.as_str().len());
        text.push(b"cookie: ");
        let start = text.len();
        // One without anything would leave white space at the end.
        let crumbs = headers.get_all(COOKIE).iter();
        let crumbs = crumbs.filter(|crumb| !crumb.is_empty());
        for (at, crumb) in crumbs.enumerate() {
            if at > 0 {
                text.push(b"; ");
            }
            text.push(crumb.as_bytes());
        }
        fields.push(Field::written(name, span(start, text.len())));
        text.push(b"\r\n");
    }
    Ok(())
}

/// Whom an answer is for.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Asked<'a> {
    pub(in crate::http) method: Method,
    /// Where a tunnel was asked for: the key of its client, which may be empty.
    pub(in crate::http) tunnel: Option<&'a [u8]>,
}

/// Reads an answer into `head`, its text at the end of `buffer`, which is empty. `ended`: there is no body.
///
/// # Errors
/// What would be refused of an answer over HTTP/1.
pub(in crate::http) fn read_answer(
    answer: &response::Parts,
    ended: bool,
    asked: Asked<'_>,
    buffer: &mut Buffer,
    limits: &Limits,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    if answer.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(HeadError::Syntax("there is no 101 in HTTP/2"));
    }
    let method = asked.method;
    // What accepts a tunnel there is a 101 here (RFC 8441, section 5).
    let opens = asked.tunnel.filter(|_| answer.status.is_success());
    let told = match opens {
        Some(_) => StatusCode::SWITCHING_PROTOCOLS,
        None => answer.status,
    };
    let mut text = Text::new(buffer);
    text.push(b"HTTP/1.1 ");
    text.push(told.as_str().as_bytes());
    text.push(b" ");
    text.push(told.canonical_reason().unwrap_or_default().as_bytes());
    text.push(b"\r\n");
    for (name, value) in &answer.headers {
        if is_of_connection(name) {
            return Err(HeadError::Syntax("a field of HTTP/1 alone"));
        }
        let is_replaced = *name == CONTENT_LENGTH || name == websocket::ACCEPT;
        if opens.is_none() || !is_replaced {
            text.line(name.as_str().as_bytes(), value.as_bytes());
        }
    }
    if let Some(key) = opens {
        text.push(b"connection: Upgrade\r\nupgrade: websocket\r\n");
        if !key.is_empty() {
            text.line(websocket::ACCEPT.as_bytes(), &websocket::accept(key));
        }
    }
    let status = told.as_u16();
    let bodiless = status < 200 || status == 204 || status == 304 || method == Method::Head;
    let implied = ended && !bodiless && !answer.headers.contains_key(CONTENT_LENGTH);
    if implied {
        text.push(b"content-length: 0\r\n");
    }
    text.push(b"\r\n");
    if text.overflow {
        return Err(HeadError::FieldsTooLarge);
    }
    match parse_response(buffer.filled(), limits, method, head)? {
        Parsed::Complete(_) => {}
        Parsed::Partial => return Err(HeadError::Syntax("the head is incomplete")),
    }
    head.length_implied = implied;
    if head.framing == Framing::Close {
        head.framing = Framing::Chunked;
    }
    Ok(())
}

/// The head of a request to an endpoint, from its text. `trailers`: the client takes some; `tunnel`: it asks for a
/// WebSocket, where any other change of protocol is left out (RFC 9110, section 7.8).
pub(in crate::http) fn request_of(
    text: &[u8],
    secure: bool,
    trailers: bool,
    tunnel: bool,
) -> Option<Request<()>> {
    let mut lines = lines_of(text);
    let mut line = lines.next()?.split(|b| *b == b' ');
    let (method, target) = (line.next()?, line.next()?);
    let mut request = Request::new(());
    let host = lines.find_map(|line| value_of(line, b"host"));
    let headers = request.headers_mut();
    push_lines(
        headers,
        &text[text.iter().position(|b| *b == b'\n')? + 1..],
        |name| *name != HOST && !is_of_connection(name) && !(tunnel && name == websocket::KEY),
    );
    if trailers {
        headers.insert(TE, http::HeaderValue::from_static("trailers"));
    }
    let scheme = if secure { "https" } else { "http" };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host?)
        .path_and_query(target);
    *request.uri_mut() = uri.build().ok()?;
    *request.method_mut() = HttpMethod::from_bytes(method).ok()?;
    if tunnel {
        *request.method_mut() = HttpMethod::CONNECT;
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
    }
    Some(request)
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = line.get(..name.len())?;
    let value = line[name.len()..].strip_prefix(b":")?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// The head of an answer to a client, from its text. What accepts a tunnel is a 200 there.
pub(in crate::http) fn answer_of(text: &[u8]) -> Option<Response<()>> {
    let first = memchr::memchr(b'\n', text)?;
    let status = text.get(9..12)?;
    let mut answer = Response::new(());
    let status = StatusCode::from_bytes(status).ok()?;
    let opens = status == StatusCode::SWITCHING_PROTOCOLS;
    *answer.status_mut() = if opens { StatusCode::OK } else { status };
    let headers = answer.headers_mut();
    push_lines(headers, &text[first + 1..], |name| {
        !(is_of_connection(name) || opens && name == websocket::ACCEPT)
    });
    Some(answer)
}
