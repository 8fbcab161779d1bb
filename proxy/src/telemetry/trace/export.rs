//! Sending spans to a receiver by the OpenTelemetry protocol (OTLP 1.x), on the auxiliary thread.
//!
//! One export after another, each bounded in size and time. An export that failed in a way that may pass (OTLP, "Failures")
//! is tried again, a few times with growing waits; meanwhile the queue fills, and what does not fit is dropped and
//! counted. Where to send is looked up anew for each try, so that a change of the configuration takes
//! effect at once, even while a receiver is down.
//!
//! The messages are those of `opentelemetry-proto`; the calls are made here and not by `opentelemetry-otlp`, whose exporter wants
//! its own span type filled first, hides which spans a receiver refused, and brings a client stack beside
//! the one that the process has.

mod client;
mod encode;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use rand::RngExt;
use weir_config::model::Otlp;

use super::queue::{Batch, Queue};
use crate::snapshot::Snapshot;
use crate::sync::ArcSwap;
use crate::telemetry::metrics::SpanLoss;
use client::{Client, Fault};
use encode::Resource;

/// Tries of one export.
const TRIES: u32 = 4;

/// Before the second try; doubled for each further one, and up to half as much again by chance.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// A receiver may ask for a longer wait; this is the most it gets.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Exports what comes through the queue, for as long as the process lives.
pub(crate) async fn run(queue: &Queue, snapshots: &ArcSwap<Snapshot>) {
    let mut exporter = Exporter {
        resource: Resource::of_this_process(),
        client: None,
        failing: false,
    };
    loop {
        let batch = queue.take().await;
        exporter.export(queue, snapshots, batch).await;
        queue.done();
    }
}

struct Exporter {
    resource: Resource,
    /// With its receiver, kept from export to export.
    client: Option<Client>,
    /// Said once, until it is over.
    failing: bool,
}

impl Exporter {
    async fn export(&mut self, queue: &Queue, snapshots: &ArcSwap<Snapshot>, batch: Batch) {
        let spans: u64 = batch.iter().map(|ended| ended.spans()).sum();
        let mut message: Option<(String, Bytes)> = None;
        for attempt in 1..=TRIES {
            let Some(otlp) = receiver(snapshots) else {
                // Tracing was turned off while these were on their way.
                return queue.metrics.count_spans_lost(SpanLoss::Unsent, spans);
            };
            let encoded = message.as_ref();
            if encoded.is_none_or(|(name, _)| *name != otlp.service_name) {
                let encoded = encode::request(&batch, &self.resource, &otlp.service_name);
                message = Some((otlp.service_name.clone(), encoded.encode_to_vec().into()));
            }
            let Some((_, body)) = &message else { return };
            let fault = match self.client_of(&otlp).send(body.clone()).await {
                Ok(refused) => return self.sent(queue, spans, refused),
                Err(fault) => fault,
            };
            self.report(&otlp, &fault);
            match fault {
                Fault::Final(_) => {
                    return queue.metrics.count_spans_lost(SpanLoss::Refused, spans);
                }
                Fault::Passing { after, .. } if attempt < TRIES => pause(attempt, after).await,
                Fault::Passing { .. } => {}
            }
        }
        queue.metrics.count_spans_lost(SpanLoss::Unsent, spans);
    }

    fn client_of(&mut self, otlp: &Arc<Otlp>) -> &mut Client {
        if !self
            .client
            .as_ref()
            .is_some_and(|client| client.is_for(otlp))
        {
            self.client = None;
        }
        self.client
            .get_or_insert_with(|| Client::new(Arc::clone(otlp)))
    }

    fn sent(&mut self, queue: &Queue, spans: u64, refused: u64) {
        let refused = refused.min(spans);
        queue.metrics.count_spans_exported(spans - refused);
        queue.metrics.count_spans_lost(SpanLoss::Refused, refused);
        if std::mem::take(&mut self.failing) {
            tracing::info!("spans are exported again");
        }
    }

    fn report(&mut self, otlp: &Otlp, fault: &Fault) {
        if !std::mem::replace(&mut self.failing, true) {
            let receiver = format!("{}:{}", otlp.host, otlp.port);
            tracing::warn!(%receiver, %fault, "spans cannot be exported; those that do not fit the queue are dropped and counted");
        }
    }
}

/// Where spans go now.
fn receiver(snapshots: &ArcSwap<Snapshot>) -> Option<Arc<Otlp>> {
    let snapshot = snapshots.load();
    let otlp = snapshot.model.tracing.otlp.as_ref()?;
    Some(Arc::new(otlp.clone()))
}

async fn pause(attempt: u32, asked: Option<Duration>) {
    let own = FIRST_WAIT * 2u32.pow(attempt - 1);
    let chance: f64 = rand::rng().random_range(1.0..1.5);
    let wait = asked.unwrap_or(own).max(own).min(LONGEST_WAIT);
    tokio::time::sleep(wait.mul_f64(chance)).await;
}
