//! gRPC-Web (`PROTOCOL-WEB.md`): gRPC for clients that see no trailers, above all browsers.
//!
//! What comes behind the body is sent as its last frame, and in the text form both bodies are base64. The request goes on
//! as ordinary gRPC; [`Outgoing`] and [`Incoming`] turn what passes by, piece by piece.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Kind;
use crate::http::h1::head::Field;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Web {
    Binary,
    /// In base64.
    Text,
}

impl Web {
    /// Something may follow it.
    pub(crate) fn content_type(self) -> &'static [u8] {
        match self {
            Self::Binary => b"application/grpc-web",
            Self::Text => b"application/grpc-web-text",
        }
    }
}

/// The form of the answer to who asks in that one: the other, where Accept names it and not this one.
pub(super) fn accepted(fields: &[Field], bytes: &[u8], asked: Web) -> Web {
    let accepts = |form| {
        let named = fields
            .iter()
            .filter(|field| field.name.get(bytes).eq_ignore_ascii_case(b"accept"));
        let mut types = named.flat_map(|field| field.value.get(bytes).split(|b| *b == b','));
        types.any(|name| {
            let kind = Kind::of_content_type(name.trim_ascii());
            matches!(kind, Kind::Web { asked, .. } if asked == form)
        })
    };
    let other = match asked {
        Web::Binary => Web::Text,
        Web::Text => Web::Binary,
    };
    match accepts(other) && !accepts(asked) {
        true => other,
        false => asked,
    }
}

/// The first byte of a frame that holds trailers.
const TRAILERS: u8 = 0x80;

/// The frame in which trailers, whole lines, stand at the end of a body.
fn frame(lines: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(5 + lines.len());
    frame.push(TRAILERS);
    // Trailers are bounded far below 4 GiB.
    frame.extend_from_slice(&(lines.len() as u32).to_be_bytes());
    for line in lines.split_inclusive(|b| *b == b'\n') {
        // Names are in lower case here, too.
        let name = memchr::memchr(b':', line).unwrap_or(0);
        frame.extend(line[..name].iter().map(u8::to_ascii_lowercase));
        frame.extend_from_slice(&line[name..]);
    }
    frame
}

/// A body on its way to the client.
#[derive(Debug)]
pub(crate) struct Outgoing {
    form: Web,
    /// Up to two bytes that make no group of base64 yet.
    rest: Vec<u8>,
}

impl Outgoing {
    pub(crate) fn new(form: Web) -> Self {
        Self {
            form,
            rest: Vec::new(),
        }
    }

    /// Turns the next piece; `None`: it goes as it is. `end`: the trailers, behind the last.
    pub(crate) fn turn(&mut self, data: &[u8], end: Option<&[u8]>) -> Option<Vec<u8>> {
        match (self.form, end) {
            (Web::Binary, None) => None,
            (Web::Binary, Some(lines)) => Some([data, &frame(lines)].concat()),
            (Web::Text, end) => {
                self.rest.extend_from_slice(data);
                if let Some(lines) = end {
                    self.rest.extend(frame(lines));
                }
                let whole = match end {
                    Some(_) => self.rest.len(),
                    None => self.rest.len() / 3 * 3,
                };
                let out = STANDARD.encode(&self.rest[..whole]).into_bytes();
                self.rest.drain(..whole);
                Some(out)
            }
        }
    }
}

/// A body on its way from a client that sends text.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// Up to three characters that make no group yet.
    rest: Vec<u8>,
}

/// It is no base64, or was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotText;

impl Incoming {
    /// Turns the next piece. Groups may be padded in mid-body: each message may have been encoded by itself.
    pub(crate) fn turn(&mut self, data: &[u8], last: bool) -> Result<Vec<u8>, NotText> {
        self.rest.extend_from_slice(data);
        let whole = self.rest.len() / 4 * 4;
        if last && whole != self.rest.len() {
            return Err(NotText);
        }
        let mut out = Vec::with_capacity(whole / 4 * 3);
        for group in self.rest[..whole].chunks_exact(4) {
            STANDARD.decode_vec(group, &mut out).map_err(|_| NotText)?;
        }
        self.rest.drain(..whole);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_the_last_frame_of_the_body() {
        let mut binary = Outgoing::new(Web::Binary);
        assert_eq!(binary.turn(b"data", None), None);
        let end = binary.turn(b"more", Some(b"Grpc-Status: 0\r\n")).unwrap();
        assert_eq!(end, b"more\x80\0\0\0\x10grpc-status: 0\r\n");
    }

    #[test]
    fn text_is_base64_however_it_is_cut() {
        let body: Vec<u8> = (0..=255).collect();
        let lines = b"grpc-status: 0\r\n";
        let whole = STANDARD
            .encode([&body[..], &frame(lines)].concat())
            .into_bytes();
        for cut in [1, 2, 3, 7, 100, 256] {
            let mut out = Outgoing::new(Web::Text);
            let mut got = Vec::new();
            for piece in body.chunks(cut) {
                got.extend(out.turn(piece, None).unwrap());
            }
            got.extend(out.turn(b"", Some(lines)).unwrap());
            assert_eq!(got, whole, "cut by {cut}");
            let mut back = Incoming::default();
            let mut decoded = Vec::new();
            let mut pieces = whole.chunks(cut).peekable();
            while let Some(piece) = pieces.next() {
                decoded.extend(back.turn(piece, pieces.peek().is_none()).unwrap());
            }
            assert_eq!(decoded, [&body[..], &frame(lines)].concat());
        }
    }

    #[test]
    fn groups_may_be_padded_within_a_body_and_nonsense_is_refused() {
        let mut text = Incoming::default();
        assert_eq!(text.turn(b"AA==AQ==", false).unwrap(), [0, 1]);
        for bad in ["A===", "AA=A", "A*AA", "AAA"] {
            assert_eq!(
                Incoming::default().turn(bad.as_bytes(), true),
                Err(NotText),
                "{bad}"
            );
        }
    }
}
