//! `weir.mesh.v1.Authority`: how a workload gets its certificate, as messages and as a service of gRPC.
//!
//! Written by hand, since two calls are not worth a compiler of protobuf in the build:
//!
//! ```proto
//! service Authority {
//!   rpc Issue(IssueRequest) returns (IssueResponse);
//!   rpc Bundle(BundleRequest) returns (BundleResponse);
//! }
//! ```

#![allow(
    clippy::result_large_err,
    reason = "tonic's own type is what a call ends with"
)]

use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tonic::codegen::{Body, BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;

/// Bytes of one message, in either direction.
pub const MAX_MESSAGE: usize = 256 * 1024;

const ISSUE: &str = "/weir.mesh.v1.Authority/Issue";
const BUNDLE: &str = "/weir.mesh.v1.Authority/Bundle";

/// Asks for a certificate.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IssueRequest {
    /// A certification request (PKCS #10) in DER. Only its public key counts.
    #[prost(bytes = "vec", tag = "1")]
    pub csr: Vec<u8>,
    /// Empty: the client certificate of the connection says who asks.
    #[prost(string, tag = "2")]
    pub token: String,
    /// Whose certificate it is to be.
    #[prost(string, tag = "3")]
    pub service: String,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IssueResponse {
    /// In DER, the certificate first.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub chain: Vec<Vec<u8>>,
    /// The roots that are trusted, in DER.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub bundle: Vec<Vec<u8>>,
    /// Seconds since 1970.
    #[prost(int64, tag = "3")]
    pub not_after: i64,
    /// In how many milliseconds to ask for the bundle.
    #[prost(uint64, tag = "4")]
    pub ask_again_ms: u64,
}

/// Asks what is trusted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BundleRequest {
    /// Digest of the roots that who asks has in force (`weir_config::spiffe::bundle_digest`).
    #[prost(string, tag = "1")]
    pub have: String,
}

/// What is trusted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct BundleResponse {
    /// The roots, in DER.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub bundle: Vec<Vec<u8>>,
    /// The certificate of the connection is to be replaced now.
    #[prost(bool, tag = "2")]
    pub renew: bool,
    /// In how many milliseconds to ask again.
    #[prost(uint64, tag = "3")]
    pub ask_again_ms: u64,
}

/// The server's side.
#[tonic::async_trait]
pub trait Authority: Send + Sync + 'static {
    /// Hands out a certificate.
    async fn issue(&self, request: Request<IssueRequest>) -> Result<IssueResponse, Status>;

    /// Says what is trusted.
    async fn bundle(&self, request: Request<BundleRequest>) -> Result<BundleResponse, Status>;
}

/// An [`Authority`] as a service that a server of gRPC takes.
pub struct AuthorityServer<T>(Arc<T>);

impl<T> AuthorityServer<T> {
    /// Serves it.
    #[must_use]
    pub fn new(authority: Arc<T>) -> Self {
        Self(authority)
    }
}

impl<T> Clone for AuthorityServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for AuthorityServer<T> {
    const NAME: &'static str = "weir.mesh.v1.Authority";
}

impl<T, B> Service<http::Request<B>> for AuthorityServer<T>
where
    T: Authority,
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let authority = Arc::clone(&self.0);
        match request.uri().path() {
            ISSUE => answer(request, move |message| {
                let authority = Arc::clone(&authority);
                Box::pin(async move { authority.issue(message).await.map(Response::new) })
            }),
            BUNDLE => answer(request, move |message| {
                let authority = Arc::clone(&authority);
                Box::pin(async move { authority.bundle(message).await.map(Response::new) })
            }),
            _ => {
                Box::pin(async { Ok(Status::new(Code::Unimplemented, "no such call").into_http()) })
            }
        }
    }
}

/// A method of one message each way.
struct Method<F, M>(F, PhantomData<fn(M)>);

impl<F, M, R> UnaryService<M> for Method<F, M>
where
    F: FnMut(Request<M>) -> BoxFuture<Response<R>, Status>,
{
    type Response = R;
    type Future = BoxFuture<Response<R>, Status>;

    fn call(&mut self, request: Request<M>) -> Self::Future {
        (self.0)(request)
    }
}

fn answer<B, M, R, F>(
    request: http::Request<B>,
    method: F,
) -> BoxFuture<http::Response<tonic::body::Body>, std::convert::Infallible>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
    M: Message + Default + 'static,
    R: Message + 'static,
    F: FnMut(Request<M>) -> BoxFuture<Response<R>, Status> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(ProstCodec::<R, M>::default())
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Ok(grpc.unary(Method(method, PhantomData), request).await)
    })
}

/// The client's side.
#[derive(Debug, Clone)]
pub struct AuthorityClient(tonic::client::Grpc<Channel>);

impl AuthorityClient {
    /// Asks over a channel.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self(
            tonic::client::Grpc::new(channel)
                .max_decoding_message_size(MAX_MESSAGE)
                .max_encoding_message_size(MAX_MESSAGE),
        )
    }

    /// Asks for a certificate.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub async fn issue(&mut self, request: IssueRequest) -> Result<IssueResponse, Status> {
        self.ask(ISSUE, request).await
    }

    /// Asks what is trusted.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub async fn bundle(&mut self, request: BundleRequest) -> Result<BundleResponse, Status> {
        self.ask(BUNDLE, request).await
    }

    async fn ask<M, R>(&mut self, path: &'static str, message: M) -> Result<R, Status>
    where
        M: Message + 'static,
        R: Message + Default + 'static,
    {
        let ready = self.0.ready().await;
        ready.map_err(|error| Status::unavailable(format!("not ready: {error}")))?;
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = ProstCodec::<M, R>::default();
        let answer = self.0.unary(Request::new(message), path, codec).await?;
        Ok(answer.into_inner())
    }
}
