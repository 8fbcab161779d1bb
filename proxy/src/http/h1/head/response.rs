//! The head of a response, held to the same rules: an origin may be hostile, too.

use std::mem::MaybeUninit;

use weir_config::model::Limits;

use super::connection;
use super::framing::FramingFields;
use super::{
    Field, Framing, HeadError, Known, MAX_FIELDS, Method, Parsed, Span, check_line_ends,
    from_httparse,
};

/// A parsed response head; its spans point into the buffer given to [`parse_response`].
#[derive(Debug, Default)]
pub struct ResponseHead {
    pub status: u16,
    pub reason: Span,
    pub minor: u8,
    pub framing: Framing,
    /// The length was not said, but follows from where the answer ended.
    pub length_implied: bool,
    /// Whether the origin keeps the connection.
    pub keep_alive: bool,
    /// The protocol that a 101 changes to.
    pub upgrade: Option<Span>,
    pub fields: Vec<Field>,
    pub len: usize,
}

impl ResponseHead {
    /// Leaves out a length that the endpoint did not say, where the end of the head says that there is no body.
    pub(crate) fn drop_implied_length(&mut self) {
        if self.length_implied {
            drop_lengths(self);
        }
    }

    /// Whether another head follows for the same request (RFC 9110, section 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// Takes fields of that name out: we say it ourselves. `buf` is what the head was parsed from.
    pub(crate) fn drop_named(&mut self, name: &str, buf: &[u8]) {
        for field in &mut self.fields {
            field.drop |= field.name.get(buf).eq_ignore_ascii_case(name.as_bytes());
        }
    }
}

/// Parses a response head at the start of `buf` into `head`, which is reused. `request` is the method
/// that is being answered, for a HEAD has no body whatever the fields say.
///
/// # Errors
/// [`HeadError`]: the origin cannot be understood; the connection to it must be discarded.
pub fn parse_response(
    buf: &[u8],
    limits: &Limits,
    request: Method,
    head: &mut ResponseHead,
) -> Result<Parsed, HeadError> {
    if buf.len() > limits.max_header_bytes + limits.max_request_line_bytes && !has_end(buf, limits)
    {
        return Err(HeadError::FieldsTooLarge);
    }
    let mut slots = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_FIELDS];
    let slots = &mut slots[..limits.max_headers.min(MAX_FIELDS)];
    let mut raw = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut raw, buf, slots);
    let len = match parsed.map_err(from_httparse)? {
        httparse::Status::Complete(len) => len,
        httparse::Status::Partial => return Ok(Parsed::Partial),
    };
    let whole = &buf[..len];
    check_line_ends(whole, raw.headers)?;
    if len > limits.max_header_bytes + limits.max_request_line_bytes {
        return Err(HeadError::FieldsTooLarge);
    }
    let (Some(status), Some(minor)) = (raw.code, raw.version) else {
        return Err(HeadError::Syntax("the status line is incomplete"));
    };
    if !whole.starts_with(b"HTTP/") || !(100..1000).contains(&status) {
        return Err(HeadError::Syntax("the status line is malformed"));
    }
    head.status = status;
    head.reason = raw
        .reason
        .map_or_else(Span::default, |text| Span::of(whole, text.as_bytes()));
    head.minor = minor;
    head.len = len;
    read_fields(whole, raw.headers, request, head)?;
    Ok(Parsed::Complete(len))
}

fn has_end(buf: &[u8], limits: &Limits) -> bool {
    let most = limits.max_header_bytes + limits.max_request_line_bytes;
    memchr::memmem::find(&buf[..buf.len().min(most)], b"\r\n\r\n").is_some()
}

fn read_fields(
    whole: &[u8],
    raw: &[httparse::Header<'_>],
    request: Method,
    head: &mut ResponseHead,
) -> Result<(), HeadError> {
    head.fields.clear();
    head.upgrade = None;
    head.length_implied = false;
    head.keep_alive = head.minor == 1;
    let mut framing = FramingFields::default();
    let mut has_connection = false;
    for header in raw {
        let (name, value) = (header.name.as_bytes(), header.value);
        let known = Known::of(name);
        match known {
            Known::ContentLength => framing.content_length(value)?,
            Known::TransferEncoding => framing.transfer_encoding(value)?,
            Known::Connection => has_connection = true,
            Known::Upgrade => head.upgrade = Some(Span::of(whole, value)),
            _ => {}
        }
        head.fields.push(Field {
            name: Span::of(whole, name),
            value: Span::of(whole, value),
            known,
            drop: known.is_hop_by_hop(),
        });
    }
    if has_connection {
        let keep = [Known::ContentLength];
        connection::apply(
            whole,
            &mut head.fields,
            head.minor,
            &mut head.keep_alive,
            &keep,
        );
    }
    if framing.codings() > 1 {
        // We would have to undo them for clients that do not know them.
        return Err(HeadError::Coding);
    }
    let said = framing.decide(head.minor)?;
    head.framing = decide(said, request, head)?;
    head.keep_alive &= head.framing != Framing::Close;
    Ok(())
}

/// RFC 9112, section 6.3: which responses have a body, and to where.
fn decide(
    said: Option<Framing>,
    request: Method,
    head: &mut ResponseHead,
) -> Result<Framing, HeadError> {
    let bodiless = head.status < 200 || head.status == 204;
    if bodiless && !matches!(said, None | Some(Framing::Length(0))) {
        return Err(HeadError::Framing("a body on a response that has none"));
    }
    if bodiless {
        // RFC 9110, section 8.6: such a response must not say a length.
        drop_lengths(head);
        return Ok(Framing::None);
    }
    if request == Method::Head || head.status == 304 {
        return Ok(Framing::None);
    }
    Ok(said.unwrap_or(Framing::Close))
}

fn drop_lengths(head: &mut ResponseHead) {
    for field in &mut head.fields {
        field.drop |= field.known == Known::ContentLength;
    }
}
