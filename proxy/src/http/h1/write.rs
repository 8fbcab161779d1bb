//! Writing heads: runs of fields that stay are copied as they came, and ours are added behind.

use weir_config::model::{ForwardClientCert, Tracing};

use super::head::{Field, Framing, Known, RequestHead, ResponseHead, without_parameters};
use crate::http::filter::Edits;
use crate::http::grpc;
use crate::telemetry::trace::Traced;

/// What a request's head is written from.
pub(crate) struct RequestParts<'a> {
    pub(crate) head: &'a RequestHead,
    /// What `head` was parsed from.
    pub(crate) bytes: &'a [u8],
    /// Path and query for the endpoint.
    pub(crate) target: Target<'a>,
    /// In place of the client's Host.
    pub(crate) host: Option<&'a [u8]>,
    /// Whether what the peer says of its client is believed.
    pub(crate) trusted: bool,
    /// `X-Forwarded-For`, `X-Real-IP` and `X-Forwarded-Proto` of this connection, whole lines.
    pub(crate) forwarded: &'a [u8],
    /// The scheme that the client spoke.
    pub(crate) proto: &'a str,
    pub(crate) peer: &'a [u8],
    pub(crate) request_id: &'a [u8],
    /// What is said of the client's certificate.
    pub(crate) client_cert: ClientCert<'a>,
    /// The trace that it is part of, where tracing is configured.
    pub(crate) traced: Option<(&'a Traced, &'a Tracing)>,
    /// In place of the caller's `grpc-timeout`.
    pub(crate) timeout: Option<&'a str>,
    pub(crate) edits: &'a Edits,
    /// Whole lines to add.
    pub(crate) extra: &'a [u8],
    pub(crate) via: bool,
}

/// What endpoints are told of a client's certificate.
#[derive(Clone, Copy, Default)]
pub(crate) struct ClientCert<'a> {
    pub(crate) mode: ForwardClientCert,
    /// The URI of our own certificate, and what there is to say of the client's; `None` where it has shown none.
    pub(crate) told: Option<(Option<&'a str>, &'a str)>,
}

impl ClientCert<'_> {
    /// Whether a trusted hop's word stands as it is.
    fn keeps(&self) -> bool {
        match self.mode {
            ForwardClientCert::Sanitize => true,
            ForwardClientCert::AppendForward => self.told.is_none(),
            ForwardClientCert::SanitizeSet => false,
        }
    }
}

/// The target as an endpoint sees it.
pub(crate) struct Target<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a [u8]>,
}

/// Bytes that the head for an endpoint is mostly longer than the client's by no more.
const ADDED: usize = 1024;

/// Writes the head of a request to an endpoint into `out`.
pub(crate) fn request(out: &mut Vec<u8>, parts: &RequestParts<'_>) {
    let (head, bytes) = (parts.head, parts.bytes);
    out.clear();
    // A large head would double its room to find the last of it.
    out.reserve(head.len + ADDED);
    out.extend_from_slice(head.method.get(bytes));
    out.push(b' ');
    out.extend_from_slice(parts.target.path.as_bytes());
    if let Some(query) = parts.target.query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let rewrites_host = parts.host.is_some();
    copy_fields(out, bytes, &head.fields, head.len, |field| {
        field.drop
            || (rewrites_host && field.known == Known::Host)
            || (field.known.is_identity() && drops_identity(parts, field))
            || (parts.timeout.is_some() && is_timeout(field.name.get(bytes)))
            || parts.edits.drops(field.name.get(bytes))
    });
    let host = parts.host.unwrap_or_else(|| head.host.span().get(bytes));
    let has_field = matches!(head.host, super::head::HostSource::Field(_));
    if rewrites_host || !has_field {
        line(out, b"Host", host);
    }
    add_forwarded(out, parts, head.host.span().get(bytes));
    if let Some((traced, tracing)) = parts.traced {
        traced.fields(&tracing.propagation, |name, value| {
            if !parts.edits.drops(name.as_bytes()) {
                line(out, name.as_bytes(), value);
            }
        });
    }
    if let Some(timeout) = parts.timeout
        && !parts.edits.drops(grpc::TIMEOUT)
    {
        line(out, grpc::TIMEOUT, timeout.as_bytes());
    }
    for (name, value) in &parts.edits.add {
        line(out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(parts.extra);
    match (head.framing, head.has_codings) {
        (Framing::Chunked, false) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Framing::Chunked, true) => write_codings(out, head, bytes),
        _ => {}
    }
    if let Some(upgrade) = head.upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
        line(out, b"Upgrade", upgrade.get(bytes));
    }
    end_head(out, parts.via, head.minor);
}

fn is_timeout(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(grpc::TIMEOUT)
}

/// All codings on one line, in one spelling.
fn write_codings(out: &mut Vec<u8>, head: &RequestHead, bytes: &[u8]) {
    let fields = head
        .fields
        .iter()
        .filter(|field| field.known == Known::TransferEncoding);
    let codings = fields.flat_map(|field| field.value.get(bytes).split(|b| *b == b','));
    out.extend_from_slice(b"Transfer-Encoding: ");
    for (at, coding) in codings.enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(without_parameters(coding));
    }
    out.extend_from_slice(b"\r\n");
}

/// A stranger's word on its client is dropped; a trusted hop's is kept, but X-Forwarded-For, which grows, and what is said of
/// a certificate where we say it.
fn drops_identity(parts: &RequestParts<'_>, field: &Field) -> bool {
    let ours = match field.known {
        Known::ForwardedFor => true,
        Known::ForwardedClientCert => !parts.client_cert.keeps(),
        // Where we say whose certificate it was, nobody else does.
        Known::ClientCert => parts.client_cert.mode == ForwardClientCert::SanitizeSet,
        _ => false,
    };
    !parts.trusted || ours
}

fn add_forwarded(out: &mut Vec<u8>, parts: &RequestParts<'_>, host: &[u8]) {
    let has = |known| {
        parts.trusted
            && parts
                .head
                .fields
                .iter()
                .any(|f| f.known == known && !f.drop)
    };
    if !parts.trusted {
        out.extend_from_slice(parts.forwarded);
    } else {
        out.extend_from_slice(b"X-Forwarded-For: ");
        for field in parts
            .head
            .fields
            .iter()
            .filter(|f| f.known == Known::ForwardedFor && !f.drop)
        {
            out.extend_from_slice(field.value.get(parts.bytes));
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(parts.peer);
        out.extend_from_slice(b"\r\n");
        if !has(Known::ForwardedProto) {
            line(out, b"X-Forwarded-Proto", parts.proto.as_bytes());
        }
    }
    if !has(Known::ForwardedHost) && !host.is_empty() {
        line(out, b"X-Forwarded-Host", host);
    }
    if !has(Known::RequestId) {
        line(out, b"X-Request-Id", parts.request_id);
    }
    if parts.client_cert.mode != ForwardClientCert::Sanitize {
        add_client_cert(out, parts);
    }
}

/// Envoy, `x-forwarded-client-cert`: an element for each hop, the nearest last.
fn add_client_cert(out: &mut Vec<u8>, parts: &RequestParts<'_>) {
    let Some((own, told)) = parts.client_cert.told else {
        return;
    };
    out.extend_from_slice(b"x-forwarded-client-cert: ");
    if parts.trusted && parts.client_cert.mode == ForwardClientCert::AppendForward {
        let before = parts.head.fields.iter();
        for field in before.filter(|f| f.known == Known::ForwardedClientCert && !f.drop) {
            out.extend_from_slice(field.value.get(parts.bytes));
            out.push(b',');
        }
    }
    if let Some(own) = own {
        out.extend_from_slice(b"By=");
        out.extend_from_slice(own.as_bytes());
        out.push(b';');
    }
    out.extend_from_slice(told.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What a response's head is written from.
pub(crate) struct ResponseParts<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) bytes: &'a [u8],
    pub(crate) edits: &'a Edits,
    /// Whole lines to add.
    pub(crate) extra: &'a [u8],
    /// A whole line, or nothing.
    pub(crate) set_cookie: &'a [u8],
    /// A field that tells the client its trace's id.
    pub(crate) told: Option<(&'a str, &'a [u8])>,
    pub(crate) chunked: bool,
    pub(crate) connection: Connection,
    pub(crate) via: bool,
}

/// What the client is told of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    /// HTTP/1.1 that goes on says nothing.
    Silent,
    Close,
    /// To an HTTP/1.0 client that asked for it.
    KeepAlive,
    /// 101.
    Upgrade,
}

/// Writes the head of a response to a client into `out`.
pub(crate) fn response(out: &mut Vec<u8>, parts: &ResponseParts<'_>) {
    let (head, bytes) = (parts.head, parts.bytes);
    out.clear();
    status_line(out, head.status, head.reason.get(bytes));
    copy_fields(out, bytes, &head.fields, head.len, |field| {
        field.drop || parts.edits.drops(field.name.get(bytes))
    });
    for (name, value) in &parts.edits.add {
        line(out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(parts.extra);
    out.extend_from_slice(parts.set_cookie);
    if let Some((name, id)) = parts.told {
        line(out, name.as_bytes(), id);
    }
    if parts.chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    match parts.connection {
        Connection::Silent => {}
        Connection::Close => out.extend_from_slice(b"Connection: close\r\n"),
        Connection::KeepAlive => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        Connection::Upgrade => {
            out.extend_from_slice(b"Connection: Upgrade\r\n");
            line(out, b"Upgrade", head.upgrade.unwrap_or_default().get(bytes));
        }
    }
    end_head(out, parts.via, head.minor);
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 ");
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

/// Copies the lines that stay, each run of neighbours at once. A line reaches from its name to the next
/// field's, the last one to the empty line that ends the head.
fn copy_fields(
    out: &mut Vec<u8>,
    bytes: &[u8],
    fields: &[Field],
    len: usize,
    drops: impl Fn(&Field) -> bool,
) {
    let Some(first) = fields.first() else { return };
    let mut run = first.line_start();
    for (at, field) in fields.iter().enumerate() {
        if drops(field) {
            let start = field.line_start();
            out.extend_from_slice(bytes.get(run..start).unwrap_or_default());
            run = fields
                .get(at + 1)
                .map_or(len.saturating_sub(2), Field::line_start);
        }
    }
    out.extend_from_slice(bytes.get(run..len.saturating_sub(2)).unwrap_or_default());
}

/// Ends a head, where asked with the Via of a message that came in that minor version (RFC 9110, section 7.6.3).
fn end_head(out: &mut Vec<u8>, via: bool, minor: u8) {
    match (via, minor) {
        (false, _) => {}
        (true, 0) => out.extend_from_slice(b"Via: 1.0 weir\r\n"),
        (true, 1) => out.extend_from_slice(b"Via: 1.1 weir\r\n"),
        (true, _) => out.extend_from_slice(b"Via: 2.0 weir\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes one field line.
pub(crate) fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use weir_config::model::Limits;

    use super::super::head::{Parsed, parse_request, parse_response};
    use super::*;
    use crate::http::h1::head::Method;

    fn forward(text: &str, trusted: bool, edits: &Edits) -> String {
        forward_with(text, trusted, edits, ClientCert::default())
    }

    fn forward_with(
        text: &str,
        trusted: bool,
        edits: &Edits,
        client_cert: ClientCert<'_>,
    ) -> String {
        let mut head = RequestHead::default();
        let parsed = parse_request(text.as_bytes(), &Limits::default(), &mut head);
        assert!(matches!(parsed, Ok(Parsed::Complete(_))), "{parsed:?}");
        let parts = RequestParts {
            target: Target {
                path: head.target.path.text(text.as_bytes()),
                query: None,
            },
            head: &head,
            bytes: text.as_bytes(),
            host: None,
            trusted,
            forwarded: b"X-Forwarded-For: 9.9.9.9\r\n",
            proto: "http",
            peer: b"9.9.9.9",
            request_id: b"id",
            client_cert,
            traced: None,
            timeout: None,
            edits,
            extra: b"",
            via: false,
        };
        let mut out = Vec::new();
        request(&mut out, &parts);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_stays_is_copied_to_the_byte_and_what_is_ours_is_added() {
        let text = "GET /x HTTP/1.1\r\nhOsT:  a\r\nConnection: close, X-Drop\r\nX-Drop: 1\r\nX-Keep:\tv \r\n\r\n";
        assert_eq!(
            forward(text, false, &Edits::default()),
            "GET /x HTTP/1.1\r\nhOsT:  a\r\nX-Keep:\tv \r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Host: a\r\nX-Request-Id: id\r\n\r\n"
        );
    }

    #[test]
    fn a_stranger_cannot_speak_for_a_client_and_a_trusted_hop_can() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nForwarded: for=x\r\nX-Real-IP: y\r\nX-Request-Id: mine\r\n\r\n";
        let stranger = forward(text, false, &Edits::default());
        for lie in ["1.1.1.1", "for=x", "X-Real-IP: y", "mine"] {
            assert!(!stranger.contains(lie), "{lie} went through: {stranger}");
        }
        let trusted = forward(text, true, &Edits::default());
        assert!(
            trusted.contains("X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n"),
            "{trusted}"
        );
        assert!(
            trusted.contains("X-Request-Id: mine\r\n") && !trusted.contains("X-Request-Id: id"),
            "{trusted}"
        );
    }

    #[test]
    fn what_is_said_of_a_certificate_is_ours_or_a_trusted_hops_and_never_a_strangers() {
        let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: Hash=00\r\nClient-Cert: :eA==:\r\nCLIENT-CERT-CHAIN: :eQ==:\r\n\r\n";
        let told = Some((Some("spiffe://a/shop"), "Hash=11;Subject=\"CN=b\""));
        let ours = "By=spiffe://a/shop;Hash=11;Subject=\"CN=b\"\r\n";
        use ForwardClientCert::{AppendForward, Sanitize, SanitizeSet};
        for (mode, told, trusted, expected) in [
            (Sanitize, told, false, None),
            (SanitizeSet, None, false, None),
            (AppendForward, None, false, None),
            (
                SanitizeSet,
                told,
                false,
                Some(format!("x-forwarded-client-cert: {ours}")),
            ),
            (
                AppendForward,
                told,
                false,
                Some(format!("x-forwarded-client-cert: {ours}")),
            ),
            (
                Sanitize,
                told,
                true,
                Some("X-Forwarded-Client-Cert: Hash=00\r\n".to_owned()),
            ),
            (SanitizeSet, None, true, None),
            (
                SanitizeSet,
                told,
                true,
                Some(format!("x-forwarded-client-cert: {ours}")),
            ),
            (
                AppendForward,
                None,
                true,
                Some("X-Forwarded-Client-Cert: Hash=00\r\n".to_owned()),
            ),
            (
                AppendForward,
                told,
                true,
                Some(format!("x-forwarded-client-cert: Hash=00,{ours}")),
            ),
        ] {
            let got = forward_with(text, trusted, &Edits::default(), ClientCert { mode, told });
            let lower = got.to_ascii_lowercase();
            let lines = lower.matches("x-forwarded-client-cert").count();
            assert_eq!(
                lines,
                usize::from(expected.is_some()),
                "{mode:?} {trusted} {got}"
            );
            if let Some(expected) = expected {
                assert!(got.contains(&expected), "{mode:?} {trusted} {got}");
            }
            // Where we say whose certificate it was, nobody else does, not even one that is trusted.
            let theirs = trusted && mode != SanitizeSet;
            assert_eq!(lower.contains("\nclient-cert: "), theirs, "{got}");
            assert_eq!(lower.contains("\nclient-cert-chain: "), theirs, "{got}");
        }
    }

    #[test]
    fn edits_take_out_and_add() {
        let edits = Edits {
            drop: vec!["x-a".into()],
            add: vec![("x-a".into(), "new".into())],
        };
        let text = "GET / HTTP/1.1\r\nHost: a\r\nX-A: old\r\nX-B: b\r\n\r\n";
        let got = forward(text, false, &edits);
        assert!(
            got.contains("x-a: new\r\n") && got.contains("X-B: b\r\n") && !got.contains("old"),
            "{got}"
        );
    }

    #[test]
    fn a_response_loses_what_was_for_our_hop() {
        let text = "HTTP/1.1 200 Fine\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n";
        let mut head = ResponseHead::default();
        parse_response(text.as_bytes(), &Limits::default(), Method::Get, &mut head).unwrap();
        let mut out = Vec::new();
        let parts = ResponseParts {
            head: &head,
            bytes: text.as_bytes(),
            edits: &Edits::default(),
            extra: b"",
            set_cookie: b"",
            told: None,
            chunked: true,
            connection: Connection::Close,
            via: false,
        };
        response(&mut out, &parts);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "HTTP/1.1 200 Fine\r\nX: y\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
    }
}
