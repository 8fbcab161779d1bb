//! The load that proxies report, by node and cluster. Bounded, whatever is reported.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, EndpointLoadMetricStats};

use weir_wire::load::{BUCKET, SECURED};

use crate::limits::{LOAD_INTERVAL, MAX_LOAD_CLUSTERS, MAX_LOAD_TOTAL, MAX_NAME_BYTES};

/// What a node reported of a cluster since it first did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Load {
    pub issued: u64,
    pub succeeded: u64,
    pub failed: u64,
    /// Not sent to any endpoint.
    pub dropped: u64,
    /// In flight when it last reported.
    pub in_progress: u64,
    /// Over TLS between identities, of those issued; told by proxies of Weir.
    pub secured: u64,
    /// Of the last report: how many ended, over which time, and how long they took.
    pub last: Recent,
}

/// What one report says of a moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recent {
    pub requests: u64,
    pub failed: u64,
    pub over: Duration,
    /// Upper bounds in microseconds, in order, and how many ended in each; not cumulative. Told by proxies of Weir.
    pub buckets: Vec<(u64, u64)>,
}

impl Recent {
    /// Requests a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match self.over.as_secs_f64() {
            over if over > 0.0 => self.requests as f64 / over,
            _ => 0.0,
        }
    }

    /// The time within which that share of the requests ended, as far as the buckets tell: their upper bound. `None`: nobody
    /// told, or it is beyond the last bound.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let all: u64 = self.buckets.iter().map(|(_, count)| count).sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut seen = 0;
        let (bound, _) = self.buckets.iter().find(|(_, count)| {
            seen += count;
            seen >= wanted.max(1)
        })?;
        (*bound != u64::MAX).then_some(*bound)
    }

    /// Adds what was told of the same moment by another proxy.
    pub fn add(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.failed = self.failed.saturating_add(other.failed);
        self.over = self.over.max(other.over);
        for (bound, count) in &other.buckets {
            match self
                .buckets
                .binary_search_by_key(bound, |(bound, _)| *bound)
            {
                Ok(at) => self.buckets[at].1 = self.buckets[at].1.saturating_add(*count),
                Err(at) => self.buckets.insert(at, (*bound, *count)),
            }
        }
    }
}

/// Buckets of one report; a proxy of Weir has fewer.
const MAX_BUCKETS: usize = 64;

/// Loads of all nodes.
#[derive(Debug, Default)]
pub struct Loads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<String, BTreeMap<String, Load>>,
    total: usize,
}

impl Loads {
    /// Adds a report.
    pub fn add(&self, node: &str, report: &[ClusterStats]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { nodes, total } = &mut *state;
        let clusters = nodes.entry(node.to_owned()).or_default();
        // What a report leaves out had nothing since the last one.
        for load in clusters.values_mut() {
            load.last = Recent::default();
            load.in_progress = 0;
        }
        for stats in report {
            let name = &stats.cluster_name;
            if !clusters.contains_key(name) {
                let full = clusters.len() >= MAX_LOAD_CLUSTERS || *total >= MAX_LOAD_TOTAL;
                if full || name.len() > MAX_NAME_BYTES {
                    continue;
                }
                *total += 1;
            }
            let load = clusters.entry(name.clone()).or_default();
            load.dropped = load.dropped.saturating_add(stats.total_dropped_requests);
            load.in_progress = 0;
            load.last = Recent {
                over: over(stats),
                ..Recent::default()
            };
            for place in &stats.upstream_locality_stats {
                load.issued = load.issued.saturating_add(place.total_issued_requests);
                load.succeeded = load
                    .succeeded
                    .saturating_add(place.total_successful_requests);
                load.failed = load.failed.saturating_add(place.total_error_requests);
                let in_progress = place.total_requests_in_progress;
                load.in_progress = load.in_progress.saturating_add(in_progress);
                load.last.add(&Recent {
                    requests: place
                        .total_successful_requests
                        .saturating_add(place.total_error_requests),
                    failed: place.total_error_requests,
                    ..Recent::default()
                });
                metrics(load, &place.load_metric_stats);
            }
        }
    }

    /// What a node reported, by cluster.
    #[must_use]
    pub fn of(&self, node: &str) -> Vec<(String, Load)> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let clusters = state.nodes.get(node).into_iter().flatten();
        clusters
            .map(|(name, load)| (name.clone(), load.clone()))
            .collect()
    }

    /// Drops what a node reported, once it is gone.
    pub(crate) fn forget(&self, node: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clusters) = state.nodes.remove(node) {
            state.total = state.total.saturating_sub(clusters.len());
        }
    }
}

fn over(stats: &ClusterStats) -> Duration {
    let told = stats.load_report_interval.as_ref().and_then(|told| {
        let seconds = u64::try_from(told.seconds).ok()?;
        Some(Duration::new(seconds, u32::try_from(told.nanos).ok()?))
    });
    told.unwrap_or(LOAD_INTERVAL)
}

fn metrics(load: &mut Load, told: &[EndpointLoadMetricStats]) {
    for metric in told {
        let count = metric.num_requests_finished_with_metric;
        if metric.metric_name == SECURED {
            load.secured = load.secured.saturating_add(count);
        }
        let bound = metric.metric_name.strip_prefix(BUCKET);
        if let Some(bound) = bound.and_then(|bound| bound.parse().ok())
            && load.last.buckets.len() < MAX_BUCKETS
        {
            load.last.add(&Recent {
                buckets: vec![(bound, count)],
                ..Recent::default()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use envoy_types::pb::envoy::config::endpoint::v3::UpstreamLocalityStats;

    fn stats(cluster: &str, issued: u64, in_progress: u64) -> ClusterStats {
        ClusterStats {
            cluster_name: cluster.into(),
            upstream_locality_stats: vec![UpstreamLocalityStats {
                total_issued_requests: issued,
                total_requests_in_progress: in_progress,
                ..UpstreamLocalityStats::default()
            }],
            ..ClusterStats::default()
        }
    }

    #[test]
    fn reports_add_up_and_what_is_in_flight_is_the_last_one() {
        let loads = Loads::default();
        loads.add("edge", &[stats("shop", 3, 2)]);
        loads.add("edge", &[stats("shop", 4, 1)]);
        let found = loads.of("edge");
        let [(name, load)] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(
            (name.as_str(), load.issued, load.in_progress),
            ("shop", 7, 1)
        );
        // Nothing since: what was is still known, and is no load any more.
        loads.add("edge", &[stats("cart", 1, 0)]);
        let found = loads.of("edge");
        let (_, shop) = found.iter().find(|(name, _)| name == "shop").unwrap();
        assert_eq!((shop.issued, shop.in_progress), (7, 0));
        assert_eq!(shop.last, Recent::default());
        loads.forget("edge");
        assert_eq!(loads.of("edge"), []);
    }

    #[test]
    fn times_are_added_up_over_proxies_and_a_share_is_the_bound_of_its_bucket() {
        let recent = |buckets: &[(u64, u64)]| Recent {
            requests: buckets.iter().map(|(_, count)| count).sum(),
            over: Duration::from_secs(10),
            buckets: buckets.to_vec(),
            ..Recent::default()
        };
        let mut sum = recent(&[(1000, 90), (5000, 5)]);
        sum.add(&recent(&[(1000, 0), (2500, 4), (u64::MAX, 1)]));
        assert_eq!(
            sum.buckets,
            [(1000, 90), (2500, 4), (5000, 5), (u64::MAX, 1)]
        );
        assert_eq!(sum.quantile_us(0.5), Some(1000));
        assert_eq!(sum.quantile_us(0.99), Some(5000));
        assert_eq!(sum.quantile_us(1.0), None, "beyond the last bound");
        assert_eq!(Recent::default().quantile_us(0.99), None);
        assert!((sum.rate() - 10.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_a_proxy_of_weir_says_beside_is_understood_and_bounded() {
        let metric = |name: String, count| EndpointLoadMetricStats {
            metric_name: name,
            num_requests_finished_with_metric: count,
            total_metric_value: 0.0,
        };
        let mut report = stats("shop", 3, 0);
        let place = &mut report.upstream_locality_stats[0];
        place.load_metric_stats = (0..1000)
            .map(|i| metric(format!("{BUCKET}{i}"), 1))
            .collect();
        place.load_metric_stats.push(metric(SECURED.into(), 3));
        place
            .load_metric_stats
            .push(metric(format!("{BUCKET}soon"), 3));
        let loads = Loads::default();
        loads.add("edge", &[report]);
        let load = loads.of("edge").remove(0).1;
        assert_eq!(load.secured, 3);
        assert_eq!(load.last.buckets.len(), MAX_BUCKETS);
    }

    #[test]
    fn a_node_that_invents_clusters_is_held_to_its_share() {
        let loads = Loads::default();
        let many: Vec<ClusterStats> = (0..MAX_LOAD_CLUSTERS + 10)
            .map(|i| stats(&format!("c{i}"), 1, 0))
            .collect();
        loads.add("edge", &many);
        assert_eq!(loads.of("edge").len(), MAX_LOAD_CLUSTERS);
    }
}
