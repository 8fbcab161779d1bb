//! Permits and the retry budget.

use weir_config::model::RetryLimit;

use super::Law;
use crate::event::Event;
use crate::world::World;

/// A permit is given exactly when one is free, none is lost, and retries stay within their limit (semantics 9, 26).
#[derive(Default)]
pub(crate) struct Limits {
    before: u32,
}

impl Law for Limits {
    fn check(&mut self, world: &World) {
        for entry in &world.events {
            match entry.event {
                Event::Asked {
                    what,
                    limit,
                    taken,
                    got,
                } => assert_eq!(
                    got,
                    taken < limit,
                    "{what:?}: {taken} of {limit} were taken"
                ),
                Event::Retry {
                    active,
                    retrying,
                    got,
                } => {
                    let allowed = match world.bounds.retries {
                        RetryLimit::Fixed(limit) => f64::from(limit),
                        RetryLimit::Budget { percent, min } => {
                            (f64::from(active) * f64::from(percent) / 100.0)
                                .floor()
                                .max(f64::from(min))
                        }
                    };
                    assert_eq!(
                        got,
                        f64::from(retrying) < allowed,
                        "{retrying} retries of {active} requests"
                    );
                }
                _ => {}
            }
        }
        self.check_counts(world);
    }
}

impl Limits {
    fn check_counts(&mut self, world: &World) {
        let taken = world.requests.taken();
        assert_eq!(taken as usize, world.flights.len(), "a permit was lost");
        assert!(
            taken <= self.before.max(world.bounds.requests),
            "{taken} requests are in flight, and {} are allowed",
            world.bounds.requests
        );
        self.before = taken;

        let retries = world.flights.values().filter(|flight| flight.retry).count();
        assert_eq!(world.retries.taken() as usize, retries);
        for (id, endpoint) in &world.fleet {
            let on_it = world
                .flights
                .values()
                .filter(|flight| flight.is_on(*id, endpoint));
            assert_eq!(endpoint.permits.taken() as usize, on_it.count(), "{id}");
        }
    }
}
