//! The trace as one request carries it.

use crate::moment::Moment;

use rand::Rng;
use weir_config::model::{EndpointId, Propagation, Tracing};
use weir_decide::sample;

use super::b3;
use super::context::{Decision, Received};
use super::ids::{SpanId, TraceId};
use super::span::{Outcome, Try};
use super::w3c;

/// Which trace a request is part of.
#[derive(Debug)]
pub(crate) struct Traced {
    pub(crate) trace: TraceId,
    /// Of Weir's own span; where none is recorded, what the endpoint is told.
    pub(crate) span: SpanId,
    /// The caller's; `None` where the trace begins here.
    pub(crate) parent: Option<SpanId>,
    /// Whose child the endpoint becomes.
    upstream: SpanId,
    decision: Decision,
    random: bool,
    /// Where spans are kept of this request.
    pub(crate) recording: Option<Box<Recording>>,
}

/// What is kept of a request while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    /// `tracestate`, as it is passed on.
    pub(crate) state: Box<str>,
    pub(crate) tries: Vec<Try>,
    /// When the try that is under way began.
    pub(super) began: Option<Moment>,
}

/// More tries than this are made, but no spans are kept of them.
const MAX_TRIES: usize = 16;

impl Traced {
    /// Settles which trace a request is part of. Without a span of ours, the endpoint becomes the child of our caller: a
    /// parent that nobody records would leave a gap.
    pub(crate) fn begin(tracing: &Tracing, received: &Received, random: &mut impl Rng) -> Self {
        let said = match received.decision {
            Decision::Defer => None,
            _ if !tracing.trust_caller => None,
            decided => Some(decided.is_sampled()),
        };
        let recorded = sample::records(said, tracing.sampling, random);
        let decision = match (recorded, received.decision, said) {
            (true, Decision::Debug, Some(_)) => Decision::Debug,
            (true, ..) => Decision::Sample,
            (false, ..) => Decision::Drop,
        };
        let recording = (recorded && tracing.otlp.is_some()).then(Box::default);
        let parent = received.parent;
        let (span, upstream) = match (&recording, parent) {
            (Some(_), _) => (SpanId::random(random), SpanId::random(random)),
            (None, Some(parent)) => (parent.span, parent.span),
            (None, None) => {
                let id = SpanId::random(random);
                (id, id)
            }
        };
        Self {
            trace: parent.map_or_else(|| TraceId::random(random), |parent| parent.trace),
            span,
            parent: parent.map(|parent| parent.span),
            upstream,
            decision,
            random: parent.is_some_and(|parent| parent.random),
            recording,
        }
    }

    /// Flags as `traceparent` has them.
    pub(crate) fn flags(&self) -> u8 {
        w3c::flags(self.decision.is_sampled(), self.random)
    }

    /// Calls `each` with every field, name and value, that tells an endpoint of this trace. They are the same until the next try
    /// begins ([`Traced::again`]).
    pub(crate) fn fields(&self, formats: &[Propagation], mut each: impl FnMut(&str, &[u8])) {
        let (trace, span) = (self.trace, self.upstream);
        for format in formats {
            match format {
                Propagation::TraceContext => {
                    each("traceparent", &w3c::format(trace, span, self.flags()));
                }
                Propagation::B3 => each("b3", &b3::format_single(trace, span, self.decision)),
                Propagation::B3Multi => {
                    each("x-b3-traceid", &trace.hex());
                    each("x-b3-spanid", &span.hex());
                    match self.decision {
                        // It implies that the trace is recorded, and is not said beside that.
                        Decision::Debug => each("x-b3-flags", b"1"),
                        Decision::Sample => each("x-b3-sampled", b"1"),
                        Decision::Drop | Decision::Defer => each("x-b3-sampled", b"0"),
                    }
                }
            }
        }
    }

    /// Whether each try is told apart: then the head is written anew for it.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// A try goes out.
    pub(crate) fn try_begins(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.began = Some(Moment::now());
        }
    }

    /// The try that is under way was answered, or failed; `what` is asked where that is kept. One that was answered goes on until
    /// the request ends or the next try begins.
    pub(crate) fn try_ended(&mut self, what: impl FnOnce(SpanId, Moment) -> Try) {
        if let Some(recording) = &mut self.recording
            && let Some(began) = recording.began.take()
            && recording.tries.len() < MAX_TRIES
        {
            recording.tries.push(what(self.upstream, began));
        }
    }

    /// The try at that endpoint, which had been given up, has answered after all.
    pub(crate) fn answered_late(&mut self, endpoint: &EndpointId, status: u16) {
        if let Some(recording) = &mut self.recording {
            let mut tries = recording.tries.iter_mut();
            if let Some(late) = tries.find(|made| made.endpoint == *endpoint) {
                late.ended = None;
                late.outcome = Outcome::Status(status);
            }
        }
    }

    /// There will be another try: the endpoint of that one has another parent.
    pub(crate) fn again(&mut self, random: &mut impl Rng) {
        if let Some(recording) = &mut self.recording {
            if let Some(last) = recording.tries.last_mut() {
                last.end();
            }
            self.upstream = SpanId::random(random);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;
    use weir_config::model::{Otlp, OtlpProtocol, Sampling};

    use super::super::context::Reader;
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn tracing(hundredths: u16, trust_caller: bool, exports: bool) -> Tracing {
        Tracing {
            sampling: Sampling::from_hundredths(hundredths),
            trust_caller,
            otlp: exports.then(|| Otlp {
                https: false,
                host: "127.0.0.1".into(),
                port: 4317,
                path: String::new(),
                protocol: OtlpProtocol::Grpc,
                headers: Vec::new(),
                timeout: Duration::from_secs(10),
                service_name: "weir".into(),
            }),
            ..Tracing::default()
        }
    }

    fn begin(tracing: &Tracing, fields: &[(&str, &str)]) -> Traced {
        let mut reader = Reader::default();
        for (name, value) in fields {
            reader.take(name.as_bytes(), value.as_bytes());
        }
        Traced::begin(tracing, &reader.read(), &mut SmallRng::seed_from_u64(7))
    }

    fn written(traced: &Traced, formats: &[Propagation]) -> Vec<String> {
        let mut lines = Vec::new();
        traced.fields(formats, |name, value| {
            lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
        });
        lines
    }

    #[test]
    fn the_caller_decides_if_it_is_trusted_and_our_share_does_otherwise() {
        let sampled = format!("00-{TRACE}-{SPAN}-01");
        let dropped = format!("00-{TRACE}-{SPAN}-00");
        let deferred = format!("{TRACE}-{SPAN}");
        let check = |fields: &[(&str, &str)], share, trust, expected: bool| {
            let traced = begin(&tracing(share, trust, true), fields);
            assert_eq!(traced.is_recorded(), expected, "{fields:?} {share} {trust}");
            assert_eq!(traced.flags() & 1 == 1, expected);
        };
        check(&[], 0, true, false);
        check(&[], 10_000, true, true);
        check(&[("traceparent", &sampled)], 0, true, true);
        check(&[("traceparent", &dropped)], 10_000, true, false);
        check(&[("traceparent", &sampled)], 0, false, false);
        check(&[("traceparent", &dropped)], 10_000, false, true);
        check(&[("b3", &deferred)], 0, true, false);
        check(&[("b3", &deferred)], 10_000, true, true);
        check(&[("b3", "0")], 10_000, true, false);
        check(&[("b3", "d")], 0, true, true);
        check(&[("b3", "d")], 0, false, false);
    }

    #[test]
    fn ids_of_a_caller_are_kept_even_if_it_is_not_trusted() {
        let sampled = format!("00-{TRACE}-{SPAN}-01");
        for trust in [true, false] {
            let traced = begin(&tracing(0, trust, true), &[("traceparent", &sampled)]);
            assert_eq!(traced.trace.hex(), TRACE.as_bytes());
            assert_eq!(traced.parent.unwrap().hex(), SPAN.as_bytes());
        }
    }

    #[test]
    fn without_a_span_of_ours_the_endpoint_is_the_child_of_our_caller() {
        let sampled = format!("00-{TRACE}-{SPAN}-01");
        let dropped = format!("00-{TRACE}-{SPAN}-00");
        for (tracing, field) in [
            (tracing(0, true, false), &sampled),
            (tracing(0, true, true), &dropped),
        ] {
            let traced = begin(&tracing, &[("traceparent", field)]);
            assert_eq!(
                written(&traced, &tracing.propagation),
                [format!("traceparent: {field}")]
            );
        }
        let recorded = begin(&tracing(0, true, true), &[("traceparent", &sampled)]);
        let line = written(&recorded, &[Propagation::TraceContext]).remove(0);
        assert!(line.contains(TRACE) && !line.contains(SPAN), "{line}");
        let own = String::from_utf8(recorded.span.hex().to_vec()).unwrap();
        assert!(
            !line.contains(&own),
            "the endpoint is the child of the try: {line}"
        );
    }

    #[test]
    fn every_format_is_written_that_is_asked_for() {
        let all = [
            Propagation::TraceContext,
            Propagation::B3,
            Propagation::B3Multi,
        ];
        let b3 = format!("{TRACE}-{SPAN}-d");
        let traced = begin(&tracing(0, true, false), &[("b3", &b3)]);
        assert_eq!(
            written(&traced, &all),
            [
                format!("traceparent: 00-{TRACE}-{SPAN}-01"),
                format!("b3: {TRACE}-{SPAN}-d"),
                format!("x-b3-traceid: {TRACE}"),
                format!("x-b3-spanid: {SPAN}"),
                "x-b3-flags: 1".to_owned(),
            ]
        );
        let random = format!("00-{TRACE}-{SPAN}-02");
        let traced = begin(&tracing(0, true, false), &[("traceparent", &random)]);
        assert_eq!(
            written(&traced, &all[..1]),
            [format!("traceparent: {random}")]
        );
        assert!(written(&traced, &all[2..]).contains(&"x-b3-sampled: 0".to_owned()));
    }

    #[test]
    fn each_try_is_another_parent_if_it_is_recorded_and_the_same_if_not() {
        let mut random = SmallRng::seed_from_u64(1);
        for (share, differs) in [(10_000, true), (0, false)] {
            let mut traced = begin(&tracing(share, true, true), &[]);
            let first = written(&traced, &[Propagation::TraceContext]);
            traced.again(&mut random);
            let second = written(&traced, &[Propagation::TraceContext]);
            assert_eq!(first != second, differs);
            assert_eq!(first[0][..49], second[0][..49], "the trace is the same");
        }
    }
}
