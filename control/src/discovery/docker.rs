//! Containers of a Docker engine (or of another one that speaks its API, such as Podman).
//!
//! The list of running containers counts, and what they carry as labels; a container that is told to stop is taken out
//! of rotation on the event itself. While the engine is away, what is known stays, and the board says so (semantics 36).

use std::sync::Arc;
use std::time::Duration;

use bollard::models::EventMessage;
use tokio::sync::mpsc;
use weir_config::settings::DockerSettings;

use self::known::{DOCKER, Known, Listed, Taken};
use self::services::Services;
use super::engine::Engine;
use super::engine::marks::{Effect, Marks};
use super::engine::session::{self, Listing, Watched};
use super::provider::{Answer, Words};
use crate::control::Shared;
use crate::watcher::{Command, Found};

mod convert;
mod known;
pub(super) mod services;

/// A list without any event: finds what an event was lost for, and a connection that died silently.
const RESYNC: Duration = Duration::from_secs(30);

/// Watches an engine until the control plane stops. `beside_swarm`: containers of Swarm services are somebody else's.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    settings: DockerSettings,
    beside_swarm: bool,
    commands: mpsc::Sender<Command>,
) {
    let endpoint = settings.endpoint.clone();
    let known = Known::new(settings, own_container(), beside_swarm);
    session::watch(shared, &endpoint, known, commands);
}

/// The id of the container this process runs in, as far as its host name tells.
pub(super) fn own_container() -> Option<String> {
    if !std::path::Path::new("/.dockerenv").exists() {
        return None;
    }
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit())).then(|| name.to_owned())
}

impl Watched for Known {
    const NAME: &'static str = DOCKER;
    const WORDS: Words = Words {
        source: "the engine",
        things: "containers",
        counted: "containers opted in",
    };

    type Listed = Listed;

    fn marks(&mut self) -> &mut Marks {
        &mut self.marks
    }

    fn on_event(&mut self, event: &EventMessage) -> Effect {
        Self::on_event(self, event)
    }

    /// Asks for the list and for what it does not tell.
    fn ask(&self, engine: &Engine, in_doubt: bool) -> Listing<Listed> {
        let moment = self.marks.now();
        let (engine, inspected) = (engine.clone(), self.inspected(in_doubt));
        let services = (!self.beside_swarm).then(|| self.services.clone());
        Box::pin(async move {
            let mut summaries = engine.list().await?;
            let services = match services {
                Some(known) if services::any_task(&summaries) => {
                    known.renewed(engine.services_soon().await)?
                }
                _ => Services::default(),
            };
            services.label(&mut summaries);
            let details = engine.inspect(inspected.missing(&summaries)).await;
            Ok(Listed {
                summaries,
                services,
                details,
                moment,
            })
        })
    }

    fn take(&mut self, now: Duration, listed: Listed) -> (Answer, Option<Duration>) {
        let taken = Self::take(self, now, listed);
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
        RESYNC
    }
}

/// Why a list is not believed as it is, if so.
fn holding(taken: &Taken) -> Option<String> {
    let held = taken.held;
    if taken.empty {
        return Some(format!(
            "the engine lists no container at all and said nothing of stopping any; keeping the {held} known \
             ones until it lists something"
        ));
    }
    (held > 0).then(|| {
        format!(
            "{held} containers, more than half of their service, vanished from the list without a stop \
             event; keeping them for now"
        )
    })
}
