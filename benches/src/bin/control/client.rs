//! Simulated proxies: each asks, acknowledges, remembers versions, and comes back when its stream ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use weir_wire::Kind;

/// Before a client that lost its stream tries again, at most.
const AGAIN: Duration = Duration::from_millis(500);

/// Endpoints of a service came to a client.
pub(crate) struct Arrival {
    pub(crate) name: Arc<str>,
    pub(crate) at: Instant,
}

/// All of them.
pub(crate) struct Crowd {
    control: SocketAddr,
    count: usize,
    arrivals: mpsc::UnboundedSender<Arrival>,
    words: Arc<Words>,
}

/// Names and versions, which a thousand clients have in common: each is held once.
#[derive(Default)]
struct Words(Mutex<BTreeSet<Arc<str>>>);

impl Words {
    fn get(&self, text: &str) -> Arc<str> {
        let mut words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(word) = words.get(text) {
            return Arc::clone(word);
        }
        let word: Arc<str> = Arc::from(text);
        words.insert(Arc::clone(&word));
        word
    }
}

impl Crowd {
    pub(crate) fn new(
        control: SocketAddr,
        count: usize,
        arrivals: mpsc::UnboundedSender<Arrival>,
    ) -> Self {
        Self {
            control,
            count,
            arrivals,
            words: Arc::default(),
        }
    }

    /// Starts all of them at once.
    pub(crate) fn start(&self) {
        for number in 0..self.count {
            let client = Client {
                node: format!("edge-{number:04}"),
                control: format!("http://{}", self.control),
                arrivals: self.arrivals.clone(),
                words: Arc::clone(&self.words),
                has: BTreeMap::new(),
            };
            let spread = u64::try_from(number % 500).unwrap_or(0);
            tokio::spawn(client.run(Duration::from_millis(spread).min(AGAIN)));
        }
    }
}

struct Client {
    node: String,
    control: String,
    arrivals: mpsc::UnboundedSender<Arrival>,
    words: Arc<Words>,
    /// Versions of what it has, by type and name.
    has: BTreeMap<Kind, BTreeMap<Arc<str>, Arc<str>>>,
}

type Requests = mpsc::UnboundedSender<DeltaDiscoveryRequest>;

impl Client {
    async fn run(mut self, pause: Duration) {
        loop {
            // A stream that ends is what happens when the control plane is started again.
            let _ = self.follow().await;
            tokio::time::sleep(pause).await;
        }
    }

    async fn follow(&mut self) -> anyhow::Result<()> {
        let client = AggregatedDiscoveryServiceClient::connect(self.control.clone()).await?;
        let mut client = client.max_decoding_message_size(64 << 20);
        let (out, requests) = mpsc::unbounded_channel();
        for kind in Kind::ALL {
            let by_name = !matches!(kind, Kind::Cluster | Kind::Listener);
            let names = self.names(kind);
            if !by_name || !names.is_empty() {
                self.ask(&out, kind, if by_name { names } else { Vec::new() }, true)?;
            }
        }
        let stream = UnboundedReceiverStream::new(requests);
        let mut responses = client
            .delta_aggregated_resources(stream)
            .await?
            .into_inner();
        while let Some(response) = responses.message().await? {
            self.take(&out, response)?;
        }
        Ok(())
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let known = self.has.get(&kind).into_iter().flat_map(BTreeMap::keys);
        known.map(ToString::to_string).collect()
    }

    fn ask(
        &self,
        out: &Requests,
        kind: Kind,
        names: Vec<String>,
        first: bool,
    ) -> anyhow::Result<()> {
        let known = self.has.get(&kind).filter(|_| first);
        let known: HashMap<String, String> = known
            .into_iter()
            .flatten()
            .map(|(name, version)| (name.to_string(), version.to_string()))
            .collect();
        out.send(DeltaDiscoveryRequest {
            node: first.then(|| Node {
                id: self.node.clone(),
                user_agent_name: "weir".into(),
                ..Node::default()
            }),
            type_url: kind.type_url().into(),
            resource_names_subscribe: names,
            initial_resource_versions: known,
            ..DeltaDiscoveryRequest::default()
        })?;
        Ok(())
    }

    fn take(&mut self, out: &Requests, response: DeltaDiscoveryResponse) -> anyhow::Result<()> {
        let at = Instant::now();
        let Some(kind) = Kind::of(&response.type_url) else {
            return Ok(());
        };
        let has = self.has.entry(kind).or_default();
        let mut new = Vec::new();
        for resource in response.resources {
            let name = self.words.get(&resource.name);
            if kind == Kind::Endpoint {
                let name = Arc::clone(&name);
                self.arrivals.send(Arrival { name, at })?;
            }
            if has
                .insert(name, self.words.get(&resource.version))
                .is_none()
            {
                new.push(resource.name);
            }
        }
        for name in response.removed_resources {
            has.remove(name.as_str());
        }
        out.send(DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        })?;
        let named = match kind {
            Kind::Cluster => Kind::Endpoint,
            Kind::Listener => Kind::Route,
            _ => return Ok(()),
        };
        if new.is_empty() {
            return Ok(());
        }
        self.ask(out, named, new, false)
    }
}
