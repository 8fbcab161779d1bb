//! Reporting load (LRS): what this proxy sent to each service, told to the control plane as often as it asks.
//!
//! Beside the counts of the protocol go buckets of times, as metrics with names of ours that other servers pass over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterStats, EndpointLoadMetricStats, UpstreamLocalityStats,
};
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use envoy_types::pb::envoy::service::load_stats::v3::{LoadStatsRequest, LoadStatsResponse};
use envoy_types::pb::google::protobuf::Duration as WireDuration;
use tokio::sync::mpsc::channel;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use weir_wire::load::{BUCKET, SECURED};

use crate::channel::with;

/// A server asks for no report more often than this.
const SHORTEST: Duration = Duration::from_millis(500);
/// Nor less often; one that asks for nothing sensible is reported to as often as Weir's own asks.
const LONGEST: Duration = Duration::from_secs(3600);

/// What was sent to a service since this process started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Served {
    pub service: String,
    /// Over TLS between identities.
    pub secured: bool,
    pub succeeded: u64,
    pub failed: u64,
    /// Upper bounds in microseconds, the last `u64::MAX`, and how many ended in each; not cumulative.
    pub buckets: Vec<(u64, u64)>,
}

/// Tells what was sent; called off the workers.
pub type Load = Arc<dyn Fn() -> Vec<Served> + Send + Sync>;

/// The reports of a proxy that is in the process of its control plane, and needs no connection.
#[derive(Default)]
pub struct Reports(BTreeMap<String, Served>);

impl Reports {
    /// What came since the last one, in that time.
    pub fn next(&mut self, now: Vec<Served>, took: Duration) -> Vec<ClusterStats> {
        differences(now, &mut self.0, took)
    }
}

/// Reports on a connection for as long as the server listens. A server that wants no reports is left alone. `began`: when this process
/// did, and with it what is reported.
pub(crate) async fn report(
    to: Channel,
    node: Node,
    token: Option<MetadataValue<Ascii>>,
    load: Load,
    began: Instant,
) {
    if let Err(status) = converse(to, node, token, load, began).await {
        tracing::debug!(%status, "load is not reported");
    }
}

async fn converse(
    to: Channel,
    node: Node,
    token: Option<MetadataValue<Ascii>>,
    load: Load,
    began: Instant,
) -> Result<(), Status> {
    let (sender, receiver) = channel(1);
    let hello = LoadStatsRequest {
        node: Some(node.clone()),
        ..LoadStatsRequest::default()
    };
    let _ = sender.send(hello).await;
    let request = with(token, ReceiverStream::new(receiver));
    let mut client = LoadReportingServiceClient::new(to);
    let mut wishes = client.stream_load_stats(request).await?.into_inner();
    let Some(first) = wishes.message().await? else {
        return Ok(());
    };
    let mut interval = interval(&first);
    let mut told = Told::default();
    // The server has forgotten what it was told on an earlier connection: it hears all of it, at once, as what it is, the
    // load since this process began.
    let mut since = began;
    loop {
        tokio::select! {
            wish = wishes.message() => match wish? {
                Some(wish) => interval = self::interval(&wish),
                None => return Ok(()),
            },
            () = tokio::time::sleep(interval.saturating_sub(since.elapsed())) => {
                let took = since.elapsed();
                since = Instant::now();
                let Some(stats) = told.next(load(), took) else {
                    continue;
                };
                let report = LoadStatsRequest {
                    node: Some(node.clone()),
                    cluster_stats: stats,
                };
                if sender.send(report).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

fn interval(wish: &LoadStatsResponse) -> Duration {
    let asked = wish.load_reporting_interval.as_ref().and_then(|asked| {
        let seconds = u64::try_from(asked.seconds).ok()?;
        Some(Duration::new(seconds, u32::try_from(asked.nanos).ok()?))
    });
    asked
        .unwrap_or(Duration::from_secs(10))
        .clamp(SHORTEST, LONGEST)
}

/// What the server knows already.
#[derive(Default)]
struct Told {
    served: BTreeMap<String, Served>,
    /// The last report was of nothing.
    nothing: bool,
}

impl Told {
    /// The next report. Who hears nothing after a report of nothing knows that there is nothing: an idle proxy has no reason
    /// to wake.
    fn next(&mut self, now: Vec<Served>, took: Duration) -> Option<Vec<ClusterStats>> {
        let stats = differences(now, &mut self.served, took);
        let before = std::mem::replace(&mut self.nothing, stats.is_empty());
        (!before || !self.nothing).then_some(stats)
    }
}

/// What came since the last report, of those services that got something.
fn differences(
    now: Vec<Served>,
    reported: &mut BTreeMap<String, Served>,
    took: Duration,
) -> Vec<ClusterStats> {
    let mut stats = Vec::new();
    for served in now {
        let before = reported.get(&served.service);
        let more = |pick: fn(&Served) -> u64| {
            let before = before.map_or(0, pick);
            pick(&served).saturating_sub(before)
        };
        let (succeeded, failed) = (more(|it| it.succeeded), more(|it| it.failed));
        if succeeded + failed == 0 {
            continue;
        }
        let mut metrics = Vec::new();
        for (at, (bound, count)) in served.buckets.iter().enumerate() {
            let old = before
                .and_then(|it| it.buckets.get(at))
                .map_or(0, |it| it.1);
            let count = count.saturating_sub(old);
            if count > 0 {
                metrics.push(metric(format!("{BUCKET}{bound}"), count));
            }
        }
        if served.secured {
            metrics.push(metric(SECURED.to_owned(), succeeded + failed));
        }
        stats.push(ClusterStats {
            cluster_name: served.service.clone(),
            upstream_locality_stats: vec![UpstreamLocalityStats {
                total_successful_requests: succeeded,
                total_error_requests: failed,
                total_issued_requests: succeeded + failed,
                load_metric_stats: metrics,
                ..UpstreamLocalityStats::default()
            }],
            load_report_interval: Some(WireDuration {
                seconds: i64::try_from(took.as_secs()).unwrap_or(i64::MAX),
                nanos: i32::try_from(took.subsec_nanos()).unwrap_or_default(),
            }),
            ..ClusterStats::default()
        });
        reported.insert(served.service.clone(), served);
    }
    stats
}

fn metric(name: String, count: u64) -> EndpointLoadMetricStats {
    EndpointLoadMetricStats {
        metric_name: name,
        num_requests_finished_with_metric: count,
        // Counts are far below where a float is no longer exact.
        total_metric_value: count as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(succeeded: u64, failed: u64, fast: u64, slow: u64) -> Served {
        Served {
            service: "shop".into(),
            secured: true,
            succeeded,
            failed,
            buckets: vec![(1000, fast), (u64::MAX, slow)],
        }
    }

    #[test]
    fn only_what_came_since_is_reported_and_nothing_of_who_got_nothing() {
        let mut reported = BTreeMap::new();
        let took = Duration::from_millis(2500);
        let first = differences(vec![served(3, 1, 3, 1)], &mut reported, took);
        assert_eq!(first[0].upstream_locality_stats[0].total_issued_requests, 4);
        assert_eq!(
            differences(vec![served(3, 1, 3, 1)], &mut reported, took),
            []
        );
        let next = differences(vec![served(5, 1, 4, 2)], &mut reported, took);
        let place = &next[0].upstream_locality_stats[0];
        assert_eq!(
            (place.total_successful_requests, place.total_error_requests),
            (2, 0)
        );
        let named: Vec<(&str, u64)> = place
            .load_metric_stats
            .iter()
            .map(|metric| {
                (
                    metric.metric_name.as_str(),
                    metric.num_requests_finished_with_metric,
                )
            })
            .collect();
        let last = format!("{BUCKET}{}", u64::MAX);
        assert_eq!(
            named,
            [("weir.duration_us_le:1000", 1), (&last, 1), (SECURED, 2)]
        );
    }

    #[test]
    fn that_nothing_more_comes_is_said_once() {
        let mut told = Told::default();
        let took = Duration::from_secs(10);
        let mut counts = |served: Vec<Served>| told.next(served, took).map(|stats| stats.len());
        assert_eq!(counts(vec![]), Some(0));
        assert_eq!(counts(vec![]), None);
        assert_eq!(counts(vec![served(3, 1, 3, 1)]), Some(1));
        assert_eq!(counts(vec![served(3, 1, 3, 1)]), Some(0));
        assert_eq!(counts(vec![served(3, 1, 3, 1)]), None);
        assert_eq!(counts(vec![served(4, 1, 4, 1)]), Some(1));
    }

    #[test]
    fn a_server_is_not_let_to_ask_for_a_flood() {
        let wish = |seconds, nanos| {
            interval(&LoadStatsResponse {
                load_reporting_interval: Some(WireDuration { seconds, nanos }),
                ..LoadStatsResponse::default()
            })
        };
        assert_eq!(wish(0, 1), SHORTEST);
        assert_eq!(wish(-5, 0), Duration::from_secs(10));
        assert_eq!(wish(5, 0), Duration::from_secs(5));
        assert_eq!(wish(i64::MAX, 0), LONGEST);
    }
}
