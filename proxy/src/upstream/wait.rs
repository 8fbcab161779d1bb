//! Waiting for a connection where the service's limit is reached: the line of [`weir_decide::line`], on the clock.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use weir_decide::line;
pub(crate) use weir_decide::line::Turn;

/// The line of one service.
pub(crate) type Line = line::Line<Instant>;

/// A worker's hold on the line of a service.
pub(crate) struct Waiters(line::Waiters<Instant>);

impl Waiters {
    pub(crate) fn new(line: &Arc<Line>) -> Self {
        Self(line::Waiters::new(line))
    }

    /// Takes a place: at the end, or at the front for one that has waited `since` then and was called in vain.
    pub(crate) fn join(&self, since: Option<Instant>) -> Waiting {
        match since {
            None => self.0.join(Instant::now()),
            Some(since) => self.0.rejoin(since),
        }
    }
}

impl Deref for Waiters {
    type Target = line::Waiters<Instant>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A place in the line.
pub(crate) type Waiting = line::Waiting<Instant>;
