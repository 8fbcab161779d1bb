//! A container engine and the questions that are asked of it, with their deadlines.
//!
//! [`allowed`] is the list of all of them, [`session`] the life of one connection. What an engine's containers and a
//! Swarm's tasks mean is the affair of the two providers.

pub(crate) mod allowed;
pub(crate) mod cluster;
pub(crate) mod endpoint;
pub(crate) mod marks;
pub(crate) mod session;
pub(crate) mod transport;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{ContainerInspectResponse, ContainerSummary, EventMessage};
use bollard::query_parameters::{EventsOptions, InspectContainerOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use futures_util::{Stream, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use self::cluster::{Network, Node, Service, Task};
use self::endpoint::Endpoint;
use self::transport::{TOO_LARGE, Transport};
use super::provider::End;

/// How long an engine may take for an answer. Busy engines take seconds to list.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to tell the services of a Swarm. A cluster that has lost its quorum answers late or never,
/// and the containers of this node must not wait for it.
const CLUSTER_ANSWER: Duration = Duration::from_secs(3);
/// What the events that Weir hears of are about.
pub(crate) const EVENT_TYPES: [&str; 4] = ["container", "network", "service", "node"];
/// Inspections at a time.
const PARALLEL: usize = 8;

/// What Weir hears of. `health_status` stands for `health_status: healthy` and its kin.
pub(crate) const EVENTS: [&str; 16] = [
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
    // Of Swarm services and nodes.
    "create",
    "update",
    "remove",
];

/// Why an engine could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The text says what to check.
    #[error("{0}")]
    Unreachable(String),
    #[error("the engine did not answer within {} s; it may be overloaded", ANSWER.as_secs())]
    Slow,
    #[error("the engine answered {status}: {message}")]
    Refused { status: u16, message: String },
    #[error(
        "this engine is no Swarm manager; run Weir where `docker info` says `Is Manager: true` (in a stack: placement \
         constraint node.role == manager), make this node one with `docker swarm init` or `docker node promote`, or \
         drop discovery.swarm"
    )]
    NoManager,
    #[error("the engine's answer makes no sense: {0}")]
    Garbled(String),
    #[error("{TOO_LARGE}")]
    TooLarge,
    #[error("the engine closed the stream of events; it is stopping or restarting")]
    Closed,
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Failed(error.to_string())
    }
}

pub(crate) type Events = Pin<Box<dyn Stream<Item = Result<EventMessage, Error>> + Send>>;

/// One engine, at the API version that both sides speak.
#[derive(Clone)]
pub(crate) struct Engine {
    docker: Docker,
    transport: Arc<Transport>,
    /// `Engine 20.10.24, API 1.41`.
    pub(crate) version: String,
}

impl Engine {
    /// Connects and agrees on a version.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let transport = Arc::new(Transport::new(endpoint.clone()));
        let sender = Arc::clone(&transport);
        let send = move |request: BollardRequest| Arc::clone(&sender).send(request);
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
    pub(crate) async fn list(&self) -> Result<Vec<ContainerSummary>, EngineError> {
        within(self.docker.list_containers(None::<ListContainersOptions>)).await
    }

    /// The services of the Swarm that this engine manages, for labels beside its own containers.
    ///
    /// # Errors
    /// [`EngineError`]; one that is no manager refuses.
    pub(crate) async fn services_soon(&self) -> Result<Vec<Service>, EngineError> {
        let answer = timeout(CLUSTER_ANSWER, self.services()).await;
        answer.map_err(|_| EngineError::Slow)?
    }

    /// The services of the Swarm that this engine manages.
    ///
    /// # Errors
    /// [`EngineError`]; one that is no manager refuses.
    pub(crate) async fn services(&self) -> Result<Vec<Service>, EngineError> {
        self.get("/services").await
    }

    /// Every task, those that ended not long ago among them.
    ///
    /// # Errors
    /// As [`Self::services`].
    pub(crate) async fn tasks(&self) -> Result<Vec<Task>, EngineError> {
        self.get("/tasks").await
    }

    /// The machines of the Swarm.
    ///
    /// # Errors
    /// As [`Self::services`].
    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, EngineError> {
        self.get("/nodes").await
    }

    /// The networks that this engine knows, those of its Swarm among them.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(crate) async fn networks(&self) -> Result<Vec<Network>, EngineError> {
        self.get("/networks").await
    }

    /// The networks that one container is on; none if this engine does not have it.
    ///
    /// # Errors
    /// When the engine is gone.
    pub(crate) async fn networks_of(&self, id: &str) -> Result<Vec<String>, EngineError> {
        let asked = self
            .docker
            .inspect_container(id, None::<InspectContainerOptions>);
        match within(asked).await {
            Ok(answer) => {
                let networks = answer.network_settings.and_then(|all| all.networks);
                let mut names: Vec<String> =
                    networks.into_iter().flatten().map(|(n, _)| n).collect();
                names.sort();
                Ok(names)
            }
            Err(error @ EngineError::Unreachable(_)) => Err(error),
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        within(async {
            let request = Request::get(path).body(Empty::<Bytes>::new())?;
            let response = Arc::clone(&self.transport).send(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            match status.is_success() {
                true => Ok(serde_json::from_slice(&body)?),
                false => Err(Error::DockerResponseServerError {
                    status_code: status.as_u16(),
                    message: message(&body),
                }),
            }
        })
        .await
    }

    /// What the list does not tell of these containers.
    ///
    /// One that is gone by now, or that the engine fails at, is left out and asked for again with the next list;
    /// where a socket proxy forbids the question, nothing more is known of it.
    pub(crate) async fn inspect(&self, ids: Vec<String>) -> Vec<(String, Detail)> {
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
    pub(crate) fn events(&self, since: Option<i128>) -> Events {
        let filters = HashMap::from([
            ("type".to_owned(), EVENT_TYPES.map(str::to_owned).to_vec()),
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
    pub(crate) async fn events_open(&self) {
        self.transport.events_open.notified().await;
    }
}

/// What only an inspection tells of a container. All but the start never change in its life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Detail {
    /// As the image or the command line says: `SIGQUIT`, `QUIT`, `3`.
    pub(crate) stop_signal: Option<String>,
    pub(crate) has_healthcheck: bool,
    /// TCP ports by EXPOSE or `--expose`.
    pub(crate) exposed: Vec<u16>,
    /// Nanoseconds since 1970 on the engine's clock.
    pub(crate) started_nanos: Option<i128>,
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
        has_healthcheck: test.is_some_and(|test| is_checked(test)),
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

/// The engine's own words for a failure.
pub(crate) fn message(body: &[u8]) -> String {
    let told: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let text = told.as_ref().and_then(|told| told["message"].as_str());
    text.map_or_else(|| String::from_utf8_lossy(body).into_owned(), str::to_owned)
}

/// Whether a test of a HEALTHCHECK is one: `NONE` turns off the image's.
pub(crate) fn is_checked(test: &[String]) -> bool {
    test.first().is_some_and(|kind| kind != "NONE")
}

async fn within<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, EngineError> {
    match timeout(ANSWER, asked).await {
        Ok(answer) => answer.map_err(translate),
        Err(_) => Err(EngineError::Slow),
    }
}

/// Sorts a library error into what it means for the person who runs Weir.
pub(crate) fn translate(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError {
            status_code,
            message,
        } => match status_code {
            // A Swarm without a leader is 503, too.
            503 | 406 if message.contains("not a swarm manager") => EngineError::NoManager,
            _ => EngineError::Refused {
                status: status_code,
                message: message.chars().take(300).collect(),
            },
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
