//! Who may call what a listener serves: the decision with its labels, as workers ask for it.

use std::sync::Arc;

use weir_config::model::{Authorization, Listener, PolicyName};
use weir_decide::authorize::{self, Call, Ruling};
use weir_decide::route::Headers;

use crate::snapshot::{Interner, LabelId};
use crate::telemetry::metrics::{Authorized, Shard};

/// The policies of a listener.
#[derive(Debug)]
pub(crate) struct Guard {
    authorization: Arc<Authorization>,
    listener: LabelId,
    port: u16,
    /// Of each policy.
    labels: Vec<LabelId>,
}

/// What became of a call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) admitted: bool,
    /// The policy that refuses it, or would if it were not for the log only.
    pub(crate) policy: Option<&'a PolicyName>,
}

impl Guard {
    /// `None` where everybody may call: then nothing is asked.
    pub(crate) fn build(listener: &Listener, labels: &Interner) -> Option<Self> {
        let authorization = listener.authorization.as_ref()?;
        let policies = &authorization.policies;
        Some(Self {
            port: authorization.port.unwrap_or(listener.bind.port()),
            listener: labels.id(listener.name.as_str()),
            labels: policies
                .iter()
                .map(|p| labels.id(p.name.as_str()))
                .collect(),
            authorization: Arc::clone(authorization),
        })
    }

    /// The port that rules mean.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Decides, and counts it; without `metrics` it has been counted before.
    pub(crate) fn judge<H: Headers + ?Sized>(
        &self,
        call: &Call<'_, H>,
        metrics: Option<&Shard>,
    ) -> Judged<'_> {
        let verdict = authorize::judge(&self.authorization, call);
        if let Some(metrics) = metrics {
            self.count(verdict.ruling, "enforce", metrics);
            if let Some(logged) = verdict.logged {
                self.count(logged, "log", metrics);
            }
            if let Some(at) = verdict.audited {
                metrics.authorized(self.series(Some(at), "audited", "log"));
            }
        }
        let refused = |ruling: Ruling| ruling.by.filter(|_| !ruling.admitted);
        let by = refused(verdict.ruling).or_else(|| verdict.logged.and_then(refused));
        Judged {
            admitted: verdict.ruling.admitted,
            policy: by.map(|at| &self.authorization.policies[at].name),
        }
    }

    fn count(&self, ruling: Ruling, mode: &'static str, metrics: &Shard) {
        let result = match ruling.admitted {
            true => "admitted",
            false => "refused",
        };
        metrics.authorized(self.series(ruling.by, result, mode));
    }

    fn series(&self, by: Option<usize>, result: &'static str, mode: &'static str) -> Authorized {
        Authorized {
            listener: self.listener,
            policy: by.map_or_else(LabelId::default, |at| self.labels[at]),
            result,
            mode,
        }
    }
}
