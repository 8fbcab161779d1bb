//! Certificates that were renewed while the disk took nothing.
//!
//! Without them a full disk would end the mesh within one lifetime of a certificate, which may be a minute. Who holds them is known for
//! as long as this process lives, and a rotation waits for them as for others; they are written down when the disk is well again.
//! Until then a file that says that all is written down is missing ([`Home::set_whole`](crate::home::Home::set_whole)): after a
//! restart there may be holders that nobody knows, for a lifetime.

use std::collections::BTreeSet;

use super::kept::{LEAVES, json};
use super::{Authority, Inner, Signed};
use crate::records::{Change, RecordsError};
use crate::source::Source;

/// Seconds between two complaints.
const PATIENCE: i64 = 30;

/// What is to be written down yet.
#[derive(Debug, Default)]
pub(super) struct Owed {
    /// Serial numbers of certificates that are not written down.
    pub(super) unwritten: BTreeSet<String>,
    /// Serial numbers of those that are no longer among the holders, and are still written down.
    pub(super) forgotten: BTreeSet<String>,
    /// When to complain again, in seconds since 1970.
    complain: i64,
}

impl Owed {
    /// This one need not be kept any more.
    pub(super) fn forget(&mut self, serial: String) {
        if !self.unwritten.remove(&serial) {
            self.forgotten.insert(serial);
        }
    }
}

impl Authority {
    /// Takes note that a certificate goes out which is not written down.
    pub(super) fn owe(&self, signed: &Signed, replaced: &[String], error: &RecordsError) {
        let now = (self.world.now)();
        let mut inner = self.lock();
        if inner.owed.unwritten.is_empty() {
            inner.mark(false);
        }
        inner.owed.unwritten.insert(signed.serial.clone());
        for serial in replaced {
            inner.owed.forget(serial.clone());
        }
        if now >= inner.owed.complain {
            inner.owed.complain = now + PATIENCE;
            let unwritten = inner.owed.unwritten.len();
            tracing::error!(
                unwritten,
                "mesh: CERTIFICATES ARE RENEWED AND NOT WRITTEN DOWN: {error}; see to the disk of the state directory: nobody can \
                 join until it takes something"
            );
        }
    }
}

impl Inner {
    /// The records of certificates that are not written down and still hold.
    pub(super) fn unwritten(&self, now: i64) -> Change {
        let all = self.owed.unwritten.iter();
        let records = all.filter_map(|serial| {
            let holder = self.holders.get(serial)?;
            let holds = holder.not_after >= now;
            holds.then(|| (format!("{LEAVES}{serial}"), Some(json(holder))))
        });
        records.collect()
    }

    /// These are written down now.
    pub(super) fn written(&mut self, records: &Change) {
        for (key, _) in records {
            let serial = key.strip_prefix(LEAVES).unwrap_or(key);
            self.owed.unwritten.remove(serial);
            if self.holders.get(serial).is_none() {
                // It was replaced meanwhile.
                self.owed.forgotten.insert(serial.to_owned());
            }
        }
    }

    /// Says on disk that all is written down, once it is.
    pub(super) fn settle(&mut self, now: i64) {
        let known = self.holders.unknown_until(now).is_none();
        if known && self.owed.unwritten.is_empty() {
            self.mark(true);
        }
    }

    fn mark(&mut self, whole: bool) {
        let Source::Made(home) = &self.source else {
            // The root is rotated by hand, and nobody waits.
            return;
        };
        if home.is_whole() == whole {
            return;
        }
        match home.set_whole(whole) {
            Err(error) if whole => tracing::warn!(
                "mesh: after a restart a rotation waits longer than it must: {error}"
            ),
            Err(error) => tracing::error!(
                "mesh: not even that can be kept ({error}): after a restart, do not rotate the root within a lifetime of a certificate"
            ),
            Ok(()) => {}
        }
    }
}
