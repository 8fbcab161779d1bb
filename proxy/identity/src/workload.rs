//! An identity from an agent on this machine, over the SPIFFE Workload API (SPIFFE_Workload_API.md): one stream of answers, each the
//! whole state.

mod messages;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status as Answer, Streaming};
use tonic_prost::ProstCodec;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::identity::Identity;
use crate::keeper::{Publisher, StartError};
use crate::schedule::retry_in;
use crate::status::Status;
use crate::world::World;
use messages::{Svid, SvidRequest, SvidResponse};

const METHOD: &str = "/SpiffeWorkloadAPI/FetchX509SVID";
/// An agent answers nobody who does not send this (section 4.1 of the standard).
const HEADER: &str = "workload.spiffe.io";
/// Bytes of one answer.
const MAX_ANSWER: usize = 1 << 20;
/// To connect.
const CONNECT: Duration = Duration::from_secs(5);

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromWorkloadApi {
    /// Its socket; `SPIFFE_ENDPOINT_SOCKET` without `unix://`.
    pub socket: PathBuf,
}

/// Answers to come.
pub(crate) type Stream = Streaming<SvidResponse>;

/// Waits for the first identity.
///
/// # Errors
/// When the agent says that there is none for this workload.
pub(crate) async fn first(
    from: &FromWorkloadApi,
    world: &World,
    status: &Status,
) -> Result<(Identity, Stream), StartError> {
    let mut failures = 0;
    loop {
        let why = match open(&from.socket).await {
            Ok(mut stream) => match next(&mut stream).await {
                Ok(identity) => {
                    status.renewed();
                    return Ok((identity, stream));
                }
                Err(why) => why,
            },
            Err(why) => why,
        };
        let text = format!("{}: {why}", from.socket.display());
        status.failed(&text);
        if let Failed::Denied(_) = why {
            return Err(StartError(text));
        }
        if failures == 0 {
            tracing::warn!("no identity yet: {text}; it is tried again");
        }
        let now = world.now_ms();
        world
            .sleep_ms(retry_in(failures, now, now + 120_000, world.jitter()))
            .await;
        failures += 1;
    }
}

/// Takes what comes for as long as the task lives, and connects again when the stream ends.
pub(crate) async fn follow(
    from: FromWorkloadApi,
    mut stream: Stream,
    publisher: Publisher,
    world: World,
) {
    let mut failures = 0;
    loop {
        match next(&mut stream).await {
            Ok(identity) => {
                failures = 0;
                publisher.status().renewed();
                tracing::info!(id = %identity.id, not_after = identity.not_after, "the agent sent an identity");
                publisher.publish(Arc::new(identity));
                continue;
            }
            Err(why) => {
                let text = format!("{}: {why}", from.socket.display());
                publisher.status().failed(&text);
                if failures == 0 {
                    tracing::warn!("{text}; what came before stays in force");
                }
            }
        }
        loop {
            let now = world.now_ms();
            let not_after = publisher.status().standing().not_after.unwrap_or(0) * 1000;
            world
                .sleep_ms(retry_in(failures, now, not_after, world.jitter()))
                .await;
            failures += 1;
            match open(&from.socket).await {
                Ok(opened) => {
                    stream = opened;
                    break;
                }
                Err(why) => publisher.status().failed(&why.to_string()),
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the agent knows no identity for this workload: {0}; register it there")]
    Denied(String),
    #[error("{0}")]
    Other(String),
}

impl From<Answer> for Failed {
    fn from(answer: Answer) -> Self {
        match answer.code() {
            Code::PermissionDenied => Self::Denied(answer.message().to_owned()),
            code => Self::Other(format!("{code:?}: {}", answer.message())),
        }
    }
}

async fn open(socket: &Path) -> Result<Stream, Failed> {
    let path = socket.to_path_buf();
    let connector = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The name is never looked up: the connector knows where to go.
    let endpoint = Endpoint::from_static("http://agent.invalid").connect_timeout(CONNECT);
    let connecting = endpoint.connect_with_connector(connector);
    let other = |text: String| {
        Failed::Other(format!(
            "cannot connect: {text}; is the agent there, and may this user use its socket?"
        ))
    };
    let channel = match tokio::time::timeout(2 * CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| other(error.to_string()))?,
        Err(_) => return Err(other("no answer".into())),
    };
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
    grpc.ready()
        .await
        .map_err(|error| other(error.to_string()))?;
    let mut request = Request::new(SvidRequest {});
    request
        .metadata_mut()
        .insert(HEADER, MetadataValue::from_static("true"));
    let path = http::uri::PathAndQuery::from_static(METHOD);
    let codec = ProstCodec::<SvidRequest, SvidResponse>::default();
    Ok(grpc
        .server_streaming(request, path, codec)
        .await?
        .into_inner())
}

async fn next(stream: &mut Stream) -> Result<Identity, Failed> {
    let answer = stream.message().await?;
    let answer = answer.ok_or_else(|| Failed::Other("the agent closed the stream".into()))?;
    // Of several the first is the default (section 5.2.1 of the standard).
    let first = answer.svids.into_iter().next();
    let first = first
        .ok_or_else(|| Failed::Other("the agent sent an answer without an identity".into()))?;
    identity(&first)
        .map_err(|why| Failed::Other(format!("what the agent sent cannot be used: {why}")))
}

fn identity(svid: &Svid) -> Result<Identity, String> {
    let chain = split(&svid.x509_svid)?;
    let bundle = split(&svid.bundle)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.x509_svid_key.clone()));
    let identity = Identity::new(chain, key, bundle).map_err(|error| error.to_string())?;
    match identity.id.as_str() == svid.spiffe_id {
        true => Ok(identity),
        false => Err(format!(
            "it says {:?} and the certificate {}",
            svid.spiffe_id, identity.id
        )),
    }
}

/// Certificates in DER, one after the other.
fn split(mut ders: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    while !ders.is_empty() {
        let (rest, _) = X509Certificate::from_der(ders).map_err(|error| error.to_string())?;
        all.push(ders[..ders.len() - rest.len()].to_vec());
        ders = rest;
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
