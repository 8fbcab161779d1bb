//! The load reporting service: every proxy is asked for the load of every cluster it knows.

use std::sync::Arc;

use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_server::LoadReportingService;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::ads::caller;
use super::drive::Caller;
use super::gate::Refusal;
use super::{Shared, stopped};
use crate::limits::{FIRST_REQUEST_TIMEOUT, LOAD_INTERVAL};

pub(super) struct Lrs(pub(super) Arc<Shared>);

type Out = mpsc::Sender<Result<LoadStatsResponse, Status>>;

#[tonic::async_trait]
impl LoadReportingService for Lrs {
    type StreamLoadStatsStream = ReceiverStream<Result<LoadStatsResponse, Status>>;

    async fn stream_load_stats(
        &self,
        request: Request<Streaming<LoadStatsRequest>>,
    ) -> Result<Response<Self::StreamLoadStatsStream>, Status> {
        let caller = caller(&request)?;
        let (out, answers) = mpsc::channel(1);
        let (shared, incoming) = (Arc::clone(&self.0), request.into_inner());
        tokio::spawn(async move {
            if let Err(status) = listen(&shared, &caller, incoming, &out).await {
                let _ = out.try_send(Err(status));
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

async fn listen(
    shared: &Shared,
    caller: &Caller,
    mut incoming: Streaming<LoadStatsRequest>,
    out: &Out,
) -> Result<(), Status> {
    let first = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, incoming.message()).await;
    let first = match first {
        Ok(first) => first?,
        Err(_) => return Err(shared.refuse(caller, &Refusal::Silent)),
    };
    let Some(first) = first else {
        return Ok(());
    };
    let admitted = shared.admit(caller, &first.node.unwrap_or_default())?;
    let wish = LoadStatsResponse {
        send_all_clusters: true,
        load_reporting_interval: Some(Duration {
            seconds: i64::try_from(LOAD_INTERVAL.as_secs()).unwrap_or(i64::MAX),
            nanos: 0,
        }),
        ..LoadStatsResponse::default()
    };
    if out.send(Ok(wish)).await.is_err() {
        return Ok(());
    }
    let mut stop = shared.stop.clone();
    let ended = loop {
        tokio::select! {
            request = incoming.message() => match request {
                Ok(Some(report)) => {
                    shared.seen.tally.reported();
                    shared.seen.loads.add(&admitted.name, &report.cluster_stats);
                }
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            },
            () = caller.peer.ended() => break Err(shared.refuse(caller, &Refusal::Ended)),
            () = stopped(&mut stop) => break Ok(()),
        }
    };
    shared.seen.loads.forget(&admitted.name);
    ended
}
