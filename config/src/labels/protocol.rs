//! `weir.protocol`: what a container speaks.

use schemars::{Schema, json_schema};

use crate::model::Protocol;
use crate::raw::{AppProtocol, Refused, Scalar};

/// What a container speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Requests, in this form.
    Requests(AppProtocol),
    /// Anything: it takes what arrives on a listener as it is. Never a protocol of HTTP.
    Stream(Protocol),
}

const ALL: [(&str, Spoken); 7] = [
    ("http", Spoken::Requests(AppProtocol::Http)),
    ("http1", Spoken::Requests(AppProtocol::Http1)),
    ("h2c", Spoken::Requests(AppProtocol::H2c)),
    ("grpc", Spoken::Requests(AppProtocol::Grpc)),
    ("tcp", Spoken::Stream(Protocol::Tcp)),
    ("udp", Spoken::Stream(Protocol::Udp)),
    ("tls-passthrough", Spoken::Stream(Protocol::TlsPassthrough)),
];

impl Scalar for Spoken {
    const WHAT: &'static str = "a protocol that a container speaks";

    fn parse(text: &str) -> Result<Self, Refused> {
        let found = ALL.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        if let Some((_, spoken)) = found {
            return Ok(*spoken);
        }
        if matches!(text.to_ascii_lowercase().as_str(), "https" | "tls") {
            return Err(Refused {
                message: format!("{text:?} is not a protocol of labels"),
                help: Some(
                    "whom to believe is for the operator to say: give the service tls in a file"
                        .to_owned(),
                ),
            });
        }
        Err(Refused::word(Self::WHAT, text, &ALL.map(|(word, _)| word)))
    }

    fn schema() -> Schema {
        json_schema!({ "enum": ALL.map(|(word, _)| word) })
    }
}
