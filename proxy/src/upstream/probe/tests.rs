use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use weir_config::model::{
    Endpoint, EndpointId, HealthProbe, HttpProbe, Model, Service, ServiceName,
};

use super::*;
use crate::snapshot::Interner;
use crate::upstream::endpoint::EndpointState;
use crate::upstream::registry::Registry;

const SOON: Duration = Duration::from_secs(20);

fn http() -> HealthCheck {
    HealthCheck {
        probe: HealthProbe::Http(HttpProbe::get("/healthz")),
        interval: Duration::from_millis(20),
        ..HealthCheck::default()
    }
}

/// Publishes one endpoint of one service, the way a generation does.
fn publish(
    prober: &Prober,
    address: SocketAddr,
    admission: Admission,
    check: Option<HealthCheck>,
) -> Arc<EndpointState> {
    let id: EndpointId = "a:1".parse().unwrap();
    let name: ServiceName = "shop".parse().unwrap();
    let endpoint = Endpoint {
        admission,
        ..Endpoint::new(id.clone(), address)
    };
    let service = Service {
        endpoints: vec![endpoint],
        health_check: check,
        ..Service::new(name.clone())
    };
    let model = Arc::new(Model {
        services: vec![Arc::new(service)],
        ..Model::default()
    });
    let registry = Registry::default();
    registry.reconcile(&model).carry_out();
    let snapshot = Snapshot::build(
        model,
        1,
        &[],
        None,
        &registry,
        &Interner::default(),
        &Snapshot::default(),
    );
    prober.update(&Arc::new(snapshot));
    registry.get(&name, &id).unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let polling = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, polling)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

/// An address that nothing listens on.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

// semantics 13, 16
#[tokio::test]
async fn a_container_is_admitted_soon_after_it_accepts() {
    let address = nowhere().await;
    let prober = Prober::start(&Suspects::default());
    let state = publish(&prober, address, Admission::Probe, None);
    until("the refusal is told", || {
        &*state.standing().reason == "connection refused"
    })
    .await;
    assert!(!state.is_available());
    let _listener = TcpListener::bind(address).await.unwrap();
    until("it is admitted", || state.is_available()).await;
}

// semantics 15
#[tokio::test]
async fn an_http_probe_asks_for_the_path_and_obeys_the_status() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let prober = Prober::start(&Suspects::default());
    let state = publish(&prober, address, Admission::Ready, Some(http()));
    let mut requests = Vec::new();
    for (turn, status) in ["204 No Content", "500 x", "500 x", "404 x"]
        .into_iter()
        .enumerate()
    {
        if turn > 0 {
            until("the first pass admits", || turn > 2 || state.is_available()).await;
        }
        let (mut stream, _) = tokio::time::timeout(SOON, listener.accept())
            .await
            .unwrap()
            .unwrap();
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        requests.push(String::from_utf8_lossy(&request[..length]).into_owned());
        stream
            .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .await
            .unwrap();
    }
    until("three failures take it out", || !state.is_available()).await;
    assert_eq!(&*state.standing().reason, "status 404, expected 200-299");
    assert!(
        requests[0].starts_with("GET /healthz HTTP/1.1\r\n"),
        "{}",
        requests[0]
    );
    assert!(requests[0].contains(&format!("Host: {address}\r\n")));
}

#[tokio::test]
async fn an_endpoint_that_says_nothing_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = HealthCheck {
        timeout: Duration::from_millis(30),
        ..http()
    };
    let prober = Prober::start(&Suspects::default());
    let state = publish(
        &prober,
        listener.local_addr().unwrap(),
        Admission::Ready,
        Some(check),
    );
    until("the timeout is told", || {
        &*state.standing().reason == "timed out after 30ms waiting for the head"
    })
    .await;
    assert!(!state.is_available());
}

#[tokio::test]
async fn only_those_that_could_take_requests_are_probed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let prober = Prober::start(&Suspects::default());
    for admission in [
        Admission::NotReady(Arc::from("paused")),
        Admission::Draining,
    ] {
        publish(&prober, address, admission, Some(http()));
        let silence = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(silence.is_err(), "it was probed");
    }
    let ready = publish(&prober, address, Admission::Ready, None);
    assert!(ready.is_available(), "its source vouches for it");
    publish(&prober, address, Admission::Probe, None);
    assert!(tokio::time::timeout(SOON, listener.accept()).await.is_ok());
}
