//! The client of a running Weir's admin API, over TCP or a unix socket.
//!
//! One request a connection: a command asks once or twice, and a `--watch` must notice a restart. Every way
//! to fail ends in a [`Failure`] with its exit code, the address that was tried and what to check.

mod address;
mod token;

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

pub(crate) use address::AdminAddress;
pub(crate) use token::TokenSource;

use crate::exit::{Exit, Failure};

/// Answers above this are refused: a model of 10,000 routes takes a few MiB.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// From the connect to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Speaks to one admin API.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: AdminAddress,
    token: TokenSource,
    timeout: Duration,
}

/// A status and a body, whatever they are.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Client {
    /// A client of this address; the token is read only when a change needs it.
    pub(crate) fn new(address: AdminAddress, token: TokenSource) -> Self {
        Self {
            address,
            token,
            timeout: TIMEOUT,
        }
    }

    /// Gives up earlier, for a container's health check.
    #[must_use]
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Reads a path into a type of the API.
    ///
    /// # Errors
    /// See the module's documentation.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.parse(&self.accepted(path, self.look(path).await?)?)
    }

    /// Sends a change and reads the answer.
    ///
    /// # Errors
    /// See the module's documentation; exit code 8 when the token is missing or wrong.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &Value,
    ) -> Result<T, Failure> {
        let token = self.token().await?;
        let request = self.request(Method::POST, path, Some((body, token)))?;
        self.parse(&self.accepted(path, self.ask(request).await?)?)
    }

    /// Asks for a path and hands back whatever is answered.
    ///
    /// # Errors
    /// When nothing is answered.
    pub(crate) async fn look(&self, path: &str) -> Result<Answer, Failure> {
        self.ask(self.request(Method::GET, path, None)?).await
    }

    /// The token for a change: what the user named; else, of a Weir on this machine, the file in the
    /// state directory that it tells, if this user may read it.
    async fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(token) = self.token.named()? {
            return Ok(Some(token));
        }
        if !self.address.is_local() {
            return Ok(None);
        }
        let status: Value = self.get("/api/v1/status").await?;
        Ok(TokenSource::found(
            status["stateDir"].as_str().map(Path::new),
        ))
    }

    async fn ask(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(&format!(
                "no answer within {} s",
                self.timeout.as_secs_f32()
            ))),
        }
    }

    fn accepted(&self, path: &str, answer: Answer) -> Result<Bytes, Failure> {
        match answer.status.is_success() {
            true => Ok(answer.body),
            false => Err(self.refused(path, &answer)),
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<(&Value, Option<String>)>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.host());
        let mut bytes = Bytes::new();
        if let Some((body, token)) = body {
            request = request.header(CONTENT_TYPE, "application/json");
            if let Some(token) = token {
                request = request.header(AUTHORIZATION, format!("Bearer {token}"));
            }
            bytes = Bytes::from(body.to_string());
        }
        let bad = |e| Failure::new(Exit::Usage, format!("cannot ask for {path}: {e}"));
        request.body(Full::new(bytes)).map_err(bad)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        match &self.address {
            AdminAddress::Tcp(authority) => {
                let stream = TcpStream::connect(authority.as_str()).await;
                self.speak(stream.map_err(|e| self.unreachable_by(&e))?, request)
                    .await
            }
            AdminAddress::Unix(path) => {
                let stream = UnixStream::connect(path).await;
                self.speak(stream.map_err(|e| self.unreachable_by(&e))?, request)
                    .await
            }
        }
    }

    async fn speak<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Answer, Failure>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |e: hyper::Error| self.unreachable(&format!("the connection broke: {e}"));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let driving = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await;
        driving.abort();
        match body {
            Ok(body) => Ok(Answer {
                status,
                body: body.to_bytes(),
            }),
            Err(e) => Err(self.unreachable(&format!("the answer broke off: {e}"))),
        }
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|e| {
            Failure::new(
                Exit::Unreachable,
                format!(
                    "{} answered something else than Weir's admin API: {e}",
                    self.address
                ),
            )
            .help("check the address; or this `weir` and the running one are of different versions")
        })
    }

    fn unreachable_by(&self, error: &io::Error) -> Failure {
        let failure = self.unreachable(&plain(error));
        match (&self.address, error.kind()) {
            (AdminAddress::Unix(path), io::ErrorKind::PermissionDenied) => failure.help(format!(
                "the socket {} belongs to the user that runs weir: use that user, or sudo",
                path.display()
            )),
            _ => failure,
        }
    }

    fn unreachable(&self, why: &str) -> Failure {
        let message = format!("cannot reach the admin API at {}: {why}", self.address);
        Failure::new(Exit::Unreachable, message)
            .help("is weir running there? `weir run` prints its admin address when it starts")
            .help("name another address with --admin or WEIR_ADMIN (http://HOST:PORT or unix:///PATH)")
    }

    /// The failure of an answer that is not a success: `{"error":{"code","message"}}` or plain text.
    fn refused(&self, path: &str, answer: &Answer) -> Failure {
        let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = match value["error"]["message"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("{} answered {} to {path}", self.address, answer.status),
        };
        match answer.status {
            StatusCode::UNAUTHORIZED => {
                Failure::new(Exit::Unauthorized, message).help(TokenSource::hint())
            }
            StatusCode::UNPROCESSABLE_ENTITY if value["error"]["rendered"].is_string() => {
                let rendered = value["error"]["rendered"].as_str().unwrap_or_default();
                let message = format!("{message}\n\n{}", rendered.trim_end());
                Failure::new(Exit::Invalid, message)
            }
            // What was asked for could not be kept, and was not done.
            StatusCode::INSUFFICIENT_STORAGE => Failure::new(Exit::Refused, message),
            StatusCode::FORBIDDEN => Failure::new(Exit::Unauthorized, message),
            StatusCode::NOT_FOUND => Failure::runtime(message),
            status if status.is_client_error() => Failure::new(Exit::Refused, message),
            _ => Failure::runtime(message),
        }
    }
}

/// Reads an answer into its type.
///
/// # Errors
/// When the running Weir is of a version that answers otherwise.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Failure> {
    serde_json::from_value(value).map_err(|e| {
        Failure::runtime(format!(
            "the answer has a form this weir does not know: {e}"
        ))
        .help("the running Weir may be of another version; `-o json` shows what it says")
    })
}

/// An I/O error without the number that means nothing to most.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}

/// Runs a command's requests on a runtime of their own.
///
/// # Errors
/// Those of the future, or when no runtime can be made.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(future)
}
