//! Memory that nobody uses, given back.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Between two looks, and from the start to the first, when all that belongs to starting has been done.
const LOOK: Duration = Duration::from_secs(5);
/// CPU time between two looks below which nothing goes on but what always does: one part in a hundred.
const IDLE: Duration = Duration::from_millis(50);
/// Bytes of code that have come into memory beyond what is used all the time, for it to be worth while to give them back.
const WORTH: u64 = 2 << 20;
/// Looks after which it is found out anew what is used all the time.
const ANEW: u32 = 60;

/// Gives back what starting up took, and what later changes did.
///
/// Code too, while there is little to do: some of what an idle process runs is run once a minute, and is a large part of
/// what it would hold. A request that comes then waits for some pages to be mapped again, a fraction of a millisecond.
pub(super) async fn keep_house() {
    tokio::time::sleep(LOOK).await;
    release_code();
    let mut code = Code::default();
    let mut spent = processor_time();
    loop {
        weir_sys::release_memory();
        tokio::time::sleep(LOOK).await;
        let before = std::mem::replace(&mut spent, processor_time());
        let is_idle = spent.saturating_sub(before) < IDLE;
        if code.is_worth_it(of_files(), is_idle) {
            release_code();
        }
    }
}

/// How much code is in memory, since it was given back last.
#[derive(Debug, Default)]
struct Code {
    /// What was there again at the first look: that is used all the time, and giving it back would only make requests wait.
    used: Option<u64>,
    looks: u32,
}

impl Code {
    /// Whether to give it back now, with so many bytes in memory.
    fn is_worth_it(&mut self, held: u64, is_idle: bool) -> bool {
        self.looks += 1;
        let used = *self.used.get_or_insert(held);
        // What is run once a minute may have been run at that very look.
        let is_old = self.looks > ANEW;
        let is_worth_it = is_idle && (is_old || held > used.saturating_add(WORTH));
        if is_worth_it {
            *self = Self::default();
        }
        is_worth_it
    }
}

fn release_code() {
    // Where it fails some more memory is held, nothing else.
    if let Err(error) = weir_sys::release_code() {
        tracing::debug!(%error, "code that is not needed stays in memory");
    }
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

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_is_run_now_and_then_is_given_back_and_what_is_used_all_the_time_is_not() {
        let mut code = Code::default();
        let mut looks = |held: &[u64]| -> Vec<bool> {
            let held = held.iter();
            held.map(|mib| code.is_worth_it(mib * MIB, true)).collect()
        };
        // Of an idle process: three are used, nine more once a minute.
        assert_eq!(looks(&[3, 3, 4, 12]), [false, false, false, true]);
        // Of one with a request now and then: all that it takes is there again at the next look.
        assert_eq!(looks(&[7, 7, 8, 9]), [false; 4]);
    }

    #[test]
    fn nothing_is_given_back_under_load_and_a_bad_first_look_is_not_for_ever() {
        let mut code = Code::default();
        assert!((0..200).all(|_| !code.is_worth_it(20 * MIB, false)));
        assert!(code.is_worth_it(20 * MIB, true));
        let given_back: Vec<bool> = (0..61).map(|_| code.is_worth_it(12 * MIB, true)).collect();
        assert_eq!(given_back.iter().position(|given| *given), Some(60));
    }

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
