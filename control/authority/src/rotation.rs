//! How a root is replaced by another without a connection that fails: who signs, what is trusted, and when that moves on.
//!
//! ```text
//! steady(A) --start--> spreading(A, coming B) --everybody has B--> retiring(B, going A) --no leaf of A is left--> steady(B)
//!     ^                      |abort                                    |abort    ^
//!     +----------------------+                                        retiring(A, going B)
//! ```
//!
//! In between both roots are trusted. A root signs only once everybody whose certificate still holds has said that it trusts
//! it, or has had to get a newer certificate, and with it the newer roots, since it was announced: the step is then due for
//! certain. A root goes when no certificate of it that is still used is left, or all have ended. So a rotation takes two rounds of
//! asking when all workloads are there, and two lifetimes of a certificate at most.

use serde::{Deserialize, Serialize};

/// Seconds that a step lasts at least: what was just handed out is on its way.
pub const SETTLE: i64 = 15;

/// Who signs and what is trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The root that signs.
    pub issuer: String,
    pub phase: Phase,
    /// How long certificates live, in seconds, and since when; the newest last.
    pub lifetimes: Vec<(i64, i64)>,
}

/// Where a rotation is. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "name")]
pub enum Phase {
    /// One root.
    Steady,
    /// The new root is trusted, and the old one still signs.
    Spreading { coming: String, since: i64 },
    /// The new root signs, and the old one is still trusted.
    Retiring { going: String, since: i64 },
}

/// What is known of those who hold certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    /// Whether every certificate that still holds is known.
    pub complete: bool,
    /// Of those, how many holders have not said that they trust all roots of now.
    pub without_bundle: usize,
    /// How many are of the root that goes.
    pub of_going: usize,
}

/// A step that cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    #[error("a rotation is under way; see weir cert show, and go back with weir cert rotate abort")]
    UnderWay,
    #[error("no rotation is under way; begin one with weir cert rotate start")]
    None,
}

impl State {
    /// One root that signs from now on.
    #[must_use]
    pub fn steady(issuer: String, now: i64, lifetime: i64) -> Self {
        Self {
            issuer,
            phase: Phase::Steady,
            lifetimes: vec![(now, lifetime)],
        }
    }

    /// The roots that are trusted, the one that signs first.
    #[must_use]
    pub fn trusted(&self) -> Vec<&str> {
        let other = match &self.phase {
            Phase::Steady => None,
            Phase::Spreading { coming: other, .. } | Phase::Retiring { going: other, .. } => {
                Some(other.as_str())
            }
        };
        std::iter::once(self.issuer.as_str()).chain(other).collect()
    }

    /// Certificates live that long from now on.
    #[must_use]
    pub fn with_lifetime(&self, now: i64, lifetime: i64) -> Self {
        let mut next = self.clone();
        if next.lifetimes.last().map(|(_, last)| *last) != Some(lifetime) {
            next.lifetimes.push((now, lifetime));
        }
        // One is of no interest once all that was signed under it has ended.
        while let [(_, lifetime), (until, _), ..] = next.lifetimes[..]
            && until.saturating_add(lifetime) < now
        {
            next.lifetimes.remove(0);
        }
        next
    }

    /// When the last of the certificates that were signed until `at` ends.
    #[must_use]
    pub fn last_end(&self, at: i64) -> i64 {
        let untils = self.lifetimes.iter().skip(1).map(|(from, _)| *from);
        let untils = untils.chain([i64::MAX]);
        let spans = self.lifetimes.iter().zip(untils);
        let ends = spans
            .filter(|((from, _), _)| *from <= at)
            .map(|((_, lifetime), until)| until.min(at).saturating_add(*lifetime));
        ends.max().unwrap_or(at)
    }

    /// Announces a new root.
    ///
    /// # Errors
    /// When a rotation is under way.
    pub fn start(&self, coming: String, now: i64) -> Result<Self, RotateError> {
        match self.phase {
            Phase::Steady => Ok(self.with_phase(Phase::Spreading { coming, since: now })),
            _ => Err(RotateError::UnderWay),
        }
    }

    /// Goes back: a root that only was announced is forgotten, one that signs already gives way to the one before.
    ///
    /// # Errors
    /// When there is nothing to go back from.
    pub fn abort(&self, now: i64) -> Result<Self, RotateError> {
        match &self.phase {
            Phase::Steady => Err(RotateError::None),
            Phase::Spreading { .. } => Ok(self.with_phase(Phase::Steady)),
            Phase::Retiring { going, .. } => Ok(self.hand_to(going, now)),
        }
    }

    /// The next step, if it is safe now.
    #[must_use]
    pub fn advance(&self, now: i64, evidence: Evidence) -> Option<Self> {
        let (since, left) = match &self.phase {
            Phase::Steady => return None,
            Phase::Spreading { since, .. } => (*since, evidence.without_bundle),
            Phase::Retiring { since, .. } => (*since, evidence.of_going),
        };
        let shown = evidence.complete && left == 0 && now >= since.saturating_add(SETTLE);
        (shown || now > self.last_end(since)).then(|| self.next(now))?
    }

    /// The next step, whether it is safe or not.
    ///
    /// # Errors
    /// When no rotation is under way.
    pub fn force(&self, now: i64) -> Result<Self, RotateError> {
        self.next(now).ok_or(RotateError::None)
    }

    /// When the step under way is over whatever anybody says.
    #[must_use]
    pub fn due(&self) -> Option<i64> {
        match &self.phase {
            Phase::Steady => None,
            Phase::Spreading { since, .. } | Phase::Retiring { since, .. } => {
                Some(self.last_end(*since))
            }
        }
    }

    fn next(&self, now: i64) -> Option<Self> {
        match &self.phase {
            Phase::Steady => None,
            Phase::Spreading { coming, .. } => Some(self.hand_to(coming, now)),
            Phase::Retiring { .. } => Some(self.with_phase(Phase::Steady)),
        }
    }

    fn hand_to(&self, issuer: &str, now: i64) -> Self {
        Self {
            issuer: issuer.to_owned(),
            phase: Phase::Retiring {
                going: self.issuer.clone(),
                since: now,
            },
            lifetimes: self.lifetimes.clone(),
        }
    }

    fn with_phase(&self, phase: Phase) -> Self {
        Self {
            phase,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests;
