//! The thread that writes batches out.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use crate::telemetry::metrics::Metrics;

/// Between tries on an output that somebody has made non-blocking.
const PAUSE: Duration = Duration::from_millis(5);

/// Larger batches are not kept: one line may hold a few long values, which is rare.
const KEEP_BYTES: usize = 128 * 1024;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    Batch(Batch),
    /// Answers when all before is written.
    Flush(SyncSender<()>),
}

/// Whole lines.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
    /// Where the memory goes when it is written.
    pub(super) home: SyncSender<Vec<u8>>,
}

/// Starts the thread. It ends when all senders are gone.
pub(super) fn spawn(
    out: Box<dyn Write + Send>,
    queue: Receiver<Message>,
    metrics: Arc<Metrics>,
) -> io::Result<()> {
    let thread = std::thread::Builder::new()
        .name("weir-log".to_owned())
        .stack_size(128 * 1024);
    thread.spawn(move || run(out, &queue, &metrics)).map(drop)
}

fn run(mut out: Box<dyn Write + Send>, queue: &Receiver<Message>, metrics: &Metrics) {
    while let Ok(message) = queue.recv() {
        match message {
            Message::Batch(batch) => write(&mut *out, batch, metrics),
            Message::Flush(done) => {
                // The output is gone, or whoever asked has given up: nobody is left to tell.
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

fn write(out: &mut dyn Write, mut batch: Batch, metrics: &Metrics) {
    if write_all(out, &batch.bytes)
        .and_then(|()| out.flush())
        .is_err()
    {
        metrics.count_log_dropped(batch.lines);
    }
    if batch.bytes.capacity() <= KEEP_BYTES {
        batch.bytes.clear();
        // A worker that has enough, or is gone, lets the memory go.
        let _ = batch.home.try_send(batch.bytes);
    }
}

/// As [`Write::write_all`], but waits for an output that is non-blocking.
fn write_all(out: &mut dyn Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
