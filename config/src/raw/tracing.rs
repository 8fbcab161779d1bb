//! Tracing as a file writes it.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::object::object;
use super::read::{Read, Reader};
use super::scalar::Refused;
use super::tls::spelled;
use super::{At, Scalar};
use crate::model::{OtlpProtocol, Propagation, Sampling};
use crate::yaml::Node;

object! {
    /// Trace context and spans.
    Tracing = "tracing" {
        /// Percent of the requests for which no caller has decided, in steps of 0.01. Default 0.
        sampling: At<Sampling> = "sampling",
        /// What is written towards endpoints: tracecontext, b3, b3multi. Default tracecontext. All are read.
        propagation: Vec<At<Propagation>> = "propagation",
        /// Whether a caller's decision to sample is followed. Default true.
        trust_caller: At<bool> = "trustCaller",
        /// A field of the answer that tells the client the trace's id. Default none.
        response_header: At<String> = "responseHeader",
        /// Where spans are sent. Default nowhere.
        otlp: Otlp = "otlp",
    }
}

object! {
    /// A receiver of spans.
    Otlp = "tracing.otlp" {
        /// Such as http://127.0.0.1:4317.
        #[schemars(required)]
        endpoint: At<String> = "endpoint",
        /// grpc (default) or http.
        protocol: At<OtlpProtocol> = "protocol",
        /// Sent with each export. A value file:/path is what that file holds.
        headers: Pairs = "headers",
        /// Of one export. Default 10s.
        timeout: At<Duration> = "timeout",
        /// The attribute service.name. Default weir.
        service_name: At<String> = "serviceName",
    }
}

/// A mapping of names to texts, each with the place of its key.
#[derive(Clone, PartialEq, Default)]
pub struct Pairs(pub Vec<(At<String>, At<String>)>);

impl std::fmt::Debug for Pairs {
    /// Names only: a value may be a key that opens something.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| &name.value))
            .finish()
    }
}

impl Read for Pairs {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let mut pairs = Vec::new();
        for (key, value) in reader.mapping(node, "headers")? {
            let name = At::new(key.text.clone(), reader.place(key.mark));
            pairs.extend(At::read(value, reader).map(|value| (name, value)));
        }
        Some(Self(pairs))
    }
}

impl JsonSchema for Pairs {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        std::borrow::Cow::Borrowed("Pairs")
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
    }
}

spelled!(
    Propagation,
    "a form of trace context",
    [
        Propagation::TraceContext,
        Propagation::B3,
        Propagation::B3Multi
    ]
);
spelled!(
    OtlpProtocol,
    "a protocol of OTLP",
    [OtlpProtocol::Grpc, OtlpProtocol::Http]
);

impl Scalar for Sampling {
    const WHAT: &'static str = "a percentage from 0 to 100 in steps of 0.01";

    fn parse(text: &str) -> Result<Self, Refused> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str, most: usize| {
            !s.is_empty() && s.len() <= most && s.bytes().all(|b| b.is_ascii_digit())
        };
        let read = || {
            let whole: u16 = whole.parse().ok()?;
            let part: u16 = fraction.parse().ok()?;
            let part = if fraction.len() == 1 { part * 10 } else { part };
            Some(whole.checked_mul(100)? + part)
                .filter(|hundredths| *hundredths <= Self::ALL.hundredths())
        };
        let value = (digits(whole, 3) && digits(fraction, 2)).then(read);
        value
            .flatten()
            .map(Self::from_hundredths)
            .ok_or_else(|| Refused {
                message: format!("{text:?} is not {}", Self::WHAT),
                help: None,
            })
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["number", "string"], "minimum": 0, "maximum": 100 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sampling_rate_reads_hundredths_and_writes_them_back() {
        for (text, hundredths) in [
            ("0", 0),
            ("1", 100),
            ("0.01", 1),
            ("0.5", 50),
            ("12.25", 1225),
            ("100", 10_000),
        ] {
            let sampling = Sampling::parse(text).unwrap();
            assert_eq!(sampling.hundredths(), hundredths, "{text}");
            assert_eq!(sampling.to_string(), text);
        }
        for text in ["", "-1", "100.01", "101", "0.001", ".5", "5.", "1%", "999"] {
            assert!(Sampling::parse(text).is_err(), "{text} was read");
        }
    }
}
