use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

use super::scrape::InUse;
use super::types::{Endpoints, Listeners, Routes, Services};
use super::*;
use crate::http::h1::head::Method;
use crate::snapshot::{Interner, ListenerId, SeriesIds};
use crate::telemetry::{Flag, Sample, Spoken};
use crate::upstream::endpoint::{EndpointState, Health};
use crate::upstream::registry::Registry;

mod explain;

const CONFIG: &str = r#"
listeners:
  - { name: web, bind: 127.0.0.1:8080 }
  - { name: inner, bind: 127.0.0.1:8081 }
services:
  - name: shop
    versions: [{ name: stable, weight: 75 }, { name: canary, weight: 25 }]
    endpoints:
      - { address: 127.0.0.1:9001, version: stable }
      - { address: 127.0.0.1:9003, version: stable }
      - { address: 127.0.0.1:9002, version: canary }
    healthCheck: { http: { path: /healthz }, interval: 2s }
routes:
  - name: shop
    listeners: [web]
    hostnames: [shop.example.com]
    rules:
      - matches:
          - path: { type: PathPrefix, value: /api }
            headers: [{ name: x-canary, value: always }]
        backendRefs: [{ name: shop, version: canary }]
      - matches: [{ path: { type: PathPrefix, value: /sticky } }]
        backendRefs: [{ name: shop }]
        sticky: { cookie: bucket }
      - matches: [{ path: { type: PathPrefix, value: /old } }]
        filters:
          - { type: RequestRedirect, requestRedirect: { scheme: https, statusCode: 301 } }
      - matches: [{ path: { type: PathPrefix, value: / } }]
        backendRefs: [{ name: shop }]
        retry: { attempts: 1, on: [connect-failure] }
"#;

struct Plane {
    snapshot: Arc<Snapshot>,
    labels: Arc<Interner>,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    listeners: Vec<ListenerState>,
}

impl View for Plane {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot)
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    fn listeners(&self) -> Vec<ListenerState> {
        self.listeners.clone()
    }

    fn draining(&self) -> bool {
        !self.readiness.ready
    }

    fn pressure(&self) -> Vec<(&'static str, f64)> {
        vec![("connections", 0.125)]
    }
}

impl Plane {
    /// Serves [`CONFIG`], with all endpoints passing their checks.
    fn new() -> Self {
        Self::of(CONFIG)
    }

    /// Serves another configuration, with all endpoints passing their checks.
    fn of(config: &str) -> Self {
        let loaded = weir_config::file::parse(Path::new("weir.yaml"), config);
        let compiled = weir_config::compile(&[loaded.fragment]);
        assert!(
            compiled.diagnostics.is_empty(),
            "{:?}",
            compiled.diagnostics
        );
        let model = Arc::new(compiled.model);
        let (labels, registry) = (Arc::new(Interner::default()), Registry::default());
        registry.reconcile(&model).carry_out();
        let ids: Vec<_> = (0..)
            .map(ListenerId)
            .zip(model.listeners.iter().cloned())
            .collect();
        let state =
            |(id, listener): &(ListenerId, Arc<weir_config::model::Listener>)| ListenerState {
                id: *id,
                name: listener.name.clone(),
                bind: listener.bind,
                protocol: listener.protocol,
                captures: false,
                handed_over: false,
                error: None,
            };
        let listeners = ids.iter().map(state).collect();
        let snapshot = Snapshot::build(
            model,
            7,
            &ids,
            None,
            &registry,
            &labels,
            &Snapshot::default(),
        );
        let plane = Self {
            snapshot: Arc::new(snapshot),
            metrics: Arc::new(Metrics::new(Arc::clone(&labels))),
            labels,
            readiness: Readiness {
                ready: true,
                reason: "serving generation 7".into(),
            },
            listeners,
        };
        plane
            .endpoints()
            .for_each(|endpoint| endpoint.set_health(Health::Passing, "status 200"));
        plane
    }

    fn endpoints(&self) -> impl Iterator<Item = &Arc<EndpointState>> {
        self.snapshot
            .services
            .iter()
            .flat_map(|table| &table.endpoints)
    }

    fn endpoint(&self, port: u16) -> &Arc<EndpointState> {
        self.endpoints()
            .find(|endpoint| endpoint.address.port() == port)
            .unwrap()
    }

    fn fail(&self, port: u16) {
        let endpoint = self.endpoint(port);
        endpoint.set_health(Health::Failing, "connection refused");
    }

    fn count(&self, version: &str) {
        let ids = SeriesIds {
            source: crate::snapshot::LabelId::default(),
            listener: self.labels.id("web"),
            route: self.labels.id("shop"),
            service: self.labels.id("shop"),
            version: self.labels.id(version),
        };
        self.metrics.shard().record(&Sample {
            series: ids,
            method: Method::Get,
            protocol: Spoken::Http11,
            status: 200,
            flag: Flag::None,
            bytes_in: 0,
            bytes_out: 0,
            duration: Duration::ZERO,
            upstream: None,
        });
    }
}

/// Status, content type and body.
async fn get(plane: Plane, target: &str) -> (u16, String, String) {
    let extra: Extra =
        Arc::new(|| "# TYPE weir_config_generation gauge\nweir_config_generation 7\n".to_owned());
    let request = Request::get(target).body(Body::empty()).unwrap();
    let response = router(Arc::new(plane), extra)
        .oneshot(request)
        .await
        .unwrap();
    let status = response.status().as_u16();
    let kind = response
        .headers()
        .get(header::CONTENT_TYPE)
        .map(|kind| kind.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    (
        status,
        kind.unwrap_or_default(),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

async fn read<T: DeserializeOwned>(plane: Plane, target: &str) -> T {
    let (status, _, body) = get(plane, target).await;
    assert_eq!(status, 200, "{body}");
    let reply: Reply<T> = serde_json::from_str(&body).unwrap();
    assert_eq!(reply.api_version, "weir/v1");
    reply.body
}

#[tokio::test]
async fn live_and_ready_say_so_with_a_reason() {
    assert_eq!(get(Plane::new(), "/live").await.0, 200);
    let (status, _, body) = get(Plane::new(), "/ready").await;
    assert_eq!((status, &*body), (200, "serving generation 7\n"));
    let readiness = Readiness {
        ready: false,
        reason: "draining".into(),
    };
    let (status, _, body) = get(
        Plane {
            readiness,
            ..Plane::new()
        },
        "/ready",
    )
    .await;
    assert_eq!((status, &*body), (503, "draining\n"));
}

#[tokio::test]
async fn metrics_hold_counters_gauges_and_what_others_add() {
    let plane = Plane::new();
    plane.fail(9002);
    plane.count("stable");
    let (status, kind, text) = get(plane, "/metrics").await;
    assert_eq!(
        (status, &*kind),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        r#"weir_endpoint_health{service="shop",state="ready"} 2"#,
        r#"weir_endpoint_health{service="shop",state="failing"} 1"#,
        r#"weir_endpoint_health{service="shop",state="draining"} 0"#,
        "weir_drain_active 0",
        "weir_config_generation 7",
    ] {
        assert!(
            text.lines().any(|l| l == line),
            "{line} is missing in\n{text}"
        );
    }
    assert!(text.contains(
        "weir_requests_total{listener=\"web\",route=\"shop\",service=\"shop\",version=\"stable\""
    ));
}

// semantics 44
#[test]
fn only_labels_that_configuration_has_keep_an_idle_series() {
    let plane = Plane::new();
    let in_use = InUse::of(&plane.snapshot);
    for (listener, route, service, version, expected) in [
        ("web", "shop", "shop", "stable", true),
        ("web", "shop", "", "", true),
        ("web", "", "", "", true),
        ("", "", "", "", true),
        ("web", "shop", "shop", "gone", false),
        ("web", "gone", "shop", "stable", false),
        ("gone", "shop", "shop", "stable", false),
        ("web", "shop", "gone", "stable", false),
    ] {
        let id = |text| plane.labels.id(text);
        let ids = SeriesIds {
            source: crate::snapshot::LabelId::default(),
            listener: id(listener),
            route: id(route),
            service: id(service),
            version: id(version),
        };
        assert_eq!(
            in_use.holds(&ids),
            expected,
            "{listener} {route} {service} {version}"
        );
    }
}

#[tokio::test]
async fn listeners_say_whether_they_are_bound() {
    let mut plane = Plane::new();
    plane.listeners[0].error = Some("the port is taken".into());
    let shard = plane.metrics.shard();
    shard.connection_opened(plane.labels.id("web"));
    let listeners: Listeners = read(plane, "/api/v1/listeners").await;
    let seen: Vec<_> = listeners
        .listeners
        .iter()
        .map(|l| {
            (
                &*l.name,
                &*l.bind,
                &*l.state,
                l.error.as_deref(),
                l.rules,
                l.connections,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                "inner",
                "127.0.0.1:8081",
                "failed",
                Some("the port is taken"),
                0,
                0
            ),
            ("web", "127.0.0.1:8080", "bound", None, 4, 1),
        ]
    );
    assert!(
        listeners.listeners[1].source.starts_with("weir.yaml:3"),
        "{}",
        listeners.listeners[1].source
    );
}

#[tokio::test]
async fn routes_are_told_in_words() {
    let routes: Routes = read(Plane::new(), "/api/v1/routes").await;
    let [route] = &routes.routes[..] else {
        panic!("{routes:?}")
    };
    assert_eq!(
        (&*route.name, &route.hostnames[..]),
        ("shop", &["shop.example.com".to_owned()][..])
    );
    let rules = &route.rules;
    assert_eq!(
        rules[0].matches,
        [r#"PathPrefix /api, header x-canary = "always""#]
    );
    assert_eq!(rules[1].sticky.as_deref(), Some("cookie bucket"));
    assert_eq!(rules[2].filters, ["redirect scheme to https (301)"]);
    assert_eq!(rules[3].retry.as_deref(), Some("1 more on connect-failure"));
    let backend = &rules[0].backends[0];
    assert_eq!(
        (&*backend.service, backend.version.as_deref(), backend.share),
        ("shop", Some("canary"), 100.0)
    );
    assert_eq!(backend.problem, None);
}

#[tokio::test]
async fn services_add_up_their_endpoints_and_requests() {
    let plane = Plane::new();
    plane.fail(9001);
    plane.count("canary");
    let services: Services = read(plane, "/api/v1/services").await;
    let [shop] = &services.services[..] else {
        panic!("{services:?}")
    };
    assert_eq!(
        (shop.endpoints, shop.available, &*shop.balancer),
        (3, 2, "LEAST_REQUEST")
    );
    assert_eq!(shop.health_check.as_deref(), Some("GET /healthz every 2s"));
    let versions: Vec<_> = shop
        .versions
        .iter()
        .map(|v| {
            (
                &*v.name,
                v.weight,
                v.share,
                v.endpoints,
                v.available,
                v.requests,
            )
        })
        .collect();
    assert_eq!(
        versions,
        [
            ("canary", 25.0, 25.0, 1, 1, 1),
            ("stable", 75.0, 75.0, 2, 1, 0)
        ]
    );
}

#[tokio::test]
async fn endpoints_say_why_they_do_not_serve() {
    let plane = Plane::new();
    plane.fail(9002);
    plane.endpoints().next().unwrap().begin(None);
    let endpoints: Endpoints = read(plane, "/api/v1/endpoints").await;
    let canary = endpoints
        .endpoints
        .iter()
        .find(|endpoint| endpoint.version == "canary")
        .unwrap();
    assert_eq!(
        (&*canary.service, &*canary.id, &*canary.address),
        ("shop", "shop@127.0.0.1:9002", "127.0.0.1:9002")
    );
    assert_eq!(
        (&*canary.state, &*canary.reason, canary.available),
        ("failing", "connection refused", false)
    );
    assert!(canary.since.ends_with('Z') && canary.source.starts_with("weir.yaml:"));
    let first = &endpoints.endpoints[0];
    assert_eq!((first.in_flight, first.requests, first.errors), (1, 1, 0));
}
