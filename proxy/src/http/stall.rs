//! Clients that do not read.
//!
//! That a socket takes nothing does not say that its client reads nothing: the kernel holds megabytes, and asks for more
//! only when a third of them has left, which takes a client of 1 KB a second many minutes. What its
//! client has acknowledged does say it, so the kernel is asked for that, now and then and only while nothing moves.
//! `TCP_USER_TIMEOUT`, which would have the kernel judge, also ends those who read: a window that is smaller than
//! the packet at the head of the queue counts as none.

/// Milliseconds after which a client is given up that reads nothing while its answer waits: it holds a buffer, and on
/// the way to it a connection.
pub(crate) const STALL_MS: u64 = 30_000;

/// Bytes that must move in that time: a byte now and then would hold all of it for as long as its sender likes
/// (CVE-2019-9511).
const LEAST: u64 = 1024;

/// Milliseconds between two looks at what it has acknowledged.
const LOOK_MS: u64 = 5_000;

/// A wait for a client to read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    /// On the worker's clock: when it was last seen to read.
    since_ms: u64,
    looked_ms: u64,
    /// What it had not acknowledged then, in bytes; `None` before the first look, and where nobody knows.
    queue: Option<usize>,
    /// Bytes that had moved when it was last seen to read enough.
    moved: u64,
}

impl Stall {
    /// Begins now, with the first write that does not find room.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            since_ms: now_ms,
            looked_ms: now_ms,
            queue: None,
            moved: 0,
        }
    }

    /// The same where so many bytes have moved in all.
    pub(crate) fn after(moved: u64, now_ms: u64) -> Self {
        Self {
            moved,
            ..Self::new(now_ms)
        }
    }

    /// Whether it goes on all the same when so many bytes have moved in all: fewer since it began than must in that time.
    pub(crate) fn outlasts(&self, moved: u64, patience_ms: u64) -> bool {
        moved - self.moved < (LEAST * patience_ms).div_ceil(STALL_MS)
    }

    /// Begins anew, whatever has moved.
    pub(crate) fn restart(&mut self, now_ms: u64) {
        *self = Self::after(self.moved, now_ms);
    }

    /// On the worker's clock: when to look next.
    pub(crate) fn next_look(&self) -> u64 {
        self.looked_ms + LOOK_MS
    }

    /// Looks. A queue that has changed is one that is read from, or that the kernel has put more into for that reason.
    pub(crate) fn look(&mut self, now_ms: u64, queue: Option<usize>) {
        if self.queue.is_some() && self.queue != queue {
            self.since_ms = now_ms;
        }
        self.queue = queue;
        self.looked_ms = now_ms;
    }

    /// Whether it has lasted for that many milliseconds.
    pub(crate) fn is_over(&self, now_ms: u64, patience_ms: u64) -> bool {
        now_ms >= self.since_ms + patience_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled(queues: &[Option<usize>]) -> bool {
        let mut stall = Stall::new(1000);
        for queue in queues {
            let now = stall.next_look();
            stall.look(now, *queue);
            if stall.is_over(now, STALL_MS) {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_queue_that_stands_still_is_over_in_time_and_one_that_moves_never_is() {
        let six = [Some(7); 6];
        assert!(
            stalled(&six),
            "the sixth look is 30 s after the first write"
        );
        assert!(!stalled(&six[..5]));
        let slow: Vec<_> = (0..100).rev().map(|left| Some(left / 4)).collect();
        assert!(!stalled(&slow));
    }

    #[test]
    fn a_byte_now_and_then_is_no_reading_and_a_kilobyte_is() {
        // Bytes each second, and whether that is too little.
        for (pace, patience_ms, is_over) in [
            (1, STALL_MS, true),
            (34, STALL_MS, true),
            (35, STALL_MS, false),
            (1024, STALL_MS, false),
            // In a tenth of the time a tenth of it.
            (34, STALL_MS / 10, true),
            (35, STALL_MS / 10, false),
        ] {
            let mut stall = Stall::new(0);
            let over = (0..300).any(|second| {
                let (now, moved) = (second * 1000, second * pace);
                if !stall.outlasts(moved, patience_ms) {
                    stall = Stall::after(moved, now);
                }
                stall.is_over(now, patience_ms)
            });
            assert_eq!(over, is_over, "{pace} in {patience_ms} ms");
        }
    }

    #[test]
    fn where_nobody_knows_the_queue_only_writes_count() {
        assert!(stalled(&[None; 6]));
    }
}
