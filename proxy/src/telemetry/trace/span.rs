//! A request that has ended, as spans are made of it.

use crate::moment::Moment;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use weir_config::model::EndpointId;

use super::ids::{SpanId, TraceId};
use crate::telemetry::{Flag, Spoken};

/// Most bytes that are kept of a path.
const MAX_PATH: usize = 1024;
/// Most bytes of a host, a method or a user agent.
const MAX_TEXT: usize = 256;

/// All that is told of one request. Owned, for it leaves the worker; every text in it is bounded.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) trace: TraceId,
    pub(crate) span: SpanId,
    pub(crate) parent: Option<SpanId>,
    /// As `traceparent` has them.
    pub(crate) flags: u8,
    /// `tracestate`.
    pub(crate) state: Box<str>,
    pub(crate) tries: Vec<Try>,
    pub(crate) began: Moment,
    pub(crate) at: SystemTime,
    pub(crate) took: Duration,
    /// One of the methods that are told apart, or `_OTHER`.
    pub(crate) method: &'static str,
    /// The method in the client's words, where it is another.
    pub(crate) other_method: Option<Box<str>>,
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The same towards the endpoint.
    pub(crate) endpoint_scheme: &'static str,
    /// With its port where one was given.
    pub(crate) host: Box<str>,
    /// The canonical path, or the raw one of a request that was refused; never the query.
    pub(crate) path: Box<str>,
    pub(crate) user_agent: Box<str>,
    pub(crate) protocol: Spoken,
    pub(crate) client: IpAddr,
    pub(crate) peer: SocketAddr,
    /// 0 where nothing was answered.
    pub(crate) status: u16,
    pub(crate) flag: Flag,
    /// How a call of gRPC ended.
    pub(crate) grpc_status: Option<u8>,
    pub(crate) request_id: Box<str>,
    pub(crate) listener: Option<Arc<str>>,
    pub(crate) route: Option<Arc<str>>,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) version: Option<Arc<str>>,
}

/// One try.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) span: SpanId,
    pub(crate) began: Moment,
    /// `None`: when the request did.
    pub(crate) ended: Option<Moment>,
    pub(crate) endpoint: EndpointId,
    pub(crate) address: SocketAddr,
    pub(crate) outcome: Outcome,
    /// How its endpoint ended a call of gRPC.
    pub(crate) grpc_status: Option<u8>,
}

/// What came of a try.
#[derive(Debug)]
pub(crate) enum Outcome {
    Status(u16),
    Failed { flag: Flag, why: Box<str> },
}

impl Try {
    /// One that was answered and goes on until it is ended.
    pub(crate) fn answered(
        span: SpanId,
        began: Moment,
        (endpoint, address): (&EndpointId, SocketAddr),
        status: u16,
    ) -> Self {
        Self {
            span,
            began,
            ended: None,
            endpoint: endpoint.clone(),
            address,
            outcome: Outcome::Status(status),
            grpc_status: None,
        }
    }

    /// One that has just failed.
    pub(crate) fn failed(
        span: SpanId,
        began: Moment,
        (endpoint, address): (&EndpointId, SocketAddr),
        flag: Flag,
        why: &impl ToString,
    ) -> Self {
        Self {
            span,
            began,
            ended: Some(Moment::now()),
            endpoint: endpoint.clone(),
            address,
            outcome: Outcome::Failed {
                flag,
                why: text(why.to_string().as_bytes()),
            },
            grpc_status: None,
        }
    }

    /// It goes on no longer.
    pub(super) fn end(&mut self) {
        self.ended.get_or_insert_with(Moment::now);
    }
}

impl Ended {
    /// Spans that are made of it.
    pub(crate) fn spans(&self) -> u64 {
        1 + self.tries.len() as u64
    }
}

/// A path of a client, bounded.
pub(crate) fn path(bytes: &[u8]) -> Box<str> {
    bounded(bytes, MAX_PATH)
}

/// Another text of a client, bounded.
pub(crate) fn text(bytes: &[u8]) -> Box<str> {
    bounded(bytes, MAX_TEXT)
}

/// As much as fits of what may be cut anywhere; bytes that are no UTF-8 are replaced, since OTLP allows no others.
fn bounded(bytes: &[u8], most: usize) -> Box<str> {
    let bytes = bytes.get(..most).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into()
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_clients_are_bounded_and_always_utf_8() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(&*text(bytes), expected);
        check(b"curl/8", "curl/8");
        check(b"a\xffb", "a\u{fffd}b");
        let long = "\u{e9}".repeat(200);
        assert_eq!(text(long.as_bytes()).chars().count(), 128);
        // Cut in the middle of a character.
        assert!(text(&long.as_bytes()[1..]).len() <= 3 * MAX_TEXT);
        assert_eq!(path(&[b'/'; 5000]).len(), MAX_PATH);
    }
}
