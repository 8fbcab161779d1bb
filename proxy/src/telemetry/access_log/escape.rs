//! Bytes from the network as part of a line that stays one line.

/// Longer values are cut and end in `...`.
pub(super) const MAX_BYTES: usize = 2048;

/// Writes a JSON string with its quotes. What is not UTF-8 becomes U+FFFD.
pub(super) fn json(value: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let (value, cut) = cut(value);
    if is_plain(value) {
        out.extend_from_slice(value);
    } else {
        for chunk in value.utf8_chunks() {
            chunk.valid().bytes().for_each(|byte| json_byte(byte, out));
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.extend_from_slice(if cut { b"...\"" } else { b"\"" });
}

/// Writes the inside of a quoted value of the Common Log Format as Apache does: `\"`, `\\`, `\xhh`.
pub(super) fn common(value: &[u8], out: &mut Vec<u8>) {
    let (value, cut) = cut(value);
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..0x7f => out.push(byte),
            _ => out.extend_from_slice(&[b'\\', b'x', hex(byte >> 4), hex(byte & 15)]),
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
}

fn cut(value: &[u8]) -> (&[u8], bool) {
    match value.get(..MAX_BYTES) {
        Some(head) if value.len() > MAX_BYTES => (head, true),
        _ => (value, false),
    }
}

/// Printable ASCII without quote and backslash: nearly everything.
fn is_plain(value: &[u8]) -> bool {
    // No early exit, so that the compiler can take many bytes at once.
    value.iter().fold(true, |plain, &byte| {
        plain & (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\')
    })
}

fn json_byte(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..0x20 | 0x7f => {
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 15)])
        }
        _ => out.push(byte),
    }
}

fn hex(nibble: u8) -> u8 {
    nibble + if nibble < 10 { b'0' } else { b'a' - 10 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_json(value: &[u8]) -> String {
        let mut out = Vec::new();
        json(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_end_a_string_or_a_line_is_escaped() {
        assert_eq!(
            as_json(b"a\"b\\c\nd\x1b\x7f"),
            r#""a\"b\\c\nd\u001b\u007f""#
        );
        assert_eq!(as_json("ü\u{2028}".as_bytes()), "\"ü\u{2028}\"");
        assert_eq!(as_json(b"a\xff\xc3"), "\"a\u{fffd}\u{fffd}\"");
        let mut out = Vec::new();
        common(b"a\"b\\\r\n\xff", &mut out);
        assert_eq!(out, br#"a\"b\\\x0d\x0a\xff"#);
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(as_json(&[b'a'; MAX_BYTES]).len(), MAX_BYTES + 2);
        let long = as_json(&[b'a'; MAX_BYTES + 1]);
        assert!(long.ends_with("a...\"") && long.len() == MAX_BYTES + 5);
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_json_string(value: Vec<u8>) {
            let text = as_json(&value);
            prop_assert!(!text.contains('\n'));
            let back: String = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&value).into_owned());
        }
    }
}
