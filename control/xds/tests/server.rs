//! The server with clients of gRPC that are not ours: who comes in, and what comes out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterStats, UpstreamLocalityStats};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse,
};
use envoy_types::pb::envoy::service::load_stats::v3::LoadStatsRequest;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use tonic::{Code, Request, Status, Streaming};
use weir_wire::{Kind, Resource, Resources};
use weir_xds::server::tls::{Tls, TlsFiles};
use weir_xds::server::{
    Admitted, Encode, Encoded, Encoding, Gate, Group, Hub, Offered, Options, ProxyStatus, Refusal,
    Seen, Server, Stop, Watch,
};

const PATIENCE: Duration = Duration::from_secs(15);

/// One cluster for each entry, whose body is its value.
#[derive(Default)]
struct Book(Arc<Mutex<(u64, BTreeMap<String, String>)>>);

impl Book {
    fn write(&self, all: &[(&str, &str)]) {
        let mut book = self.0.lock().unwrap();
        book.0 += 1;
        book.1 = all
            .iter()
            .map(|(name, body)| ((*name).into(), (*body).into()))
            .collect();
    }
}

impl Encode for Book {
    fn begin(&self, _: &Group) -> Encoding {
        let book = Arc::clone(&self.0);
        Box::new(move || {
            let book = book.lock().unwrap();
            let mut resources = Resources::default();
            for (name, body) in &book.1 {
                let body = body.clone().into_bytes();
                resources.insert(Arc::new(Resource::new(Kind::Cluster, name.clone(), body)));
            }
            Encoded {
                generation: book.0,
                resources,
                left_out: Vec::new(),
            }
        })
    }
}

/// Lets in who shows `secret`, or any checked certificate, by the name it gives or bears.
struct Doorman;

impl Gate for Doorman {
    fn admit(&self, offered: &Offered<'_>) -> Result<Admitted, Refusal> {
        let name = match (offered.certificate, offered.token) {
            (Some(names), _) => names[0].clone(),
            (None, Some("secret")) => offered.node.to_owned(),
            (None, Some(_)) => return Err(Refusal::WrongToken(offered.node.to_owned())),
            (None, None) => return Err(Refusal::NoToken),
        };
        Ok(Admitted {
            name,
            listeners: None,
            sidecar: None,
            service: None,
        })
    }
}

/// Names of proxies as they go.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Watch for Diary {
    fn moved(&self, _: &ProxyStatus) {}

    fn gone(&self, name: &str) {
        self.0.lock().unwrap().push(name.to_owned());
    }
}

struct House {
    address: SocketAddr,
    book: Arc<Book>,
    hub: Arc<Hub>,
    diary: Arc<Diary>,
    seen: Seen,
    stop: Stop,
    serving: tokio::task::JoinHandle<()>,
}

fn open(tls: Option<TlsFiles>) -> House {
    let book = Arc::new(Book::default());
    book.write(&[("a", "1"), ("b", "1")]);
    let hub = Arc::new(Hub::new(Arc::clone(&book) as Arc<dyn Encode>));
    let diary = Arc::new(Diary::default());
    let tls = tls.map(|files| {
        let (tls, receiver) = Tls::read(files).unwrap();
        tokio::spawn(tls.follow(|_| {}));
        receiver
    });
    let options = Options {
        gate: Arc::new(Doorman),
        hub: Arc::clone(&hub),
        watch: Arc::clone(&diary) as Arc<dyn Watch>,
        tls,
        mesh: None,
        instance: "run-1".into(),
    };
    let (server, stop) = Server::bind(([127, 0, 0, 1], 0).into(), options).unwrap();
    let (address, seen) = (server.address().unwrap(), server.seen());
    let serving = tokio::spawn(async move { server.serve().await.unwrap() });
    House {
        address,
        book,
        hub,
        diary,
        seen,
        stop,
        serving,
    }
}

impl House {
    async fn plain(&self) -> Channel {
        let uri = format!("http://{}", self.address);
        Channel::from_shared(uri).unwrap().connect().await.unwrap()
    }

    async fn secure(&self, config: ClientTlsConfig) -> Result<Channel, tonic::transport::Error> {
        let uri = format!("https://{}", self.address);
        let endpoint = Channel::from_shared(uri).unwrap().tls_config(config)?;
        endpoint.connect().await
    }
}

/// A stream of the incremental protocol.
struct Talk {
    out: mpsc::UnboundedSender<DeltaDiscoveryRequest>,
    incoming: Streaming<DeltaDiscoveryResponse>,
}

impl Talk {
    async fn begin(channel: Channel, node: &str, token: Option<&str>) -> Result<Self, Status> {
        let (out, requests) = mpsc::unbounded_channel();
        let mut request = Request::new(UnboundedReceiverStream::new(requests));
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        out.send(DeltaDiscoveryRequest {
            node: Some(Node {
                id: node.into(),
                user_agent_name: "weir".into(),
                ..Node::default()
            }),
            type_url: Kind::Cluster.type_url().into(),
            ..DeltaDiscoveryRequest::default()
        })
        .unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let incoming = client
            .delta_aggregated_resources(request)
            .await?
            .into_inner();
        Ok(Self { out, incoming })
    }

    /// The next response, acknowledged: names and bodies, then names that are gone.
    async fn next(&mut self) -> Result<Vec<String>, Status> {
        let next = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        let response = next.expect("a response in time")?;
        let Some(response) = response else {
            return Err(Status::aborted("the stream ended"));
        };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let given = response.resources.into_iter();
        let mut told: Vec<String> = given
            .map(|r| format!("{}={}", r.name, text(r.resource.unwrap().value)))
            .collect();
        told.extend(
            response
                .removed_resources
                .iter()
                .map(|name| format!("-{name}")),
        );
        let _ = self.out.send(DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        });
        Ok(told)
    }
}

async fn eventually(what: &str, probe: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !probe() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_token_lets_in_and_a_wrong_one_is_refused_and_counted() {
    let house = open(None);
    for (token, code, reason) in [
        (None, Code::Unauthenticated, "no_token"),
        (Some("guess"), Code::Unauthenticated, "wrong_token"),
    ] {
        let mut talk = Talk::begin(house.plain().await, "edge", token)
            .await
            .unwrap();
        let status = talk.next().await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(!status.message().contains("guess"));
        assert_eq!(house.seen.tally.refusals().get(reason), Some(&1));
    }
    let mut talk = Talk::begin(house.plain().await, "edge", Some("secret"))
        .await
        .unwrap();
    assert_eq!(talk.next().await.unwrap(), ["a=1", "b=1"]);
}

#[tokio::test]
async fn a_change_is_told_once_and_alone_and_what_is_acknowledged_is_known() {
    let house = open(None);
    let mut talk = Talk::begin(house.plain().await, "edge", Some("secret"))
        .await
        .unwrap();
    assert_eq!(talk.next().await.unwrap(), ["a=1", "b=1"]);
    house.book.write(&[("a", "1"), ("b", "2")]);
    house.hub.refresh().await;
    assert_eq!(talk.next().await.unwrap(), ["b=2"]);
    house.book.write(&[("a", "1")]);
    house.hub.refresh().await;
    assert_eq!(talk.next().await.unwrap(), ["-b"]);
    let proxies = Arc::clone(&house.seen.proxies);
    eventually("the acknowledgement", || {
        let all = proxies.list();
        all.len() == 1 && all[0].name == "edge" && all[0].progress.acked == Some(3)
    })
    .await;
    // Nothing that it sees changed: it has that generation, too, without a word.
    house.book.write(&[("a", "1")]);
    house.hub.refresh().await;
    eventually("the generation", || {
        proxies.list()[0].progress.acked == Some(4)
    })
    .await;
    let counts = house.seen.tally.kinds()[0];
    assert_eq!((counts.pushes, counts.resources, counts.acks), (3, 4, 3));
    drop(talk);
    eventually("its going", || {
        house.diary.0.lock().unwrap().as_slice() == ["edge"]
    })
    .await;
    assert!(proxies.list().is_empty());
}

#[tokio::test]
async fn a_server_that_stops_says_so_to_its_clients() {
    let house = open(None);
    let mut talk = Talk::begin(house.plain().await, "edge", Some("secret"))
        .await
        .unwrap();
    talk.next().await.unwrap();
    house.stop.now();
    let status = talk.next().await.unwrap_err();
    assert!(
        matches!(status.code(), Code::Unavailable | Code::Aborted),
        "{status}"
    );
}

#[tokio::test]
async fn a_server_that_stops_waits_for_nobody_who_does_not_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = open(None);
    // A preface and empty settings (RFC 9113, section 3.4), and then nothing: a network that is cut looks like this.
    let mut silent = tokio::net::TcpStream::connect(house.address).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    silent.write_all(preface).await.unwrap();
    silent.read_u8().await.unwrap();
    house.stop.now();
    let ended = tokio::time::timeout(Duration::from_secs(10), house.serving).await;
    ended.expect("it ends").unwrap();
}

#[tokio::test]
async fn load_is_taken_from_those_who_may_come_in_and_forgotten_with_them() {
    let house = open(None);
    let mut client = LoadReportingServiceClient::new(house.plain().await);
    let (out, requests) = mpsc::unbounded_channel();
    let mut request = Request::new(UnboundedReceiverStream::new(requests));
    request
        .metadata_mut()
        .insert("authorization", "Bearer secret".parse().unwrap());
    let node = Node {
        id: "edge".into(),
        ..Node::default()
    };
    out.send(LoadStatsRequest {
        node: Some(node),
        ..LoadStatsRequest::default()
    })
    .unwrap();
    let mut wishes = client
        .stream_load_stats(request)
        .await
        .unwrap()
        .into_inner();
    let wish = wishes.message().await.unwrap().unwrap();
    assert!(wish.send_all_clusters && wish.load_reporting_interval.unwrap().seconds > 0);
    out.send(LoadStatsRequest {
        cluster_stats: vec![ClusterStats {
            cluster_name: "shop".into(),
            upstream_locality_stats: vec![UpstreamLocalityStats {
                total_issued_requests: 5,
                ..UpstreamLocalityStats::default()
            }],
            ..ClusterStats::default()
        }],
        ..LoadStatsRequest::default()
    })
    .unwrap();
    let loads = Arc::clone(&house.seen.loads);
    eventually("the report", || {
        loads
            .of("edge")
            .iter()
            .any(|(name, load)| name == "shop" && load.issued == 5)
    })
    .await;
    drop((out, wishes));
    eventually("its end", || loads.of("edge").is_empty()).await;
}

/// An authority with a server's files, and a client.
struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    fn sign(&self, name: &str) -> (String, String) {
        self.sign_for(name, Duration::from_secs(3600))
    }

    fn sign_for(&self, name: &str, time: Duration) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = (SystemTime::now() + time).into();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let made = params.signed_by(&key, &self.issuer).unwrap();
        (made.pem(), key.serialize_pem())
    }

    fn write(&self, dir: &Path) -> TlsFiles {
        let (cert, key) = self.sign("localhost");
        let files = TlsFiles {
            cert: dir.join("tls.crt"),
            key: dir.join("tls.key"),
            client_ca: Some(dir.join("ca.crt")),
        };
        std::fs::write(&files.cert, cert).unwrap();
        std::fs::write(&files.key, key).unwrap();
        std::fs::write(dir.join("ca.crt"), self.issuer.pem()).unwrap();
        files
    }

    fn trusting(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.issuer.pem()))
            .domain_name("localhost")
    }

    fn client(&self, name: &str) -> Identity {
        let (cert, key) = self.sign(name);
        Identity::from_pem(cert, key)
    }
}

#[tokio::test]
async fn a_certificate_lets_in_by_its_name_and_none_or_a_strangers_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let (pki, other) = (Pki::new(), Pki::new());
    let house = open(Some(pki.write(dir.path())));
    let config = pki.trusting().identity(pki.client("edge-7"));
    let channel = house.secure(config).await.unwrap();
    let mut talk = Talk::begin(channel, "whatever", None).await.unwrap();
    assert_eq!(talk.next().await.unwrap(), ["a=1", "b=1"]);
    assert_eq!(house.seen.proxies.list()[0].name, "edge-7");
    for config in [
        pki.trusting(),
        pki.trusting().identity(other.client("edge-7")),
    ] {
        // In TLS 1.3 a client hears of its refusal with the first answer.
        let got = match house.secure(config).await {
            Ok(channel) => match Talk::begin(channel, "edge-7", None).await {
                Ok(mut talk) => talk.next().await.map(|_| ()).map_err(|s| s.to_string()),
                Err(status) => Err(status.to_string()),
            },
            Err(error) => Err(error.to_string()),
        };
        assert!(got.is_err());
    }
    let refused = || house.seen.tally.refusals().get("handshake").copied();
    eventually("both to be counted", || refused() >= Some(2)).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_it_was_opened_with() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let house = open(Some(pki.write(dir.path())));
    let (cert, key) = pki.sign_for("edge", Duration::from_secs(3));
    let config = pki.trusting().identity(Identity::from_pem(cert, key));
    let brief = house.secure(config).await.unwrap();
    let mut talk = Talk::begin(brief.clone(), "edge", None).await.unwrap();
    talk.next().await.unwrap();
    let config = pki.trusting().identity(pki.client("other"));
    let other = house.secure(config).await.unwrap();
    let mut other = Talk::begin(other, "other", None).await.unwrap();
    other.next().await.unwrap();
    let ended = talk.next().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated, "{ended}");
    // The connection is there still, and opens nothing any more.
    let again = match Talk::begin(brief, "edge", None).await {
        Ok(mut talk) => talk.next().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(again.code(), Code::Unauthenticated, "{again}");
    let refused = house.seen.tally.refusals();
    assert_eq!(refused.get("ended_certificate"), Some(&2));
    house.book.write(&[("a", "2"), ("b", "1")]);
    house.hub.refresh().await;
    assert_eq!(other.next().await.unwrap(), ["a=2"]);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (Pki::new(), Pki::new());
    let house = open(Some(old.write(dir.path())));
    let config = |pki: &Pki| pki.trusting().identity(pki.client("edge"));
    let mut talk = {
        let channel = house.secure(config(&old)).await.unwrap();
        Talk::begin(channel, "edge", None).await.unwrap()
    };
    talk.next().await.unwrap();
    new.write(dir.path());
    let start = std::time::Instant::now();
    let channel = loop {
        match house.secure(config(&new)).await {
            Ok(channel) => break channel,
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let mut later = Talk::begin(channel, "edge-2", None).await.unwrap();
    assert_eq!(later.next().await.unwrap(), ["a=1", "b=1"]);
    // The connection from before goes on.
    house.book.write(&[("a", "2"), ("b", "1")]);
    house.hub.refresh().await;
    assert_eq!(talk.next().await.unwrap(), ["a=2"]);
}
