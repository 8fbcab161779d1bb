//! Writing on a thread of its own: a slow disk holds nobody up, and of several states that wait the newest is written.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Saved, Store};

/// Hands states to the thread that writes them.
#[derive(Debug, Clone)]
pub struct Writer {
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    slot: Mutex<Slot>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    next: Option<Saved>,
    writing: bool,
    /// Why the last one could not be written, and since when none can be.
    error: Option<(String, u64)>,
}

impl Writer {
    /// Starts the thread. It ends with the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Store) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let of_thread = Arc::clone(&desk);
        std::thread::Builder::new()
            .name("last-good".into())
            .spawn(move || work(&store, &of_thread))?;
        Ok(Self { desk })
    }

    /// Takes a state to be written; one that still waits is forgotten.
    pub fn write(&self, saved: Saved) {
        self.desk.lock().next = Some(saved);
        self.desk.moved.notify_all();
    }

    /// Why the last state is not on disk, if it is not, and since when none can be written (milliseconds since 1970).
    #[must_use]
    pub fn error(&self) -> Option<(String, u64)> {
        self.desk.lock().error.clone()
    }

    /// Waits until nothing is left to be written, at most that long.
    pub fn finish(&self, within: Duration) {
        let until = Instant::now() + within;
        let mut slot = self.desk.lock();
        while slot.next.is_some() || slot.writing {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return tracing::warn!("the last good state could not be written in time");
            }
            let waited = self.desk.moved.wait_timeout(slot, left);
            slot = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Saved {
        let mut slot = self.lock();
        loop {
            if let Some(next) = slot.next.take() {
                slot.writing = true;
                return next;
            }
            slot = self
                .moved
                .wait(slot)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn done(&self, result: Result<(), String>) {
        let mut slot = self.lock();
        slot.writing = false;
        match (&result, &slot.error) {
            (Err(error), None) => tracing::error!(
                "THE LAST GOOD STATE CANNOT BE WRITTEN: {error}; serving goes on, but a restart without a control plane would find an older state"
            ),
            (Ok(()), Some(_)) => tracing::info!("the last good state is written again"),
            _ => {}
        }
        let now = crate::tally::now_ms();
        let since = slot.error.as_ref().map_or(now, |(_, since)| *since);
        slot.error = result.err().map(|error| (error, since));
        self.moved.notify_all();
    }
}

fn work(store: &Store, desk: &Desk) {
    loop {
        let saved = desk.next();
        let place = store.dir.display();
        let result = store.save(&saved).map_err(|e| format!("{place}: {e}"));
        desk.done(result);
    }
}
