//! How an identity stands, for people and for metrics.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::identity::Identity;

/// What there is to know at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// `None`: there is none yet.
    pub id: Option<String>,
    /// Seconds since 1970.
    pub not_after: Option<i64>,
    /// Roots that are trusted.
    pub roots: usize,
    /// Certificates that came, the first among them.
    pub renewed: u64,
    /// Tries that failed.
    pub failed: u64,
    /// Why the last try failed; `None`: it did not.
    pub problem: Option<String>,
    /// Since when tries fail, or do not. `None`: there was none yet.
    pub since: Option<SystemTime>,
}

impl Standing {
    fn went(&mut self, problem: Option<String>) {
        if self.since.is_none() || self.problem.is_some() != problem.is_some() {
            self.since = Some(SystemTime::now());
        }
        self.problem = problem;
    }
}

/// Kept by who keeps the identity, read by anybody.
#[derive(Debug, Default)]
pub struct Status(Mutex<Standing>);

impl Status {
    /// How it stands now.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Metric families in the Prometheus text format.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let now = self.standing();
        let mut out = String::new();
        if let (Some(id), Some(not_after)) = (&now.id, now.not_after) {
            let _ = write!(
                out,
                "# HELP weir_cert_not_after_seconds When a certificate in force expires, in seconds since 1970.\n\
                 # TYPE weir_cert_not_after_seconds gauge\n\
                 weir_cert_not_after_seconds{{certificate=\"{id}\"}} {not_after}\n"
            );
        }
        let _ = write!(
            out,
            "# HELP weir_identity_renewals_total Tries to get a certificate for this workload.\n\
             # TYPE weir_identity_renewals_total counter\n\
             weir_identity_renewals_total{{outcome=\"done\"}} {}\n\
             weir_identity_renewals_total{{outcome=\"failed\"}} {}\n",
            now.renewed, now.failed
        );
        out
    }

    pub(crate) fn renewed(&self) {
        self.with(|standing| {
            standing.renewed += 1;
            standing.went(None);
        });
    }

    pub(crate) fn failed(&self, why: &str) {
        self.with(|standing| {
            standing.failed += 1;
            standing.went(Some(why.to_owned()));
        });
    }

    /// What was wrong is right again, and nothing new came.
    pub(crate) fn mended(&self) {
        self.with(|standing| standing.went(None));
    }

    pub(crate) fn shows(&self, identity: &Identity) {
        self.with(|standing| {
            standing.id = Some(identity.id.to_string());
            standing.not_after = Some(identity.not_after);
            standing.roots = identity.bundle.len();
        });
    }

    fn with(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
