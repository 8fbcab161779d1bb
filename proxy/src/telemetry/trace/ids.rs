//! The numbers of a trace and of its spans.

use rand::{Rng, RngExt};

/// Names a trace; never all zeros (W3C Trace Context, section 3.2.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TraceId([u8; 16]);

/// Names a span within its trace; never all zeros (W3C Trace Context, section 3.2.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SpanId([u8; 8]);

impl TraceId {
    /// One by chance. Zero, which is no id, becomes one.
    pub(crate) fn random(random: &mut impl Rng) -> Self {
        Self(random.random::<u128>().max(1).to_be_bytes())
    }

    /// Reads 32 hexadecimal digits; `None` for anything else, and for zero.
    pub(super) fn parse(text: &[u8], case: Case) -> Option<Self> {
        parse(text, case).filter(|id| *id != [0; 16]).map(Self)
    }

    /// Reads 16 digits, which B3 allows: the upper half is zero.
    pub(super) fn parse_short(text: &[u8], case: Case) -> Option<Self> {
        let low: [u8; 8] = parse(text, case).filter(|id| *id != [0; 8])?;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&low);
        Some(Self(id))
    }

    pub(crate) fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// 32 lower-case digits.
    pub(crate) fn hex(self) -> [u8; 32] {
        let mut out = [0; 32];
        write_hex(&self.0, &mut out);
        out
    }
}

impl SpanId {
    /// One by chance. Zero, which is no id, becomes one.
    pub(crate) fn random(random: &mut impl Rng) -> Self {
        Self(random.random::<u64>().max(1).to_be_bytes())
    }

    /// Reads 16 hexadecimal digits; `None` for anything else, and for zero.
    pub(super) fn parse(text: &[u8], case: Case) -> Option<Self> {
        parse(text, case).filter(|id| *id != [0; 8]).map(Self)
    }

    pub(crate) fn bytes(self) -> [u8; 8] {
        self.0
    }

    /// 16 lower-case digits.
    pub(crate) fn hex(self) -> [u8; 16] {
        let mut out = [0; 16];
        write_hex(&self.0, &mut out);
        out
    }
}

/// Which letters stand for ten to fifteen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// W3C Trace Context, section 3.2: HEXDIGLC.
    Lower,
    /// Who writes B3 is less strict.
    Any,
}

/// Reads exactly `2 * N` digits.
pub(super) fn parse<const N: usize>(text: &[u8], case: Case) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high, case)? << 4 | digit(*low, case)?;
    }
    Some(out)
}

fn digit(letter: u8, case: Case) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        b'A'..=b'F' if case == Case::Any => Some(letter - b'A' + 10),
        _ => None,
    }
}

fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[
            DIGITS[usize::from(byte >> 4)],
            DIGITS[usize::from(byte & 15)],
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(id in 1..=u128::MAX, span in 1..=u64::MAX) {
            let id = TraceId(id.to_be_bytes());
            prop_assert_eq!(TraceId::parse(&id.hex(), Case::Lower), Some(id));
            let span = SpanId(span.to_be_bytes());
            prop_assert_eq!(SpanId::parse(&span.hex(), Case::Lower), Some(span));
        }

        #[test]
        fn any_bytes_are_read_or_refused_but_never_panic(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            for case in [Case::Lower, Case::Any] {
                let id = TraceId::parse(&text, case);
                prop_assert!(id.is_none() || text.len() == 32);
                let span = SpanId::parse(&text, case);
                prop_assert!(span.is_none() || text.len() == 16);
            }
        }
    }

    #[test]
    fn zero_is_no_id_and_letters_have_one_case() {
        assert_eq!(TraceId::parse(&[b'0'; 32], Case::Any), None);
        assert_eq!(SpanId::parse(&[b'0'; 16], Case::Any), None);
        assert_eq!(SpanId::parse(b"00000000000000AB", Case::Lower), None);
        let id = SpanId::parse(b"00000000000000AB", Case::Any).unwrap();
        assert_eq!(&id.hex(), b"00000000000000ab");
    }

    #[test]
    fn a_short_trace_id_is_the_lower_half() {
        let id = TraceId::parse_short(b"00000000000000ab", Case::Any).unwrap();
        assert_eq!(&id.hex(), b"000000000000000000000000000000ab");
    }
}
