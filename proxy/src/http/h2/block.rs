//! A walk over a block of fields, as HPACK has it (RFC 7541, section 6), without decoding it.
//!
//! The crate below takes trailers that hold pseudo-fields and drops these; RFC 9113 (section 8.1) calls such a message
//! malformed. And a block that cannot be decoded is a COMPRESSION_ERROR (section 4.3), which the crate has no word for. Names are told where they stand in the block or in the static table. One that stands in the dynamic table is
//! taken for an ordinary name: what the crate drops of it reaches nobody.

const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// `:authority` to `:status` (RFC 7541, appendix A).
const PSEUDO: std::ops::RangeInclusive<usize> = 1..=14;
/// The colon as Huffman has it: the seven bits 1011100 (appendix B).
const HUFFMAN_COLON: u8 = 0b1011_1000;

/// The block is cut off, or says what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable;

/// Whether the block in the payload of a HEADERS frame names a pseudo-field.
///
/// # Errors
/// It cannot be walked, and so not be decoded either.
pub(super) fn has_pseudo(payload: &[u8], flags: u8) -> Result<bool, Undecodable> {
    let mut rest = payload;
    let mut padding = 0;
    if flags & PADDED != 0
        && let Some((length, behind)) = rest.split_first()
    {
        (padding, rest) = (usize::from(*length), behind);
    }
    if flags & PRIORITY != 0 {
        rest = rest.get(5..).unwrap_or_default();
    }
    let end = rest.len().saturating_sub(padding);
    let mut walk = Walk(&rest[..end]);
    let mut found = false;
    while !walk.0.is_empty() {
        found |= walk.field().ok_or(Undecodable)?;
    }
    Ok(found)
}

struct Walk<'a>(&'a [u8]);

impl Walk<'_> {
    /// Walks over one field; whether its name is that of a pseudo-field.
    fn field(&mut self) -> Option<bool> {
        let first = *self.0.first()?;
        let (prefix, indexed) = match first {
            0x80.. => (7, true),
            0x40..=0x7f => (6, false),
            // A new size of the table is no field.
            0x20..=0x3f => {
                self.integer(5)?;
                return Some(false);
            }
            _ => (4, false),
        };
        let index = self.integer(prefix)?;
        if indexed {
            return (index > 0).then_some(PSEUDO.contains(&index));
        }
        let pseudo = match index {
            0 => self.text()?,
            known => PSEUDO.contains(&known),
        };
        self.text()?;
        Some(pseudo)
    }

    /// Walks over a text; whether it begins with a colon.
    fn text(&mut self) -> Option<bool> {
        let huffman = *self.0.first()? & 0x80 != 0;
        let length = self.integer(7)?;
        let text = self.0.get(..length)?;
        self.0 = &self.0[length..];
        let first = text.first().copied().unwrap_or(0);
        Some(match huffman {
            true => first & 0b1111_1110 == HUFFMAN_COLON,
            false => first == b':',
        })
    }

    /// An integer with a prefix of that many bits (section 5.1).
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let (first, mut rest) = self.0.split_first()?;
        let most = (1usize << prefix) - 1;
        let mut value = usize::from(*first) & most;
        if value == most {
            // Three more bytes reach beyond any block.
            for shift in [0, 7, 14] {
                let (byte, behind) = rest.split_first()?;
                rest = behind;
                value += usize::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    self.0 = rest;
                    return Some(value);
                }
            }
            return None;
        }
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_fields_are_told_in_each_way_to_write_them() {
        for (block, expected, what) in [
            (&[0x83][..], true, ":method POST, indexed"),
            (&[0x8f], false, "accept-charset, indexed"),
            (&[0x04, 1, b'/'], true, ":path by its index"),
            (&[0x44, 1, b'/'], true, "the same, to be remembered"),
            (&[0x14, 1, b'/'], true, "the same, never to be"),
            (&[0x00, 2, b':', b'x', 1, b'y'], true, "in writing"),
            (&[0x00, 0x82, 0xb8, 0xff, 1, b'y'], true, "in Huffman"),
            (&[0x00, 1, b'x', 1, b':'], false, "a colon in a value"),
            (&[0x00, 1, b'x', 1, b'y', 0x83], true, "behind another"),
            (&[0x3f, 0xe1, 0x1f, 0x8f], false, "a table's size"),
            (&[0xff, 0x00], false, "of the dynamic table"),
            (&[], false, "nothing"),
        ] {
            assert_eq!(has_pseudo(block, 0), Ok(expected), "{what}");
        }
        assert_eq!(has_pseudo(&[2, 0x83, 0, 0], PADDED), Ok(true));
        assert_eq!(has_pseudo(&[0, 0, 0, 0, 0, 0x83], PRIORITY), Ok(true));
        assert_eq!(has_pseudo(&[9, 0x83], PADDED), Ok(false));
    }

    #[test]
    fn what_is_cut_off_or_cannot_be_is_told_apart() {
        for block in [
            &[0x40][..],
            &[0x80],
            &[0x00, 9, b'x'],
            &[0x00, 1, b'x', 5, b'y'],
            &[0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(has_pseudo(block, 0), Err(Undecodable), "{block:?}");
        }
    }
}
