//! Which seeds run, and what is said of one that fails.

use std::cell::Cell;
use std::env;
use std::panic::{self, AssertUnwindSafe};

/// Runs seeds 0 to `count`, or what the environment says; says whether these were at least `count`. `run` keeps
/// the step it is at in the cell.
pub(crate) fn each(count: u64, mut run: impl FnMut(u64, &Cell<usize>)) -> bool {
    let one = number("WEIR_SIM_SEED");
    let count_asked = number("WEIR_SIM_SEEDS").unwrap_or(count);
    let seeds = one.map_or(0..count_asked, |seed| seed..seed + 1);
    let complete = seeds.end - seeds.start >= count;
    for seed in seeds {
        let at = Cell::new(0);
        let result = panic::catch_unwind(AssertUnwindSafe(|| run(seed, &at)));
        assert!(
            result.is_ok(),
            "seed {seed} failed at step {}, see above; WEIR_SIM_SEED={seed} replays it",
            at.get()
        );
    }
    complete
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is to be a number, not {text:?}")),
    )
}
