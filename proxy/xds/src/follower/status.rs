//! How a follower stands, for those who ask.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::channel::Address;
use crate::tally::now_ms;

/// How a follower stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// The control plane that it follows, or that it tried last.
    pub address: String,
    pub connected: bool,
    /// Since when it is connected or not, in milliseconds since 1970.
    pub since_ms: u64,
    /// Why it is not connected.
    pub error: Option<String>,
    /// When a control plane said anything last, in milliseconds since 1970; 0: never.
    pub updated_ms: u64,
    /// The number of what the control plane told last.
    pub told: u64,
    /// The number of what is in force; 0: nothing is.
    pub generation: u64,
    /// What of the control plane's is not in force, each with its reason.
    pub troubles: Vec<String>,
    /// What is named and has not come.
    pub awaited: Vec<String>,
    /// When the state was saved that was served at the start, in milliseconds since 1970.
    pub restored_ms: Option<u64>,
    /// Why the last good state is not on disk, and since when, in milliseconds since 1970.
    pub not_written: Option<(String, u64)>,
}

/// Where it is written down.
#[derive(Debug)]
pub struct Board {
    status: Mutex<Status>,
}

impl Board {
    pub(super) fn new(control: &[Address]) -> Self {
        let first = control.first().map(ToString::to_string);
        Self {
            status: Mutex::new(Status {
                address: first.unwrap_or_default(),
                since_ms: now_ms(),
                ..Status::default()
            }),
        }
    }

    pub(super) fn read(&self) -> Status {
        self.lock().clone()
    }

    pub(super) fn restored(&self, at_ms: u64) {
        self.lock().restored_ms = Some(at_ms);
    }

    pub(super) fn connected(&self, address: &Address) {
        let mut status = self.lock();
        status.address = address.to_string();
        status.connected = true;
        status.since_ms = now_ms();
        status.error = None;
    }

    /// Returns whether that is news.
    pub(super) fn disconnected(&self, address: &Address, error: &str) -> bool {
        let mut status = self.lock();
        let address = address.to_string();
        let news =
            status.connected || status.error.as_deref() != Some(error) || status.address != address;
        if status.connected {
            status.since_ms = now_ms();
        }
        status.connected = false;
        status.address = address;
        status.error = Some(error.to_owned());
        news
    }

    pub(super) fn updated(&self, at_ms: u64) {
        self.lock().updated_ms = at_ms;
    }

    pub(super) fn applied(
        &self,
        told: u64,
        generation: u64,
        troubles: Vec<String>,
        awaited: Vec<String>,
    ) {
        let mut status = self.lock();
        status.told = told;
        status.generation = generation;
        status.troubles = troubles;
        status.awaited = awaited;
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
