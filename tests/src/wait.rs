//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

/// How long a test waits for what must happen, unless it says otherwise. Generous, because it
/// is only ever used up by a failure, and the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How long a test waits to be convinced that something does *not* happen.
pub const SILENCE: Duration = Duration::from_millis(300);

/// Calls `probe` until it gives a value.
///
/// # Panics
/// When [`PATIENCE`] has passed; the message says what was waited for.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, probe)
}

/// As [`eventually`], with a limit of its own.
///
/// # Panics
/// When the limit has passed; the message says what was waited for.
pub fn within<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            start.elapsed() < limit,
            "waited {limit:?} for this in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(3));
    }
}
