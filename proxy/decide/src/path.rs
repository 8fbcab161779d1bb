//! One spelling for every path, decided once, before anything is matched.
//!
//! The path that is matched, authorised and forwarded must be the same, or a rule on `/admin` is passed
//! by `/x/%2e%2e/admin` (RFC 3986, sections 6.2.2 and 7.3). [`canonicalize`] brings a path to that one
//! form or refuses it; what it returns goes through unchanged a second time.
//!
//! Canonical is: it starts with a slash; unreserved characters stand bare, everything else outside of
//! `pchar` is a `%XX` with capital digits; no `.` or `..` segments, no empty segment but a last one.
//! Empty segments go first, then `..` is resolved: `/a//../b` is `/b`.
//!
//! Refused, because two parties may read them in two ways: encoded slashes, backslashes and NULs, bare
//! backslashes, control characters, spaces, `#`, `?` and non-ASCII, malformed or overlong escapes, `..`
//! above the root, escapes that turn into one of these when decoded again (`%252f`, `%252e`, `%2500`),
//! and path parameters on a dot segment or, before the last segment, on an empty one (`/..;x/`, `/;x/`),
//! which servlet containers strip. Other parameters are kept as they are.
#![deny(clippy::indexing_slicing, clippy::unwrap_used)]

use weir_config::model::PathPolicy;

mod scan;

/// Why a path was refused. All of them are a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("the path does not start with a slash")]
    NotAbsolute,
    #[error("the path holds a character that a request target cannot hold")]
    BadCharacter,
    #[error("the path holds a backslash")]
    Backslash,
    #[error("the path holds a percent sign without two hexadecimal digits")]
    BadEscape,
    #[error("the path holds an encoded slash or backslash")]
    EncodedSlash,
    #[error("the path holds an encoded NUL")]
    EncodedNul,
    #[error("the path holds an overlong encoding of a character")]
    Overlong,
    #[error("the path is encoded twice")]
    DoubleEncoded,
    #[error("the path leaves the root")]
    AboveRoot,
    #[error("the path has a parameter on a dot or empty segment")]
    DotParameter,
    #[error("the path is not in canonical form")]
    NotCanonical,
}

/// The canonical form of a path, without its query.
///
/// A path that has no escapes and is canonical comes back as it is, without a copy. `buffer` is
/// overwritten otherwise; its capacity is the only memory used, at most three times the path's length.
///
/// The asterisk of `OPTIONS *` is not a path (RFC 9112, section 3.2.4) and is refused here.
///
/// # Errors
/// [`PathError`] for what is ambiguous, and under [`PathPolicy::Strict`] for all that is not canonical.
#[inline]
pub fn canonicalize<'a>(
    raw: &'a [u8],
    policy: PathPolicy,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a str, PathError> {
    if !scan::is_plainly_canonical(raw) {
        rewrite(raw, buffer)?;
        // Digits may have been escaped themselves: `%25%36%31` has become `%2561`.
        if scan::holds_encoded_escape(buffer) {
            return Err(PathError::DoubleEncoded);
        }
        if policy == PathPolicy::Strict && raw != buffer.as_slice() {
            return Err(PathError::NotCanonical);
        }
        return std::str::from_utf8(buffer).map_err(|_| PathError::BadCharacter);
    }
    std::str::from_utf8(raw).map_err(|_| PathError::BadCharacter)
}

fn rewrite(raw: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    out.clear();
    out.reserve(raw.len());
    let mut segments = raw
        .strip_prefix(b"/")
        .ok_or(PathError::NotAbsolute)?
        .split(|&b| b == b'/')
        .peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let mark = out.len();
        out.push(b'/');
        decode_segment(segment, out)?;
        match kind(out.get(mark + 1..).unwrap_or_default()) {
            Segment::Normal => continue,
            Segment::Empty | Segment::Dot => out.truncate(mark),
            Segment::DotDot => {
                out.truncate(mark);
                let parent = memchr::memrchr(b'/', out).ok_or(PathError::AboveRoot)?;
                out.truncate(parent);
            }
            Segment::EmptyParameter if last => continue,
            Segment::EmptyParameter | Segment::DotParameter => return Err(PathError::DotParameter),
        }
        if last {
            out.push(b'/');
        }
    }
    refuse_hidden(out)
}

enum Segment {
    Normal,
    Empty,
    Dot,
    DotDot,
    /// `;x`: a parameter on nothing.
    EmptyParameter,
    /// `.;x` or `..;x`, also with the semicolon encoded.
    DotParameter,
}

fn kind(segment: &[u8]) -> Segment {
    match segment {
        [] => Segment::Empty,
        b"." => Segment::Dot,
        b".." => Segment::DotDot,
        [b';', ..] | [b'%', b'3', b'B', ..] => Segment::EmptyParameter,
        [b'.', b'.', b';', ..] | [b'.', b';', ..] => Segment::DotParameter,
        [b'.', b'.', b'%', b'3', b'B', ..] | [b'.', b'%', b'3', b'B', ..] => Segment::DotParameter,
        _ => Segment::Normal,
    }
}

/// Writes a segment with unreserved characters bare and all others escaped in capitals.
fn decode_segment(mut segment: &[u8], out: &mut Vec<u8>) -> Result<(), PathError> {
    while let Some((&byte, rest)) = segment.split_first() {
        segment = rest;
        match (byte, rest) {
            (plain, _) if scan::is_path_character(plain) => out.push(plain),
            (b'%', [high, low, after @ ..]) => {
                decode(*high, *low, out)?;
                segment = after;
            }
            (b'%', _) => return Err(PathError::BadEscape),
            (b'\\', _) => return Err(PathError::Backslash),
            (b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}', _) => {
                escape(byte, out)
            }
            _ => return Err(PathError::BadCharacter),
        }
    }
    Ok(())
}

fn decode(high: u8, low: u8, out: &mut Vec<u8>) -> Result<(), PathError> {
    let value = hex(high).zip(hex(low)).map(|(high, low)| high << 4 | low);
    match value.ok_or(PathError::BadEscape)? {
        b'/' | b'\\' => return Err(PathError::EncodedSlash),
        0 => return Err(PathError::EncodedNul),
        value if scan::is_unreserved(value) => out.push(value),
        value => escape(value, out),
    }
    Ok(())
}

fn escape(value: u8, out: &mut Vec<u8>) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'A' - 10 };
    out.extend([b'%', digit(value >> 4), digit(value & 15)]);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// Refuses what an endpoint that decodes twice, or decodes UTF-8 carelessly, would read as something else.
/// Runs on the result, so that `%25%32%66` is seen as the `%252f` that it is.
fn refuse_hidden(path: &[u8]) -> Result<(), PathError> {
    for at in memchr::memchr_iter(b'%', path) {
        match path.get(at..).unwrap_or_default() {
            [_, b'2', b'5', high, low, ..] => {
                let again = hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low);
                if let Some(b'/' | b'\\' | b'.' | b';' | b'%' | 0) = again {
                    return Err(PathError::DoubleEncoded);
                }
            }
            [_, b'C', b'0' | b'1', b'%', b'8' | b'9' | b'A' | b'B', ..]
            | [_, b'E', b'0', b'%', b'8' | b'9', ..]
            | [_, b'F', b'0', b'%', b'8', ..] => return Err(PathError::Overlong),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
