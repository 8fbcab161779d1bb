//! Changes by hand: checked, put in force, kept.

use weir_config::model::ServiceName;
use weir_plan::{Override, Overrides, SetError, check_clear, check_set, describe, rollout_of};

use super::{Command, Refused, Watcher};
use crate::clock;
use crate::control::Outcome;
use crate::events::{Draft, one_line};
use crate::history::Why;
use crate::store::database::Batch;

/// Characters of a name that a client gave itself.
const MAX_BY: usize = 64;

impl Watcher {
    /// Makes a change and answers whoever asked; someone who is gone by then misses the answer only.
    pub(super) async fn change(&mut self, command: Command) {
        match command {
            Command::Set {
                service,
                weights,
                by,
                reply,
            } => {
                let outcome = match check_set(&self.configured, &service, &weights) {
                    Err(refused) => Err(refused.into()),
                    Ok(change) => {
                        let by = clean(&by);
                        let told = Override {
                            weights: change.weights,
                            by: by.clone(),
                            since_ms: clock::now_ms(),
                        };
                        let mut overrides = self.decided.overrides.clone();
                        overrides.services.insert(change.service.clone(), told);
                        let verb = "set";
                        Ok(self
                            .put_in_force(&change.service, overrides, verb, &by, change.warnings)
                            .await)
                    }
                };
                let _ = reply.send(outcome);
            }
            Command::Clear { service, by, reply } => {
                let outcome = match check_clear(&self.configured, &self.decided.overrides, &service)
                {
                    Err(refused) => Err(refused.into()),
                    Ok(name) => {
                        let mut overrides = self.decided.overrides.clone();
                        overrides.services.remove(&name);
                        Ok(self
                            .put_in_force(&name, overrides, "clear", &clean(&by), Vec::new())
                            .await)
                    }
                };
                let _ = reply.send(outcome);
            }
            Command::Decide {
                request,
                by,
                dry_run,
                reply,
            } => {
                let outcome = self.decide(request, &clean(&by), dry_run).await;
                let _ = reply.send(outcome);
            }
            Command::Files(_) | Command::Found(_) => {}
        }
    }

    /// Publishes first and saves second: what a person asked for must not wait for a disk, and a disk that
    /// fails is told as a warning.
    async fn put_in_force(
        &mut self,
        service: &ServiceName,
        overrides: Overrides,
        verb: &str,
        by: &str,
        mut warnings: Vec<String>,
    ) -> Outcome {
        let before = rollout_of(&self.configured, &self.decided.overrides, service.as_str());
        let after = rollout_of(&self.configured, &overrides, service.as_str());
        let changes = match (&before, &after) {
            (Some(before), Some(after)) => describe(&before.versions, &after.versions),
            _ => "it is not configured now".into(),
        };
        let message = format!("{verb} {service}: {changes}");
        self.decided.overrides = overrides;
        self.shared.events.record(Draft::canary(
            service.as_str(),
            format!("{message} by {by}"),
        ));
        let generation = self.publish(Why::asked(format!("canary {verb}"), by));
        if let Some(warning) = self.save().await {
            warnings.push(warning);
        }
        Outcome {
            generation,
            message,
            warnings,
        }
    }

    /// Saves the overrides off this thread; returns what a person has to know if it did not work.
    async fn save(&self) -> Option<String> {
        let database = &self.shared.database;
        if !database.is_durable() {
            return Some(self.shared.not_durable());
        }
        let mut batch = Batch::default();
        batch.put_overrides(&self.decided.overrides);
        let failure = self.shared.save(batch).await.err()?;
        let warning = format!("in force, but not saved: {failure}; it lasts until Weir restarts");
        self.shared.events.record(Draft::config(warning.clone()));
        Some(warning)
    }
}

impl Refused {
    /// Whether what was named does not exist, rather than makes no sense.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::Senseless(SetError::UnknownService { .. } | SetError::NotSet { .. })
                | Self::NotPinned
                | Self::UnknownDocument { .. }
                | Self::UnknownGeneration { .. }
        )
    }
}

/// A name for the record that cannot break a log line.
fn clean(by: &str) -> String {
    match one_line(by, MAX_BY) {
        name if name.is_empty() => "api".into(),
        name => name,
    }
}
