//! Who holds a certificate that still holds: what a rotation waits for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::rotation::{Evidence, Phase, State};

/// Certificates that hold at once: of all services, and of one. A workload that was taken over can ask for more and more, and must
/// shut out neither the others nor a rotation.
pub const MAX_HOLDERS: usize = 100_000;
pub const MAX_OF_SERVICE: usize = 10_000;

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    pub service: String,
    /// The root that signed it.
    pub root: String,
    /// Seconds since 1970.
    pub not_after: i64,
    /// The certificate that was shown for it; `None`: it came of a token.
    pub parent: Option<String>,
    /// Digest of the roots that its holder said it trusts.
    #[serde(skip)]
    trusts: Option<String>,
}

/// By the serial number of the certificate.
#[derive(Debug, Clone, Default)]
pub struct Holders {
    all: BTreeMap<String, Holder>,
    /// Until when there is a certificate that is not among them.
    unknown_until: Option<i64>,
}

impl Holder {
    /// Of a certificate that was just signed: that its holder has anything yet is not known.
    #[must_use]
    pub fn new(service: String, root: String, not_after: i64, parent: Option<String>) -> Self {
        Self {
            service,
            root,
            not_after,
            parent,
            trusts: None,
        }
    }
}

impl Holders {
    /// Takes one.
    pub fn insert(&mut self, serial: String, holder: Holder) {
        self.all.insert(serial, holder);
    }

    /// Whether a service has as many certificates as it may have.
    #[must_use]
    pub fn is_full(&self, service: &str) -> bool {
        let of_service = self.all.values().filter(|holder| holder.service == service);
        self.all.len() >= MAX_HOLDERS || of_service.count() >= MAX_OF_SERVICE
    }

    /// What a workload no longer needs that shows this certificate for its next: the one before this, and those that it asked for with
    /// this and never came back with, because their answers were lost. This one itself it may have to go on with, for the same reason.
    #[must_use]
    pub fn replaced_by(&self, shown: &str) -> Vec<String> {
        let lost = self.all.iter().filter(|(_, holder)| {
            holder.parent.as_deref() == Some(shown) && holder.trusts.is_none()
        });
        let before = self.all.get(shown).and_then(|holder| holder.parent.clone());
        let lost = lost.map(|(serial, _)| serial.clone());
        lost.chain(before).collect()
    }

    /// There are certificates that are not known, until then.
    pub fn unknown(&mut self, until: i64) {
        self.unknown_until = self.unknown_until.max(Some(until));
    }

    /// Until when there are certificates that are not known, if there are any now.
    #[must_use]
    pub fn unknown_until(&self, now: i64) -> Option<i64> {
        self.unknown_until.filter(|until| *until >= now)
    }

    /// Who holds that one.
    #[must_use]
    pub fn get(&self, serial: &str) -> Option<&Holder> {
        self.all.get(serial)
    }

    /// Forgets one, because its holder has a newer one.
    pub fn remove(&mut self, serial: &str) {
        self.all.remove(serial);
    }

    /// A holder says what it trusts. With that it has shown that it has this certificate, and the one before is forgotten, whose
    /// serial number comes back.
    pub fn trusts(&mut self, serial: &str, digest: &str) -> Option<String> {
        let holder = self.all.get_mut(serial)?;
        holder.trusts = Some(digest.to_owned());
        let before = holder.parent.take()?;
        self.all.remove(&before).map(|_| before)
    }

    /// Serial numbers of those that have ended.
    #[must_use]
    pub fn ended(&self, now: i64) -> Vec<String> {
        let ended = self.all.iter().filter(|(_, holder)| holder.not_after < now);
        ended.map(|(serial, _)| serial.clone()).collect()
    }

    /// Whether a certificate is of the root that is going.
    #[must_use]
    pub fn is_of_going(&self, state: &State, serial: &str) -> bool {
        match (&state.phase, self.all.get(serial)) {
            (Phase::Retiring { going, .. }, Some(holder)) => holder.root == *going,
            _ => false,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What a rotation has to know, with the digest of the roots that are to be trusted.
    #[must_use]
    pub fn evidence(&self, state: &State, bundle: &str, now: i64) -> Evidence {
        let still = || self.all.values().filter(|holder| holder.not_after >= now);
        let going = match &state.phase {
            Phase::Retiring { going, .. } => going.as_str(),
            _ => "",
        };
        Evidence {
            complete: self.unknown_until(now).is_none(),
            without_bundle: still()
                .filter(|holder| holder.trusts.as_deref() != Some(bundle))
                .count(),
            of_going: still().filter(|holder| holder.root == going).count(),
        }
    }

    /// The services of those that the step under way waits for.
    #[must_use]
    pub fn awaited(&self, state: &State, bundle: &str, now: i64) -> BTreeSet<String> {
        let awaited = |holder: &&Holder| match &state.phase {
            Phase::Steady => false,
            Phase::Spreading { .. } => holder.trusts.as_deref() != Some(bundle),
            Phase::Retiring { going, .. } => holder.root == *going,
        };
        let still = self.all.values().filter(|holder| holder.not_after >= now);
        still
            .filter(awaited)
            .map(|holder| holder.service.clone())
            .collect()
    }
}
