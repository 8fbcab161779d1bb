//! One stream of either variant.

use std::pin::Pin;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::ChannelError;
use crate::limits::OUTBOX;
use crate::message::{Request, Response, Variant};

/// An open stream.
pub(crate) struct Stream {
    inbound: Inbound,
    outbound: Outbound,
    /// Bytes of a message.
    limit: usize,
}

enum Inbound {
    Delta(Streaming<DeltaDiscoveryResponse>),
    Whole(Streaming<DiscoveryResponse>),
}

enum Outbound {
    Delta(Sender<DeltaDiscoveryRequest>),
    Whole(Sender<DiscoveryRequest>),
}

impl Stream {
    /// Opens one, with what is said first on it: many servers answer nothing before they are asked.
    pub(crate) async fn open(
        channel_to: Channel,
        variant: Variant,
        token: Option<MetadataValue<Ascii>>,
        first: Vec<Request>,
        limit: usize,
    ) -> Result<Self, ChannelError> {
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel_to).max_decoding_message_size(limit);
        let failed = |status: Status| ChannelError::of(&status, limit);
        let (inbound, outbound) = match variant {
            Variant::Delta => {
                let (sender, receiver) = channel(OUTBOX);
                let outbound = Outbound::Delta(sender);
                outbound.send(first)?;
                let request = with(token, ReceiverStream::new(receiver));
                let answer = client.delta_aggregated_resources(request).await;
                let inbound = answer.map_err(failed)?.into_inner();
                (Inbound::Delta(inbound), outbound)
            }
            Variant::StateOfTheWorld => {
                let (sender, receiver) = channel(OUTBOX);
                let outbound = Outbound::Whole(sender);
                outbound.send(first)?;
                let request = with(token, ReceiverStream::new(receiver));
                let answer = client.stream_aggregated_resources(request).await;
                let inbound = answer.map_err(failed)?.into_inner();
                (Inbound::Whole(inbound), outbound)
            }
        };
        Ok(Self {
            inbound,
            outbound,
            limit,
        })
    }

    /// The next response. May be dropped before it is done without losing one.
    pub(crate) async fn next(&mut self) -> Result<Response, ChannelError> {
        let message = match &mut self.inbound {
            Inbound::Delta(inbound) => next(inbound).await,
            Inbound::Whole(inbound) => next(inbound).await,
        };
        match message {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(ChannelError::Closed),
            Err(status) => Err(ChannelError::of(&status, self.limit)),
        }
    }

    /// A response that is there already.
    pub(crate) async fn ready(&mut self) -> Option<Result<Response, ChannelError>> {
        tokio::select! {
            biased;
            next = self.next() => Some(next),
            () = std::future::ready(()) => None,
        }
    }

    /// Hands requests over to be sent.
    pub(crate) fn send(&self, requests: Vec<Request>) -> Result<(), ChannelError> {
        self.outbound.send(requests)
    }
}

impl Outbound {
    fn send(&self, requests: Vec<Request>) -> Result<(), ChannelError> {
        // A full outbox is a peer that does not read; a closed one shows on the other side, too.
        requests.into_iter().try_for_each(|request| match self {
            Self::Delta(sender) => sender
                .try_send(request.into())
                .map_err(|_| ChannelError::Deaf),
            Self::Whole(sender) => sender
                .try_send(request.into())
                .map_err(|_| ChannelError::Deaf),
        })
    }
}

pub(crate) fn with<T>(token: Option<MetadataValue<Ascii>>, requests: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(requests);
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", token);
    }
    request
}

async fn next<T: Into<Response>>(inbound: &mut Streaming<T>) -> Result<Option<Response>, Status> {
    let message = Pin::new(inbound).get_mut().message().await?;
    Ok(message.map(Into::into))
}
