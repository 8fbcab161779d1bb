//! What a caller says of the trace that its request is part of.
//!
//! All formats are read, whatever is written. Where several came, `traceparent` decides, then the one field of B3, then its
//! several fields. A `traceparent` that is malformed or there twice restarts the trace, as the standard has it; so does B3 that
//! cannot be read. Nothing of this is ever an error: a context is a courtesy, and a request is served without it.

use super::b3::{self, B3, Several};
use super::ids::{SpanId, TraceId};
use super::w3c;

/// Whether a trace is recorded, as far as somebody has decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Sample,
    /// B3: recorded, and whoever can is asked to look closer.
    Debug,
    Drop,
    /// Nobody has decided.
    Defer,
}

impl Decision {
    pub(crate) fn is_sampled(self) -> bool {
        matches!(self, Self::Sample | Self::Debug)
    }
}

/// Whose child a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parent {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) decision: Decision,
    /// The trace id was drawn by chance, as the caller says (W3C Trace Context, level 2).
    pub(crate) random: bool,
}

/// What there is to know of a request's caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// `None`: the request begins a trace.
    pub(crate) parent: Option<Parent>,
    /// [`Decision::Defer`] where the caller left it to us.
    pub(crate) decision: Decision,
    /// Whether the `tracestate` fields that came are passed on.
    pub(crate) keeps_state: bool,
}

/// What part a field has in this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It says whose child the request is; what we write takes its place.
    Parent,
    /// `tracestate`: it stays as it is, or goes; see [`Received::keeps_state`].
    State,
}

impl Role {
    /// Of the field with that name; nearly every other name costs one look at its length.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        Key::of(name).map(|key| match key {
            Key::TraceState => Self::State,
            _ => Self::Parent,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    TraceParent,
    TraceState,
    B3,
    B3Trace,
    B3Span,
    B3Parent,
    B3Sampled,
    B3Flags,
}

impl Key {
    fn of(name: &[u8]) -> Option<Self> {
        let (text, key) = match (name.len(), name.first()? | 0x20) {
            (2, b'b') => ("b3", Self::B3),
            (10, b't') => ("tracestate", Self::TraceState),
            (10, b'x') => ("x-b3-flags", Self::B3Flags),
            (11, b't') => ("traceparent", Self::TraceParent),
            (11, b'x') => ("x-b3-spanid", Self::B3Span),
            (12, b'x') if name[5] | 0x20 == b't' => ("x-b3-traceid", Self::B3Trace),
            (12, b'x') => ("x-b3-sampled", Self::B3Sampled),
            (17, b'x') => ("x-b3-parentspanid", Self::B3Parent),
            _ => return None,
        };
        name.eq_ignore_ascii_case(text.as_bytes()).then_some(key)
    }
}

/// Reads the fields of one request, in any order.
#[derive(Debug, Default)]
pub(crate) struct Reader<'a> {
    traceparent: Once<'a>,
    b3: Once<'a>,
    trace: Once<'a>,
    span: Once<'a>,
    sampled: Once<'a>,
    flags: Once<'a>,
    state: w3c::State,
}

/// A field that may be there once.
#[derive(Debug, Default, Clone, Copy)]
struct Once<'a> {
    value: Option<&'a [u8]>,
    twice: bool,
}

impl<'a> Once<'a> {
    fn take(&mut self, value: &'a [u8]) {
        self.twice |= self.value.replace(value).is_some();
    }
}

impl<'a> Reader<'a> {
    /// Takes the next field; those that have no part in this are passed over.
    pub(crate) fn take(&mut self, name: &[u8], value: &'a [u8]) {
        match Key::of(name) {
            None | Some(Key::B3Parent) => {}
            Some(Key::TraceParent) => self.traceparent.take(value),
            Some(Key::TraceState) => self.state.take(value),
            Some(Key::B3) => self.b3.take(value),
            Some(Key::B3Trace) => self.trace.take(value),
            Some(Key::B3Span) => self.span.take(value),
            Some(Key::B3Sampled) => self.sampled.take(value),
            Some(Key::B3Flags) => self.flags.take(value),
        }
    }

    /// What all of them say.
    pub(crate) fn read(&self) -> Received {
        let nothing = Received {
            parent: None,
            decision: Decision::Defer,
            keeps_state: false,
        };
        if let Some(value) = self.traceparent.value {
            let parent = w3c::parse(value).filter(|_| !self.traceparent.twice);
            return parent.map_or(nothing, |parent| Received {
                parent: Some(parent),
                decision: parent.decision,
                keeps_state: self.state.is_sound(),
            });
        }
        match self.b3() {
            None => nothing,
            Some(B3::Decision(decision)) => Received {
                decision,
                ..nothing
            },
            Some(B3::Parent(parent)) => Received {
                parent: Some(parent),
                decision: parent.decision,
                ..nothing
            },
        }
    }

    fn b3(&self) -> Option<B3> {
        if let Some(value) = self.b3.value {
            return b3::parse_single(value).filter(|_| !self.b3.twice);
        }
        let several = [self.trace, self.span, self.sampled, self.flags];
        if several.iter().any(|field| field.twice) {
            return None;
        }
        let [trace, span, sampled, flags] = several.map(|field| field.value);
        b3::parse_several(&Several {
            trace,
            span,
            sampled,
            flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const B: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0";

    fn read(fields: &[(&str, &str)]) -> Received {
        let mut reader = Reader::default();
        for (name, value) in fields {
            reader.take(name.as_bytes(), value.as_bytes());
        }
        reader.read()
    }

    fn check(fields: &[(&str, &str)], trace: Option<&str>, decision: Decision, state: bool) {
        let got = read(fields);
        let id = got.parent.map(|parent| parent.trace.hex());
        let id = id.map(|hex| String::from_utf8(hex.to_vec()).unwrap());
        assert_eq!(id.as_deref().map(|id| &id[..4]), trace, "{fields:?}");
        assert_eq!(
            (got.decision, got.keeps_state),
            (decision, state),
            "{fields:?}"
        );
    }

    #[test]
    fn every_format_is_read_and_traceparent_comes_first() {
        let several = [
            ("X-B3-TraceId", "80f198ee56343ba864fe8b2a57d3eff7"),
            ("X-B3-ParentSpanId", "05e3ac9a4f6e3b90"),
            ("X-B3-SpanId", "e457b5a2e4d86bd1"),
            ("X-B3-Sampled", "1"),
        ];
        check(&[], None, Decision::Defer, false);
        check(&[("TraceParent", A)], Some("0af7"), Decision::Sample, true);
        check(&[("b3", B)], Some("80f1"), Decision::Drop, false);
        check(&several, Some("80f1"), Decision::Sample, false);
        check(
            &[("B3", B), ("traceparent", A)],
            Some("0af7"),
            Decision::Sample,
            true,
        );
        check(
            &[several[0], several[1], several[2], several[3], ("b3", B)],
            Some("80f1"),
            Decision::Drop,
            false,
        );
        check(&[("b3", "0")], None, Decision::Drop, false);
        check(&[("x-b3-flags", "1")], None, Decision::Debug, false);
    }

    #[test]
    fn what_is_malformed_or_there_twice_begins_a_trace() {
        check(
            &[("traceparent", A), ("traceparent", A)],
            None,
            Decision::Defer,
            false,
        );
        check(
            &[("traceparent", "x"), ("b3", B)],
            None,
            Decision::Defer,
            false,
        );
        check(&[("b3", B), ("b3", B)], None, Decision::Defer, false);
        check(&[("b3", "x")], None, Decision::Defer, false);
        check(
            &[("x-b3-sampled", "1"), ("x-b3-sampled", "1")],
            None,
            Decision::Defer,
            false,
        );
    }

    #[test]
    fn a_state_goes_with_its_parent_alone() {
        check(
            &[
                ("tracestate", "a=1"),
                ("traceparent", A),
                ("tracestate", "b=2"),
            ],
            Some("0af7"),
            Decision::Sample,
            true,
        );
        check(
            &[("traceparent", A), ("tracestate", "a=1,A=2")],
            Some("0af7"),
            Decision::Sample,
            false,
        );
        check(&[("tracestate", "a=1")], None, Decision::Defer, false);
        check(
            &[("tracestate", "a=1"), ("b3", B)],
            Some("80f1"),
            Decision::Drop,
            false,
        );
    }

    #[test]
    fn names_are_known_in_any_case_and_nothing_else_is() {
        for name in [
            "traceparent",
            "TRACEPARENT",
            "b3",
            "X-B3-Flags",
            "x-b3-sampled",
            "X-B3-TRACEID",
            "x-b3-spanid",
            "x-b3-parentspanid",
        ] {
            assert_eq!(Role::of(name.as_bytes()), Some(Role::Parent), "{name}");
        }
        assert_eq!(Role::of(b"TraceState"), Some(Role::State));
        for name in [
            "",
            "b",
            "b4",
            "tracestatf",
            "x-request-id",
            "x-b3-traceix",
            "user-agent",
            "transfer-encoding",
        ] {
            assert_eq!(Role::of(name.as_bytes()), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_fields_are_read_and_never_panic(
            fields in proptest::collection::vec((
                prop_oneof![Just("traceparent"), Just("tracestate"), Just("b3"), Just("x-b3-traceid"), Just("x-b3-spanid"), Just("x-b3-sampled"), Just("x-b3-flags"), Just("x-other")],
                prop_oneof![Just(A.as_bytes().to_vec()), Just(B.as_bytes().to_vec()), Just(b"1".to_vec()), proptest::collection::vec(any::<u8>(), 0..70)],
            ), 0..8),
        ) {
            let mut reader = Reader::default();
            for (name, value) in &fields {
                reader.take(name.as_bytes(), value);
            }
            let got = reader.read();
            // The state is never passed on without the parent that it belongs to.
            let parents = fields.iter().filter(|(name, _)| *name == "traceparent").count();
            prop_assert!(!got.keeps_state || (parents == 1 && got.parent.is_some()));
            prop_assert!(parents < 2 || got.parent.is_none());
        }
    }
}
