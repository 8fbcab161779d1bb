//! One receiver, called by gRPC or by HTTP with protobuf. The connection is kept until something goes wrong with it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use weir_config::model::{Otlp, OtlpProtocol};

use super::tls;

/// More than any receiver has to say.
const MAX_ANSWER: usize = 64 * 1024;

/// The method of OTLP's service, as gRPC names it.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Bytes in front of a gRPC message: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// Why an export came to nothing.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work later; after that time, where the receiver said so.
    Passing {
        why: String,
        after: Option<Duration>,
    },
    /// The receiver does not want it.
    Final(String),
}

impl Fault {
    pub(super) fn passing(why: impl ToString) -> Self {
        Self::Passing {
            why: why.to_string(),
            after: None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing { why, .. } | Self::Final(why) => f.write_str(why),
        }
    }
}

/// A receiver and the connection to it.
#[derive(Debug)]
pub(super) struct Client {
    otlp: Arc<Otlp>,
    sender: Option<Sender>,
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    pub(super) fn new(otlp: Arc<Otlp>) -> Self {
        Self { otlp, sender: None }
    }

    /// Whether it is what the configuration asks for.
    pub(super) fn is_for(&self, otlp: &Otlp) -> bool {
        *self.otlp == *otlp
    }

    /// Sends one message; how many of its spans the receiver refused.
    pub(super) async fn send(&mut self, message: Bytes) -> Result<u64, Fault> {
        let timeout = self.otlp.timeout;
        let done = tokio::time::timeout(timeout, self.exchange(message)).await;
        let result =
            done.unwrap_or_else(|_| Err(Fault::passing(format!("no answer within {timeout:?}"))));
        if result.is_err() {
            // Whatever it was, the next try starts from nothing.
            self.sender = None;
        }
        result
    }

    async fn exchange(&mut self, message: Bytes) -> Result<u64, Fault> {
        let request = self.request(message)?;
        let sender = match self.sender.take() {
            Some(sender) if sender.is_open() => sender,
            _ => connect(&self.otlp).await?,
        };
        let sender = self.sender.insert(sender);
        let answer = match sender {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(Fault::passing)?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(Fault::passing)?;
                sender.send_request(request).await
            }
        };
        let (head, body) = answer.map_err(Fault::passing)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER)
            .collect()
            .await
            .map_err(Fault::passing)?;
        let trailers = body.trailers().cloned();
        let body = body.to_bytes();
        match self.otlp.protocol {
            OtlpProtocol::Grpc => judge_grpc(
                head.status,
                trailers.as_ref().unwrap_or(&head.headers),
                &body,
            ),
            OtlpProtocol::Http => judge_http(head.status, &head.headers, &body),
        }
    }

    fn request(&self, message: Bytes) -> Result<Request<Full<Bytes>>, Fault> {
        let otlp = &*self.otlp;
        let host = match otlp.host.contains(':') {
            true => format!("[{}]:{}", otlp.host, otlp.port),
            false => format!("{}:{}", otlp.host, otlp.port),
        };
        let (suffix, kind, body) = match otlp.protocol {
            OtlpProtocol::Grpc => (GRPC_PATH, "application/grpc", framed(&message)),
            OtlpProtocol::Http => ("/v1/traces", "application/x-protobuf", message),
        };
        let path = format!("{}{suffix}", otlp.path);
        let mut request = Request::post(match otlp.protocol {
            OtlpProtocol::Grpc => format!("{}://{host}{path}", scheme(otlp)),
            OtlpProtocol::Http => path,
        })
        .header(CONTENT_TYPE, kind)
        .header("user-agent", concat!("weir/", env!("CARGO_PKG_VERSION")));
        if otlp.protocol == OtlpProtocol::Grpc {
            // At most eight digits ("gRPC over HTTP2", Timeout).
            let timeout = otlp.timeout.as_millis().min(99_999_999);
            request = request
                .header("te", "trailers")
                .header("grpc-timeout", format!("{timeout}m"));
        } else {
            request = request.header("host", host);
        }
        for (name, value) in &otlp.headers {
            let name = HeaderName::try_from(&**name);
            let value = HeaderValue::try_from(value.expose());
            let (Ok(name), Ok(mut value)) = (name, value) else {
                return Err(Fault::Final(
                    "a header of `tracing.otlp.headers` cannot be sent".to_owned(),
                ));
            };
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| {
            Fault::Final(format!("`tracing.otlp.endpoint` cannot be asked: {error}"))
        })
    }
}

impl Sender {
    fn is_open(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }
}

fn scheme(otlp: &Otlp) -> &'static str {
    if otlp.https { "https" } else { "http" }
}

async fn connect(otlp: &Otlp) -> Result<Sender, Fault> {
    let place = (otlp.host.as_str(), otlp.port);
    let stream = TcpStream::connect(place).await.map_err(Fault::passing)?;
    // A failure only costs time: the last part of a message may wait for an acknowledgement.
    drop(stream.set_nodelay(true));
    match otlp.https {
        false => speak(otlp.protocol, stream).await,
        true => speak(otlp.protocol, tls::connect(otlp, stream).await?).await,
    }
}

/// Agrees on the protocol, and lets the connection run beside us.
async fn speak<S>(protocol: OtlpProtocol, stream: S) -> Result<Sender, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    // How a connection ends, its sender is told, too.
    match protocol {
        OtlpProtocol::Grpc => {
            let handshake = http2::Builder::new(TokioExecutor::new()).handshake(io);
            let (sender, connection) = handshake.await.map_err(Fault::passing)?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        }
        OtlpProtocol::Http => {
            let (sender, connection) = http1::handshake(io).await.map_err(Fault::passing)?;
            tokio::spawn(connection);
            Ok(Sender::Http1(sender))
        }
    }
}

/// A message as gRPC sends it, uncompressed.
fn framed(message: &Bytes) -> Bytes {
    let mut framed = BytesMut::with_capacity(GRPC_PREFIX + message.len());
    framed.put_u8(0);
    // A batch is bounded far below 4 GiB, so the cast loses nothing.
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// OTLP/gRPC, "Failures": what is worth another try.
fn judge_grpc(status: StatusCode, fields: &HeaderMap, body: &[u8]) -> Result<u64, Fault> {
    let text = |name| fields.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status").and_then(|code| code.parse::<u16>().ok()) else {
        // A proxy or another server answered: as gRPC reads statuses of HTTP.
        let why = format!(
            "status {} without grpc-status; is this a gRPC receiver?",
            status.as_u16()
        );
        return Err(match status.as_u16() {
            429 | 502..=504 => Fault::passing(why),
            _ => Fault::Final(why),
        });
    };
    let why = || {
        format!(
            "grpc-status {code} {}",
            text("grpc-message").unwrap_or_default()
        )
    };
    match code {
        0 => Ok(refused(body.get(GRPC_PREFIX..).unwrap_or_default())),
        // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
        1 | 4 | 10 | 11 | 14 | 15 => Err(Fault::passing(why())),
        // RESOURCE_EXHAUSTED passes if the receiver says when.
        8 if fields.contains_key("grpc-status-details-bin") => Err(Fault::passing(why())),
        _ => Err(Fault::Final(why())),
    }
}

/// OTLP/HTTP, "Failures": what is worth another try.
fn judge_http(status: StatusCode, fields: &HeaderMap, body: &[u8]) -> Result<u64, Fault> {
    let why = format!("status {}", status.as_u16());
    match status.as_u16() {
        200..=299 => Ok(refused(body)),
        429 | 502..=504 => {
            let after = fields
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok());
            let after = after.and_then(|seconds| seconds.parse().ok());
            Err(Fault::Passing {
                why,
                after: after.map(Duration::from_secs),
            })
        }
        _ => Err(Fault::Final(why)),
    }
}

/// "Partial success": how many spans were left out. Of an answer that is no OTLP nothing is known to be.
fn refused(body: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(body).unwrap_or_default();
    let rejected = answer
        .partial_success
        .map_or(0, |partial| partial.rejected_spans);
    u64::try_from(rejected).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    /// `Ok` is taken, `Err(true)` is worth another try.
    fn outcome(result: Result<u64, Fault>) -> Result<u64, bool> {
        result.map_err(|fault| matches!(fault, Fault::Passing { .. }))
    }

    #[test]
    fn a_grpc_answer_is_judged_by_its_status() {
        let check = |pairs: &[(&'static str, &'static str)], expected| {
            let got = judge_grpc(StatusCode::OK, &fields(pairs), b"");
            assert_eq!(outcome(got), expected, "{pairs:?}");
        };
        check(&[("grpc-status", "0")], Ok(0));
        for passing in ["1", "4", "10", "11", "14", "15"] {
            check(&[("grpc-status", passing)], Err(true));
        }
        for last in ["2", "3", "5", "7", "8", "12", "13", "16", "99"] {
            check(&[("grpc-status", last)], Err(false));
        }
        check(
            &[("grpc-status", "8"), ("grpc-status-details-bin", "")],
            Err(true),
        );
        check(&[], Err(false));
        check(&[("grpc-status", "x")], Err(false));
        let gateway = judge_grpc(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"");
        assert_eq!(outcome(gateway), Err(true));
    }

    #[test]
    fn an_http_answer_is_judged_by_its_status() {
        let check = |status: u16, expected| {
            let status = StatusCode::from_u16(status).unwrap();
            let got = judge_http(status, &HeaderMap::new(), b"not protobuf");
            assert_eq!(outcome(got), expected, "{status}");
        };
        for (status, expected) in [
            (200, Ok(0)),
            (202, Ok(0)),
            (400, Err(false)),
            (404, Err(false)),
            (500, Err(false)),
        ] {
            check(status, expected);
        }
        for status in [429, 502, 503, 504] {
            check(status, Err(true));
        }
        let got = judge_http(
            StatusCode::SERVICE_UNAVAILABLE,
            &fields(&[("retry-after", "7")]),
            b"",
        );
        let Err(Fault::Passing { after, .. }) = got else {
            panic!("{got:?}")
        };
        assert_eq!(after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn spans_that_a_receiver_left_out_are_told() {
        let body = [0x0a, 0x02, 0x08, 0x03];
        assert_eq!(refused(&body), 3);
        assert_eq!(refused(b""), 0);
        assert_eq!(refused(&[0xff; 9]), 0);
        let framed = framed(&Bytes::copy_from_slice(&body));
        assert_eq!(framed[..GRPC_PREFIX], [0, 0, 0, 0, 4]);
        let got = judge_grpc(StatusCode::OK, &fields(&[("grpc-status", "0")]), &framed);
        assert_eq!(outcome(got), Ok(3));
    }
}
