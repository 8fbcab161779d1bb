//! The aggregated discovery service: each method one protocol.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::AggregatedDiscoveryService;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::Shared;
use super::accept::Peer;
use super::drive::{Caller, Delta, Dialect, Sotw, drive};

pub(super) struct Ads(pub(super) Arc<Shared>);

type Answers<M> = ReceiverStream<Result<M, Status>>;

impl Ads {
    fn start<D: Dialect>(
        &self,
        request: Request<Streaming<D::Request>>,
    ) -> Result<Response<Answers<D::Response>>, Status> {
        let caller = caller(&request)?;
        // One is on its way, one is being made: more would be a queue of old states.
        let (out, answers) = mpsc::channel(1);
        tokio::spawn(drive::<D>(
            Arc::clone(&self.0),
            caller,
            request.into_inner(),
            out,
        ));
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// Who calls, from its connection and its metadata.
pub(super) fn caller<M>(request: &Request<M>) -> Result<Caller, Status> {
    let peer = request.extensions().get::<Peer>().cloned();
    let peer = peer.ok_or_else(|| Status::internal("the connection has no peer"))?;
    let header = request.metadata().get("authorization");
    let header = header.and_then(|value| value.to_str().ok());
    let token = header.and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme
            .eq_ignore_ascii_case("bearer")
            .then(|| token.trim().to_owned())
    });
    Ok(Caller { peer, token })
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.start::<Sotw>(request)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.start::<Delta>(request)
    }
}
