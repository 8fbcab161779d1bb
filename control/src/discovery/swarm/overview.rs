//! What is told of services and of tasks that cannot be endpoints yet, for `weir discovery`.

use weir_config::labels;

use super::convert::{Fate, Nodes, task_name};
use super::known::Listed;
use crate::api::types;
use crate::discovery::engine::cluster::{Service, Stage, Task};

/// A service and the tasks of it.
pub(super) struct Overview<'a> {
    pub(super) service: &'a Service,
    pub(super) tasks: Vec<&'a Task>,
    pub(super) opted_in: bool,
}

impl<'a> Overview<'a> {
    pub(super) fn of(service: &'a Service, listed: &'a Listed, traefik: bool) -> Self {
        let tasks: Vec<&Task> = listed
            .tasks
            .iter()
            .filter(|task| task.service == service.id)
            .collect();
        let own = service.spec.labels.keys();
        let of_tasks = tasks
            .iter()
            .flat_map(|task| task.spec.container.labels.keys());
        let of_template = service.spec.template.container.labels.keys();
        let opted_in = own
            .chain(of_template)
            .chain(of_tasks)
            .any(|name| labels::is_enable(name, traefik));
        Self {
            service,
            tasks,
            opted_in,
        }
    }

    /// A job's tasks are there to end, not to serve.
    pub(super) fn is_job(&self) -> bool {
        let mode = &self.service.spec.mode;
        mode.replicated_job.is_some() || mode.global_job.is_some()
    }

    fn staying(&self) -> impl Iterator<Item = (&'a Task, Stage)> {
        self.tasks.iter().filter_map(|task| match Fate::of(task) {
            Fate::Stays(stage) => Some((*task, stage)),
            _ => None,
        })
    }

    pub(super) fn running(&self) -> usize {
        self.staying()
            .filter(|(_, stage)| *stage == Stage::Running)
            .count()
    }

    /// How many tasks there should be; of a global service as many as there are.
    pub(super) fn wanted(&self) -> usize {
        match &self.service.spec.mode.replicated {
            Some(replicated) => usize::try_from(replicated.replicas).unwrap_or(usize::MAX),
            None => self.staying().count(),
        }
    }

    /// Whether something is under way, of which the next list may tell more.
    pub(super) fn is_moving(&self) -> bool {
        let updating = ["updating", "rollback_started"].contains(&&*self.service.update.state);
        let leaving = self.tasks.iter().any(|t| Fate::of(t) == Fate::Leaves);
        self.opted_in && (updating || leaving || self.running() != self.wanted())
    }

    /// What became of the service.
    pub(super) fn report(&self) -> types::Container {
        let (running, wanted) = (self.running(), self.wanted());
        let reason = match (self.opted_in, self.is_job()) {
            (_, true) => "a job: its tasks end by themselves and are no endpoints".to_owned(),
            (false, _) => {
                "it does not opt in; weir.enable=true under deploy.labels does".to_owned()
            }
            (true, false) => {
                let mut text = format!("{running} of {wanted} tasks run");
                if !self.service.update.state.is_empty() && self.service.update.state != "completed"
                {
                    text.push_str("; ");
                    text.push_str(&self.service.update.state.replace('_', " "));
                }
                if let Some(error) = self.last_error().filter(|_| running < wanted) {
                    text.push_str("; last failure: ");
                    text.push_str(&error);
                }
                text
            }
        };
        let name = &self.service.spec.name;
        row(
            name,
            &self.service.id,
            reason,
            self.opted_in && !self.is_job(),
        )
    }

    /// Those that wait for a node, an image or an address.
    pub(super) fn waiting(&self, nodes: &Nodes) -> Vec<types::Container> {
        let has_address = |task: &Task| task.attachments.iter().any(|a| !a.addresses.is_empty());
        let waiting = self
            .staying()
            .filter(|(task, stage)| *stage == Stage::Before && !has_address(task));
        let report = |(task, _): (&Task, Stage)| {
            let mut reason = format!("the task is {}", task.status.state);
            if !task.status.error.is_empty() {
                reason.push_str(": ");
                reason.push_str(&short(&task.status.error));
            }
            let name = task_name(self.service, task, nodes);
            row(&name, &task.id, reason, false)
        };
        waiting.map(report).collect()
    }

    fn last_error(&self) -> Option<String> {
        let failed = self.tasks.iter().filter(|t| !t.status.error.is_empty());
        failed
            .max_by_key(|task| &task.status.timestamp)
            .map(|task| short(&task.status.error))
    }
}

/// What an engine says can be as long as the output of whatever failed.
fn short(text: &str) -> String {
    const MOST: usize = 200;
    let safe = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    safe.take(MOST).collect()
}

fn row(name: &str, id: &str, reason: String, included: bool) -> types::Container {
    types::Container {
        container: name.to_owned(),
        id: id.chars().take(12).collect(),
        service: None,
        version: None,
        address: None,
        included,
        reason,
    }
}
