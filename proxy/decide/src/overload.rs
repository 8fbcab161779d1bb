//! How short memory is, by marks.
//!
//! Envoy's overload manager has a trigger for each action; here the actions are two, one milder than the other, so
//! that a level is enough. A level is reached at its mark and left only below it by some slack, or a process
//! that hovers at a mark would change its mind with every look.

/// How short a resource is; the milder first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Level {
    /// There is enough.
    #[default]
    Normal,
    /// Give back what is not needed: free buffers, connections between requests.
    Tight,
    /// Take no new requests.
    Full,
}

impl Level {
    /// The level as a number, 0 to 2, to keep in an atomic.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// As it stands in a log.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Tight => "tight",
            Self::Full => "full",
        }
    }

    /// The level after so many bytes were found in use.
    ///
    /// ```
    /// use weir_decide::overload::{Level, Marks};
    ///
    /// let marks = Marks::new(1000, 80, 90);
    /// assert_eq!(Level::Normal.after(900, &marks), Level::Full);
    /// assert_eq!(Level::Full.after(880, &marks), Level::Full);
    /// assert_eq!(Level::Full.after(849, &marks), Level::Tight);
    /// ```
    #[must_use]
    pub fn after(self, used: u64, marks: &Marks) -> Self {
        // Up at once; down only as far as a reading with the slack on top would still be.
        self.clamp(
            marks.reached(used),
            marks.reached(used.saturating_add(marks.slack)),
        )
    }
}

/// Where levels begin, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    limit: u64,
    tight: u64,
    full: u64,
    slack: u64,
}

impl Marks {
    /// Marks at percentages of a limit. A level is left a twentieth of the limit below its mark.
    #[must_use]
    pub fn new(limit: u64, tight_percent: u8, full_percent: u8) -> Self {
        let share = |percent: u8| {
            // A limit near the end of the range is no limit, and its product does not fit.
            let product = u128::from(limit) * u128::from(percent) / 100;
            u64::try_from(product).unwrap_or(u64::MAX)
        };
        Self {
            limit,
            tight: share(tight_percent),
            full: share(full_percent),
            slack: share(5),
        }
    }

    /// What the marks are shares of, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    fn reached(&self, used: u64) -> Level {
        if used >= self.full {
            Level::Full
        } else if used >= self.tight {
            Level::Tight
        } else {
            Level::Normal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Level::{Full, Normal, Tight};
    use super::*;

    fn walk(marks: &Marks, steps: &[(u64, Level)]) {
        let mut level = Normal;
        for (at, &(used, expected)) in steps.iter().enumerate() {
            level = level.after(used, marks);
            assert_eq!(level, expected, "step {at}, {used} used");
        }
    }

    #[test]
    fn a_level_is_reached_at_its_mark_and_left_a_twentieth_below() {
        let marks = Marks::new(1000, 80, 90);
        walk(
            &marks,
            &[
                (0, Normal),
                (799, Normal),
                (800, Tight),
                (751, Tight),
                (750, Tight),
                (749, Normal),
                (899, Tight),
                (900, Full),
                (850, Full),
                (849, Tight),
                (899, Tight),
                (2000, Full),
            ],
        );
    }

    #[test]
    fn levels_are_skipped_both_ways_when_memory_jumps() {
        let marks = Marks::new(1000, 80, 90);
        walk(
            &marks,
            &[
                (100, Normal),
                (950, Full),
                (100, Normal),
                (820, Tight),
                (0, Normal),
            ],
        );
    }

    #[test]
    fn hovering_at_a_mark_changes_the_level_once() {
        let marks = Marks::new(1 << 30, 80, 90);
        let mark = (1u64 << 30) * 9 / 10;
        let mut level = Normal;
        let mut changes = 0;
        for step in 0..1000u64 {
            let next = level.after(mark - 1000 + (step % 7) * 400, &marks);
            changes += u32::from(next != level);
            level = next;
        }
        assert_eq!((level, changes), (Full, 2), "to tight, then to full");
    }

    #[test]
    fn marks_that_are_one_leave_no_level_between() {
        let marks = Marks::new(1000, 90, 90);
        walk(
            &marks,
            &[(899, Normal), (900, Full), (850, Full), (849, Normal)],
        );
    }

    #[test]
    fn no_limit_is_too_large_or_too_small_to_have_marks() {
        let huge = Marks::new(u64::MAX, 80, 100);
        assert_eq!(Normal.after(u64::MAX - 1, &huge), Tight);
        assert_eq!(Normal.after(u64::MAX, &huge), Full);
        assert_eq!(Normal.after(0, &Marks::new(0, 80, 90)), Full);
    }
}
