//! Counting connections for as long as they live.

use std::rc::Rc;

use crate::snapshot::LabelId;
use crate::worker::Worker;

/// Counts a connection for as long as it lives, and a panic of its task.
pub(crate) struct Counted {
    worker: Rc<Worker>,
    listener: LabelId,
}

impl Counted {
    pub(crate) fn new(worker: &Rc<Worker>, listener: LabelId) -> Self {
        worker.metrics.connection_opened(listener);
        Self {
            worker: Rc::clone(worker),
            listener,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.worker.metrics.connection_closed(self.listener);
        if std::thread::panicking() {
            self.worker.metrics.panicked();
        }
    }
}
