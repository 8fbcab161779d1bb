//! A receiver of OTLP, by gRPC and by HTTP on one port, that takes, refuses or dawdles as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use weir_tests::wait::eventually;

const GRPC: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What it does with an export.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mood {
    Takes,
    /// Takes it, but says that it left that many spans out.
    LeavesOut(i64),
    /// Says that it may work later.
    Busy,
    /// Says that it never will.
    Refuses,
    /// Never answers.
    Hangs,
}

/// A span with what was said beside it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) span: Span,
    resource: Vec<KeyValue>,
}

/// One export as it came.
#[derive(Debug, Clone)]
pub(crate) struct Export {
    pub(crate) path: String,
    pub(crate) fields: HeaderMap,
    pub(crate) version: http::Version,
    pub(crate) spans: usize,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    seen: Vec<Seen>,
    exports: Vec<Export>,
}

/// A receiver on a port of loopback, until it is dropped.
pub(crate) struct Receiver {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
    _alive: oneshot::Sender<()>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        Self::with_tls(None)
    }

    pub(crate) fn with_tls(tls: Option<TlsAcceptor>) -> Self {
        Self::at("127.0.0.1:0".parse().expect("an address"), tls)
    }

    /// At a certain address: where one was before.
    pub(crate) fn at(addr: SocketAddr, tls: Option<TlsAcceptor>) -> Self {
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Takes,
            seen: Vec::new(),
            exports: Vec::new(),
        }));
        let (alive, gone) = oneshot::channel();
        let (bound, addr_of) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(addr).await.expect("a port");
                let addr = listener.local_addr().expect("its address");
                bound.send(addr).expect("somebody waits for it");
                tokio::select! {
                    _ = gone => {}
                    () = accept(&listener, tls, &shared) => {}
                }
            });
        });
        Self {
            addr: addr_of.recv().expect("a receiver"),
            state,
            _alive: alive,
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `tracing.otlp` for it.
    pub(crate) fn otlp(&self, protocol: &str) -> String {
        format!(
            "otlp: {{ endpoint: \"http://{}\", protocol: {protocol} }}",
            self.addr
        )
    }

    pub(crate) fn be(&self, mood: Mood) {
        lock(&self.state).mood = mood;
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    pub(crate) fn exports(&self) -> Vec<Export> {
        lock(&self.state).exports.clone()
    }

    /// All spans, once there are that many.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        eventually(&format!("{count} spans at the receiver"), || {
            Some(self.spans()).filter(|spans| spans.len() >= count)
        })
    }
}

impl Seen {
    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty for a root.
    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        value(&self.span.attributes, key)
    }

    pub(crate) fn of_resource(&self, key: &str) -> Option<String> {
        value(&self.resource, key)
    }
}

fn value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: &TcpListener, tls: Option<TlsAcceptor>, state: &Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let state = Arc::clone(state);
        match tls.clone() {
            None => drop(tokio::spawn(serve(stream, state))),
            Some(tls) => drop(tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    serve(stream, state).await;
                }
            })),
        }
    }
}

async fn serve<S>(stream: S, state: Arc<Mutex<State>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| take(request, Arc::clone(&state)));
    let server = auto::Builder::new(TokioExecutor::new());
    // A client that goes away is no failure of the test.
    drop(server.serve_connection(TokioIo::new(stream), service).await);
}

async fn take(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes());
    let body = body.unwrap_or_default();
    let grpc = head.uri.path() == GRPC;
    let message = match grpc {
        true => {
            let length = body.get(1..5).and_then(|length| length.try_into().ok());
            let length = length.map_or(0, u32::from_be_bytes) as usize;
            assert_eq!(body.len(), 5 + length, "one message, framed for gRPC");
            body.slice(5..)
        }
        false => body,
    };
    let message = ExportTraceServiceRequest::decode(message).expect("an export");
    let spans: Vec<_> = message.resource_spans.into_iter().flat_map(seen).collect();
    let mood = {
        let mut state = lock(&state);
        state.exports.push(Export {
            path: head.uri.path().to_owned(),
            fields: head.headers,
            version: head.version,
            spans: spans.len(),
        });
        if matches!(state.mood, Mood::Takes | Mood::LeavesOut(_)) {
            state.seen.extend(spans);
        }
        state.mood
    };
    Ok(answer(grpc, mood).await)
}

fn seen(of: opentelemetry_proto::tonic::trace::v1::ResourceSpans) -> impl Iterator<Item = Seen> {
    let resource = of.resource.unwrap_or_default().attributes;
    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(move |span| Seen {
        span,
        resource: resource.clone(),
    })
}

async fn answer(grpc: bool, mood: Mood) -> Response<BoxBody<Bytes, Infallible>> {
    let partial = |rejected_spans| ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans,
            error_message: "too many".to_owned(),
        }),
    };
    // Status of HTTP, status of gRPC, message.
    let (http, code, message) = match mood {
        Mood::Takes => (200, 0, ExportTraceServiceResponse::default()),
        Mood::LeavesOut(count) => (200, 0, partial(count)),
        Mood::Busy => (503, 14, ExportTraceServiceResponse::default()),
        Mood::Refuses => (400, 3, ExportTraceServiceResponse::default()),
        Mood::Hangs => {
            tokio::time::sleep(Duration::from_secs(3600)).await;
            (200, 0, ExportTraceServiceResponse::default())
        }
    };
    let message = message.encode_to_vec();
    if !grpc {
        let body = Full::new(Bytes::from(message)).boxed();
        let answer = Response::builder().status(http);
        return answer.body(body).expect("an answer");
    }
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    let trailers = HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from(code),
    )]);
    let body = Full::new(Bytes::from(framed));
    let body = body
        .with_trailers(async move { Some(Ok(trailers)) })
        .boxed();
    let answer = Response::builder().header("content-type", "application/grpc");
    answer.body(body).expect("an answer")
}
