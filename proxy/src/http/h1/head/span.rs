//! A range of a buffer, small enough to keep a hundred of.

/// Bytes `start..end` of the buffer that a head was parsed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// The place of `part` inside `whole`. A `part` from elsewhere gives an empty span.
    #[must_use]
    pub fn of(whole: &[u8], part: &[u8]) -> Self {
        let offset = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        match offset <= whole.len() && part.len() <= whole.len() - offset {
            // A head is bounded far below 4 GiB, so the casts lose nothing.
            true => Self {
                start: offset as u32,
                end: (offset + part.len()) as u32,
            },
            false => Self::default(),
        }
    }

    /// The bytes; empty where the span does not fit the buffer.
    #[must_use]
    pub fn get(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The bytes as text; empty where they are not UTF-8.
    #[must_use]
    pub fn text(self, buf: &[u8]) -> &str {
        std::str::from_utf8(self.get(buf)).unwrap_or_default()
    }

    /// Bytes covered.
    #[must_use]
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }

    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }
}
