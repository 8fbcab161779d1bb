//! Against an agent of gRPC on a unix socket.

use std::convert::Infallible;
use std::sync::Mutex;
use std::task::{Context, Poll};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tokio_stream::{Stream, StreamExt as _};
use tonic::codegen::{BoxFuture, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{Response, Status as Refusal};

use super::*;

type Root = CertifiedIssuer<'static, KeyPair>;
type Answers = watch::Receiver<Result<SvidResponse, Refusal>>;

/// Answers what is put there, to those who send the header.
#[derive(Clone)]
struct Agent(Answers);

impl NamedService for Agent {
    const NAME: &'static str = "SpiffeWorkloadAPI";
}

impl ServerStreamingService<SvidRequest> for Agent {
    type Response = SvidResponse;
    type ResponseStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<SvidResponse, Refusal>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Refusal>;

    fn call(&mut self, request: Request<SvidRequest>) -> Self::Future {
        let answers = self.0.clone();
        Box::pin(async move {
            let header = request.metadata().get(HEADER);
            if header.is_none_or(|value| value != "true") {
                return Err(Refusal::invalid_argument("no header"));
            }
            if let Err(refusal) = &*answers.borrow() {
                return Err(refusal.clone());
            }
            let stream: Self::ResponseStream = Box::pin(WatchStream::new(answers).map(|it| it));
            Ok(Response::new(stream))
        })
    }
}

impl tower::Service<http::Request<tonic::body::Body>> for Agent {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        assert_eq!(request.uri().path(), METHOD);
        let agent = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<SvidResponse, SvidRequest>::default();
            Ok(Grpc::new(codec).server_streaming(agent, request).await)
        })
    }
}

struct House {
    dir: tempfile::TempDir,
    answers: watch::Sender<Result<SvidResponse, Refusal>>,
    agent: Mutex<Option<JoinHandle<()>>>,
}

impl House {
    fn open(first: Result<SvidResponse, Refusal>) -> Self {
        let house = Self {
            dir: tempfile::tempdir().unwrap(),
            answers: watch::Sender::new(first),
            agent: Mutex::new(None),
        };
        house.serve();
        house
    }

    fn serve(&self) {
        let socket = self.from().socket;
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(socket).unwrap();
        let agent = Agent(self.answers.subscribe());
        let task = tokio::spawn(async move {
            let server = tonic::transport::Server::builder().add_service(agent);
            let incoming = UnixListenerStream::new(listener);
            server.serve_with_incoming(incoming).await.unwrap();
        });
        *self.agent.lock().unwrap() = Some(task);
    }

    fn send(&self, answer: SvidResponse) {
        let _before = self.answers.send_replace(Ok(answer));
    }

    fn stop(&self) {
        self.agent.lock().unwrap().take().unwrap().abort();
    }

    fn from(&self) -> FromWorkloadApi {
        FromWorkloadApi {
            socket: self.dir.path().join("agent.sock"),
        }
    }
}

fn root() -> Root {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn svid(root: &Root, id: &str) -> Svid {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    let other = root.der().to_vec();
    Svid {
        spiffe_id: id.to_owned(),
        x509_svid: params.signed_by(&key, root).unwrap().der().to_vec(),
        x509_svid_key: key.serialize_der(),
        bundle: [root.der().to_vec(), other].concat(),
        hint: String::new(),
    }
}

fn answer(svids: Vec<Svid>) -> SvidResponse {
    SvidResponse {
        svids,
        ..SvidResponse::default()
    }
}

async fn kept(house: &House, status: &Arc<Status>) -> Result<crate::Kept, StartError> {
    let from = crate::Source::WorkloadApi(house.from());
    // Retries take a sixtieth of their time.
    crate::start(from, World::fast(60), Arc::clone(status)).await
}

async fn next(watch: &mut watch::Receiver<Arc<Identity>>) -> Arc<Identity> {
    let changed = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
    changed.expect("something comes in time").unwrap();
    Arc::clone(&watch.borrow_and_update())
}

const SHOP: &str = "spiffe://example.org/ns/x/sa/shop";

#[tokio::test]
async fn an_identity_comes_from_an_agent_and_is_followed_over_its_restart() {
    let root = root();
    let house = House::open(Ok(answer(vec![
        svid(&root, SHOP),
        svid(&root, "spiffe://example.org/second"),
    ])));
    let status = Arc::default();
    let kept = kept(&house, &status).await.unwrap();
    let mut identities = kept.watch();
    let first = Arc::clone(&identities.borrow_and_update());
    assert_eq!((first.id.as_str(), first.bundle.len()), (SHOP, 2));
    house.send(answer(vec![svid(&root, SHOP)]));
    let second = next(&mut identities).await;
    assert_ne!(second.chain, first.chain);
    house.stop();
    house.send(answer(vec![svid(&root, SHOP)]));
    house.serve();
    let third = next(&mut identities).await;
    assert_ne!(third.chain, second.chain);
    assert_eq!(status.standing().renewed, 3);
    assert!(
        status
            .metrics_text()
            .contains(&format!("{{certificate=\"{SHOP}\"}} {}", third.not_after))
    );
}

#[tokio::test]
async fn what_an_agent_sends_and_cannot_be_used_leaves_what_came_before() {
    let root = root();
    let house = House::open(Ok(answer(vec![svid(&root, SHOP)])));
    let status = Arc::default();
    let kept = kept(&house, &status).await.unwrap();
    let first = kept.identity();
    let other = svid(&root, SHOP);
    let mut lying = svid(&root, "spiffe://example.org/other");
    lying.spiffe_id = SHOP.to_owned();
    let mixed = Svid {
        x509_svid_key: other.x509_svid_key.clone(),
        ..svid(&root, SHOP)
    };
    for bad in [
        vec![lying],
        vec![mixed],
        Vec::new(),
        vec![Svid {
            bundle: Vec::new(),
            ..other.clone()
        }],
    ] {
        let before = status.standing().failed;
        house.send(answer(bad));
        let failed = async {
            while status.standing().failed == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), failed)
            .await
            .unwrap();
        assert_eq!(kept.identity(), first);
    }
    house.send(answer(vec![other]));
    next(&mut kept.watch()).await;
}

#[tokio::test]
async fn an_agent_that_knows_no_identity_says_so_at_the_start() {
    let house = House::open(Err(Refusal::permission_denied("no entry")));
    let status = Arc::default();
    let error = kept(&house, &status).await.unwrap_err().to_string();
    assert!(
        error.contains("no entry") && error.contains("register"),
        "{error}"
    );
}

#[test]
fn certificates_in_a_row_are_taken_apart() {
    let (a, b) = (root().der().to_vec(), root().der().to_vec());
    assert_eq!(
        split(&[a.clone(), b.clone()].concat()),
        Ok(vec![a.clone(), b])
    );
    assert_eq!(split(&[]), Ok(Vec::new()));
    assert!(split(&a[..a.len() - 1]).is_err());
    assert!(split(&[a, vec![0]].concat()).is_err());
}
