//! Telling a loop that serves a socket to end.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

use crate::snapshot::ListenerId;

/// How a listener ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The process leaves: nothing new is taken, what there is goes on.
    Drain,
    /// The configuration no longer has it.
    Close,
}

/// A listener that a worker serves.
pub(crate) struct Serving {
    pub(crate) id: ListenerId,
    stop: Rc<Stop>,
}

/// What its loop looks at.
#[derive(Default)]
pub(crate) struct Stop {
    asked: Cell<Option<Ending>>,
    notify: Notify,
}

impl Serving {
    pub(crate) fn new(id: ListenerId) -> (Self, Rc<Stop>) {
        let stop = Rc::new(Stop::default());
        let serving = Self {
            id,
            stop: Rc::clone(&stop),
        };
        (serving, stop)
    }

    /// Asks the loop to end.
    pub(crate) fn end(&self, how: Ending) {
        self.stop.asked.set(Some(how));
        self.stop.notify.notify_one();
    }
}

impl Stop {
    pub(crate) fn asked(&self) -> Option<Ending> {
        self.asked.get()
    }

    /// Waits to be asked.
    pub(crate) async fn notified(&self) {
        self.notify.notified().await;
    }
}
