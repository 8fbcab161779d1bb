//! Character classes, and the pass over a path that most requests need no more than.

const PATH: u8 = 1;
const UNRESERVED: u8 = 2;
/// Bytes that the quick pass steps over: path characters other than the slash.
const STEP: u8 = 4;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 255")]
        let character = byte as u8;
        // RFC 3986, sections 2.2, 2.3 and 3.3.
        let unreserved =
            character.is_ascii_alphanumeric() || matches!(character, b'-' | b'.' | b'_' | b'~');
        let delimiter = matches!(
            character,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        );
        let mut class = 0;
        if unreserved {
            class |= UNRESERVED;
        }
        if unreserved || delimiter {
            class |= PATH | STEP;
        }
        if character == b'/' {
            class |= PATH;
        }
        #[expect(
            clippy::indexing_slicing,
            reason = "the loop stays below 256, and this runs in the compiler"
        )]
        {
            table[byte] = class;
        }
        byte += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
#[inline]
fn has(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Whether a byte may stand bare in a path: `pchar` without escapes, and the slash.
pub(super) fn is_path_character(byte: u8) -> bool {
    has(byte, PATH)
}

/// RFC 3986, section 2.3: escaped or not, these mean the same.
pub(super) fn is_unreserved(byte: u8) -> bool {
    has(byte, UNRESERVED)
}

/// Whether a path is canonical and has nothing that needs a closer look: no escapes, and no segment that
/// starts with a dot or a semicolon.
#[inline]
pub(super) fn is_plainly_canonical(path: &[u8]) -> bool {
    let Some((b'/', mut rest)) = path.split_first() else {
        return false;
    };
    // At each turn `rest` starts a segment.
    loop {
        if let Some(b'/' | b'.' | b';') = rest.first() {
            return false;
        }
        let Some(stop) = rest.iter().position(|&byte| !has(byte, STEP)) else {
            return true;
        };
        match rest.split_at_checked(stop) {
            Some((_, [b'/', after @ ..])) => rest = after,
            _ => return false,
        }
    }
}
