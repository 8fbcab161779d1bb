//! Memory that nobody uses, given back.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Between two looks, and from the start to the first, when all that belongs to starting has been done.
const LOOK: Duration = Duration::from_secs(5);
/// CPU time between two looks below which nothing goes on but what always does: one part in a hundred.
const IDLE: Duration = Duration::from_millis(50);
/// Bytes of code that have come into memory since it was given back last, for it to be worth while again.
const WORTH: u64 = 2 << 20;

/// Gives back what starting up took, and what later changes did.
///
/// Code too, while there is nothing to do: some of what an idle process runs is run once a minute, and is a large part of
/// what it would hold. A request that comes then waits for some pages to be mapped again, a fraction of a millisecond.
pub(super) async fn keep_house() {
    tokio::time::sleep(LOOK).await;
    let mut left = release_code();
    let mut spent = processor_time();
    loop {
        weir_sys::release_memory();
        tokio::time::sleep(LOOK).await;
        let before = std::mem::replace(&mut spent, processor_time());
        let is_idle = spent.saturating_sub(before) < IDLE;
        if is_idle && of_files() > left.saturating_add(WORTH) {
            left = release_code();
        }
    }
}

/// Gives code back; the bytes of files that are in memory still.
fn release_code() -> u64 {
    // Where it fails some more memory is held, nothing else.
    if let Err(error) = weir_sys::release_code() {
        tracing::debug!(%error, "code that is not needed stays in memory");
        return u64::MAX;
    }
    of_files()
}

/// What this process has used of all CPUs.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Bytes of files, this program's above all, that are mapped and in memory: the third number of `statm`, in pages (proc(5)). 0
/// where that cannot be read.
fn of_files() -> u64 {
    let told = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = told.split(' ').nth(2).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_is_told_by_the_kernel() {
        assert!(of_files() > 100 * 1024);
        let before = processor_time();
        let mut sum = 0_u64;
        while processor_time() < before + Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
    }
}
