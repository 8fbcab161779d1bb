//! The questions that are asked of an engine, with their deadlines.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, EventMessage, Service};
use bollard::query_parameters::{
    EventsOptions, InspectContainerOptions, ListContainersOptions, ListServicesOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::convert::Detail;
use super::endpoint::Endpoint;
use super::transport::{TOO_LARGE, Transport};

/// How long an engine may take for an answer. Busy engines take seconds to list.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to tell the services of a Swarm. A cluster that has lost its quorum answers late or never,
/// and the containers of this node must not wait for it.
const CLUSTER_ANSWER: Duration = Duration::from_secs(3);
/// Inspections at a time.
const PARALLEL: usize = 8;

/// What Weir hears of. `health_status` stands for `health_status: healthy` and its kin.
const EVENTS: [&str; 16] = [
    "start",
    "restart",
    "kill",
    "stop",
    "die",
    "oom",
    "pause",
    "unpause",
    "health_status",
    "rename",
    "destroy",
    "connect",
    "disconnect",
    // Of Swarm services.
    "create",
    "update",
    "remove",
];

/// Why an engine could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    /// The text says what to check.
    #[error("{0}")]
    Unreachable(String),
    #[error("the engine did not answer within {} s; it may be overloaded", ANSWER.as_secs())]
    Slow,
    #[error("the engine answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error("the engine's answer makes no sense: {0}")]
    Garbled(String),
    #[error("{TOO_LARGE}")]
    TooLarge,
    #[error("the engine closed the stream of events; it is stopping or restarting")]
    Closed,
}

pub(super) type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>;

/// One engine, at the API version that both sides speak.
#[derive(Clone)]
pub(super) struct Engine {
    docker: Docker,
    transport: Arc<Transport>,
    /// `Engine 20.10.24, API 1.41`.
    pub(super) version: String,
}

impl Engine {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let transport = Arc::new(Transport::new(endpoint.clone()));
        let sender = Arc::clone(&transport);
        let send = move |request| Arc::clone(&sender).send(request);
        let seconds = ANSWER.as_secs();
        let docker = Docker::connect_with_custom_transport(
            send,
            Some("http://docker"),
            seconds,
            API_DEFAULT_VERSION,
        )
        .map_err(translate)?;
        let docker = within(docker.negotiate_version()).await?;
        let server = within(docker.version()).await?;
        let api = docker.client_version();
        transport.speak(api.major_version, api.minor_version);
        let version = format!(
            "Engine {}, API {}.{}",
            server.version.as_deref().unwrap_or("of unknown version"),
            api.major_version,
            api.minor_version
        );
        Ok(Self {
            docker,
            transport,
            version,
        })
    }

    /// Every container that runs, is paused or restarts.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) async fn list(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        within(self.docker.list_containers(None::<ListContainersOptions>)).await
    }

    /// The services of the Swarm that this engine manages.
    ///
    /// # Errors
    /// [`EngineError`]; one that is no manager refuses.
    pub(super) async fn services(&self) -> Result<Vec<Service>, EngineError> {
        let asked = self.docker.list_services(None::<ListServicesOptions>);
        let answer = timeout(CLUSTER_ANSWER, asked).await;
        answer.map_err(|_| EngineError::Slow)?.map_err(translate)
    }

    /// What the list does not tell of these containers.
    ///
    /// One that is gone by now, or that the engine fails at, is left out and asked for again with the next list;
    /// where a socket proxy forbids the question, nothing more is known of it.
    pub(super) async fn inspect(&self, ids: Vec<String>) -> Vec<(String, Detail)> {
        let one = |id: String| async move {
            match within(
                self.docker
                    .inspect_container(&id, None::<InspectContainerOptions>),
            )
            .await
            {
                Ok(answer) => Some((id, read_detail(&answer))),
                Err(EngineError::Refused {
                    status: 401 | 403, ..
                }) => Some((id, Detail::default())),
                Err(error) => {
                    tracing::debug!(container = id, %error, "not inspected");
                    None
                }
            }
        };
        futures_util::stream::iter(ids)
            .map(one)
            .buffer_unordered(PARALLEL)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// Events from `since` on (nanoseconds of the engine's clock), or from now. Nothing is sent before it is polled.
    pub(super) fn events(&self, since: Option<i128>) -> Events {
        let filters = HashMap::from([
            (
                "type".to_owned(),
                ["container", "network", "service"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            ("event".to_owned(), EVENTS.map(str::to_owned).to_vec()),
        ]);
        let since =
            since.map(|nanos| format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000));
        let options = EventsOptions {
            since,
            until: None,
            filters: Some(filters),
        };
        Box::pin(self.docker.events(Some(options)))
    }

    /// Waits until the engine has begun to answer a request for events: from then on none is missed.
    pub(super) async fn events_open(&self) {
        self.transport.events_open.notified().await;
    }
}

fn read_detail(answer: &ContainerInspectResponse) -> Detail {
    let config = answer.config.as_ref();
    let test = config
        .and_then(|c| c.healthcheck.as_ref())
        .and_then(|h| h.test.as_ref());
    let ports = config.and_then(|c| c.exposed_ports.as_ref());
    let started = answer
        .state
        .as_ref()
        .and_then(|state| state.started_at.as_deref());
    Detail {
        stop_signal: config.and_then(|c| c.stop_signal.clone()),
        has_healthcheck: test.is_some_and(|test| test.first().is_some_and(|kind| kind != "NONE")),
        exposed: ports
            .into_iter()
            .flatten()
            .filter_map(|port| tcp_port(port))
            .collect(),
        started_nanos: started.and_then(crate::clock::parse_nanos),
    }
}

/// `8080/tcp`, or `8080` of older engines.
fn tcp_port(text: &str) -> Option<u16> {
    text.strip_suffix("/tcp").unwrap_or(text).parse().ok()
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, EngineError> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(translate),
        Err(_) => Err(EngineError::Slow),
    }
}

/// Sorts a library error into what it means for the person who runs Weir.
pub(super) fn translate(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => EngineError::Refused {
            status: status_code,
            message: message.chars().take(300).collect(),
        },
        Error::RequestTimeoutError => EngineError::Slow,
        Error::JsonDataError { message, .. } => EngineError::Garbled(message),
        Error::JsonSerdeError { err } => EngineError::Garbled(err.to_string()),
        Error::IOError { err } => EngineError::Unreachable(err.to_string()),
        other => {
            let text = chain(&other);
            match text.contains(TOO_LARGE) {
                true => EngineError::TooLarge,
                false => EngineError::Unreachable(format!(
                    "the exchange with the engine broke off: {text}"
                )),
            }
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = inner.source();
    }
    text
}
