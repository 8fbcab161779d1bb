//! Rise and fall: what a run of probe results says about an endpoint.
//!
//! A new endpoint takes nothing before its first pass, and that one pass admits it, however many
//! failures came before: it is starting, not flapping. From then on going down takes
//! `unhealthy_threshold` failures in a row and coming back `healthy_threshold` passes in a row.

use weir_config::model::HealthCheck;

/// How many results in a row change the state. Zero counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Passes that bring an endpoint back. Default 2.
    pub rise: u32,
    /// Failures that take it out. Default 3.
    pub fall: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self::from(&HealthCheck::default())
    }
}

impl From<&HealthCheck> for Thresholds {
    fn from(check: &HealthCheck) -> Self {
        Self {
            rise: check.healthy_threshold,
            fall: check.unhealthy_threshold,
        }
    }
}

/// A change of state worth an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// A new endpoint passed for the first time.
    Admitted,
    /// It was out, and came back.
    Up,
    /// It was in, and went out.
    Down,
}

/// What is known of one endpoint. It outlives configurations: [`Health::set_thresholds`] keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    thresholds: Thresholds,
    state: State,
    /// Results in a row that speak against `state`.
    streak: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Up,
    Down,
}

impl Health {
    /// An endpoint nobody has probed.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            state: State::New,
            streak: 0,
        }
    }

    /// Takes other thresholds and keeps the state; the next result is judged by them.
    pub fn set_thresholds(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    /// Whether it may take requests.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether it has never passed.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.state == State::New
    }

    /// Takes one result in; says what changed, if anything did.
    pub fn on_probe(&mut self, passed: bool) -> Option<Transition> {
        let (against, threshold, next, transition) = match self.state {
            State::New => (passed, 1, State::Up, Transition::Admitted),
            State::Up => (!passed, self.thresholds.fall, State::Down, Transition::Down),
            State::Down => (passed, self.thresholds.rise, State::Up, Transition::Up),
        };
        if !against {
            self.streak = 0;
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        if self.streak < threshold {
            return None;
        }
        self.streak = 0;
        self.state = next;
        Some(transition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` is a pass, `.` a failure; the expected text has `A`, `U`, `D` or `-` for each.
    fn check(thresholds: Thresholds, probes: &str, expected: &str) {
        let mut health = Health::new(thresholds);
        let seen: String = probes
            .chars()
            .map(|probe| match health.on_probe(probe == '+') {
                None => '-',
                Some(Transition::Admitted) => 'A',
                Some(Transition::Up) => 'U',
                Some(Transition::Down) => 'D',
            })
            .collect();
        assert_eq!(seen, expected, "{probes}");
    }

    #[test]
    fn the_first_pass_admits_whatever_came_before() {
        // semantics 13
        check(Thresholds::default(), "+", "A");
        check(Thresholds::default(), ".....+", "-----A");
        assert!(!Health::new(Thresholds::default()).is_up());
    }

    #[test]
    fn rise_and_fall_need_their_own_number_of_results_in_a_row() {
        // semantics 15
        check(Thresholds::default(), "+..+...", "A-----D");
        check(Thresholds::default(), "+...+.++", "A--D---U");
        check(Thresholds { rise: 1, fall: 1 }, "+.+.", "ADUD");
        check(Thresholds { rise: 0, fall: 0 }, "+.+.", "ADUD");
    }

    #[test]
    fn other_thresholds_keep_what_is_known() {
        // semantics 14
        let mut health = Health::new(Thresholds { rise: 2, fall: 5 });
        for passed in [true, false, false] {
            health.on_probe(passed);
        }
        health.set_thresholds(Thresholds { rise: 2, fall: 3 });
        assert!(health.is_up());
        assert_eq!(health.on_probe(false), Some(Transition::Down));
    }
}
