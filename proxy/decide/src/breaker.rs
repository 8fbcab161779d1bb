//! Bounds that hold exactly, over all workers, and at once.
//!
//! A breaker is a count and a limit (Envoy, circuit breaking). Envoy lets a burst on several workers pass the limit,
//! because each adds before it looks; here a permit is taken by compare-exchange, so the count never exceeds the
//! limit and nobody is refused while a permit is free (semantics 9).

use weir_config::model::RetryLimit;

#[cfg(all(loom, test))]
use ::loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(all(loom, test)))]
use std::sync::atomic::{AtomicU32, Ordering};

/// Permits taken from a limit that the caller names each time, so that a configuration may change it under way:
/// above a lowered limit nobody gets a permit until enough came back.
#[derive(Debug, Default)]
pub struct Permits {
    taken: AtomicU32,
}

impl Permits {
    /// With none taken.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a permit, if fewer than `limit` are taken. Each one taken is to be given back by one
    /// [`Permits::release`].
    ///
    /// No ordering but the count's own: a permit guards no data. A release that happened before is seen all the
    /// same, since the operations on one atomic have one order.
    #[must_use]
    #[inline]
    pub fn try_acquire(&self, limit: u32) -> bool {
        let mut taken = self.taken.load(Ordering::Relaxed);
        while taken < limit {
            let next = taken + 1;
            match self.taken.compare_exchange_weak(
                taken,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => taken = now,
            }
        }
        false
    }

    /// Gives one permit back.
    #[inline]
    pub fn release(&self) {
        let before = self.taken.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a permit was given back that nobody had");
    }

    /// How many are taken now.
    #[must_use]
    #[inline]
    pub fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// How many retries may be in flight with that many requests in flight, so that an outage is not made worse by what it
/// causes: the limit to take a retry's permit from.
///
/// ```
/// use weir_config::model::RetryLimit;
/// use weir_decide::breaker::{Permits, retry_limit};
///
/// let retries = Permits::new();
/// assert!(retries.try_acquire(retry_limit(RetryLimit::default(), 50)));
/// ```
#[must_use]
#[inline]
pub fn retry_limit(limit: RetryLimit, active: u32) -> u32 {
    match limit {
        RetryLimit::Fixed(limit) => limit,
        RetryLimit::Budget { percent, min } => {
            let share = u64::from(active) * u64::from(percent) / 100;
            u32::try_from(share).unwrap_or(u32::MAX).max(min)
        }
    }
}

/// Whether one more retry may start, with that many requests and retries in flight: the answer without the permit, for
/// those who explain.
#[must_use]
#[inline]
pub fn allows(limit: RetryLimit, active: u32, retrying: u32) -> bool {
    retrying < retry_limit(limit, active)
}

#[cfg(all(loom, test))]
mod loom;
#[cfg(all(not(loom), test))]
mod tests;
