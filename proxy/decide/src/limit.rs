//! Token buckets: how many requests may pass, kept in one number each.
//!
//! The algorithm is the generic cell rate algorithm (ITU-T I.371) in its virtual scheduling form. A bucket is the time
//! at which it would be full again, in nanoseconds: a request moves that time on by what one request takes to come
//! back, and is refused if it would then lie further ahead than a whole burst takes. Nothing has to refill it, a bucket
//! that is full again says nothing that an absent one would not, and one compare-exchange makes it exact however many
//! threads ask at once.

mod table;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_config::model::RateLimit;

pub use table::Table;

/// The request is too much; one would pass after this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// As the field says it: whole seconds, at least 1 (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn seconds(self) -> u64 {
        let begun = u64::from(self.0.subsec_nanos() > 0);
        (self.0.as_secs() + begun).max(1)
    }
}

/// A limit in the units of the buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Nanoseconds until one request comes back, rounded up: never more than the limit allows.
    interval: u64,
    /// Nanoseconds until an empty bucket is full.
    depth: u64,
}

impl Rate {
    /// The rate that a limit states.
    #[must_use]
    pub fn of(limit: &RateLimit) -> Self {
        let interval = nanos(limit.per).div_ceil(u64::from(limit.requests.max(1)));
        Self {
            interval,
            depth: interval.saturating_mul(u64::from(limit.burst)),
        }
    }

    /// What a bucket becomes if a request passes that is full again at `full_at`, both on the clock of `now`.
    fn take(self, full_at: u64, now: u64) -> Result<u64, RetryAfter> {
        let next = full_at.max(now).saturating_add(self.interval);
        match (next - now).checked_sub(self.depth) {
            None | Some(0) => Ok(next),
            Some(wait) => Err(RetryAfter(Duration::from_nanos(wait))),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// One bucket, shared by threads; full at first.
#[derive(Debug, Default)]
pub struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one request out. `now` is the time since a moment that stays the same for this bucket; asked with times
    /// that are a little out of order, it counts on from the latest.
    ///
    /// # Errors
    /// [`RetryAfter`], with the bucket unchanged.
    pub fn take(&self, rate: Rate, now: Duration) -> Result<(), RetryAfter> {
        let now = nanos(now);
        // The number guards no other memory, so that no order beyond its own is needed.
        let mut full_at = self.0.load(Ordering::Relaxed);
        loop {
            let next = rate.take(full_at, now)?;
            match self
                .0
                .compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }
}
