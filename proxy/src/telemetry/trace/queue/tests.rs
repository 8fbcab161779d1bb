use super::*;
use crate::snapshot::Interner;
use crate::telemetry::metrics::Gauges;
use crate::telemetry::trace::span::samples::ended;

fn queue() -> (Arc<Queue>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(Arc::new(Interner::default())));
    (Arc::new(Queue::new(Arc::clone(&metrics))), metrics)
}

fn lost(metrics: &Metrics) -> u64 {
    let text = metrics.encode("", &Gauges::default());
    let mut lines = text.lines();
    let sample = "weir_spans_dropped_total{reason=\"queue-full\"} ";
    lines
        .find_map(|line| line.strip_prefix(sample)?.parse().ok())
        .unwrap()
}

#[test]
fn what_does_not_fit_is_counted_by_spans_and_the_rest_stays() {
    let (queue, metrics) = queue();
    let shard = queue.shard();
    for _ in 0..MAX_QUEUED + 100 {
        shard.push(Box::new(ended()));
    }
    shard.flush();
    assert_eq!(queue.len(), MAX_QUEUED);
    assert_eq!(lost(&metrics), 100 * ended().spans());
}

#[tokio::test(start_paused = true)]
async fn an_export_waits_for_more_but_not_for_long_and_takes_no_more_than_fits() {
    let (queue, _) = queue();
    let shard = queue.shard();
    shard.push(Box::new(ended()));
    shard.flush();
    let begun = tokio::time::Instant::now();
    assert_eq!(queue.take().await.len(), 1);
    assert!(begun.elapsed() >= GATHER && begun.elapsed() < 2 * GATHER);
    for _ in 0..MAX_BATCH + 1 {
        shard.push(Box::new(ended()));
    }
    shard.flush();
    let begun = tokio::time::Instant::now();
    assert_eq!(queue.take().await.len(), MAX_BATCH);
    assert!(begun.elapsed() < GATHER, "a full one goes at once");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ends_waits_for_what_is_on_its_way() {
    let (queue, _) = queue();
    let shard = queue.shard();
    shard.push(Box::new(ended()));
    drop(shard);
    let closing = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.close(Duration::from_secs(60)).await }
    });
    assert_eq!(queue.take().await.len(), 1);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert!(!closing.is_finished(), "it was taken, and is not sent yet");
    queue.done();
    assert!(closing.await.unwrap());
    assert!(queue.close(Duration::ZERO).await, "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_nothing_holds_up_no_end() {
    let (queue, _) = queue();
    let shard = queue.shard();
    shard.push(Box::new(ended()));
    drop(shard);
    assert!(!queue.close(Duration::from_secs(2)).await);
}
