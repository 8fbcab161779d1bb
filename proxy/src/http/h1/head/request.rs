//! The head of a request.

use std::mem::MaybeUninit;

use weir_config::model::Limits;

use super::connection;
use super::field::check_alias;
use super::framing::FramingFields;
use super::target::{check_host, read_target};
use super::{
    Field, Framing, HeadError, Known, MAX_FIELDS, Parsed, Span, check_line_ends, check_sizes,
    from_httparse,
};

/// A parsed request head; its spans point into the buffer that its text is in.
#[derive(Debug, Default)]
pub struct RequestHead {
    pub method: Span,
    pub kind: Method,
    pub target: Target,
    /// 0 or 1; 2 where it came over HTTP/2 and this is how it reads in HTTP/1.
    pub minor: u8,
    pub host: HostSource,
    pub framing: Framing,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// Whether a 100 (Continue) is awaited before the body.
    pub expects_continue: bool,
    /// The protocol to change to, where the request is one that may (GET, HTTP/1.1, no body).
    pub upgrade: Option<Span>,
    /// There are transfer codings beside chunked.
    pub has_codings: bool,
    pub fields: Vec<Field>,
    /// Bytes of the whole head.
    pub len: usize,
}

impl RequestHead {
    /// Whether the client takes trailers (RFC 9110, section 10.1.4); `bytes`: what the head was parsed from.
    #[must_use]
    pub fn wants_trailers(&self, bytes: &[u8]) -> bool {
        let mut said = (self.fields.iter()).filter(|field| field.name.len() == 2);
        said.any(|field| {
            let is_te = field.name.get(bytes).eq_ignore_ascii_case(b"te");
            is_te && field.value.get(bytes).eq_ignore_ascii_case(b"trailers")
        })
    }

    /// Before the fields are looked at: the method and the version are known.
    fn begin(&mut self, whole: &[u8]) -> Result<(), HeadError> {
        let method = self.method.get(whole);
        self.kind = Method::of(method);
        self.len = whole.len();
        if matches!(method, b"CONNECT" | b"TRACE") {
            return Err(HeadError::Method);
        }
        self.host = HostSource::None;
        self.upgrade = None;
        self.expects_continue = false;
        self.keep_alive = self.minor == 1;
        Ok(())
    }

    /// After them.
    fn finish(
        &mut self,
        whole: &[u8],
        target: &[u8],
        seen: Seen,
        limits: &Limits,
    ) -> Result<(), HeadError> {
        if self.fields.len() + seen.crumbs > limits.max_headers {
            return Err(HeadError::FieldsTooLarge);
        }
        seen.finish(whole, self)?;
        let is_bodiless = matches!(self.kind, Method::Get | Method::Head);
        if is_bodiless && !limits.get_body && has_body(self.framing) {
            // RFC 9110, section 9.3.1: it has no defined meaning, and some origins leave it unread, to be taken for
            // the next request.
            return Err(HeadError::GetBody);
        }
        read_target(whole, target, self)?;
        check_host(whole, self)
    }
}

/// The methods that a proxy treats apart; all others are [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Patch,
    Other,
}

impl Method {
    fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether repeating the request does no more than making it once (RFC 9110, section 9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        matches!(
            self,
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options
        )
    }

    /// The label for metrics: a closed set, so that no client can make new series.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }
}

/// The path and query of the target; a scheme and authority in front of them are in [`HostSource`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Target {
    /// As it was sent; `*` for `OPTIONS *`, empty for an absolute target without a path.
    pub path: Span,
    /// After the question mark; `None` without one.
    pub query: Option<Span>,
}

/// Where the authority that was asked for stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostSource {
    /// HTTP/1.0 without a Host.
    #[default]
    None,
    /// The Host field; where the target was absolute, it says the same.
    Field(Span),
    /// An absolute target in HTTP/1.0 without a Host.
    Target(Span),
}

impl HostSource {
    /// The authority with its port, as it was sent.
    #[must_use]
    pub fn span(self) -> Span {
        match self {
            Self::None => Span::default(),
            Self::Field(span) | Self::Target(span) => span,
        }
    }
}

/// Parses a request head at the start of `buf` into `head`, which is reused.
///
/// # Errors
/// [`HeadError`] for everything that security.md's framing list and RFC 9112 refuse. After an error
/// the connection cannot be read any further.
pub fn parse_request(
    buf: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Parsed, HeadError> {
    check_sizes(buf, limits)?;
    let mut slots = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; MAX_FIELDS];
    let slots = &mut slots[..limits.max_headers.min(MAX_FIELDS)];
    let mut raw = httparse::Request::new(&mut []);
    let len = match raw.parse_with_uninit_headers(buf, slots) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
        Err(httparse::Error::Version) => return Err(version_error(buf)),
        Err(error) => return Err(from_httparse(error)),
    };
    let whole = &buf[..len];
    check_line_ends(whole, raw.headers)?;
    check_sizes(whole, limits)?;
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(HeadError::Syntax("the request line is incomplete"));
    };
    head.method = Span::of(whole, method.as_bytes());
    head.minor = minor;
    if head.method.start != 0 {
        return Err(HeadError::Syntax("empty lines before the request line"));
    }
    head.begin(whole)?;
    head.fields.clear();
    let mut seen = Seen::default();
    for header in raw.headers.iter() {
        let (name, value) = (header.name.as_bytes(), header.value);
        let (name, value) = (Span::of(whole, name), Span::of(whole, value));
        let field = seen.look_at(whole, name, value, limits, head)?;
        head.fields.push(field);
    }
    head.finish(whole, target.as_bytes(), seen, limits)?;
    Ok(Parsed::Complete(len))
}

/// What [`parse_request`] finds in a head whose text we wrote: where its method, its target and its fields stand is known,
/// and that they hold no character that would divide them otherwise. `head` has the method, and the fields as
/// [`Field::written`].
///
/// # Errors
/// As there.
pub(in crate::http) fn settle_request(
    whole: &[u8],
    target: Span,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), HeadError> {
    check_sizes(whole, limits)?;
    if head.fields.len() > limits.max_headers {
        return Err(HeadError::FieldsTooLarge);
    }
    head.minor = 1;
    head.begin(whole)?;
    let mut seen = Seen::default();
    for at in 0..head.fields.len() {
        let Field { name, value, .. } = head.fields[at];
        head.fields[at] = seen.look_at(whole, name, value, limits, head)?;
    }
    head.finish(whole, target.get(whole), seen, limits)
}

fn has_body(framing: Framing) -> bool {
    !matches!(framing, Framing::None | Framing::Length(0))
}

/// A well-formed version that we do not speak is 505; anything else is no HTTP.
fn version_error(buf: &[u8]) -> HeadError {
    let line = buf.split(|b| *b == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|b| *b == b' ').next().unwrap_or_default();
    match version {
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => HeadError::Version,
        _ => HeadError::Syntax("the version is not HTTP/1.0 or HTTP/1.1"),
    }
}

/// What the fields said together, while they are read one by one.
#[derive(Default)]
struct Seen {
    framing: FramingFields,
    /// White space around a transfer coding that a list may have, and a lone `chunked` has only in attacks.
    spaced: bool,
    connection: bool,
    upgrades: u8,
    /// Cookie pairs beyond the first of each line: a client may spread them over lines or not.
    crumbs: usize,
}

impl Seen {
    fn look_at(
        &mut self,
        whole: &[u8],
        name: Span,
        value: Span,
        limits: &Limits,
        head: &mut RequestHead,
    ) -> Result<Field, HeadError> {
        if name.len() + value.len() > limits.max_field_bytes {
            return Err(HeadError::FieldsTooLarge);
        }
        let text = name.get(whole);
        check_alias(text)?;
        let known = Known::of(text);
        let field = Field {
            name,
            value,
            known,
            drop: known.is_hop_by_hop() || (known == Known::Expect && head.minor == 0),
        };
        if known != Known::Other {
            self.note(whole, &field, value.get(whole), head)?;
        }
        Ok(field)
    }

    fn note(
        &mut self,
        whole: &[u8],
        field: &Field,
        value: &[u8],
        head: &mut RequestHead,
    ) -> Result<(), HeadError> {
        match field.known {
            Known::Host if head.host != HostSource::None => {
                return Err(HeadError::Host("there are two"));
            }
            Known::Host => head.host = HostSource::Field(field.value),
            Known::ContentLength => self.framing.content_length(value)?,
            Known::TransferEncoding => {
                self.spaced |=
                    value.eq_ignore_ascii_case(b"chunked") && is_oddly_spaced(whole, field);
                self.framing.transfer_encoding(value)?;
            }
            Known::Connection => self.connection = true,
            Known::Upgrade => {
                self.upgrades = self.upgrades.saturating_add(1);
                head.upgrade = Some(field.value);
            }
            Known::Expect if value.eq_ignore_ascii_case(b"100-continue") => {
                head.expects_continue = head.minor == 1
            }
            Known::Expect if head.minor == 1 => return Err(HeadError::Expectation),
            Known::Cookie => self.crumbs += memchr::memchr_iter(b';', value).count(),
            _ => {}
        }
        Ok(())
    }

    fn finish(self, whole: &[u8], head: &mut RequestHead) -> Result<(), HeadError> {
        head.framing = self.framing.decide(head.minor)?.unwrap_or_default();
        head.has_codings = self.framing.codings() > 1;
        if self.framing.codings() == 1 && self.spaced {
            return Err(HeadError::Framing(
                "white space around the value of Transfer-Encoding",
            ));
        }
        let mut wants_upgrade = false;
        if self.connection {
            let keep = [Known::Host, Known::ContentLength];
            let options = connection::apply(
                whole,
                &mut head.fields,
                head.minor,
                &mut head.keep_alive,
                &keep,
            );
            if options.named > connection::MAX_NAMED {
                return Err(HeadError::Syntax("Connection names too many fields"));
            }
            wants_upgrade = options.upgrade;
        }
        let may_upgrade = wants_upgrade
            && self.upgrades == 1
            && head.minor == 1
            && head.kind == Method::Get
            && head.framing == Framing::None;
        let to = head
            .upgrade
            .filter(|_| may_upgrade)
            .map(|span| (span, span.get(whole)));
        // h2c by upgrade is an old way around a proxy's rules; ours is prior knowledge only.
        let is_h2c = |to: &[u8]| {
            to.split(|b| *b == b',')
                .any(|one| one.trim_ascii().eq_ignore_ascii_case(b"h2c"))
        };
        head.upgrade = to
            .filter(|(_, to)| !to.is_empty() && !is_h2c(to))
            .map(|(span, _)| span);
        // Nothing to continue with where no body follows.
        head.expects_continue &= has_body(head.framing);
        Ok(())
    }
}

/// A tab right behind the colon, or white space behind the value: read in two ways in the wild.
fn is_oddly_spaced(whole: &[u8], field: &Field) -> bool {
    let before = whole
        .get(field.name.end as usize..field.value.start as usize)
        .unwrap_or_default();
    before.contains(&b'\t') || whole.get(field.value.end as usize) != Some(&b'\r')
}
