//! `traceparent` and `tracestate` (W3C Trace Context).
//!
//! A field that does not hold to the grammar is as good as none: the trace starts anew (section 4.3). A version
//! that is not known yet is read by what it must have in common with version 00 (section 3.2.4), and answered in version 00.

use super::context::{Decision, Parent};
use super::ids::{self, Case, SpanId, TraceId};

/// Bytes of `00-` trace id `-` parent id `-` flags.
pub(super) const LEN: usize = 55;

/// What `tracestate` fields may hold in all; longer than this, and they are dropped. The standard asks for at least 512.
pub(super) const MAX_STATE: usize = 2048;

/// Section 3.3.1.1: list members in all.
const MAX_MEMBERS: usize = 32;

const SAMPLED: u8 = 1;
/// That the trace id was drawn by chance (level 2 of the standard); passed on with the id that it speaks of.
const RANDOM: u8 = 2;

/// Reads a `traceparent`; `None` where it is malformed.
pub(crate) fn parse(value: &[u8]) -> Option<Parent> {
    let value = value.trim_ascii();
    let (known, rest) = value.split_at_checked(LEN)?;
    let [version] = ids::parse(&known[..2], Case::Lower)?;
    let fits = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.first().is_none_or(|next| *next == b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
    if !fits || !dashes {
        return None;
    }
    let [flags] = ids::parse(&known[53..], Case::Lower)?;
    Some(Parent {
        trace: TraceId::parse(&known[3..35], Case::Lower)?,
        span: SpanId::parse(&known[36..52], Case::Lower)?,
        decision: match flags & SAMPLED {
            0 => Decision::Drop,
            _ => Decision::Sample,
        },
        random: flags & RANDOM != 0,
    })
}

/// The flags that we know, as `traceparent` and spans have them.
pub(super) fn flags(sampled: bool, random: bool) -> u8 {
    (u8::from(sampled) * SAMPLED) | (u8::from(random) * RANDOM)
}

/// A `traceparent` in version 00.
pub(super) fn format(trace: TraceId, span: SpanId, flags: u8) -> [u8; LEN] {
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    out[3..35].copy_from_slice(&trace.hex());
    out[36..52].copy_from_slice(&span.hex());
    out[54] = b'0' + (flags & (SAMPLED | RANDOM));
    out
}

/// Looks at `tracestate` fields one after another: whether they can be passed on, which is within bounds and as a list of
/// `key=value` (section 3.3.1). What is not would be misread by somebody; the standard lets it be dropped as a whole.
#[derive(Debug, Default)]
pub(super) struct State {
    len: usize,
    members: usize,
    unsound: bool,
}

impl State {
    /// Takes the next field's value.
    pub(super) fn take(&mut self, value: &[u8]) {
        self.len = self.len.saturating_add(value.len());
        if self.len > MAX_STATE {
            self.unsound = true;
        }
        if self.unsound {
            return;
        }
        for member in value.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            // Empty ones may be there (section 3.3.1.1).
            if !member.is_empty() {
                self.members += 1;
                self.unsound |= self.members > MAX_MEMBERS || !is_member(member);
            }
        }
    }

    /// Whether all that was taken can be passed on.
    pub(super) fn is_sound(&self) -> bool {
        !self.unsound
    }
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else {
        return false;
    };
    is_key(&member[..at]) && is_value(&member[at + 1..])
}

/// `simple-key`, or `tenant@system`: 256 characters, or 241 and 14 around the sign (section 3.3.1.3.1).
fn is_key(key: &[u8]) -> bool {
    let rest = |text: &[u8]| {
        let fits =
            |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
        text.iter().all(fits)
    };
    let starts = |text: &[u8], digits: bool| match text.first() {
        Some(b'a'..=b'z') => true,
        Some(b'0'..=b'9') => digits,
        _ => false,
    };
    match key.iter().position(|byte| *byte == b'@') {
        // Level 2 of the standard lets a digit stand first in a simple key, too.
        None => starts(key, true) && key.len() <= 256 && rest(key),
        Some(at) => {
            let (tenant, system) = (&key[..at], &key[at + 1..]);
            starts(tenant, true)
                && tenant.len() <= 241
                && rest(tenant)
                && starts(system, false)
                && system.len() <= 14
                && rest(system)
        }
    }
}

/// 1 to 256 printable characters but `,` and `=`, the last one no space (section 3.3.1.3.2).
fn is_value(value: &[u8]) -> bool {
    let fits = |byte: &u8| matches!(byte, 0x20..=0x2b | 0x2d..=0x3c | 0x3e..=0x7e);
    (1..=256).contains(&value.len()) && value.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    // The cases of the standard's own test suite (w3c/trace-context, test/test.py).
    #[test]
    fn a_traceparent_is_read_by_the_standard() {
        let check = |text: String, expected: Option<Decision>| {
            let got = parse(text.as_bytes());
            assert_eq!(got.map(|parent| parent.decision), expected, "{text:?}");
            if let Some(parent) = got {
                assert_eq!(parent.trace.hex(), TRACE.as_bytes());
                assert_eq!(parent.span.hex(), SPAN.as_bytes());
            }
        };
        let (yes, no) = (Some(Decision::Sample), Some(Decision::Drop));
        for (rest, expected) in [
            ("01", yes),
            ("00", no),
            ("03", yes),
            ("02", no),
            ("ff", yes),
        ] {
            check(format!("00-{TRACE}-{SPAN}-{rest}"), expected);
        }
        check(format!(" 00-{TRACE}-{SPAN}-01\t"), yes);
        check(format!("cc-{TRACE}-{SPAN}-01"), yes);
        check(
            format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like"),
            yes,
        );
        for malformed in [
            format!("00-{TRACE}-{SPAN}-01-what"),
            format!("00-{TRACE}-{SPAN}-01."),
            format!("cc-{TRACE}-{SPAN}-01.what"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("000-{TRACE}-{SPAN}-01"),
            format!(".0-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{TRACE}-{SPAN}-.1"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{TRACE}0-{SPAN}-01"),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            String::new(),
        ] {
            check(malformed, None);
        }
    }

    #[test]
    fn a_state_is_passed_on_if_it_is_a_list_within_bounds() {
        let check = |values: &[&str], expected: bool| {
            let mut state = State::default();
            values.iter().for_each(|value| state.take(value.as_bytes()));
            assert_eq!(state.is_sound(), expected, "{values:?}");
        };
        let member = |at: usize| format!("bar{at:02}={at:02}");
        let list = |count: usize| (0..count).map(member).collect::<Vec<_>>().join(",");
        for sound in [
            "foo=1",
            "",
            "foo=1,",
            " foo=1 , bar=2\t",
            "foo@bar=1",
            "0foo=1",
            "abcdefghijklmnopqrstuvwxyz0123456789_-*/= !\"#$%&'()*+-./0123456789:;<>?@[\\]^_`{|}~",
        ] {
            check(&[sound], true);
        }
        check(&["foo=1", "", "bar=2"], true);
        check(&[&list(32)], true);
        check(&[&list(33)], false);
        check(&[&list(20), &list(13)], false);
        check(&[&format!("{}=1", "a".repeat(256))], true);
        check(&[&format!("{}=1", "a".repeat(257))], false);
        check(
            &[&format!("{}@{}=1", "t".repeat(241), "v".repeat(14))],
            true,
        );
        check(&[&format!("{}@v=1", "t".repeat(242))], false);
        check(&[&format!("t@{}=1", "v".repeat(15))], false);
        check(&[&format!("a={}", "v".repeat(256))], true);
        check(&[&format!("a={}", "v".repeat(257))], false);
        for unsound in [
            "foo",
            "foo=",
            "=1",
            "foo =1",
            "FOO=1",
            "foo.bar=1",
            "foo@=1",
            "@foo=1",
            "foo@@bar=1",
            "foo@1bar=1",
            "foo=bar=baz",
            "foo=\u{1}",
        ] {
            check(&[unsound], false);
        }
        let long = format!("a={}", "v".repeat(250));
        check(&[long.as_str(); 8], true);
        check(&[long.as_str(); 9], false);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace in "[0-9a-f]{31}[1-9a-f]", span in "[0-9a-f]{15}[1-9a-f]", sampled: bool, random: bool) {
            let trace = TraceId::parse(trace.as_bytes(), Case::Lower).unwrap();
            let span = SpanId::parse(span.as_bytes(), Case::Lower).unwrap();
            let parent = parse(&format(trace, span, flags(sampled, random))).unwrap();
            prop_assert_eq!((parent.trace, parent.span), (trace, span));
            prop_assert_eq!(parent.decision == Decision::Sample, sampled);
            prop_assert_eq!(parent.random, random);
        }

        #[test]
        fn a_change_of_any_byte_is_read_or_refused_but_never_panics(at in 0..LEN, byte: u8, cut in 0..=LEN) {
            let mut text = format!("00-{TRACE}-{SPAN}-01").into_bytes();
            text[at] = byte;
            if let Some(parent) = parse(&text) {
                // What is written for it is well-formed whatever came.
                prop_assert!(parse(&super::format(parent.trace, parent.span, flags(true, parent.random))).is_some());
            }
            prop_assert_eq!(parse(&text[..cut.min(LEN - 1)]), None);
        }

        #[test]
        fn any_bytes_are_a_state_or_not_but_never_panic(value in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let mut state = State::default();
            state.take(&value);
            prop_assert!(!state.is_sound() || value.len() <= MAX_STATE);
        }
    }
}
