//! The services of a Docker Swarm, as a manager tells them.
//!
//! A manager knows every task of every node: their labels, their addresses on overlay networks, and what is to become of
//! them. It says nothing when a task is told to stop, so it is asked again at short intervals, shorter still while
//! something is under way; its events, and those of the containers on its own node, have it asked at once. A list replaces what
//! was known as a whole; while the manager is away, what is known stays (semantics 36).

use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use tokio::sync::mpsc;
use weir_config::settings::SwarmSettings;

use self::known::{Known, Listed, SWARM, Taken};
use super::docker::own_container;
use super::engine::Engine;
use super::engine::marks::{Effect, Marks};
use super::engine::session::{self, Listing, Watched};
use super::provider::{Answer, Words};
use crate::control::Shared;
use crate::watcher::{Command, Found};

mod convert;
mod known;
mod overview;

/// The wait between two questions while something is under way.
const BRISK: Duration = Duration::from_millis(200);

/// Watches a Swarm until the control plane stops.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    settings: SwarmSettings,
    commands: mpsc::Sender<Command>,
) {
    let endpoint = settings.endpoint.clone();
    let known = Known::new(settings, own_container());
    session::watch(shared, &endpoint, known, commands);
}

impl Watched for Known {
    const NAME: &'static str = SWARM;
    const WORDS: Words = Words {
        source: "the manager",
        things: "tasks",
        counted: "tasks of services opted in",
    };

    type Listed = Listed;

    fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }

    fn on_event(&mut self, event: &EventMessage) -> Effect {
        Self::on_event(self, event)
    }

    fn ask(&self, engine: &Engine, _: bool) -> Listing<Listed> {
        let (engine, own) = (engine.clone(), self.own_id.clone());
        let moment = self.marks.now();
        Box::pin(async move {
            // Services first: a task that is in the list then has its service there, unless that was removed.
            let services = engine.services().await?;
            let own_networks = async {
                match &own {
                    Some(id) => engine.networks_of(id).await,
                    None => Ok(Vec::new()),
                }
            };
            let (tasks, nodes, networks, own) = futures_util::try_join!(
                engine.tasks(),
                engine.nodes(),
                engine.networks(),
                own_networks
            )?;
            Ok(Listed {
                services,
                tasks,
                nodes,
                networks,
                own,
                moment,
            })
        })
    }

    fn take(&mut self, now: Duration, listed: Listed) -> (Answer, Option<Duration>) {
        let taken = Self::take(self, now, &listed);
        let answer = Answer {
            holding: holding(&taken),
            released: taken.released,
            ..Answer::default()
        };
        (answer, taken.until)
    }

    fn found(&self) -> Found {
        Self::found(self)
    }

    fn count(&self) -> usize {
        Self::count(self)
    }

    fn rest(&self) -> Duration {
        match self.is_moving() {
            true => BRISK,
            false => self.settings.interval,
        }
    }
}

/// Why a list is not believed as it is, if so.
fn holding(taken: &Taken) -> Option<String> {
    let held = taken.held;
    if taken.empty {
        return Some(format!(
            "the manager lists no task at all and said nothing of stopping any; keeping the {held} known ones until \
             it lists something"
        ));
    }
    (held > 0).then(|| {
        format!(
            "{held} tasks, more than half of their service, vanished from the list without being told to stop; \
             keeping them for now"
        )
    })
}
