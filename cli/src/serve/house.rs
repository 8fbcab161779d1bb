//! Memory that nobody uses, given back.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Between two looks, and from the start to the first, when all that belongs to starting has been done.
const LOOK: Duration = Duration::from_secs(5);
/// CPU time between two looks below which nothing goes on but what always does: one part in a hundred.
const IDLE: Duration = Duration::from_millis(50);
/// Bytes of code that have come into memory beyond what is used all the time, for it to be worth while to give them back.
const WORTH: u64 = 1 << 20;
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

/// Whether code that is in memory is used all the time, as far as giving it back has shown.
#[derive(Debug, Default)]
struct Code {
    /// What is used all the time: giving that back would only make requests wait. The least that was there again at a look
    /// since it was found out anew; `None`: it is not known yet.
    used: Option<u64>,
    /// What was held when it was given back at the last look.
    given_back: Option<u64>,
    /// What was held at the next look, if that was nearly all of it again. Once may be what is run once a minute, so of two looks
    /// in a row the lesser counts.
    returned: Option<u64>,
    looks: u32,
}

impl Code {
    /// Whether to give it back now, with so many bytes in memory.
    fn is_worth_it(&mut self, held: u64, is_idle: bool) -> bool {
        self.looks += 1;
        if self.looks > ANEW {
            *self = Self::default();
        }
        if let Some(before) = self.given_back.take() {
            let is_back = held.saturating_add(WORTH) > before;
            match (is_back, self.returned.take()) {
                (true, None) => self.returned = Some(held),
                (true, Some(first)) => self.used = Some(held.min(first)),
                (false, _) => self.used = Some(self.used.map_or(held, |used| used.min(held))),
            }
        }
        let used = self.used.unwrap_or_default();
        let is_worth_it = is_idle && held > used.saturating_add(WORTH);
        self.given_back = is_worth_it.then_some(held);
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

    fn looks(code: &mut Code, held: &[u64]) -> Vec<bool> {
        let held = held.iter();
        held.map(|mib| code.is_worth_it(mib * MIB, true)).collect()
    }

    #[test]
    fn what_is_run_once_a_minute_is_given_back_even_if_it_comes_at_a_bad_moment() {
        let mut code = Code::default();
        let found = looks(&mut code, &[12, 3, 4, 12, 3, 12, 12, 3, 3]);
        let expected = [true, false, false, true, false, true, true, false, false];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_run_once_a_minute_is_not_taken_for_what_is_used_all_the_time() {
        let found = looks(&mut Code::default(), &[5, 5, 12, 5, 5]);
        assert_eq!(found, [true, true, true, false, false]);
        let found = looks(&mut Code::default(), &[12, 12, 5, 5, 5]);
        assert_eq!(found, [true, true, false, false, false]);
        // The 6 may be 5 and something that is run now and then.
        let found = looks(&mut Code::default(), &[8, 5, 8, 6, 7]);
        assert_eq!(found, [true, false, true, false, true]);
    }

    #[test]
    fn what_is_used_all_the_time_is_left_until_it_is_found_out_anew() {
        let mut code = Code::default();
        let given_back = looks(&mut code, &[9; 130]);
        let times: Vec<usize> = (0..130).filter(|at| given_back[*at]).collect();
        assert_eq!(times, [0, 1, 60, 61, 121, 122]);
        let mut busy = Code::default();
        assert!((0..200).all(|_| !busy.is_worth_it(20 * MIB, false)));
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
