use rand::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weir_config::model::{
    Admission, Endpoint, HealthProbe, HttpProbe, Model, OutlierDetection, Service, Version,
    VersionName, Weight,
};

use super::*;
use crate::snapshot::Interner;
use crate::upstream::feedback::{self, Ended, Outcome};
use crate::upstream::probe::Prober;
use crate::upstream::registry::Registry;

const LONG: Duration = Duration::from_secs(20);

/// A service of three, of which the first is at that address and the others are well.
struct Three {
    registry: Registry,
    prober: Prober,
    service: Service,
    _well: TcpListener,
}

impl Three {
    async fn new(first: SocketAddr, change: impl FnOnce(&mut Service)) -> Self {
        let well = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name: ServiceName = "shop".parse().unwrap();
        let endpoint = |id: &str, address| Endpoint {
            admission: Admission::Ready,
            ..Endpoint::new(id.parse().unwrap(), address)
        };
        let address = well.local_addr().unwrap();
        let mut service = Service {
            versions: vec![Version {
                name: VersionName::stable(),
                weight: Weight::ONE,
            }],
            endpoints: vec![
                endpoint("a:1", first),
                endpoint("b:1", address),
                endpoint("c:1", address),
            ],
            ..Service::new(name)
        };
        change(&mut service);
        let registry = Registry::default();
        let three = Self {
            prober: Prober::start(registry.suspects()),
            registry,
            service,
            _well: well,
        };
        three.publish();
        three
    }

    fn publish(&self) {
        let model = Arc::new(Model {
            services: vec![Arc::new(self.service.clone())],
            ..Model::default()
        });
        self.registry.reconcile(&model).carry_out();
        let snapshot = Snapshot::build(
            model,
            1,
            &[],
            None,
            &self.registry,
            &Interner::default(),
            &Snapshot::default(),
        );
        self.prober.update(&Arc::new(snapshot));
    }

    fn first(&self) -> Arc<EndpointState> {
        let id = "a:1".parse().unwrap();
        self.registry.get(&self.service.name, &id).unwrap()
    }

    /// A request finds nobody at the first.
    fn fails(&self) {
        let state = self.first();
        let now = state.home.clock.now();
        let ended = Ended {
            outcome: Outcome::LocalOrigin,
            latency: None,
            now_ms: now.as_millis() as u64,
        };
        let version = VersionName::stable();
        let mut rng = SmallRng::seed_from_u64(1);
        feedback::report(&state, &self.service, &version, ended, &mut rng);
    }

    fn state(&self) -> &'static str {
        self.first().standing().state
    }

    async fn until(&self, wanted: &str) -> Duration {
        let start = Instant::now();
        while self.state() != wanted {
            assert!(start.elapsed() < LONG, "{wanted}, not {}", self.state());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        start.elapsed()
    }

    /// Until what began with the last failure has come to an end.
    async fn inquired(&self) {
        let start = Instant::now();
        while self.first().is_looked_at() {
            assert!(start.elapsed() < LONG, "still looked at");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// An address that nothing listens on.
async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

// semantics 8
#[tokio::test]
async fn one_refused_connection_is_enough_where_looks_find_nobody_either_and_the_first_that_finds_somebody_ends_it()
 {
    let address = nowhere().await;
    let three = Three::new(address, |_| {}).await;
    three.fails();
    let out = three.until("ejected").await;
    assert!(out < Duration::from_secs(1), "{out:?}");
    let reason = three.first().standing().reason;
    assert!(
        reason.contains("3 looks in a row found nobody there"),
        "{reason}"
    );
    let listener = TcpListener::bind(address).await.unwrap();
    let back = three.until("ready").await;
    assert!(back < Duration::from_secs(10), "{back:?}");
    three.inquired().await;
    // The second time in a row it must sit its time out, so nobody looks on.
    drop(listener);
    tokio::time::sleep(2 * Duration::from_secs(1)).await;
    three.fails();
    three.until("ejected").await;
    three.inquired().await;
    let _listener = TcpListener::bind(address).await.unwrap();
    let until = three.first().standing().until.unwrap();
    let left = until.duration_since(std::time::SystemTime::now()).unwrap();
    assert!(left > Duration::from_secs(50), "{left:?}");
}

// semantics 8
#[tokio::test]
async fn one_that_accepts_is_not_ejected_for_a_failure_and_rests_from_looks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let three = Three::new(listener.local_addr().unwrap(), |_| {}).await;
    three.fails();
    assert!(three.first().is_looked_at());
    three.inquired().await;
    three.fails();
    assert!(!three.first().is_looked_at(), "no sooner than in a second");
    assert_eq!(three.state(), "ready");
}

#[tokio::test]
async fn nobody_is_looked_at_where_failures_to_answer_eject_nobody() {
    let three = Three::new(nowhere().await, |service| {
        service.outlier = OutlierDetection {
            consecutive_5xx: 0,
            ..OutlierDetection::configured()
        };
    })
    .await;
    three.fails();
    assert!(!three.first().is_looked_at());
}

#[tokio::test]
async fn one_that_is_taken_out_goes_without_a_sound() {
    let mut three = Three::new(nowhere().await, |_| {}).await;
    three.fails();
    three.service.endpoints[0].admission = Admission::Draining;
    three.publish();
    three.inquired().await;
    assert_eq!(three.state(), "draining");
    assert!(!three.first().is_ejected());
}

// semantics 8
#[tokio::test]
async fn one_with_a_check_returns_when_it_passes_that_and_not_for_accepting() {
    let address = nowhere().await;
    let mut three = Three::new(address, |_| {}).await;
    // New to those that serve: they go on until it fails so often.
    three.service.health_check = Some(HealthCheck {
        probe: HealthProbe::Http(HttpProbe::get("/healthz")),
        interval: Duration::from_secs(3600),
        unhealthy_threshold: 1000,
        timeout: Duration::from_millis(50),
        ..HealthCheck::default()
    });
    three.publish();
    three.fails();
    three.until("ejected").await;
    // Accepts, and says nothing.
    let silent = TcpListener::bind(address).await.unwrap();
    let (mut looked_at, _) = silent.accept().await.unwrap();
    let (mut checked, _) = silent.accept().await.unwrap();
    assert_eq!(looked_at.read(&mut [0; 8]).await.unwrap(), 0, "a look");
    assert!(checked.read(&mut [0; 8]).await.unwrap() > 0, "a check");
    assert_eq!(three.state(), "ejected");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = silent.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 512]).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                    .await;
            });
        }
    });
    three.until("ready").await;
}
