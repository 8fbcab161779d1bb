//! Between the workers and the thread that exports: a queue that is bounded, and that nobody waits for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::span::Ended;
use crate::telemetry::metrics::{Metrics, SpanLoss};

/// Requests that wait to be exported, of all workers together. One takes about 1 KiB, and never more than some 8 KiB.
pub(crate) const MAX_QUEUED: usize = 4096;

/// Requests in one export: at that number they go out without waiting for more.
pub(super) const MAX_BATCH: usize = 512;

/// How long the first of an export waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// A worker hands over what it has when it is that many, or at its next tick.
const HAND_OVER: usize = 64;

/// Requests that go together; in boxes, for each is moved three times, and under a lock.
pub(super) type Batch = Vec<Box<Ended>>;

/// What is recorded and not exported yet.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Box<Ended>>>,
    /// Requests that were taken out and are on their way.
    leaving: AtomicUsize,
    /// Nothing is waited for any more: the process ends.
    closing: AtomicBool,
    ready: Notify,
    pub(super) metrics: Arc<Metrics>,
}

impl Queue {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            waiting: Mutex::default(),
            leaving: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            ready: Notify::new(),
            metrics,
        }
    }

    /// A worker's way into it.
    pub(crate) fn shard(self: &Arc<Self>) -> Shard {
        Shard {
            queue: Arc::clone(self),
            held: RefCell::default(),
        }
    }

    /// Takes what fits; the rest is dropped and counted.
    fn push(&self, batch: &mut Batch) {
        let mut waiting = self.lock();
        let room = MAX_QUEUED.saturating_sub(waiting.len()).min(batch.len());
        waiting.extend(batch.drain(..room));
        drop(waiting);
        let lost = batch.drain(..).map(|ended| ended.spans()).sum();
        self.metrics.count_spans_lost(SpanLoss::QueueFull, lost);
        self.ready.notify_one();
    }

    /// The next to export: as many as there are within a second of the first, or [`MAX_BATCH`].
    pub(super) async fn take(&self) -> Batch {
        let mut until = None;
        loop {
            let waiting = self.len();
            if waiting >= MAX_BATCH || (waiting > 0 && self.closing.load(Ordering::Acquire)) {
                break;
            }
            let pushed = self.ready.notified();
            if waiting == 0 {
                pushed.await;
                continue;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + GATHER);
            if tokio::time::timeout_at(until, pushed).await.is_err() {
                break;
            }
        }
        let mut waiting = self.lock();
        let count = waiting.len().min(MAX_BATCH);
        self.leaving.store(count, Ordering::Release);
        waiting.drain(..count).collect()
    }

    /// What was taken is exported, or lost.
    pub(super) fn done(&self) {
        self.leaving.store(0, Ordering::Release);
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    /// Waits until all is exported, at most for that time; says whether it is.
    pub(crate) async fn close(&self, within: Duration) -> bool {
        self.closing.store(true, Ordering::Release);
        let until = Instant::now() + within;
        loop {
            self.ready.notify_one();
            // In this order: between the two, nothing can pass from the one to the other unseen.
            if self.len() == 0 && self.leaving.load(Ordering::Acquire) == 0 {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Box<Ended>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker has recorded since it last handed over. Not `Sync`: it belongs to its thread.
#[derive(Debug)]
pub(crate) struct Shard {
    queue: Arc<Queue>,
    held: RefCell<Batch>,
}

impl Shard {
    /// Takes one. Waits for nobody: the lock is held by others for as long as it takes to move some pointers.
    pub(crate) fn push(&self, ended: Box<Ended>) {
        let mut held = self.held.borrow_mut();
        held.push(ended);
        if held.len() >= HAND_OVER {
            self.queue.push(&mut held);
        }
    }

    /// Hands over what there is. To be called at every tick.
    pub(crate) fn flush(&self) {
        let mut held = self.held.borrow_mut();
        if !held.is_empty() {
            self.queue.push(&mut held);
        }
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests;
