//! Seeded simulation of the decisions under faults: fleets of endpoints that slow, fail, flap and vanish, under
//! policies that change, with invariants after every step.
//!
//! No process, no socket and no clock: a seed is a whole history. `world` makes it happen, and what happened is a
//! list of events; a law in `laws` follows the events with a model of its own and compares. A new part of the
//! decisions adds what it does to `world` and a law beside the others.
//!
//! A seed that breaks a law is named; `WEIR_SIM_SEED=n` runs it alone, and `WEIR_SIM_SEEDS=n` runs more of them.

mod event;
mod fleet;
mod laws;
mod policies;
mod seeds;
mod world;

use laws::{Coverage, Ejections, Law, Limits, Members, Rates};
use world::World;

const SEEDS: u64 = 250;
const STEPS: usize = 2000;

#[test]
fn fleets_that_slow_fail_flap_and_vanish_break_no_law() {
    // semantics 1 to 5, 8, 9, 14, 26
    let mut coverage = Coverage::default();
    let all = seeds::each(SEEDS, |seed, at| {
        let mut world = World::new(seed);
        let mut ejections = Ejections::default();
        let mut limits = Limits::default();
        let mut members = Members::default();
        let mut rates = Rates::default();
        for step in 0..STEPS {
            at.set(step);
            // The first thing to be judged is how the world began.
            if step > 0 {
                world.step();
            }
            let laws: [&mut dyn Law; 5] = [
                &mut ejections,
                &mut limits,
                &mut members,
                &mut rates,
                &mut coverage,
            ];
            for law in laws {
                law.check(&world);
            }
        }
    });
    if all {
        coverage.assert_complete();
    }
}
