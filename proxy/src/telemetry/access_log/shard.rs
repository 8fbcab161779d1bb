//! A worker's part of the log.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use weir_config::settings::AccessLogFormat;

use super::clock::Clock;
use super::format;
use super::writer::{Batch, Message};
use crate::telemetry::Record;
use crate::telemetry::metrics::Metrics;

/// A batch is handed over when it is longer than this.
const BATCH_BYTES: usize = 32 * 1024;

/// Room for the line that passes [`BATCH_BYTES`].
const SLACK_BYTES: usize = 4 * 1024;

/// Empty batches kept by a worker.
const SPARE: usize = 4;

/// Formats the lines of one worker. Not `Sync`: it belongs to its thread.
#[derive(Debug)]
pub(crate) struct LogShard {
    format: AccessLogFormat,
    inner: Option<RefCell<Inner>>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Inner {
    bytes: Vec<u8>,
    lines: u64,
    clock: Clock,
    queue: SyncSender<Message>,
    home: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
}

impl LogShard {
    pub(super) fn new(
        format: AccessLogFormat,
        queue: Option<SyncSender<Message>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let inner = queue.map(|queue| {
            let (home, spare) = sync_channel(SPARE);
            RefCell::new(Inner {
                bytes: Vec::new(),
                lines: 0,
                clock: Clock::default(),
                queue,
                home,
                spare,
            })
        });
        Self {
            format,
            inner,
            metrics,
        }
    }

    /// Writes a line into the batch; asks for the record only where there is a log. Never waits.
    #[inline]
    pub(crate) fn log<'r>(&self, record: impl FnOnce() -> Record<'r>) {
        if let Some(inner) = &self.inner {
            self.write(&mut inner.borrow_mut(), &record());
        }
    }

    /// Hands what there is to the writer. To be called every now and then (50 ms), and by a drop.
    pub(crate) fn flush(&self) {
        if let Some(inner) = &self.inner {
            self.send(&mut inner.borrow_mut());
        }
    }

    fn write(&self, inner: &mut Inner, record: &Record<'_>) {
        if inner.bytes.capacity() == 0 {
            let spare = inner.spare.try_recv();
            inner.bytes = spare.unwrap_or_else(|_| Vec::with_capacity(BATCH_BYTES + SLACK_BYTES));
        }
        match self.format {
            AccessLogFormat::Json => format::json(&mut inner.bytes, &mut inner.clock, record),
            AccessLogFormat::Common => format::common(&mut inner.bytes, &mut inner.clock, record),
            AccessLogFormat::Combined => {
                format::combined(&mut inner.bytes, &mut inner.clock, record)
            }
            AccessLogFormat::Off => return,
        }
        inner.lines += 1;
        if inner.bytes.len() >= BATCH_BYTES {
            self.send(inner);
        }
    }

    fn send(&self, inner: &mut Inner) {
        if inner.lines == 0 {
            return;
        }
        let bytes = std::mem::take(&mut inner.bytes);
        let batch = Batch {
            bytes,
            lines: std::mem::take(&mut inner.lines),
            home: inner.home.clone(),
        };
        let refused = match inner.queue.try_send(Message::Batch(batch)) {
            Ok(()) => return,
            Err(TrySendError::Full(refused) | TrySendError::Disconnected(refused)) => refused,
        };
        if let Message::Batch(mut batch) = refused {
            self.metrics.count_log_dropped(batch.lines);
            batch.bytes.clear();
            inner.bytes = batch.bytes;
        }
    }
}

impl Drop for LogShard {
    fn drop(&mut self) {
        self.flush();
    }
}
