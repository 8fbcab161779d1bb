//! One request to one answer, as its [`Plan`] says.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::{self, Answer, full};
use super::grpc;
use super::identity::Identity;
use super::plan::{Defaults, Kind, Plan};
use super::tls::Session;
use super::websocket;

const NAME: HeaderName = HeaderName::from_static("x-origin-name");
const VERSION: HeaderName = HeaderName::from_static("x-origin-version");

/// Who answers, and what it remembers between requests.
pub(super) struct Origin {
    identity: Identity,
    defaults: Defaults,
    /// What `/healthz` answers.
    health: watch::Sender<u16>,
    /// Requests that were asked to fail by share, so that the share is kept exactly.
    shared_out: AtomicU64,
}

/// What is known of the connection, and what an upgraded one needs of its server.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// `None` in clear.
    pub(super) session: Option<Arc<Session>>,
}

impl Origin {
    pub(super) fn new(identity: Identity, defaults: Defaults) -> Self {
        Self {
            identity,
            defaults,
            health: watch::Sender::new(200),
            shared_out: AtomicU64::new(0),
        }
    }

    /// Answers, or closes the connection by an error (`/close`).
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        context: Context,
    ) -> io::Result<Response<Answer>> {
        let uri = request.uri();
        let mut response = if grpc::is_call(&request) {
            self.call(request, &context).await
        } else {
            match Plan::read(uri.path(), uri.query().unwrap_or(""), self.defaults) {
                Ok(plan) => self.carry_out(plan, request, &context).await?,
                Err(why) => status(StatusCode::BAD_REQUEST, full(format!("{why}\n"))),
            }
        };
        let headers = response.headers_mut();
        headers.insert(NAME, self.identity.name_header.clone());
        headers.insert(VERSION, self.identity.version_header.clone());
        Ok(response)
    }

    async fn call(&self, request: Request<Incoming>, context: &Context) -> Response<Answer> {
        let description = self.describe(&request, context).to_string();
        let peer = grpc::Peer {
            defaults: self.defaults,
            health: &self.health,
            fails: &|tenths| self.fails(tenths),
            context,
        };
        grpc::answer(request, description, peer).await
    }

    async fn carry_out(
        &self,
        plan: Plan,
        mut request: Request<Incoming>,
        context: &Context,
    ) -> io::Result<Response<Answer>> {
        if !plan.delay.is_zero() {
            tokio::time::sleep(plan.delay).await;
        }
        if self.fails(plan.fail_tenths) {
            let text = format!("{} fails as asked\n", self.identity.name);
            return Ok(status(StatusCode::INTERNAL_SERVER_ERROR, full(text)));
        }
        let body = match plan.kind {
            Kind::Identity => return Ok(self.introduce(&plan, &request, context)),
            Kind::WebSocket => return Ok(websocket::upgrade(&mut request, context)),
            Kind::Health { set } => return Ok(self.health(set, request.method())),
            Kind::Hang => std::future::pending().await,
            Kind::Close => return Err(io::Error::other("closed as asked")),
            Kind::Headers => full(lines(request.headers())),
            Kind::Bytes(count) => body::bytes(count),
            Kind::Stream { chunks, interval } => body::chunks(chunks, interval),
            Kind::Echo => return Ok(echo(request)),
            Kind::Early => full(format!("{} answers early\n", self.identity.name)),
            Kind::Trailers => return Ok(trailers()),
        };
        Ok(status(code(plan.status), body))
    }

    /// Whether this request falls into the failing share: the n-th fails when the share's running
    /// total passes a whole number, so that 10% is every tenth, not a throw of dice.
    fn fails(&self, tenths: u32) -> bool {
        if tenths == 0 {
            return false;
        }
        let n = self.shared_out.fetch_add(1, Ordering::Relaxed);
        let share = u64::from(tenths);
        (n + 1).wrapping_mul(share) / 1000 > n.wrapping_mul(share) / 1000
    }

    fn introduce(
        &self,
        plan: &Plan,
        request: &Request<Incoming>,
        context: &Context,
    ) -> Response<Answer> {
        let code = code(plan.status);
        if !plan.json && !accepts_json(request.headers()) {
            return status(code, full(self.identity.line.clone()));
        }
        let value = self.describe(request, context);
        let mut response = status(code, full(format!("{value}\n")));
        let kind = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// Who answers, and all that is known of a request and its connection.
    fn describe(&self, request: &Request<Incoming>, context: &Context) -> Value {
        let uri = request.uri();
        json!({
            "name": self.identity.name,
            "version": self.identity.version,
            "method": request.method().as_str(),
            "path": uri.path(),
            "query": uri.query().unwrap_or(""),
            "authority": uri.authority().map(http::uri::Authority::as_str),
            "httpVersion": format!("{:?}", request.version()),
            "headers": object(request.headers()),
            "tls": context.session.as_ref().map(|session| &session.json),
        })
    }

    fn health(&self, set: Option<u16>, method: &Method) -> Response<Answer> {
        if let Some(code) = set.filter(|_| method == Method::POST) {
            self.health.send_replace(code);
            return status(
                StatusCode::OK,
                full(format!("/healthz answers {code} from now on\n")),
            );
        }
        let code = code(*self.health.borrow());
        status(code, full(format!("{}\n", code.as_u16())))
    }
}

fn status(code: StatusCode, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Every status here was read as 200 to 599.
fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

fn echo(request: Request<Incoming>) -> Response<Answer> {
    let (mut head, body) = request.into_parts();
    let mut response = status(StatusCode::OK, body::boxed(body));
    if let Some(kind) = head.headers.remove(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
}

fn trailers() -> Response<Answer> {
    let mut response = status(StatusCode::OK, body::with_trailers());
    let names = HeaderValue::from_static("x-origin-checksum, x-origin-end");
    response.headers_mut().insert(http::header::TRAILER, names);
    response
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accepts = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepts
        .flat_map(|value| value.split(','))
        .any(|kind| kind.trim().starts_with("application/json"))
}

fn lines(headers: &HeaderMap) -> String {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

/// Header names to values; the values of a repeated name are joined as RFC 9110, section 5.3 allows.
fn object(headers: &HeaderMap) -> Map<String, Value> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let join = |name: &HeaderName| {
        let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
        (name.as_str().to_owned(), Value::String(values.join(", ")))
    };
    headers.keys().map(join).collect()
}
