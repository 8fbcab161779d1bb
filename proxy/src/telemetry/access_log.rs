//! The access log: one line for each request, written off the data path.
//!
//! A worker formats lines into a batch of its own ([`LogShard`]) and hands the batch to one writer
//! thread through a bounded channel. When the output does not keep up and the channel is full, the batch
//! is dropped and its lines are counted (`weir_log_dropped_total`): a slow disk or terminal, or an attack
//! that makes many lines, costs log lines and never requests. Batches come back from the writer to be
//! filled again, so that in the steady state nothing is allocated.

mod clock;
mod escape;
mod format;
mod shard;
mod writer;

pub(crate) use shard::LogShard;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use weir_config::settings::AccessLogFormat;

use super::metrics::Metrics;
use writer::Message;

/// Batches that wait for the writer, of all workers together: with 32 KiB each, at most 2 MiB.
const QUEUE: usize = 64;

/// How long [`AccessLog::close`] may take.
const CLOSE: Duration = Duration::from_secs(1);

/// The access log of the process.
#[derive(Debug)]
pub struct AccessLog {
    format: AccessLogFormat,
    /// `None` when nothing is written.
    queue: Option<SyncSender<Message>>,
    metrics: Arc<Metrics>,
}

impl AccessLog {
    /// Writes to standard output. Where no thread can be started for it, that is reported and the log is off:
    /// a process without its log still serves.
    #[must_use]
    pub fn stdout(format: AccessLogFormat, metrics: Arc<Metrics>) -> Self {
        Self::to(format, Box::new(io::stdout()), Arc::clone(&metrics)).unwrap_or_else(|error| {
            tracing::error!(%error, "no thread for the access log, it is off; look at the limits on processes");
            Self { format: AccessLogFormat::Off, queue: None, metrics }
        })
    }

    /// Writes to `out`. With [`AccessLogFormat::Off`] no thread is started.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn to(
        format: AccessLogFormat,
        out: Box<dyn Write + Send>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        if format == AccessLogFormat::Off {
            return Ok(Self {
                format,
                queue: None,
                metrics,
            });
        }
        let (queue, batches) = sync_channel(QUEUE);
        writer::spawn(out, batches, Arc::clone(&metrics))?;
        Ok(Self {
            format,
            queue: Some(queue),
            metrics,
        })
    }

    /// A part of the log, for one thread to write.
    pub(crate) fn shard(&self) -> LogShard {
        LogShard::new(self.format, self.queue.clone(), Arc::clone(&self.metrics))
    }

    /// Writes what there is before the process ends, in at most a second.
    pub fn close(&self) {
        if !self.flush(CLOSE) {
            tracing::warn!("the access log's output is stuck, its last lines are lost");
        }
    }

    /// Waits until everything handed over before is written, but no longer than `within`. Workers
    /// must have flushed their shards (dropping one does). Says whether all was written.
    pub fn flush(&self, within: Duration) -> bool {
        let Some(queue) = &self.queue else {
            return true;
        };
        let deadline = Instant::now() + within;
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        loop {
            match queue.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(back)) if Instant::now() < deadline => message = back,
                Err(TrySendError::Full(_)) => return false,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        wait.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            .is_ok()
    }
}

#[cfg(test)]
mod tests;
