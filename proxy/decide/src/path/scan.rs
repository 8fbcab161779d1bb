//! Character classes, and the pass over a path that most requests need no more than.

/// Not a path character.
const STOP: u8 = 1;
/// A slash, dot or semicolon: plain, except at the start of a segment.
const EDGY: u8 = 2;
const UNRESERVED: u8 = 4;

/// The low half says what a byte is, the high half what the byte after it must not be.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let class = classify(byte as u8);
        #[expect(clippy::indexing_slicing, reason = "runs in the compiler")]
        {
            table[byte] = class;
        }
        byte += 1;
    }
    table
}

/// RFC 3986, sections 2.2, 2.3 and 3.3.
const fn classify(byte: u8) -> u8 {
    let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let delimiter = matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    );
    let mut class = STOP << 4;
    if unreserved {
        class |= UNRESERVED;
    }
    if !(unreserved || delimiter || byte == b'/') {
        class |= STOP;
    }
    if matches!(byte, b'/' | b'.' | b';') {
        class |= EDGY;
    }
    if byte == b'/' {
        class |= EDGY << 4;
    }
    class
}

#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
#[inline]
fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

/// Whether a byte may stand bare in a path: `pchar` without escapes, and the slash.
#[inline]
pub(super) fn is_path_character(byte: u8) -> bool {
    class(byte) & STOP == 0
}

/// RFC 3986, section 2.3: escaped or not, these mean the same.
#[inline]
pub(super) fn is_unreserved(byte: u8) -> bool {
    class(byte) & UNRESERVED != 0
}

/// Whether a path is canonical and has nothing that needs a closer look: no escapes, and no segment
/// that starts with a slash, a dot or a semicolon. One look-up a byte, and no branch on what is found.
#[inline]
pub(super) fn is_plainly_canonical(path: &[u8]) -> bool {
    let Some((b'/', rest)) = path.split_first() else {
        return false;
    };
    let (mut found, mut unwanted) = (0, STOP | EDGY);
    for &byte in rest {
        let class = class(byte);
        found |= class & unwanted;
        unwanted = class >> 4;
    }
    found == 0
}

/// Whether a path that is canonical otherwise holds `%25` before two hexadecimal digits.
pub(super) fn holds_encoded_escape(path: &[u8]) -> bool {
    let mut escapes = path.windows(5).filter(|part| part.starts_with(b"%25"));
    escapes.any(|part| part.iter().skip(3).all(u8::is_ascii_hexdigit))
}
