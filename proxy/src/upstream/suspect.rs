//! Suspects: endpoints that a request found absent, on their way from the workers to who looks (`probe/inquiry`).
//!
//! Told at most once until the look has ended, so a queue of this length is full only where more endpoints vanish at one
//! moment; those are told of again by the next request that finds them absent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::endpoint::EndpointState;

/// Suspects that may wait.
const QUEUE: usize = 4096;

/// One endpoint that a request did not find.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub(super) state: Arc<EndpointState>,
    /// When that was, on the clock of the process.
    pub(super) since: Duration,
}

/// Where suspects are told of; a copy tells the same one.
#[derive(Debug, Clone)]
pub(crate) struct Suspects {
    queue: mpsc::Sender<Suspect>,
    told: Arc<Mutex<Option<mpsc::Receiver<Suspect>>>>,
}

impl Default for Suspects {
    fn default() -> Self {
        let (queue, told) = mpsc::channel(QUEUE);
        Self {
            queue,
            told: Arc::new(Mutex::new(Some(told))),
        }
    }
}

impl Suspects {
    /// Never waits; `false` where nobody listens, or too many are told of.
    pub(super) fn tell(&self, state: &Arc<EndpointState>) -> bool {
        let suspect = Suspect {
            state: Arc::clone(state),
            since: state.home.clock.now(),
        };
        self.queue.try_send(suspect).is_ok()
    }

    /// The other end, for the one who looks: `None` the second time.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<Suspect>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.take()
    }
}
