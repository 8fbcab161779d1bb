//! What surrounds the data of a chunk (RFC 9112, section 7.1).

use std::borrow::Cow;

/// What follows a chunk's data: its end, and at the end of the body the last chunk. Only trailers, which are rare,
/// need memory.
pub(super) fn tail(after_data: bool, last: bool, trailers: &[u8]) -> Cow<'static, [u8]> {
    match (after_data, last) {
        (true, false) => Cow::Borrowed(b"\r\n"),
        (true, true) if trailers.is_empty() => Cow::Borrowed(b"\r\n0\r\n\r\n"),
        (false, true) if trailers.is_empty() => Cow::Borrowed(b"0\r\n\r\n"),
        (false, false) => Cow::Borrowed(b""),
        (after_data, true) => {
            let end: &[u8] = if after_data { b"\r\n0\r\n" } else { b"0\r\n" };
            Cow::Owned([end, trailers, b"\r\n"].concat())
        }
    }
}

/// Writes a size as a chunk has it, with its CR LF.
pub(super) fn push_hex(out: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(size >> (at * 4)) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_size_is_written_without_leading_zeros() {
        for size in [1usize, 9, 15, 16, 255, 256, 65_535, 73_728, 1 << 30] {
            let mut out = Vec::new();
            push_hex(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").as_bytes());
        }
    }
}
