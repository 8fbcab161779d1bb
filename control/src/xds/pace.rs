//! How often proxies are told of changes: what flaps must not be felt by all of them each time.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::Published;

/// Between two views that are handed out; twice a second. The first after a quiet time goes at once.
const INTERVAL: Duration = Duration::from_millis(500);

/// When views were handed out last.
#[derive(Default)]
struct Pace(Option<Instant>);

impl Pace {
    /// When the next may go, for a change that came at `now`.
    fn due(&self, now: Instant) -> Instant {
        self.0.map_or(now, |last| now.max(last + INTERVAL))
    }

    fn told(&mut self, now: Instant) {
        self.0 = Some(now);
    }
}

/// Calls `refresh` for each change, the newest where several came in one interval. Ends with the control plane.
pub(super) async fn follow<F>(
    mut models: watch::Receiver<Published>,
    mut refresh: impl FnMut() -> F,
) where
    F: Future<Output = ()>,
{
    let mut pace = Pace::default();
    // What is published now is what views are made of first.
    models.mark_changed();
    while models.changed().await.is_ok() {
        tokio::time::sleep_until(pace.due(Instant::now())).await;
        models.mark_unchanged();
        pace.told(Instant::now());
        refresh().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_flaps_is_told_twice_a_second_and_the_first_at_once() {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut told = Vec::new();
        // Changes every 50 ms, after two seconds of quiet.
        for at in (2_000..3_000).step_by(50) {
            let due = pace.due(start + Duration::from_millis(at));
            if pace.0.is_none_or(|last| due > last) && told.last() != Some(&due) {
                told.push(due);
            }
            if due <= start + Duration::from_millis(at) {
                pace.told(due);
            }
        }
        let after: Vec<u128> = told.iter().map(|at| (*at - start).as_millis()).collect();
        assert_eq!(after, [2_000, 2_500, 3_000]);
    }

    #[tokio::test]
    async fn of_many_changes_at_once_only_the_newest_is_told() {
        let models = watch::Sender::new(Published::default());
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let (following, seen) = (models.subscribe(), models.subscribe());
        tokio::spawn(follow(following, move || {
            let _ = told.send(seen.borrow().generation);
            async {}
        }));
        assert_eq!(heard.recv().await, Some(0));
        for generation in 1..=20 {
            models.send_replace(Published {
                generation,
                ..Published::default()
            });
        }
        assert_eq!(heard.recv().await, Some(20));
        assert!(heard.try_recv().is_err());
    }
}
