//! Time and randomness, given in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// A clock that may run faster than the world's, so that a day of a certificate can pass in a test, and a source of jitter.
#[derive(Clone)]
pub struct World {
    began: Instant,
    /// At that moment, since 1970.
    base: Duration,
    speed: u32,
    /// By how many milliseconds it was set.
    set: Arc<AtomicI64>,
    jitter: Arc<dyn Fn() -> f64 + Send + Sync>,
}

impl World {
    /// The machine's clock.
    #[must_use]
    pub fn real() -> Self {
        Self::fast(1)
    }

    /// A clock that runs that many times as fast from now on.
    #[must_use]
    pub fn fast(speed: u32) -> Self {
        Self {
            began: Instant::now(),
            base: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            speed: speed.max(1),
            set: Arc::default(),
            jitter: Arc::new(rand::random::<f64>),
        }
    }

    /// Where a number from 0 to below 1 is taken from.
    #[must_use]
    pub fn with_jitter(mut self, jitter: impl Fn() -> f64 + Send + Sync + 'static) -> Self {
        self.jitter = Arc::new(jitter);
        self
    }

    /// Sets the clock, for all who have it, by that many milliseconds: forward, or back where it is negative.
    pub fn set_by(&self, ms: i64) {
        self.set.fetch_add(ms, Relaxed);
    }

    fn since_1970(&self) -> Duration {
        let now = match self.speed {
            // A real clock may be set while this runs.
            1 => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            speed => self.base + self.began.elapsed() * speed,
        };
        let set = self.set.load(Relaxed);
        let by = Duration::from_millis(set.unsigned_abs());
        match set < 0 {
            true => now.saturating_sub(by),
            false => now + by,
        }
    }

    /// Milliseconds that have passed since this was made, however the clock is set.
    pub(crate) fn passed_ms(&self) -> i64 {
        let passed = self.began.elapsed() * self.speed;
        i64::try_from(passed.as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        i64::try_from(self.since_1970().as_millis()).unwrap_or(i64::MAX)
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now_ms() / 1000
    }

    pub(crate) fn jitter(&self) -> f64 {
        (self.jitter)().clamp(0.0, 1.0)
    }

    /// Waits until that many milliseconds have passed by this clock.
    pub(crate) async fn sleep_ms(&self, ms: i64) {
        let ms = u64::try_from(ms).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(ms) / self.speed).await;
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World(x{})", self.speed)
    }
}

impl TimeProvider for World {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.since_1970()))
    }
}
