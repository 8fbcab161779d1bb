//! B3, in one field and in several (github.com/openzipkin/b3-propagation).

use super::context::{Decision, Parent};
use super::ids::{Case, SpanId, TraceId};

/// What B3 fields say: whose child the request is, or only what to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum B3 {
    Parent(Parent),
    /// `b3: 0`, or `x-b3-sampled` alone: a decision about a trace that has not begun.
    Decision(Decision),
}

/// Reads the one field: `{trace}-{span}[-{state}[-{parent}]]`, or `{state}`.
pub(super) fn parse_single(value: &[u8]) -> Option<B3> {
    let value = value.trim_ascii();
    if let Some(decision) = state(value) {
        return Some(B3::Decision(decision));
    }
    // The longest there is: 32, 16, 1 and 16 digits with hyphens between.
    if value.len() > 68 {
        return None;
    }
    let mut parts = value.split(|byte| *byte == b'-');
    let trace = trace(parts.next()?)?;
    let span = SpanId::parse(parts.next()?, Case::Any)?;
    let decision = parts.next().map_or(Some(Decision::Defer), state)?;
    // Of whom our caller is the child; checked, and not needed.
    let grandparent = parts.next();
    let fits = grandparent.is_none_or(|id| SpanId::parse(id, Case::Any).is_some());
    (fits && parts.next().is_none()).then_some(B3::Parent(Parent {
        trace,
        span,
        decision,
        random: false,
    }))
}

/// The values of the several fields, as far as they are there.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Several<'a> {
    pub(super) trace: Option<&'a [u8]>,
    pub(super) span: Option<&'a [u8]>,
    pub(super) sampled: Option<&'a [u8]>,
    pub(super) flags: Option<&'a [u8]>,
}

/// Reads the several fields.
pub(super) fn parse_several(fields: &Several<'_>) -> Option<B3> {
    let debug = fields.flags.map(<[u8]>::trim_ascii) == Some(b"1");
    let decision = match fields.sampled.map(<[u8]>::trim_ascii) {
        _ if debug => Decision::Debug,
        None => Decision::Defer,
        Some(b"1" | b"true") => Decision::Sample,
        Some(b"0" | b"false") => Decision::Drop,
        Some(_) => return None,
    };
    match (fields.trace, fields.span) {
        (Some(id), Some(span)) => Some(B3::Parent(Parent {
            trace: trace(id.trim_ascii())?,
            span: SpanId::parse(span.trim_ascii(), Case::Any)?,
            decision,
            random: false,
        })),
        (None, None) if decision != Decision::Defer => Some(B3::Decision(decision)),
        _ => None,
    }
}

fn trace(text: &[u8]) -> Option<TraceId> {
    TraceId::parse(text, Case::Any).or_else(|| TraceId::parse_short(text, Case::Any))
}

fn state(text: &[u8]) -> Option<Decision> {
    match text {
        b"1" => Some(Decision::Sample),
        b"0" => Some(Decision::Drop),
        b"d" => Some(Decision::Debug),
        _ => None,
    }
}

/// Bytes of `{trace}-{span}-{state}`.
pub(super) const LEN: usize = 51;

/// The one field.
pub(super) fn format_single(trace: TraceId, span: SpanId, decision: Decision) -> [u8; LEN] {
    let mut out = [b'-'; LEN];
    out[..32].copy_from_slice(&trace.hex());
    out[33..49].copy_from_slice(&span.hex());
    out[50] = match decision {
        Decision::Sample => b'1',
        Decision::Debug => b'd',
        Decision::Drop | Decision::Defer => b'0',
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    #[test]
    fn one_field_is_read() {
        let check = |text: &str, expected: Option<(Option<&str>, Decision)>| {
            let got = parse_single(text.as_bytes()).map(|b3| match b3 {
                B3::Parent(parent) => {
                    assert_eq!(parent.span.hex(), SPAN.as_bytes());
                    let hex = String::from_utf8(parent.trace.hex().to_vec()).unwrap();
                    (Some(hex), parent.decision)
                }
                B3::Decision(decision) => (None, decision),
            });
            let expected = expected.map(|(id, decision)| (id.map(str::to_owned), decision));
            assert_eq!(got, expected, "{text:?}");
        };
        let short = format!("{}{}", "0".repeat(16), &TRACE[16..]);
        let whole = |decision| Some((Some(TRACE), decision));
        check(&format!("{TRACE}-{SPAN}-1"), whole(Decision::Sample));
        check(&format!("{TRACE}-{SPAN}-0"), whole(Decision::Drop));
        check(&format!("{TRACE}-{SPAN}-d"), whole(Decision::Debug));
        check(&format!("{TRACE}-{SPAN}"), whole(Decision::Defer));
        check(
            &format!(" {TRACE}-{SPAN}-1-05e3ac9a4f6e3b90 "),
            whole(Decision::Sample),
        );
        check(
            &format!("{}-{SPAN}-1", TRACE.to_uppercase()),
            whole(Decision::Sample),
        );
        check(
            &format!("{}-{SPAN}-1", &TRACE[16..]),
            Some((Some(&short), Decision::Sample)),
        );
        check("0", Some((None, Decision::Drop)));
        check("1", Some((None, Decision::Sample)));
        check("d", Some((None, Decision::Debug)));
        for malformed in [
            "".to_owned(),
            "2".to_owned(),
            "-".to_owned(),
            TRACE.to_owned(),
            format!("{TRACE}-"),
            format!("{TRACE}-{SPAN}-"),
            format!("{TRACE}-{SPAN}-2"),
            format!("{TRACE}-{SPAN}-true"),
            format!("{TRACE}-{SPAN}-1-"),
            format!("{TRACE}-{SPAN}-1-05e3"),
            format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90-"),
            format!("{TRACE}-{}-1", "0".repeat(16)),
            format!("{}-{SPAN}-1", "0".repeat(32)),
            format!("{}-{SPAN}-1", "0".repeat(16)),
            format!("{}-{SPAN}-1", &TRACE[1..]),
            format!("x{}-{SPAN}-1", &TRACE[1..]),
        ] {
            check(&malformed, None);
        }
    }

    #[test]
    fn several_fields_are_read() {
        let check = |fields: [Option<&str>; 4], expected: Option<(bool, Decision)>| {
            let [trace, span, sampled, flags] = fields.map(|field| field.map(str::as_bytes));
            let several = Several {
                trace,
                span,
                sampled,
                flags,
            };
            let got = parse_several(&several).map(|b3| match b3 {
                B3::Parent(parent) => (true, parent.decision),
                B3::Decision(decision) => (false, decision),
            });
            assert_eq!(got, expected, "{fields:?}");
        };
        let (t, s) = (Some(TRACE), Some(SPAN));
        for (sampled, flags, decision) in [
            (None, None, Decision::Defer),
            (Some("1"), None, Decision::Sample),
            (Some("true"), None, Decision::Sample),
            (Some("0"), None, Decision::Drop),
            (Some("false"), Some("0"), Decision::Drop),
            (Some("0"), Some("1"), Decision::Debug),
        ] {
            check([t, s, sampled, flags], Some((true, decision)));
        }
        check([None, None, Some("0"), None], Some((false, Decision::Drop)));
        check(
            [None, None, None, Some("1")],
            Some((false, Decision::Debug)),
        );
        check([None, None, None, None], None);
        check([t, None, Some("1"), None], None);
        check([None, s, Some("1"), None], None);
        check([t, s, Some("yes"), None], None);
        check([t, Some("e457"), Some("1"), None], None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace in "[0-9a-f]{31}[1-9a-f]", span in "[0-9a-f]{15}[1-9a-f]", which in 0..3usize) {
            let decision = [Decision::Sample, Decision::Drop, Decision::Debug][which];
            let trace = TraceId::parse(trace.as_bytes(), Case::Lower).unwrap();
            let span = SpanId::parse(span.as_bytes(), Case::Lower).unwrap();
            let expected = B3::Parent(Parent { trace, span, decision, random: false });
            prop_assert_eq!(parse_single(&format_single(trace, span, decision)), Some(expected));
        }

        #[test]
        fn any_bytes_are_read_or_refused_but_never_panic(value in proptest::collection::vec(prop_oneof![Just(b'-'), Just(b'0'), Just(b'1'), Just(b'd'), any::<u8>()], 0..80)) {
            let single = parse_single(&value);
            prop_assert!(single.is_none() || value.len() < 80);
            let fields = Several { trace: Some(&value), span: Some(&value), sampled: Some(&value), flags: Some(&value) };
            // One text cannot be both ids.
            prop_assert!(!matches!(parse_several(&fields), Some(B3::Parent(parent)) if parent.trace.hex()[..16] != *b"0000000000000000"));
        }
    }
}
