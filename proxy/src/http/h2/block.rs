//! A walk over a block of fields, as HPACK has it (RFC 7541, section 6), without decoding it and however it is cut.
//!
//! The crate below takes trailers that hold pseudo-fields and drops these; RFC 9113 (section 8.1) calls such a message
//! malformed. And a block that cannot be decoded is a COMPRESSION_ERROR (section 4.3), which the crate has no word for.
//!
//! A name is told where it stands in the block, in the static table, or in the dynamic one, of which a bit for each entry is
//! kept. Which of its entries have been evicted need not be known for that: an entry's index is how many came after it.

use h2::Reason;

const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;
/// Bytes of a priority: the stream depended on, and a weight (RFC 9113, section 6.2).
const PRIORITY_LEN: u8 = 5;
/// `:authority` to `:status` (RFC 7541, appendix A).
const PSEUDO: std::ops::RangeInclusive<usize> = 1..=14;
/// Entries of the static table.
const STATIC: usize = 61;
/// Entries that the dynamic table can have: each counts for 32 bytes at least, of the 4096 that we allow (section 4.1).
const DYNAMIC: usize = 128;
/// The colon as Huffman has it: the seven bits 1011100 (appendix B).
const HUFFMAN_COLON: u8 = 0b1011_1000;

/// The blocks of one connection, of which one is walked at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Block {
    at: At,
    /// The dynamic table, its newest entry first: whether the name is that of a pseudo-field.
    pseudo: u128,
    stream: u32,
    /// Bytes that are to come in front of the block, the first of which says how long the padding is if it `is_padded`.
    lead: u8,
    is_padded: bool,
    has_priority: bool,
    /// The stream depended on, as far as it has come.
    on: u32,
    padding: usize,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, Default)]
enum At {
    #[default]
    Field,
    /// In the middle of an integer (section 5.1).
    Integer { of: Of, value: usize, shift: u8 },
    /// The length of a text (section 5.2).
    Length(Text),
    Text {
        text: Text,
        left: usize,
        is_huffman: bool,
        is_first: bool,
    },
}

/// What an integer says.
#[derive(Debug, Clone, Copy)]
enum Of {
    Size,
    Field,
    Name { is_kept: bool },
    Length { text: Text, is_huffman: bool },
}

#[derive(Debug, Clone, Copy)]
enum Text {
    /// `is_kept`: with its value it becomes an entry of the dynamic table.
    Name {
        is_kept: bool,
    },
    Value,
}

/// The block says what cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Undecodable;

impl Block {
    /// A HEADERS frame begins.
    pub(super) fn begins(&mut self, flags: u8, stream: u32) {
        self.goes_on();
        self.at = At::Field;
        self.stream = stream;
        self.is_padded = flags & PADDED != 0;
        self.has_priority = flags & PRIORITY != 0;
        let priority = if self.has_priority { PRIORITY_LEN } else { 0 };
        self.lead = u8::from(self.is_padded) + priority;
    }

    /// That of the block which began last.
    pub(super) fn stream(&self) -> u32 {
        self.stream
    }

    /// A CONTINUATION frame begins, which has nothing but the block in it.
    pub(super) fn goes_on(&mut self) {
        (self.lead, self.on, self.padding) = (0, 0, 0);
    }

    /// Walks over a part of a frame's payload, of which `to_come` bytes are to come with it; whether it names a pseudo-field.
    ///
    /// # Errors
    /// What the connection ends with: the frame or its block says what cannot be.
    pub(super) fn take(&mut self, mut part: &[u8], mut to_come: usize) -> Result<bool, Reason> {
        while self.lead > 0
            && let Some((byte, rest)) = part.split_first()
        {
            self.lead_byte(*byte, to_come)?;
            (part, to_come) = (rest, to_come - 1);
        }
        let end = part.len().min(to_come.saturating_sub(self.padding));
        self.walk(&part[..end])
            .map_err(|Undecodable| Reason::COMPRESSION_ERROR)
    }

    fn lead_byte(&mut self, byte: u8, to_come: usize) -> Result<(), Reason> {
        self.lead -= 1;
        if std::mem::take(&mut self.is_padded) {
            self.padding = usize::from(byte);
            // Longer than its frame (section 6.2).
            return match self.padding >= to_come {
                true => Err(Reason::PROTOCOL_ERROR),
                false => Ok(()),
            };
        }
        // The weight comes last.
        if self.lead > 0 {
            self.on = self.on << 8 | u32::from(byte);
            return Ok(());
        }
        // The crate below leaves out the block of a stream that depends on itself, and its table would no longer be the client's.
        match self.has_priority && self.on & 0x7fff_ffff == self.stream {
            true => Err(Reason::PROTOCOL_ERROR),
            false => Ok(()),
        }
    }

    /// The last frame of the block has ended.
    ///
    /// # Errors
    /// The block has not: it is cut off.
    pub(super) fn ends(&self) -> Result<(), Reason> {
        match self.at {
            At::Field => Ok(()),
            _ => Err(Reason::COMPRESSION_ERROR),
        }
    }

    fn walk(&mut self, mut bytes: &[u8]) -> Result<bool, Undecodable> {
        let mut found = false;
        while let Some((first, rest)) = bytes.split_first() {
            if let At::Text { left, .. } = &mut self.at {
                let taken = bytes.len().min(*left);
                *left -= taken;
                found |= self.text(*first);
                bytes = &bytes[taken..];
                continue;
            }
            bytes = rest;
            found |= match self.at {
                At::Integer { of, value, shift } => self.more(*first, of, value, shift)?,
                At::Length(text) => {
                    let is_huffman = first & 0x80 != 0;
                    self.integer(*first, 7, Of::Length { text, is_huffman })?
                }
                _ => match first {
                    0x80.. => self.integer(*first, 7, Of::Field)?,
                    0x40..=0x7f => self.integer(*first, 6, Of::Name { is_kept: true })?,
                    // A new size of the table is no field.
                    0x20..=0x3f => self.integer(*first, 5, Of::Size)?,
                    _ => self.integer(*first, 4, Of::Name { is_kept: false })?,
                },
            };
        }
        Ok(found)
    }

    /// The first byte of an integer, with a prefix of that many bits.
    #[inline]
    fn integer(&mut self, first: u8, prefix: u32, of: Of) -> Result<bool, Undecodable> {
        let most = (1usize << prefix) - 1;
        let value = usize::from(first) & most;
        if value < most {
            return self.said(of, value);
        }
        let shift = 0;
        self.at = At::Integer { of, value, shift };
        Ok(false)
    }

    fn more(&mut self, byte: u8, of: Of, value: usize, shift: u8) -> Result<bool, Undecodable> {
        // Three more bytes reach beyond any block.
        if shift > 14 {
            return Err(Undecodable);
        }
        let value = value + (usize::from(byte & 0x7f) << shift);
        if byte & 0x80 == 0 {
            return self.said(of, value);
        }
        let shift = shift + 7;
        self.at = At::Integer { of, value, shift };
        Ok(false)
    }

    /// An integer is whole; whether it is the index of a pseudo-field's name.
    fn said(&mut self, of: Of, value: usize) -> Result<bool, Undecodable> {
        let (at, is_pseudo) = match of {
            Of::Size => (At::Field, false),
            Of::Field if value == 0 => return Err(Undecodable),
            Of::Field => (At::Field, self.is_pseudo(value)?),
            Of::Name { is_kept } if value == 0 => (At::Length(Text::Name { is_kept }), false),
            Of::Name { is_kept } => {
                let is_pseudo = self.is_pseudo(value)?;
                self.keep(is_kept, is_pseudo);
                (At::Length(Text::Value), is_pseudo)
            }
            Of::Length { text, .. } if value == 0 => {
                self.at = At::Text {
                    text,
                    left: 0,
                    is_huffman: false,
                    is_first: true,
                };
                // Nothing is no pseudo-field's name.
                return Ok(self.text(0));
            }
            Of::Length { text, is_huffman } => {
                let at = At::Text {
                    text,
                    left: value,
                    is_huffman,
                    is_first: true,
                };
                (at, false)
            }
        };
        self.at = at;
        Ok(is_pseudo)
    }

    /// A part of a text has been walked over, which begins so; whether it is the name of a pseudo-field.
    fn text(&mut self, begin: u8) -> bool {
        let At::Text {
            text,
            left,
            is_huffman,
            is_first,
        } = &mut self.at
        else {
            return false;
        };
        let (text, left, is_first) = (*text, *left, std::mem::take(is_first));
        let is_colon = match is_huffman {
            true => begin & 0b1111_1110 == HUFFMAN_COLON,
            false => begin == b':',
        };
        if left == 0 {
            self.at = match text {
                Text::Name { .. } => At::Length(Text::Value),
                Text::Value => At::Field,
            };
        }
        match text {
            Text::Name { is_kept } if is_first => {
                self.keep(is_kept, is_colon);
                is_colon
            }
            _ => false,
        }
    }

    fn is_pseudo(&self, index: usize) -> Result<bool, Undecodable> {
        if index <= STATIC {
            return Ok(PSEUDO.contains(&index));
        }
        let entry = index - STATIC - 1;
        match entry < DYNAMIC {
            true => Ok(self.pseudo >> entry & 1 == 1),
            false => Err(Undecodable),
        }
    }

    /// A name that becomes an entry of the table. One that is too large for it empties it, so that what stands for it here stands
    /// behind all that are asked for.
    fn keep(&mut self, is_kept: bool, is_pseudo: bool) {
        if is_kept {
            self.pseudo = self.pseudo << 1 | u128::from(is_pseudo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON_ITSELF: u32 = 3;

    /// A frame that is a block, in pieces of so many bytes; on the table that there is.
    fn frame(block: &mut Block, payload: &[u8], flags: u8, cut: usize) -> Result<bool, Reason> {
        block.begins(flags, ON_ITSELF);
        let (mut found, mut to_come) = (false, payload.len());
        for part in payload.chunks(cut) {
            found |= block.take(part, to_come)?;
            to_come -= part.len();
        }
        block.ends().map(|()| found)
    }

    /// The same on a new connection, however it is cut.
    fn walked(payload: &[u8], flags: u8) -> Result<bool, Reason> {
        let whole = frame(&mut Block::default(), payload, flags, 100);
        for cut in 1..6 {
            let cut = frame(&mut Block::default(), payload, flags, cut);
            assert_eq!(cut, whole, "{payload:?}");
        }
        whole
    }

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
            (&[0x00, 2, b'x', b':', 1, b'y'], false, "one within a name"),
            (&[0x00, 0, 0, 0x83], true, "behind what is empty"),
            (&[0x00, 1, b'x', 1, b'y', 0x83], true, "behind another"),
            (&[0x3f, 0xe1, 0x1f, 0x8f], false, "a table's size"),
            (&[0xff, 0x00], false, "of the dynamic table"),
            (&[], false, "nothing"),
        ] {
            assert_eq!(walked(block, 0), Ok(expected), "{what}");
        }
        assert_eq!(walked(&[2, 0x83, 0, 0], PADDED), Ok(true));
        assert_eq!(walked(&[2, 0x8f, 0x83, 0x83], PADDED), Ok(false));
        assert_eq!(walked(&[0, 0, 0, 0, 0, 0x83], PRIORITY), Ok(true));
        let both = [1, 0, 0, 0, 1, 9, 0x83, 0x8f];
        assert_eq!(walked(&both, PADDED | PRIORITY), Ok(true));
    }

    #[test]
    fn pseudo_fields_are_told_by_their_place_in_the_dynamic_table() {
        let block = &mut Block::default();
        // `:path: /`, `x: y` and `:x: y` by the index that the last one has, all to be remembered.
        let first = [
            0x44, 1, b'/', 0x40, 1, b'x', 1, b'y', 0x40, 2, b':', b'x', 1, b'y',
        ];
        assert_eq!(frame(block, &first, 0, 3), Ok(true));
        for (index, expected) in [(0xbe, true), (0xbf, false), (0xc0, true), (0xc1, false)] {
            assert_eq!(frame(block, &[index], 0, 1), Ok(expected), "{index:x}");
        }
        // By its name alone, which becomes the newest.
        assert_eq!(frame(block, &[0x7f, 0x01, 1, b'z'], 0, 1), Ok(true));
        assert_eq!(frame(block, &[0xbe], 0, 1), Ok(true));
        assert_eq!(frame(block, &[0xc0], 0, 1), Ok(false));
        // What is not kept moves nothing.
        assert_eq!(frame(block, &[0x00, 1, b'x', 1, b'y'], 0, 1), Ok(false));
        assert_eq!(frame(block, &[0xbe], 0, 1), Ok(true));
        // No table of ours is that long.
        assert_eq!(frame(block, &[0xff, 0x3e], 0, 1), Ok(false));
        let error = Err(Reason::COMPRESSION_ERROR);
        assert_eq!(frame(block, &[0xff, 0x3f], 0, 1), error);
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
            let error = Err(Reason::COMPRESSION_ERROR);
            assert_eq!(walked(block, 0), error, "{block:?}");
        }
        // Padding that is longer than its frame, and a stream that depends on itself.
        let error = Err(Reason::PROTOCOL_ERROR);
        assert_eq!(walked(&[2, 0x83], PADDED), error);
        assert_eq!(walked(&[0x80, 0, 0, 3, 9, 0x83], PRIORITY), error);
    }
}
